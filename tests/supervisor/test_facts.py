"""What a member tells of its services, and what others take from it."""

from __future__ import annotations

from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import InputError
from hart.limits import RING_FACT_MAX
from hart.wire import decode, encode
from supervisor import facts
from supervisor.census import ConfigReport, Outcome, Sys
from supervisor.gossip.messages import Health, Record
from supervisor.service.spec import Group
from tests.supervisor.ringside import ME, PEER, fact, member, sys_of

NAME = "service/web.default"
VALUES = st.recursive(
    st.text("ab\n✓", max_size=5) | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=8,
)
REPORTS = st.builds(
    ConfigReport,
    revision=st.integers(0, 1 << 62),
    in_force=st.integers(0, 1 << 62),
    outcome=st.sampled_from(Outcome),
    because=st.text("ab c", max_size=40).map(str.strip),
)


@given(st.dictionaries(st.text("ab", max_size=3), VALUES, max_size=4), REPORTS, st.booleans())
def test_a_member_is_read_as_it_was_told(exports: dict[str, Any], report: ConfigReport, serving: bool) -> None:
    told = member(PEER, serving=serving, exports=exports, config=report, state="ready", health="healthy", incarnation=3)
    assert facts.read(fact(PEER, NAME, facts.write(told))) == told


def test_a_fact_speaks_for_its_own_author_and_group_only() -> None:
    """Whatever id or group its body claims: both come from the key, which the signature covers."""
    body = facts.write(replace(member(PEER), sys=replace(sys_of(PEER), member_id=ME.id.hex()), group=Group("other", "default")))
    read = facts.read(fact(PEER, NAME, body), Health.SUSPECT)
    assert (read.sys.member_id, str(read.group), read.presence) == (PEER.id.hex(), "web.default", Health.SUSPECT)


GOOD = decode(facts.write(member(PEER)), thing="it")


@pytest.mark.parametrize(
    "change",
    [
        {"pkg": "t/web"},
        {"pkg": "../../x/1/20260101000000"},
        {"pkg": 7},
        {"sys": None},
        {"sys": {**GOOD["sys"], "ip": "evil; rm"}},
        {"sys": {**GOOD["sys"], "hostname": "a\nb"}},
        {"sys": {**GOOD["sys"], "hostname": "a" * 254}},
        {"sys": {**GOOD["sys"], "gossip_port": 65536}},
        {"sys": {**GOOD["sys"], "gossip_port": True}},
        {"sys": {**GOOD["sys"], "permanent": 1}},
        {"exports": []},
        {"exports": {"port": None}},
        {"exports": {"port": b"raw"}},
        {"exports": {b"port": 1}},
        {"exports": {"deep": {"a": [{"b": b"raw"}]}}},
        {"serving": 1},
        {"serving": None},
        {"incarnation": -1},
        {"incarnation": 1 << 63},
        {"state": "x" * 33},
        {"state": "\x1b[2J"},
        {"config": {}},
        {"config": {"revision": "7", "in_force": 0}},
        {"config": {"revision": 7, "in_force": 0, "because": "x" * 301}},
    ],
)
def test_a_fact_that_does_not_fit_is_refused_in_words(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        facts.read(fact(PEER, NAME, encode({**GOOD, **change})))


@pytest.mark.parametrize("body", [b"", b"\xc1", encode(7), encode([]), encode({}), encode({"sys": {}}), bytes(RING_FACT_MAX + 1), None])
def test_what_is_no_fact_is_refused_in_words(body: bytes | None) -> None:
    with pytest.raises(InputError):
        facts.read(fact(PEER, NAME, body))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_member_or_a_refusal(body: bytes) -> None:
    with pytest.raises(InputError):
        facts.read(fact(PEER, NAME, body))


def test_a_later_release_may_tell_more() -> None:
    read = facts.read(fact(PEER, NAME, encode({**GOOD, "colour": "blue", "config": {**GOOD["config"], "outcome": "postponed"}})))
    assert (read.config.outcome, read.pkg) == (Outcome.PENDING, member(PEER).pkg)


@pytest.mark.parametrize("key", ["member/x/service/web.default", f"member/{PEER.id.hex()}/host", "group/web.default/config", ""])
def test_other_keys_tell_of_no_service(key: str) -> None:
    assert facts.author(key) is None
    with pytest.raises(InputError):
        facts.read(fact(PEER, NAME, facts.write(member(PEER)))._replace(key=key))


def host_of(*members: Any) -> Any:
    return SimpleNamespace(untold={}, sys=sys_of(ME), own_members=members)


def told(host: Any) -> dict[str, Record]:
    return {name: fact(ME, name, body) for name, body in facts.OwnFacts(host)().items()}


def test_a_host_tells_of_itself_and_of_each_service() -> None:
    host = host_of(member(ME), member(ME, "api"))
    assert sorted(told(host)) == ["host", "service/api.default", "service/web.default"]
    assert facts.read_host(told(host)["host"]) == sys_of(ME)
    assert host.untold == {}


def test_exports_that_are_too_large_are_left_out_and_said() -> None:
    """Better a member without exports than a fact that nobody takes."""
    host = host_of(member(ME, exports={"list": ["x" * 100] * 100}), member(ME, "x" * 200))
    sent = told(host)
    assert facts.read(sent[NAME]).exports == {}
    assert all(len(record.body or b"") <= RING_FACT_MAX for record in sent.values())
    assert "cannot see its exports" in host.untold["web.default"]
    assert "too long" in host.untold[f"{'x' * 200}.default"]


def test_reasons_become_one_short_line() -> None:
    """What a hook has printed may be anything."""
    report = ConfigReport(revision=1, because="line 1\nline\x1b[2J 2 \udcff" + "ü" * 400)
    read = facts.read(fact(PEER, NAME, facts.write(member(PEER, config=report))))
    assert read.config.because.startswith("line 1 line [2J 2  ü")
    assert len(read.config.because.encode()) <= 300


@pytest.mark.parametrize("body", [encode([]), encode({**asdict(sys_of(ME)), "ip": "x"}), b"", encode({})])
def test_a_hosts_fact_is_checked_too(body: bytes) -> None:
    with pytest.raises(InputError):
        facts.read_host(fact(PEER, "host", body))


def test_sys_is_known_field_by_field() -> None:
    """A new field of Sys must be told and checked: the reader goes through the fields by their names."""
    everything = Sys(
        version="2",
        member_id=PEER.id.hex(),
        ip="fe80::1",
        hostname="h",
        gossip_ip="10.0.0.1",
        gossip_port=1,
        http_gateway_ip="::",
        http_gateway_port=2,
        ctl_gateway_ip="127.0.0.1",
        ctl_gateway_port=3,
        permanent=True,
    )
    assert facts.read_host(fact(PEER, "host", encode(asdict(everything)))) == everything
