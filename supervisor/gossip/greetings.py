"""Meeting those whom we do not know: at addresses that somebody gave us, and whoever speaks to us as a stranger.

Rules: a greeting is a PING to ANYBODY with our announcement in it; who answers it is compared with over a stream. Addresses where a member
listens that we hold alive are not greeted. An address that we were not given is greeted RING_STRANGERS_S times a second in all: whoever
forges addresses gets no mirror out of us (threats S39). Members that our disk remembers from before our start are no members yet: they are
greeted, a few at once and one with each retry of the dead, for as long as they are not met.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from hart.limits import RING_JOINS_MAX, RING_STRANGERS_S
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import ANYBODY, Address, Announcement, Kind
from supervisor.gossip.speaker import Speaker

KNOWN_GREETED: Final = 8  # members of earlier times at once: half of them may be gone
COMPARE_S: Final = 1.0  # between comparisons that greetings lead to: one member's answer brings all the others


class Greetings:
    """Those that wait for an answer, by the number of their ping."""

    __slots__ = ("_budget", "_chance", "_compare_at", "_counters", "_known", "_members", "_refilled", "_speaker", "_waiting")

    def __init__(
        self, members: Members, speaker: Speaker, chance: Random, counters: defaultdict[str, int], known: Iterable[Announcement]
    ) -> None:
        self._members = members
        self._speaker = speaker
        self._chance = chance
        self._counters = counters
        self._known = {each.public: (each.host, each.port) for each in known if not each.departing}
        self._waiting: dict[int, Address] = {}
        self._budget = RING_STRANGERS_S
        self._refilled = 0.0
        self._compare_at = 0.0

    def greet(self, address: Address, number: int, now: float) -> None:
        """Ask who listens there, unless we know."""
        if address != self._members.me.address and not any(member.address == address for member in self._members.living):
            self._greet(address, number)

    def ask(self, source: Address, number: int, now: float) -> None:
        """A stranger speaks to us from there."""
        if self._may(now):
            self._greet(source, number)

    def remind(self, number: Callable[[], int]) -> None:
        """Greet members of earlier times that we have not met yet: one, or some while we know nobody."""
        members, known = self._members, self._known
        for public in [public for public in known if members.by_public(public) is not None]:
            del known[public]
        several = 1 if members.living else KNOWN_GREETED
        for address in self._chance.sample(list(known.values()), min(several, len(known))):
            self._greet(address, number())

    def _greet(self, address: Address, number: int) -> None:
        for old in [old for old, where in self._waiting.items() if where == address]:
            del self._waiting[old]
        if len(self._waiting) >= RING_JOINS_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[number] = address
        self._counters["greetings"] += 1
        self._speaker.say(Kind.PING, ANYBODY, address, number, announcements=(self._members.me.announcement,), news=False)

    def answered(self, number: int, now: float) -> bool:
        """Whether this answers one of them and is worth comparing everything."""
        if self._waiting.pop(number, None) is None or now < self._compare_at:
            return False
        self._compare_at = now + COMPARE_S
        return True

    def tell_its_later_self(self, member: Member, source: Address, now: float) -> None:
        """Somebody speaks with a member's key, but from its past or from elsewhere: it hears what we know of that member. If it is a copy,
        it has lost, or objects."""
        if self._may(now):
            self._speaker.say(Kind.GOSSIP, member.id, source, announcements=(member.announcement,), news=False)

    def _may(self, now: float) -> bool:
        self._budget = min(RING_STRANGERS_S, self._budget + (now - self._refilled) * RING_STRANGERS_S)
        self._refilled = now
        if self._budget < 1:
            self._counters["strangers ignored"] += 1
            return False
        self._budget -= 1
        return True
