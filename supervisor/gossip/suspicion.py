"""How long a suspect is given, and who is to be told of it: Lifeguard's suspicion (arXiv 1707.00788, 4.2).

Rules. A suspicion starts long and gets shorter with each further accuser, since independent accusers are not all sick. An accuser
counts once. While it is confirmed by too few, a member that doubts its own health waits longer still, up to PATIENCE times: those who are
well will speak if it is true. A suspect from which a packet of its own has come since is alive and has not heard that it must object:
it is told again, and waited for until the longest time is over.

Without Lifeguard a suspicion has one length.

Not here: what a suspicion's beginning and end mean (beliefs.py).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from supervisor.gossip.formulas import confirmations_wanted, suspicion_s, suspicion_s_max, suspicion_s_min
from supervisor.gossip.messages import MemberId
from supervisor.gossip.presets import Preset

if TYPE_CHECKING:
    from supervisor.gossip.members import Member

PATIENCE: Final = 3  # times that a sick member's own, unconfirmed suspicions last at most; more would keep the dead too long in small rings
NEVER: Final = float("inf")


class Suspicion:
    """Of one member in one incarnation."""

    __slots__ = ("_k", "_lasts_s", "_max_s", "_min_s", "accusers", "since", "until")

    def __init__(self, since: float, min_s: float, max_s: float, k: int, accuser: MemberId) -> None:
        self.since = since
        self._min_s = min_s
        self._max_s = max_s
        self._k = k
        self.accusers = {accuser}
        self._lasts_s = suspicion_s(0, k, min_s, max_s)
        self.until = since + self._lasts_s

    @property
    def confirmed(self) -> int:
        """Accusers beyond the first."""
        return len(self.accusers) - 1

    @property
    def full(self) -> bool:
        """No further accuser makes it shorter."""
        return self.confirmed >= self._k

    @property
    def longest(self) -> float:
        """When it is over at the latest."""
        return self.since + self._max_s

    def confirm(self, accuser: MemberId) -> bool:
        """One more accuser; False where it changes nothing."""
        if self.full or accuser in self.accusers:
            return False
        self.accusers.add(accuser)
        self._lasts_s = suspicion_s(self.confirmed, self._k, self._min_s, self._max_s)
        self.until = self.since + self._lasts_s
        return True

    def push(self, by_s: float, now: float) -> None:
        """We have slept: what the others had no chance to tell us is not held against the suspect. It may have objected meanwhile, so it
        is given at least the time that an objection takes."""
        self.since += by_s
        self.until = max(self.until + by_s, now + self._min_s)

    def postpone(self, now: float, score: int, heard: float) -> bool:
        """Whether its end, which has come, is put off: for our own health, or since the suspect was heard."""
        until = self.since + self._lasts_s
        if not self.full:
            until = self.since + self._lasts_s * min(1 + score, PATIENCE)
        if heard > self.since and now < self.longest:
            until = max(until, min(heard + self._min_s, self.longest))
        if until <= now:
            return False
        self.until = until
        return True


class Suspicions:
    """Those that run, by when they end."""

    __slots__ = ("_heap", "_number", "_preset", "next")

    def __init__(self, preset: Preset) -> None:
        self._preset = preset
        self._heap: list[tuple[float, int, Member, Suspicion]] = []  # an entry counts while its suspicion is its member's and ends then
        self._number = 0
        self.next = NEVER

    def begin(self, member: Member, accuser: MemberId, n: int, now: float, *, short: bool = False) -> Suspicion:
        """`short`: somebody has waited already, and only its chance to object is missing."""
        min_s = suspicion_s_min(n, self._preset)
        plain = short or not self._preset.lifeguard
        k = 0 if plain else confirmations_wanted(n, self._preset.confirmations)
        member.suspicion = suspicion = Suspicion(now, min_s, min_s if plain else suspicion_s_max(n, self._preset), k, accuser)
        self.watch(member, suspicion)
        return suspicion

    def watch(self, member: Member, suspicion: Suspicion) -> None:
        """Its end is new."""
        self._number += 1
        heappush(self._heap, (suspicion.until, self._number, member, suspicion))
        self.next = self._heap[0][0]

    def due(self, now: float) -> list[Member]:
        """Members whose suspicion is over; each once."""
        heap = self._heap
        over: dict[MemberId, Member] = {}
        while heap and (heap[0][0] <= now or _stale(heap[0])):
            entry = heappop(heap)
            if not _stale(entry):
                over[entry[2].id] = entry[2]
        self.next = heap[0][0] if heap else NEVER
        return list(over.values())

    def push(self, by_s: float, now: float) -> None:
        """All of them, after a sleep."""
        running = {member.id: (member, suspicion) for _, _, member, suspicion in self._heap if member.suspicion is suspicion}
        self._heap.clear()
        self.next = NEVER
        for member, suspicion in running.values():
            suspicion.push(by_s, now)
            self.watch(member, suspicion)


def _stale(entry: tuple[float, int, Member, Suspicion]) -> bool:
    until, _, member, suspicion = entry
    return member.suspicion is not suspicion or suspicion.until != until
