"""hart/template/engine.py: strictness, errors, hooks, and that nothing else ever comes out."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import LimitError, TemplateError
from hart.template.engine import compile_template, unquoted_in_shell

CONTEXT: dict[str, Any] = {
    "cfg": {"port": 80, "motd": "hello $(touch x)", "list": ["a b", "c"], "table": {"inner": 1}},
    "bind": {},
    "pkg": {"path": "/hab/pkgs/a/b/1/20240101000000", "deps": [], "odd": "a b"},
}


def strict(text: str, context: Any = CONTEXT, *, hook: bool = False) -> str:
    return compile_template(text, name="hooks/run", strict=True, hook=hook).render(context)


def refused(text: str, *, hook: bool = False) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        strict(text, hook=hook)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "{{cfg.prot}}",
        "{{#if cfg.prot}}{{/if}}",
        "{{#unless cfg.prot}}{{/unless}}",
        "{{#each cfg.prot}}{{/each}}",
        "{{#eachAlive cfg.prot}}{{/eachAlive}}",
        "{{#with cfg.prot}}{{/with}}",
        "{{#cfg.prot}}{{/cfg.prot}}",
        "{{^cfg.prot}}{{/cfg.prot}}",
        "{{toUppercase cfg.prot}}",
        "{{#if (and cfg.port cfg.prot)}}{{/if}}",
        "{{#if 0}}{{else if cfg.prot}}{{/if}}",
        "{{lookup cfg.prot 'a'}}",
        "{{sh cfg.prot}}",
    ],
)
def test_a_strict_template_refuses_what_is_not_defined_wherever_it_stands(text: str) -> None:
    """The error has file, line, column, name, the line itself and what may have been meant."""
    error = refused(f"first\n  {text}")
    assert error.data["name"] == "hooks/run"
    assert error.data["line"] == 2
    assert error.data["column"] == 3 + text.index("cfg.prot")
    assert error.data["source"] == text
    assert "cfg.prot is not defined" in str(error)
    assert "did you mean cfg.port?" in error.next


def test_what_may_be_absent_is_asked_for_with_lookup() -> None:
    """`lookup` gives null for an entry that is not there."""
    assert strict('{{#if (lookup bind "db")}}1{{else}}2{{/if}}{{#with (lookup cfg "table") as |t|}}{{t.inner}}{{/with}}') == "21"
    assert strict('{{lookup (lookup bind "db") "ip"}}{{lookup cfg.list 7}}') == ""


def test_a_hint_says_what_is_there() -> None:
    """Near names first, else the names that there are; inside of blocks, how to reach the outside."""
    assert "there is inner" in refused("{{cfg.table.zzz}}").next
    assert "@root.cfg.port" in refused("{{#each cfg.list}}{{cfg.port}}{{/each}}").next
    assert "2 entries" in refused("{{cfg.list.[2]}}").next
    assert 'lookup cfg "prot"' in refused("{{cfg.prot}}").next


def test_each_in_a_strict_template_needs_something_to_loop_over() -> None:
    """A string in place of a list is a mistake; null is an empty list."""
    assert "a list or a table, not a number" in str(refused("{{#each cfg.port}}{{/each}}"))
    assert strict("{{#each (lookup cfg 'x')}}{{else}}none{{/each}}") == "none"


def test_locals_outside_of_loops_are_refused() -> None:
    """@index means nothing where nothing is counted."""
    assert "@index" in str(refused("{{@index}}"))
    assert "@foo" in str(refused("{{#each cfg.list}}{{@foo}}{{/each}}"))


def test_a_strict_hook_lets_plain_words_through_and_stops_everything_else() -> None:
    """An unquoted value from outside the package may be a port or a path, and never shell."""
    assert strict("listen {{cfg.port}} {{#each cfg.list}}{{@index}}{{/each}}", hook=True) == "listen 80 01"
    for text in (
        "echo {{cfg.motd}}",
        '"{{cfg.motd}}"',
        "{{strJoin cfg.list ','}}",
        "{{toJson cfg}}",
        "{{#each cfg.list}}{{this}}{{/each}}",
    ):
        assert "the shell would interpret" in str(refused(text, hook=True))
    assert strict("{{pkg.odd}} {{{cfg.motd}}}", hook=True) == "a b hello $(touch x)"
    assert strict("echo {{cfg.motd}}") == "echo hello $(touch x)", "no hook: a file for another reader"


def test_a_strict_hook_stops_sh_inside_quotes_when_it_would_matter() -> None:
    """Inside other quotes the quotes that sh adds are only text."""
    assert strict('"{{sh cfg.port}}"', hook=True) == '"80"'
    assert "inside other quotes" in str(refused('echo "{{sh cfg.motd}}"', hook=True))
    assert "inside other quotes" in str(refused("echo '{{sh cfg.list}}'", hook=True))
    assert strict("echo 'x' {{sh cfg.motd}}", hook=True) == "echo 'x' 'hello $(touch x)'"


def test_lenient_hooks_are_rendered_as_habitat_does() -> None:
    """Existing packages keep working; `unquoted_in_shell` tells what is unsafe in them."""
    template = compile_template("echo {{cfg.motd}}", name="run", strict=False, hook=True)
    assert template.render(CONTEXT) == "echo hello $(touch x)"
    assert [finding.expression for finding in unquoted_in_shell("echo {{cfg.motd}}", name="run")] == ["{{cfg.motd}}"]


def test_a_template_says_what_it_is() -> None:
    """Name, strictness, kind."""
    template = compile_template("a", name="redis.conf", strict=True)
    assert (template.name, template.strict, template.hook) == ("redis.conf", True, False)


def test_a_template_that_is_too_large_is_refused() -> None:
    """Its size is looked at before anything else."""
    with pytest.raises(LimitError, match="larger"):
        compile_template("x" * (1024 * 1024 + 1), name="t", strict=True)


def test_helpers_cannot_be_made_to_use_memory_without_end() -> None:
    """Text is paid for before it is made."""
    big = {"a": "x" * 100_000, "l": ["y" * 1000] * 100}
    for text in (
        "{{len (strReplace a '' a)}}",
        "{{len (strReplace a 'x' a)}}",
        "{{len (strJoin l a)}}",
        "{{#each l}}{{len (strConcat @root.a @root.a)}}{{/each}}",
        "{{#each l}}{{len (toJson @root.l)}}{{/each}}",
        "{{#each l}}{{len (sh @root.a)}}{{/each}}",
        "{{#each l}}{{len (toUppercase @root.a)}}{{/each}}",
    ):
        with pytest.raises(LimitError, match="characters"):
            strict(text, big)


SCRAPS = (
    "{{ }} {{{ }}} {{# {{/ {{^ {{else if each with cfg . ../ @index [0] ( ) a ' \" | as|v| = ~ \\ !-- --}} {{{{raw}}}} {{{{/raw}}}} "
    "sh lookup toJson \0 é"
)
scraps = st.sampled_from([*SCRAPS.split(" "), " ", "\n", "#if ", " as |v|"])
garbage = st.one_of(st.lists(scraps, max_size=25).map("".join), st.text(max_size=60))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
data = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cfg", "a", "v", "x"]), inner, max_size=3),
    max_leaves=12,
)


@given(garbage, st.booleans(), st.booleans(), st.fixed_dictionaries({"cfg": data, "a": data}))
def test_whatever_the_text_only_our_errors_come_out(text: str, strictly: bool, hook: bool, context: dict[str, Any]) -> None:
    """Garbage is refused or rendered; nothing else ever happens."""
    with suppress(TemplateError, LimitError):
        compile_template(text, name="t", strict=strictly, hook=hook).render(context)
    with suppress(TemplateError, LimitError):
        unquoted_in_shell(text, name="t")


EXPRESSIONS = (
    "cfg, a, a.x, cfg.v, this, ../a, @index, @key, lookup a 'x', lookup cfg 0, toJson cfg, toYaml a, toToml a, sh a, strJoin cfg ';', "
    "strConcat a cfg 1, len a, eq a cfg, strReplace a 'x' 'y', toUppercase a, pkgPathFor a"
)
expressions = st.sampled_from(EXPRESSIONS.split(", "))
heads = st.sampled_from(["if", "unless", "each", "with", "eachAlive"])
bodies = st.recursive(
    expressions.map(lambda text: f"{{{{{text}}}}}"),
    lambda inner: st.builds(
        lambda head, subject, body, other: f"{{{{#{head} {subject}}}}}{body}{{{{else}}}}{other}{{{{/{head}}}}}",
        heads,
        st.sampled_from(["a", "cfg", "this", "../a", "a.v"]),
        st.lists(inner, max_size=3).map("".join),
        inner,
    ),
    max_leaves=8,
)


@given(bodies, st.booleans(), st.booleans(), st.fixed_dictionaries({"cfg": data, "a": data}))
def test_whatever_the_data_only_our_errors_come_out(text: str, strictly: bool, hook: bool, context: dict[str, Any]) -> None:
    """A template that is one meets any data."""
    with suppress(TemplateError, LimitError):
        compile_template(text, name="t", strict=strictly, hook=hook).render(context)


@given(st.text().filter(lambda text: "{{" not in text and text.isprintable()))
def test_text_without_tags_renders_to_itself(text: str) -> None:
    """Nothing but tags has a meaning."""
    assert compile_template(text, name="t", strict=True).render({}) == text


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_sh_gives_the_shell_exactly_the_value(values: list[str]) -> None:
    """Quotes, newlines, `$(…)`: one word each, and a list gives several."""
    template = compile_template("{{#each cfg.x}}{{sh this}} {{/each}}", name="run", strict=True, hook=True)
    assert shlex.split(template.render({"cfg": {"x": values}})) == values
    together = compile_template("{{sh cfg.x}}", name="run", strict=True, hook=True)
    assert shlex.split(together.render({"cfg": {"x": values}})) == values


def test_attack_config_value_as_command_runs_in_no_strict_hook(tmp_path: Any) -> None:
    """Threat S56: a value full of shell is written as itself by a real shell, and nothing is run."""
    value = f"'; touch {tmp_path}/a; \"$(touch {tmp_path}/b)`touch {tmp_path}/c` {{{{x}}}}\n$HOME\\"
    script = compile_template("printf %s {{sh cfg.x}}", name="run", strict=True, hook=True).render({"cfg": {"x": value}})
    result = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, timeout=10)
    assert result.stdout == value
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TemplateError, match="NUL"):
        strict("{{sh cfg.x}}", {"cfg": {"x": "a\0b"}}, hook=True)
