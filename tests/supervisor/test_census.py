"""The census, binds, and what templates see of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.ident import Ident
from hart.metafiles import Metadata
from hart.placed import Placed
from hart.target import Target
from supervisor.census import Census, Member, Sys, missing, take
from supervisor.context import exports_of, render_context
from supervisor.gossip.messages import Health
from supervisor.service.binds import NotFedError, feed
from supervisor.service.spec import Bind, BindingMode, Group, ServiceSpec


def member(host: str = "h1", service: str = "redis", *, serving: bool = True, **exports: object) -> Member:
    return Member(
        group=Group(service, "default"),
        pkg=Ident("t", service, "1.0", "20260101000000"),
        sys=Sys(version="1", member_id=host, ip="10.0.0.1", hostname=host),
        exports=exports,
        serving=serving,
    )


METADATA = Metadata(
    ident=Ident("t", "web", "1.0", "20260101000000"),
    target=Target.X86_64_LINUX,
    binds={"redis": ("port",)},
    binds_optional={"cache": ("port", "host")},
    exports={"port": "http.port", "gone": "no.such.key"},
)
SPEC = ServiceSpec(ident=METADATA.ident.family, binds=(Bind("redis", "redis.default"),))
UP = take([member(port=6379)])


@pytest.mark.parametrize(
    ("census", "because"),
    [
        (Census(), "nobody runs redis.default"),
        (take([member(serving=False, port=1)]), "no ready member of redis.default"),
        (take([member(serving=False, port=1), member("h2")]), "does not export port"),
        (UP, None),
    ],
)
def test_a_bind_needs_a_serving_member_that_exports_what_is_asked_for(census: Census, because: str | None) -> None:
    found = missing(census, Bind("redis", "redis.default"), ["port"])
    assert found is None if because is None else because in (found or "")


def test_a_strict_bind_is_waited_for_and_a_relaxed_one_left_out() -> None:
    with pytest.raises(NotFedError, match=r"waits for bind redis: nobody runs redis.default"):
        feed(SPEC, METADATA, Census(), {}, waiting=True)
    assert feed(replace(SPEC, binding_mode=BindingMode.RELAXED), METADATA, Census(), {}, waiting=True) == ({}, "")


def test_a_bind_that_is_lost_keeps_its_last_members_and_says_so() -> None:
    """A producer that restarts must not restart its consumers."""
    fed, degraded = feed(SPEC, METADATA, UP, {}, waiting=False)
    assert degraded == ""
    again, degraded = feed(SPEC, METADATA, take([member(serving=False, port=6379)]), fed, waiting=False)
    assert again == fed
    assert "no ready member of redis.default" in degraded


def place() -> Placed:
    return Placed(metadata=METADATA, path=Path("/hab/pkgs/x"), svc_path=Path("/hab/svc/web"), user="u", group="g", env={"A": "1"})


def test_a_context_has_what_habitat_templates_ask_for() -> None:
    me = member("h1", "web", serving=False)
    fed, _ = feed(SPEC, METADATA, UP, {}, waiting=True)
    context = render_context(place(), {"word": "x"}, UP, me, fed)
    assert set(context) == {"sys", "pkg", "cfg", "svc", "bind"}
    assert context["pkg"]["svc_config_path"] == "/hab/svc/web/config"
    assert context["bind"]["redis"]["first"]["cfg"] == {"port": 6379}
    assert context["bind"]["redis"]["first"]["sys"]["ip"] == "10.0.0.1"
    assert context["svc"]["me"]["member_id"] == "h1"
    assert context["cfg"] == {"word": "x"}


def test_becoming_ready_changes_nothing_that_is_rendered() -> None:
    """Else a service that lists its group's members would restart for being ready."""
    starting, ready = member("h1", "web", serving=False), member("h1", "web", serving=True)
    before = render_context(place(), {}, take([starting]), starting, {})
    after = render_context(place(), {}, take([ready]), starting, {})
    assert before == after


def test_peers_that_do_not_serve_are_not_seen() -> None:
    me = member("h2", "web", serving=False)
    census = take([me, member("h1", "web"), member("h3", "web", serving=False)])
    seen = render_context(place(), {}, census, me, {})["svc"]["members"]
    assert [each["member_id"] for each in seen] == ["h1", "h2"]


def test_exports_are_values_by_dotted_key() -> None:
    assert exports_of(METADATA, {"http": {"port": 8080}}) == {"port": 8080}


@given(st.permutations([member("h3"), member("h1"), member("h2"), member("h1", "web")]))
def test_the_census_does_not_depend_on_the_order_of_facts(members: list[Member]) -> None:
    """Everybody sees the same first member."""
    census = take(members)
    assert [each.sys.member_id for each in census.members("redis.default")] == ["h1", "h2", "h3"]


def test_members_of_hosts_that_are_gone_feed_nobody_and_stay_known() -> None:
    """`all_members` tells them apart by Habitat's four flags; nothing else lists them."""
    gone = replace(member("h1", port=1), presence=Health.DEAD)
    census = take([gone, replace(member("h2", port=2), presence=Health.SUSPECT)])
    fed, _ = feed(SPEC, METADATA, census, {}, waiting=True)
    seen = render_context(place(), {}, census, member("h1", "web", serving=False), fed)["bind"]["redis"]
    assert [each["member_id"] for each in seen["members"]] == ["h2"]
    assert (seen["first"]["member_id"], seen["first"]["suspect"], seen["first"]["alive"]) == ("h2", True, False)
    flags = ("alive", "suspect", "confirmed", "departed")
    assert [[each[flag] for flag in flags] for each in seen["all_members"]] == [[False, False, True, False], [False, True, False, False]]
    assert missing(take([gone]), SPEC.binds[0], ["port"]) == "bind redis: nobody runs redis.default"


def test_a_bind_that_is_lost_lists_nobody_and_keeps_its_first_address() -> None:
    """A balancer sends nobody to a service that has stopped; a client of one address keeps it until there is another."""
    me = member("h1", "web", serving=False)
    fed, _ = feed(SPEC, METADATA, UP, {}, waiting=False)
    down = take([member(serving=False, port=6379)])
    lost, degraded = feed(SPEC, METADATA, down, fed, waiting=False)
    seen = render_context(place(), {}, down, me, lost)["bind"]["redis"]
    assert (seen["members"], seen["first"]["cfg"], bool(degraded)) == ([], {"port": 6379}, True)


def test_a_member_that_stops_leaves_a_bind_that_others_feed() -> None:
    both = take([member("h1", port=1), member("h2", port=2)])
    fed, _ = feed(SPEC, METADATA, both, {}, waiting=False)
    fed, degraded = feed(SPEC, METADATA, take([member("h1", port=1, serving=False), member("h2", port=2)]), fed, waiting=False)
    assert ([each.sys.member_id for each in fed["redis"]], degraded) == (["h2"], "")
