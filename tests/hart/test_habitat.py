"""What is said to people who type Habitat's words."""

import stead
from hart import habitat


def test_no_hint_stands_for_what_stead_has() -> None:
    """Once a verb or option exists, a hint that it does not would be a lie."""
    known = {*stead.VERBS, *stead.GROUPS}
    assert not known & set(habitat.COMMANDS)
    options = {verb: {option for parameter in stead.load(verb).params for option in parameter.opts} for verb in stead.VERBS}
    for said in habitat.OPTIONS:
        verb, _, option = said.rpartition(" ")
        assert not verb or option not in options[verb], said
    assert not {option for known in options.values() for option in known} & set(habitat.OPTIONS)


def test_commands_that_hints_name_exist() -> None:
    """A hint that leads nowhere is worse than none."""
    for said in (*habitat.COMMANDS.values(), *habitat.OPTIONS.values()):
        for quoted in said.split("`")[1::2]:
            words = quoted.split()
            if words[0] == "stead":
                verb = next(verb for verb in sorted(stead.VERBS, key=len, reverse=True) if f"{quoted} ".startswith(f"stead {verb} "))
                options = {option for parameter in stead.load(verb).params for option in parameter.opts} | {"--help"}
                assert {word for word in words if word.startswith("--")} <= options, quoted
