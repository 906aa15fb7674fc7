"""How many datagrams are looked at, before any costs more than that. Pure token buckets.

Rules: every known member has a bucket of its own, all others share one, so that strangers can only use up what is meant for strangers. A
member of a healing ring sends some sixty a second, a hundred hosts that join at once send a few each.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from hart.limits import RING_MEMBER_BURST, RING_MEMBER_RATE, RING_MEMBERS_MAX, RING_STRANGER_BURST, RING_STRANGER_RATE
from supervisor.gossip.messages import Address


class Bucket:
    """`rate` tokens a second, `burst` at most."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._left, self._at = rate, burst, burst, now

    def take(self, now: float) -> bool:
        left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left = left - 1 if left >= 1 else left
        return left >= 1


class Budget:
    """Who may still be listened to."""

    def __init__(self, now: float) -> None:
        self._strangers = Bucket(RING_STRANGER_RATE, RING_STRANGER_BURST, now)
        self._members: dict[Address, Bucket] = {}

    def take(self, source: Address, known: AbstractSet[Address], now: float) -> bool:
        if source not in known:
            return self._strangers.take(now)
        bucket = self._members.get(source)
        if bucket is None:
            if len(self._members) >= RING_MEMBERS_MAX:  # addresses of members long gone: a full bucket each is no loss
                self._members.clear()
            bucket = self._members[source] = Bucket(RING_MEMBER_RATE, RING_MEMBER_BURST, now)
        return bucket.take(now)
