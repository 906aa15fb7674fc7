"""The census as it follows the ring."""

from __future__ import annotations

from dataclasses import replace

from supervisor import facts
from supervisor.census import Census, ConfigReport, Member
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.messages import Health, MemberId, Record
from supervisor.gossip.records import Records
from supervisor.roll import Roll
from supervisor.service.binds import outlook
from supervisor.service.spec import Bind, ServiceSpec
from tests.supervisor.ringside import ME, PEER, THIRD, fact, member, shelf


def told(of: Member, key: MemberKey, counter: int = 1) -> Record:
    return fact(key, f"service/{of.group}", facts.write(of), counter)


class Ring:
    """Records, and what is believed of hosts."""

    def __init__(self) -> None:
        self.records: Records = shelf()
        self.healths: dict[MemberId, Health | None] = {PEER.id: Health.ALIVE, THIRD.id: Health.ALIVE, ME.id: Health.ALIVE}
        self.roll = Roll()

    def census(self, *own: Member) -> Census:
        return self.roll.take(own, ME.id, self.records, self.healths.get)


def test_members_of_other_hosts_are_known_by_their_facts() -> None:
    ring = Ring()
    mine, theirs = member(ME), member(PEER, exports={"port": 80})
    ring.records.merge(told(theirs, PEER))
    census = ring.census(mine)
    assert census.members("web.default") == tuple(sorted([mine, theirs], key=lambda each: each.sys.member_id))
    assert {each.sys.member_id for each in census.serving("web.default")} == {ME.id.hex(), PEER.id.hex()}


def test_own_services_are_known_at_first_hand() -> None:
    """What the ring has of this host may be older, or of an earlier life."""
    ring = Ring()
    ring.records.merge(told(member(ME, exports={"port": 1}), ME))
    assert ring.census(member(ME, exports={"port": 2})).members("web.default")[0].exports == {"port": 2}
    assert ring.census().members("web.default") == ()


def test_a_withdrawn_fact_is_gone_at_once() -> None:
    ring = Ring()
    ring.records.merge(told(member(PEER), PEER))
    assert ring.census().members("web.default") != ()
    ring.records.merge(fact(PEER, "service/web.default", None, 2))
    assert ring.census().members("web.default") == ()


def test_only_hosts_that_are_there_feed_others_and_the_rest_stays_known() -> None:
    """Suspected hosts still count; dead and departed ones are seen as such; forgotten ones are not seen."""
    ring = Ring()
    ring.records.merge(told(member(PEER), PEER))
    for health, present in ((Health.ALIVE, 1), (Health.SUSPECT, 1), (Health.DEAD, 0), (Health.DEPARTED, 0)):
        ring.healths[PEER.id] = health
        census = ring.census()
        assert (len(census.serving("web.default")), len(census.present("web.default"))) == (present, present)
        assert census.members("web.default")[0].presence is health
    ring.healths[PEER.id] = None
    assert ring.census().members("web.default") == ()


def test_while_nothing_changes_the_census_is_the_same_object() -> None:
    ring = Ring()
    ring.records.merge(told(member(PEER), PEER))
    first = ring.census(member(ME, "api"))
    assert ring.census(member(ME, "api")) is first
    ring.records.merge(told(member(THIRD, "db"), THIRD))
    second = ring.census(member(ME, "api"))
    assert second is not first
    assert second.groups["web.default"] is first.groups["web.default"], "a group that has not changed is the same"


def test_a_fact_is_read_once(monkeypatch: object) -> None:
    ring, read = Ring(), []
    before = facts.read
    try:
        facts.read = lambda record, *rest: read.append(record.key) or before(record, *rest)
        for number, key in enumerate((PEER, THIRD)):
            ring.records.merge(told(member(key), key))
            ring.census()
            assert len(read) == number + 1
    finally:
        facts.read = before


def test_what_nobody_can_see_is_no_reason_to_look() -> None:
    """State, health and the report of a peer are for people; a new address, or a peer that comes or goes, is for templates."""
    ring = Ring()
    spec = ServiceSpec(ident=member(ME).pkg.family, binds=(Bind("db", "db.default"),))
    mine, peer, database = member(ME), member(PEER), member(THIRD, "db")
    ring.records.merge(told(peer, PEER))
    ring.records.merge(told(database, THIRD))

    def sight(own: Member) -> object:
        return outlook(spec, ring.census(own), ME.id.hex())

    before = sight(mine)
    assert sight(replace(mine, serving=False, exports={"a": 1})) == before, "its own readiness changes nothing"
    ring.records.merge(told(replace(peer, state="ready", health="healthy", config=ConfigReport(revision=3)), PEER, 2))
    ring.records.merge(told(member(PEER, "other"), PEER, 3))
    assert sight(mine) == before
    ring.records.merge(told(replace(database, exports={"port": 2}), THIRD, 2))
    assert sight(mine) != before
    before = sight(mine)
    ring.records.merge(told(replace(peer, serving=False), PEER, 4))
    assert sight(mine) != before


def test_a_fact_of_another_that_cannot_be_read_is_left_out_and_told_once() -> None:
    ring = Ring()
    ring.records.merge(told(member(THIRD), THIRD))
    ring.records.merge(fact(PEER, "service/web.default", b"\xc1"))
    assert [each.sys.member_id for each in ring.census().members("web.default")] == [THIRD.id.hex()]
    assert len(ring.roll.news()) == 1
    ring.records.merge(fact(PEER, "service/api.default", b"\xc1"))
    ring.census()
    assert (len(ring.roll.news()), ring.roll.ignored, ring.roll.news()) == (1, 2, [])
