"""Spec files, and what their differences ask for (reference: supervisor 2.1, 2.2)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import ConfigError, FormatError
from hart.ident import Ident
from supervisor.service.schedule import Overlap, Schedule
from supervisor.service.spec import (
    Action,
    Bind,
    BindingMode,
    Condition,
    Desired,
    Group,
    ServiceSpec,
    Strategy,
    check_binds,
    reconcile,
)

SPEC = ServiceSpec(ident=Ident("core", "web"))
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
SECONDS = st.none() | st.floats(0, 1e6, allow_nan=False)
SPECS = st.builds(
    ServiceSpec,
    ident=st.builds(Ident, NAMES, NAMES),
    instance=st.none() | NAMES,
    after=st.lists(NAMES, max_size=2).map(lambda names: tuple(sorted(names))),
    schedule=st.none()
    | st.builds(
        Schedule,
        every_s=st.integers(1, 10**7).map(float) | st.sampled_from([1.5, 90.25]),
        overlap=st.sampled_from(Overlap),
        jitter_s=st.sampled_from([0.0, 0.5, 60.0, 5400.0]),
    )
    | st.builds(Schedule, cron=st.sampled_from(["0 3 * * *", "*/5 * * * 1-5"]), time_zone=st.sampled_from(["UTC", "Europe/Berlin"])),
    run_timeout_s=SECONDS,
    bundle=st.sampled_from(["", "acme/shop"]),
    requires_ready=st.lists(NAMES, max_size=2).map(lambda names: tuple(sorted(names))),
    group=NAMES,
    url=st.none() | st.just("https://depot.example"),
    channel=NAMES,
    strategy=st.sampled_from(Strategy),
    condition=st.sampled_from(Condition),
    binds=st.lists(st.builds(lambda n, s, g: Bind(n, f"{s}.{g}"), NAMES, NAMES, NAMES), max_size=3).map(lambda b: tuple(sorted(b))),
    binding_mode=st.sampled_from(BindingMode),
    desired=st.sampled_from(Desired),
    shutdown_timeout_s=SECONDS,
    health_check_interval_s=SECONDS,
).map(lambda spec: spec if spec.instance != spec.ident.name else replace(spec, instance=None))  # the package's own name is no other name


@given(SPECS)
def test_a_rendered_spec_parses_to_itself(spec: ServiceSpec) -> None:
    assert ServiceSpec.parse(spec.render(), thing="it") == spec


def test_missing_fields_have_their_defaults_and_unknown_ones_are_kept() -> None:
    spec = ServiceSpec.parse('ident = "core/web"\nsvc_encrypted_password = "x"\n', thing="it")
    assert (spec.group, spec.channel, spec.strategy, spec.binding_mode, spec.desired) == ("default", "stable", "none", "strict", "up")
    assert 'svc_encrypted_password = "x"' in spec.render()


def test_a_spec_that_habitat_wrote_is_read() -> None:
    text = """
ident = "core/redis"
group = "default"
bldr_url = "https://bldr.habitat.sh"
channel = "stable"
topology = "standalone"
update_strategy = "at-once"
update_condition = "track-channel"
binds = ["db:postgres.default"]
binding_mode = "relaxed"
desired_state = "down"
shutdown_timeout = 10

[health_check_interval]
secs = 30
nanos = 500000000
"""
    spec = ServiceSpec.parse(text, thing="it")
    assert (spec.health_check_interval_s, spec.shutdown_timeout_s, spec.wanted) == (30.5, 10, False)
    assert spec.binds == (Bind("db", "postgres.default"),)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "ident"),
        ('ident = "web"', "two to four parts"),
        ('ident = "core/web"\nupdate_strategy = "rolling"', "update_strategy"),
        ('ident = "core/web"\ntopology = "leader"', "ring"),
        ('ident = "core/web"\nbinds = "x:y.z"', "binds"),
        ('ident = "core/web"\nbinds = ["x"]', "NAME:SERVICE.GROUP"),
        ('ident = "core/web"\nshutdown_timeout = -1', "shutdown_timeout"),
        ('ident = "core/web"\ngroup = "a/b"', "SERVICE.GROUP"),
        ('ident = "core/web"\nchannel = 7', "channel"),
    ],
)
def test_a_wrong_spec_names_what_is_wrong(text: str, named: str) -> None:
    with pytest.raises(FormatError) as caught:
        ServiceSpec.parse(text, thing="it")
    assert named in str(caught.value) + caught.value.next


@pytest.mark.parametrize(
    ("running", "on_disk", "action"),
    [
        (None, SPEC, Action.START),
        (SPEC, None, Action.STOP),
        (SPEC, replace(SPEC, desired=Desired.DOWN), Action.STOP),
        (replace(SPEC, desired=Desired.DOWN), SPEC, Action.START),
        (SPEC, SPEC, Action.KEEP),
        (None, None, Action.KEEP),
        (None, replace(SPEC, desired=Desired.DOWN), Action.KEEP),
        (replace(SPEC, desired=Desired.DOWN), None, Action.KEEP),
        (SPEC, replace(SPEC, channel="dev", strategy=Strategy.AT_ONCE), Action.SWAP),
        (SPEC, replace(SPEC, url="https://other", condition=Condition.TRACK_CHANNEL), Action.SWAP),
        (SPEC, replace(SPEC, channel="dev", group="blue"), Action.REPLACE),
        (SPEC, replace(SPEC, binds=(Bind("a", "b.c"),)), Action.REPLACE),
        (SPEC, replace(SPEC, ident=Ident("core", "web", "2")), Action.REPLACE),
    ],
)
def test_a_difference_asks_for_no_more_than_it_must(running: ServiceSpec | None, on_disk: ServiceSpec | None, action: Action) -> None:
    assert reconcile(running, on_disk).action is action


def test_required_binds_must_be_given_and_unknown_ones_not() -> None:
    spec = replace(SPEC, binds=(Bind("redis", "redis.default"),))
    check_binds(spec, {"redis": ["port"]}, {})
    check_binds(SPEC, {}, {"cache": ["port"]})
    with pytest.raises(ConfigError, match="needs the bind redis"):
        check_binds(SPEC, {"redis": ["port"]}, {})
    with pytest.raises(ConfigError, match="has no bind redis"):
        check_binds(spec, {}, {"cache": ["port"]})
    with pytest.raises(ConfigError, match="twice"):
        check_binds(replace(SPEC, binds=(Bind("a", "b.c"), Bind("a", "d.e"))), {"a": []}, {})


@given(st.text(max_size=30))
def test_any_text_is_a_bind_or_our_error(text: str) -> None:
    for parse in (Bind.parse, Group.parse):
        with suppress(FormatError):
            assert str(parse(text)) == text


def test_an_instance_has_its_own_name_group_and_no_other_name_than_a_directory_can_have() -> None:
    spec = ServiceSpec.parse('ident = "core/web"\nname = "web-a"\n', thing="it")
    assert (spec.name, str(spec.service_group), spec.instance) == ("web-a", "web-a.default", "web-a")
    assert ServiceSpec.parse('ident = "core/web"\nname = "web"\n', thing="it") == SPEC
    for bad in ("../web", "", "a b", "web.a"):
        with pytest.raises(FormatError, match="is not a name"):
            ServiceSpec.parse(f'ident = "core/web"\nname = "{bad}"\n', thing="it")
    with pytest.raises(FormatError, match="after is not a list"):
        ServiceSpec.parse('ident = "core/web"\nafter = "db"\n', thing="it")


def test_another_start_order_leaves_the_process_alone() -> None:
    assert reconcile(SPEC, replace(SPEC, after=("db",))).action is Action.SWAP
