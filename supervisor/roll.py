"""The census as it follows the ring: own services, and the facts of other members. Pure.

Rules: a fact is read once and never again while it is the same record; while nothing has changed the census is the same object, and while
a group has not changed so is that group. What another member told wrongly is left out, counted, and reported once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from hart.errors import InputError
from supervisor import facts
from supervisor.census import Census, Member, take
from supervisor.gossip.messages import Health, MemberId, Record

HealthOf = Callable[[MemberId], Health | None]


class Shelf(Protocol):
    """What is asked of the ring's records."""

    @property
    def digest(self) -> bytes: ...
    def get(self, key: str, /) -> Record | None: ...
    def history(self, key: str, /) -> list[Record]: ...
    def keys(self, prefix: str, /) -> list[str]: ...


class Roll:
    """Keeps the census."""

    def __init__(self) -> None:
        self.ignored = 0  # facts that were not understood, so far
        self._read: dict[str, tuple[Record, MemberId, Member | str]] = {}  # or what is wrong with it
        self._news: list[str] = []
        self._digest = b""
        self._own: tuple[Member, ...] | None = None
        self._healths: list[Health | None] = []
        self._census = Census()

    def take(self, own: Sequence[Member], me: MemberId, shelf: Shelf, health_of: HealthOf) -> Census:
        """The census now. `me` is this member: what the ring has of it may be older than what its services say."""
        if (digest := shelf.digest) != self._digest:
            self._look(shelf)
        healths = [health_of(owner) for _, owner, _ in self._read.values()]
        if digest == self._digest and healths == self._healths and tuple(own) == self._own:
            return self._census
        self._digest, self._healths, self._own = digest, healths, tuple(own)
        others = [
            member if member.presence is health else replace(member, presence=health)
            for (_, owner, member), health in zip(self._read.values(), healths, strict=True)
            if isinstance(member, Member) and owner != me and health is not None
        ]
        self._census = take([*own, *others], self._census)
        return self._census

    def news(self) -> list[str]:
        """What was found wrong since the last question."""
        news, self._news = self._news, []
        return news

    def _look(self, shelf: Shelf) -> None:
        """Read the facts that have changed."""
        before, self._read = self._read, {}
        for key in shelf.keys("member/"):
            record = shelf.get(key)
            known = before.get(key)
            if known is not None and known[0] == record:
                self._read[key] = known
            elif record is not None and (owner := facts.author(key)) is not None:
                self._read[key] = (record, owner, self._member(record, known))

    def _member(self, record: Record, before: tuple[Record, MemberId, Member | str] | None) -> Member | str:
        try:
            return facts.read(record)
        except InputError as error:
            self.ignored += 1
            trouble = f"{error.thing}: {error.cause}"
            if before is None or before[2] != trouble:
                self._news.append(trouble)
            return trouble
