"""From a document and what a host has to the steps between them; and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError, InputError, StorageError
from hart.ident import Ident
from hart.schema import REDACTED
from hart.toml import dumps, loads
from supervisor import cli_apply
from supervisor.desired import Act, Applied, Desired, Plan, Present, parse, plan, render, same
from supervisor.service.spec import Bind, Group, ServiceSpec, Strategy
from supervisor.service.spec import Desired as Wanted

WEB, REDIS = Group("web", "default"), Group("redis", "default")
SPEC = ServiceSpec(ident=Ident("t", "web"), binds=(Bind("redis", "redis.default"),))
FEED = ServiceSpec(ident=Ident("t", "redis"))
DOCUMENT = """
[service.web]
ident = "t/web"
binds = ["redis:redis.default"]
[service.redis]
ident = "t/redis"
[config."web.default"]
port = 8080
"""


def wanted(text: str) -> Desired:
    return parse(text, thing="host.toml")


def here(*specs: ServiceSpec, **config: Applied) -> Present:
    return Present(
        services={spec.name: spec for spec in specs},
        config={Group(name, "default"): applied for name, applied in config.items()},
    )


def acts(found: Plan) -> list[tuple[str, str]]:
    return [(str(step.act), step.subject) for step in found.steps]


def test_an_empty_host_gets_configuration_first_and_who_feeds_before_who_is_fed() -> None:
    """The first start has its configuration, and nobody waits for what is loaded after it."""
    found = plan(wanted(DOCUMENT), here())
    assert acts(found) == [("configure", "web.default"), ("load", "redis"), ("load", "web")]
    assert found.steps[0].expect == 0
    assert found.steps[2].spec == SPEC


def test_applied_again_there_is_nothing_to_do() -> None:
    present = here(SPEC, FEED, web=Applied(version=3, table={"port": 8080}))
    assert plan(wanted(DOCUMENT), present) == Plan()


@pytest.mark.parametrize(
    ("changes", "act", "because"),
    [
        ({"channel": "dev"}, Act.CHANGE, "channel differs; its process goes on"),
        ({"binds": ()}, Act.CHANGE, "binds differs; and it is restarted"),
        ({"desired": Wanted.DOWN}, Act.START, "it is to be up"),
        ({"desired": Wanted.DOWN, "channel": "dev"}, Act.CHANGE, "channel, desired_state differs; and it is started"),
        (
            {"strategy": Strategy.AT_ONCE, "shutdown_timeout_s": 3.0},
            Act.CHANGE,
            "shutdown_timeout, update_strategy differs; its process goes on",
        ),
        ({"other": {"of": "another program"}}, None, ""),
    ],
)
def test_what_a_difference_does_is_said(changes: dict[str, Any], act: Act | None, because: str) -> None:
    """What is not in the document goes back to its default; what others keep in a spec file is theirs."""
    found = plan(wanted(DOCUMENT), here(replace(SPEC, **changes), FEED, web=Applied(version=3, table={"port": 8080})))
    assert [(step.act, step.because) for step in found.steps] == ([(act, because)] if act else [])


def test_a_service_that_is_to_be_down_is_stopped_and_stays_loaded() -> None:
    found = plan(wanted('[service.redis]\nident = "t/redis"\ndesired_state = "down"\n'), here(FEED))
    assert acts(found) == [("stop", "redis")]


def test_what_the_file_does_not_have_is_told_and_goes_only_when_asked() -> None:
    """Consumers before those that feed them, and last, when what replaces them is there."""
    other = ServiceSpec(ident=Ident("t", "old"))
    assert plan(wanted(""), here(SPEC, FEED)) == Plan(untouched=("redis", "web"))
    found = plan(wanted('[service.new]\nident = "t/new"\n'), here(SPEC, FEED, other), prune=True)
    assert acts(found) == [("load", "new"), ("unload", "old"), ("unload", "web"), ("unload", "redis")]
    assert not found.untouched


def test_several_instances_and_their_order() -> None:
    text = '[service.web-a]\nident = "t/web"\nafter = ["web-b"]\n[service.web-b]\nident = "t/web"\nrequires_ready = ["db"]\n'
    found = plan(wanted(text), here())
    assert acts(found) == [("load", "web-b"), ("load", "web-a")]
    assert found.notes == ("web-b requires db, which is not loaded and not in the file",)
    assert plan(wanted(text), here(ServiceSpec(ident=Ident("t", "db")))).notes == ()


def test_configuration_is_the_whole_and_is_replaced_only_as_it_was_seen() -> None:
    """Compare-and-set: `expect` is the version that the plan was made from."""
    (step,) = plan(wanted('[config."web.default"]\nport = 1\n'), here(web=Applied(version=7, table={"port": 2, "word": "x"}))).steps
    assert (step.expect, step.table) == (7, {"port": 1})
    assert [(row["key"], row["before"], row["after"]) for row in step.changes] == [("port", 2, 1), ("word", "x", None)]


@pytest.mark.parametrize(("now", "then"), [(1, 1.0), (1, True), ("1", 1), ([1], [1, 1]), ({}, {"a": {}})])
def test_values_of_another_kind_differ(now: Any, then: Any) -> None:
    assert not same(now, then)
    assert same({"a": now, "b": then}, {"b": then, "a": now}), "the order of keys is nobody's business"


def test_a_configuration_that_cannot_be_read_is_replaced() -> None:
    (step,) = plan(wanted('[config."web.default"]\n'), here(web=Applied(version=2, table=None))).steps
    assert step.because == "version 2 cannot be read"


SECRET = Applied(version=2, table={"port": 8080, "db": {"host": "h", "password": "hunter2"}}, secrets=frozenset({"db.password"}))


def test_secrets_are_never_shown_in_a_plan() -> None:
    text = '[config."web.default"]\nport = 1\ndb.host = "h"\ndb.password = "hunter3"\n'
    (step,) = plan(wanted(text), here(web=SECRET)).steps
    shown = str(step.row())
    assert "hunter" not in shown
    assert [row["key"] for row in step.changes] == ["db.password", "port"]
    (unknown,) = plan(wanted(text), here()).steps
    assert "hunter" not in str(unknown.row()), "nobody knows yet what of a package that is not here is secret"


def test_what_is_kept_stays_and_what_is_not_there_to_keep_is_said() -> None:
    keeping = '[config."web.default"]\nport = 8080\ndb.host = "h"\n[keep]\n"web.default" = ["db.password"]\n'
    assert plan(wanted(keeping), here(web=SECRET)).steps == ()
    (step,) = plan(wanted(keeping.replace("8080", "1")), here(web=SECRET)).steps
    assert step.table == {"port": 1, "db": {"host": "h", "password": "hunter2"}}
    fresh = plan(wanted(keeping), here())
    assert "db.password to keep" in fresh.notes[0]
    (step,) = plan(wanted(keeping.replace('"h"', '"h"\ndb.password = "given"')), here(web=SECRET)).steps
    assert step.table is not None
    assert step.table["db"]["password"] == "given", "what the file gives counts"


@pytest.mark.parametrize("secrets", [True, False])
def test_what_is_exported_is_what_is_here(secrets: bool) -> None:
    """Demand: `stead export > h.toml; stead apply h.toml` finds nothing to do, with secrets or without."""
    strange = replace(
        SPEC,
        instance="web-a",
        group="blue",
        url="https://d.test",
        channel="dev",
        strategy=Strategy.AT_ONCE,
        after=("redis",),
        desired=Wanted.DOWN,
        shutdown_timeout_s=3.5,
        health_check_interval_s=7.0,
        config_from="/tmp/x",
        other={"of": "others"},
    )
    listed = Applied(version=1, table={"users": [{"name": "ann", "token": "t0p"}], "n": 1}, secrets=frozenset({"users.*.token"}))
    present = here(SPEC, FEED, strange, web=SECRET, redis=listed, elsewhere=Applied(version=9, table={"x": 1}))
    text, left_out = render(present, secrets=secrets)
    assert plan(parse(text, thing="export"), present) == Plan()
    assert ("hunter2" in text, "t0p" in text) == (secrets, secrets)
    assert left_out == ([] if secrets else ["redis.default: users", "web.default: db.password"])
    assert "elsewhere" not in text
    assert REDACTED not in text


def test_an_export_has_no_defaults() -> None:
    assert render(here(FEED), secrets=False) == ('[service.redis]\nident = "t/redis"\n', [])


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(codec="utf-8"), max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c d", "é"]), VALUES, max_size=4), st.sets(st.sampled_from(["a", "b", "b.*", '"c d"'])))
def test_any_configuration_goes_out_and_comes_back(table: Mapping[str, Any], secrets: set[str]) -> None:
    present = here(SPEC, web=Applied(version=1, table=loads(dumps(dict(table)), thing="it"), secrets=frozenset(secrets)))
    text, _ = render(present, secrets=False)
    assert plan(parse(text, thing="export"), present) == Plan()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[services.web]\n", "did you mean service?"),
        ("service = 1\n", "[service.web]"),
        ("service.web = 1\n", "[service.web]"),
        ("[service.web]\n", "ident"),
        ('[service.web]\nident = "t/web"\nchanel = "dev"\n', "did you mean channel?"),
        ('[service.web]\nident = "t/web"\nname = "other"\n', "given by its table"),
        ('[service."a b"]\nident = "t/web"\n', "service name"),
        ('[service.web]\nident = "t/web"\nupdate_strategy = "rolling"\n', "is not one of none, at-once"),
        ('[service.web]\nident = "t/web"\nconfig_from = "plan"\n', "absolute"),
        ('[service.a]\nident = "t/x"\nafter = ["b"]\n[service.b]\nident = "t/x"\nafter = ["a"]\n', "would wait for itself"),
        ("[config.web]\n", "SERVICE.GROUP"),
        ('config."web.default" = 1\n', "table of tables"),
        ("keep = 1\n", "keep is not a table"),
        ('[config."web.default"]\n[keep]\n"web.default" = 1\n', "not a list of keys"),
        ('[config."web.default"]\n[keep]\n"web.default" = ["a b"]\n', "key"),
        ('[keep]\n"web.default" = ["a"]\n', "config has not"),
        ("= 1", "host.toml"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        wanted(text)
    assert said in f"{caught.value} {caught.value.next}"


def test_a_step_that_fails_is_told_with_what_was_done_and_what_was_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next apply goes on from there, because what was done is not a difference any more."""
    asked = []

    def ask(_root: str | None, command: str, **fields: Any) -> None:
        asked.append(command)
        if fields.get("spec", "").startswith('ident = "t/redis"'):
            raise StorageError("disk", "no space left on the device", next="free some space")

    monkeypatch.setattr(cli_apply, "ask", ask)
    with pytest.raises(StorageError) as caught:
        cli_apply.carry_out(None, plan(wanted(DOCUMENT), here()), "host.toml")
    assert asked == ["config apply", "load"]
    assert caught.value.data == {"done": ["configure web.default"], "failed": "load redis", "not_done": ["load web"]}
    assert caught.value.next == "free some space; then stead apply host.toml goes on from here"
    told = capsys.readouterr().err
    assert "done: configure web.default\nfailed: load redis; not done: load web\n" in told


def test_jobs_are_declared_as_they_are_loaded() -> None:
    """A duration is the same however it is written; a run that was asked for is no state."""
    text = '[service.sweep]\nident = "t/sweep"\nevery = "90m"\noverlap = "queue"\n'
    wanted = parse(text, thing="it")
    assert wanted.services["sweep"].schedule is not None
    assert wanted.services == parse(text.replace("90m", "1h30m"), thing="it").services
    with pytest.raises(FormatError, match="is not a duration"):
        parse(text.replace("90m", "often"), thing="it")
    with pytest.raises(FormatError, match="a run that was asked for"):
        parse('[service.once]\nident = "t/once"\nrun_once = "0123456789"\n', thing="it")
