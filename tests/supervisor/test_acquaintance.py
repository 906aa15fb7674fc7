"""Whether a host knows its ring again, after a start."""

from __future__ import annotations

from hart.wire import encode
from supervisor import facts
from supervisor.acquaintance import acquainted
from supervisor.census import Member
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.messages import Record
from tests.supervisor.ringside import PEER, THIRD, fact, member, shelf, sys_of


def told(key: MemberKey, *members: Member) -> list[Record]:
    return [fact(key, name, body) for name, body in facts.tell(members, sys_of(key), {})[0].items()]


def test_who_was_alone_waits_for_nobody() -> None:
    assert acquainted(shelf(), [], expected=False)


def test_who_had_company_waits_for_it() -> None:
    assert not acquainted(shelf(), [], expected=True)


def test_every_living_member_is_to_have_told_everything() -> None:
    """A sync that has brought half of it is not enough, in whatever order it comes."""
    theirs = [*told(PEER, member(PEER), member(PEER, "api")), *told(THIRD)]
    records = shelf()
    for record in theirs:
        assert not acquainted(records, [PEER.id, THIRD.id], expected=True)
        records.merge(record)
    assert acquainted(records, [PEER.id, THIRD.id], expected=True)
    assert acquainted(records, [THIRD.id], expected=True)


def test_who_tells_nonsense_is_not_waited_for() -> None:
    assert acquainted(shelf([fact(PEER, "host", encode({"services": "many"}))]), [PEER.id], expected=True)
