"""Who is in the ring, as one member sees it: the table of members and the one rule by which news replaces what is held.

Rules. A standing is (generation, incarnation, health); the greater one wins, so views that have heard the same things are equal in
whatever order they heard them (SWIM 4.2, with a generation in front, so that a restart always wins over its own past). A departure is
final for its generation. What was forgotten leaves (id, generation) behind, so that a laggard cannot bring it back.

The table keeps what the hot path needs ready: the ids of the living in order (the shared permutation), the living and the dead as arrays
(a random member in constant time), and a digest for push/pull.

Not here: what follows from a change (beliefs.py), signatures (identity.py), time-outs (suspicion.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from hart.limits import RING_GONE_MAX, RING_MEMBERS_MAX
from supervisor.gossip.digest import Sum, bucket_of, hash16
from supervisor.gossip.messages import Address, Announcement, Health, MemberId
from supervisor.gossip.replay import Window
from supervisor.gossip.suspicion import Suspicion


class Standing(NamedTuple):
    """What is held, or told, of one member."""

    generation: int
    incarnation: int
    health: Health


def supersedes(told: Standing, held: Standing) -> bool:
    """Whether what is told replaces what is held."""
    if held.health is Health.DEPARTED:
        return told.generation > held.generation
    if told.health is Health.DEPARTED:
        return told.generation >= held.generation
    return told > held


def settled(health: Health) -> Health:
    """Health as push/pull compares it: a suspicion is a question that gossip is about to answer."""
    return Health.ALIVE if health is Health.SUSPECT else health


class Member:
    """One member. Written by Members alone, but for `heard`, `window` (node.py) and `suspicion` (suspicion.py)."""

    __slots__ = ("announcement", "claimed", "generation", "health", "heard", "id", "place", "since", "suspicion", "window")

    def __init__(self, member_id: MemberId, announcement: Announcement, health: Health, now: float) -> None:
        self.id = member_id
        self.announcement = announcement
        self.generation = announcement.generation
        self.claimed = -1  # the incarnation that a claim was about; may be ahead of the announcement that has reached us
        self.health = health
        self.since = now  # of this health
        self.heard = -1.0  # when a packet of its own came last
        self.place = -1  # in `living` or `dead`
        self.suspicion: Suspicion | None = None
        self.window: Window | None = None  # of the numbers of its packets, in its generation

    @property
    def incarnation(self) -> int:
        return self.announcement.incarnation

    @property
    def address(self) -> Address:
        announcement = self.announcement
        return (announcement.host, announcement.port)

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.announcement.name} ({self.id.hex()[:8]})"

    @property
    def standing(self) -> Standing:
        return Standing(self.generation, max(self.announcement.incarnation, self.claimed), self.health)

    def __repr__(self) -> str:
        return f"<{self.text} {self.health.name} {self.generation}.{self.incarnation}>"


class Members:
    """The table. The member itself is in it, always alive, until it departs."""

    __slots__ = ("_by_public", "_gone", "_sum", "by_id", "dead", "living", "me", "order", "place_of_me", "turn")

    def __init__(self, me: MemberId, announcement: Announcement, now: float) -> None:
        self.by_id: dict[MemberId, Member] = {}
        self._by_public: dict[bytes, Member] = {}
        self._gone: dict[MemberId, int] = {}  # id → generation that may not come back; oldest first
        self._sum = Sum()
        self.order: list[MemberId] = []  # sorted ids of those held alive or suspect, this member too
        self.turn: list[Member] = []  # the same members, in the same order
        self.place_of_me = 0  # in `order`
        self.living: list[Member] = []  # the others of them, in no order
        self.dead: list[Member] = []  # held dead, not departed
        self.me = Member(me, announcement, Health.ALIVE, now)
        self._insert(self.me)

    # --- reading

    def get(self, member_id: MemberId) -> Member | None:
        return self.by_id.get(member_id)

    def by_public(self, public: bytes) -> Member | None:
        """As `get`, without the hash that an id costs."""
        return self._by_public.get(public)

    def alive(self) -> list[Member]:
        """Those held alive or suspect, this member too, by id."""
        return self.turn[:]

    @property
    def count(self) -> int:
        """Of those held alive or suspect, this member too."""
        return len(self.order)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def gone(self, member_id: MemberId) -> int:
        """The generation up to which this id may not come back; 0 where it may."""
        return self._gone.get(member_id, 0)

    def rank(self, member_id: MemberId) -> int:
        """Place in the order of the living."""
        return bisect_left(self.order, member_id)

    # --- push/pull

    @property
    def digest(self) -> bytes:
        """16 bytes, equal for equal views."""
        return self._sum.digest

    def bucket_sums(self) -> list[bytes]:
        return self._sum.bucket_sums()

    def entries(self, bucket: int) -> list[tuple[MemberId, int, int, int]]:
        """(id, generation, incarnation, settled health) of every member of a bucket."""
        return [
            (each.id, each.generation, each.announcement.incarnation, settled(each.health))
            for each in self.by_id.values()
            if bucket_of(each.id) == bucket
        ]

    # --- writing

    def admit(self, member_id: MemberId, announcement: Announcement, health: Health, now: float) -> Member | None:
        """A member that was not in the table; None where it may not come back, or the table is full."""
        assert member_id not in self.by_id
        if announcement.generation <= self._gone.get(member_id, 0):
            return None
        if len(self.by_id) >= RING_MEMBERS_MAX:
            return None
        member = Member(member_id, announcement, health, now)
        self._insert(member)
        return member

    def renew(self, member: Member, announcement: Announcement, health: Health, now: float) -> None:
        """Its newer announcement, and what is held of it from now on."""
        held = member.announcement
        assert (announcement.generation, announcement.incarnation, announcement.session) >= (
            held.generation,
            held.incarnation,
            held.session,
        )
        self._sum.remove(bucket_of(member.id), _hash(member))
        member.announcement = announcement
        if announcement.generation != member.generation:
            member.generation = announcement.generation
            member.claimed = -1
            member.heard = -1.0
            member.window = None
        self._sum.add(bucket_of(member.id), _hash(member))
        self._settle(member, health, now)

    def judge(self, member: Member, health: Health, incarnation: int, now: float) -> None:
        """What is held of it from now on, in the same generation."""
        if incarnation > member.claimed:
            member.claimed = incarnation
        self._settle(member, health, now)

    def forget(self, member: Member) -> None:
        """It is not in the table any more and cannot come back in the same generation."""
        assert member is not self.me
        self._leave(member)
        self._sum.remove(bucket_of(member.id), _hash(member))
        del self.by_id[member.id]
        del self._by_public[member.announcement.public]
        self.bar(member.id, member.generation)

    def bar(self, member_id: MemberId, generation: int) -> None:
        """This id may not come back up to `generation`."""
        barred = max(generation, self._gone.pop(member_id, 0))
        if len(self._gone) >= RING_GONE_MAX:
            del self._gone[next(iter(self._gone))]
        self._gone[member_id] = barred

    def _insert(self, member: Member) -> None:
        self.by_id[member.id] = member
        self._by_public[member.announcement.public] = member
        self._sum.add(bucket_of(member.id), _hash(member))
        self._enter(member)

    def _settle(self, member: Member, health: Health, now: float) -> None:
        if health is member.health:
            return
        moves = settled(health) is not settled(member.health)
        if moves:
            self._leave(member)
            self._sum.remove(bucket_of(member.id), _hash(member))
        member.health = health
        member.since = now
        if moves:
            self._sum.add(bucket_of(member.id), _hash(member))
            self._enter(member)

    def _enter(self, member: Member) -> None:
        """Into the order and array that its health asks for."""
        if member.health <= Health.SUSPECT:
            place = bisect_left(self.order, member.id)
            self.order.insert(place, member.id)
            self.turn.insert(place, member)
            self.place_of_me = bisect_left(self.order, self.me.id)
            if member is not self.me:
                member.place = len(self.living)
                self.living.append(member)
        elif member.health is Health.DEAD:
            member.place = len(self.dead)
            self.dead.append(member)

    def _leave(self, member: Member) -> None:
        if member.health <= Health.SUSPECT:
            place = bisect_left(self.order, member.id)
            del self.order[place], self.turn[place]
            self.place_of_me = bisect_left(self.order, self.me.id)
        if member.place >= 0:
            array = self.living if member.health <= Health.SUSPECT else self.dead
            last = array.pop()
            if last is not member:
                array[member.place] = last
                last.place = member.place
            member.place = -1


def _hash(member: Member) -> bytes:
    numbers = member.generation.to_bytes(8, "big") + member.announcement.incarnation.to_bytes(8, "big")
    return hash16(member.id, numbers, bytes([settled(member.health)]))
