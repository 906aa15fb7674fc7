"""Meeting those whom we do not know: at addresses that somebody gave us, and whoever speaks to us as a stranger.

Rules: a greeting is a PING to ANYBODY with our announcement in it; who answers it is compared with over a stream. Addresses where a member
listens that we hold alive are not greeted. An address that we were not given is greeted RING_STRANGERS_S times a second in all: whoever
forges addresses gets no mirror out of us (threats S39).
"""

from __future__ import annotations

from collections import defaultdict

from hart.limits import RING_JOINS_MAX, RING_STRANGERS_S
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import ANYBODY, Address, Kind
from supervisor.gossip.speaker import Speaker

COMPARE_S = 1.0  # between comparisons that greetings lead to: one member's answer brings all the others


class Greetings:
    """Those that wait for an answer, by the number of their ping."""

    __slots__ = ("_budget", "_compare_at", "_counters", "_members", "_refilled", "_speaker", "_waiting")

    def __init__(self, members: Members, speaker: Speaker, counters: defaultdict[str, int]) -> None:
        self._members = members
        self._speaker = speaker
        self._counters = counters
        self._waiting: dict[int, Address] = {}
        self._budget = RING_STRANGERS_S
        self._refilled = 0.0
        self._compare_at = 0.0

    def greet(self, address: Address, number: int, now: float) -> None:
        """Ask who listens there."""
        me = self._members.me
        if address == me.address or any(member.address == address for member in self._members.living):
            return
        for old in [old for old, where in self._waiting.items() if where == address]:
            del self._waiting[old]
        if len(self._waiting) >= RING_JOINS_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[number] = address
        self._counters["greetings"] += 1
        self._speaker.say(Kind.PING, ANYBODY, address, number, announcements=(me.announcement,), news=False)

    def ask(self, source: Address, number: int, now: float) -> None:
        """A stranger speaks to us from there."""
        if self._may(now):
            self.greet(source, number, now)

    def answered(self, number: int, now: float) -> bool:
        """Whether this answers one of them and is worth comparing everything."""
        if self._waiting.pop(number, None) is None or now < self._compare_at:
            return False
        self._compare_at = now + COMPARE_S
        return True

    def tell_its_later_self(self, member: Member, source: Address, number: int, now: float) -> None:
        """Somebody speaks with a member's key, but from its past: it hears what we know of that member, and has lost, or is a replay."""
        if self._may(now):
            self._speaker.say(Kind.ACK, member.id, source, number, announcements=(member.announcement,), news=False)

    def _may(self, now: float) -> bool:
        self._budget = min(RING_STRANGERS_S, self._budget + (now - self._refilled) * RING_STRANGERS_S)
        self._refilled = now
        if self._budget < 1:
            self._counters["strangers ignored"] += 1
            return False
        self._budget -= 1
        return True
