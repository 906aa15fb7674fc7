"""How many datagrams are opened and how many streams are accepted, before any costs more than a look. Pure.

Rules: every known member has a bucket of its own, all others share one, so that strangers can only use up what is meant for strangers. Of
what is meant for strangers one host gets no more than its share: while it floods, others still join. A member of a healing ring sends some
sixty a second. A thousand hosts that join at once send one greeting each, and those that were not heard another one a second later: the
burst and the first seconds' rate hear them all, and each has become a member with a bucket of its own by then. Streams: half of the places
are for hosts of members only, no other host than this one gets more than half, and strangers begin only so many in a second: what is
recorded of a conversation can be played again without a key, and each such stream is work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

from hart.limits import (
    RING_MEMBER_BURST,
    RING_MEMBER_RATE,
    RING_MEMBERS_MAX,
    RING_STRANGER_BURST,
    RING_STRANGER_RATE,
    RING_STRANGER_SHARE,
    RING_STRANGER_STREAMS,
    RING_STREAMS,
)
from supervisor.gossip.messages import Address

_HOSTS = 64  # buckets of strangers' hosts, by hash: a flood takes those with it that share its bucket, one host in 64


def is_loopback(host: str) -> bool:
    """Of a literal address as the kernel writes it."""
    return host.startswith("127.") or host == "::1"


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
        share = RING_STRANGER_SHARE
        self._strangers = Bucket(RING_STRANGER_RATE, RING_STRANGER_BURST, now)
        self._hosts = [Bucket(RING_STRANGER_RATE * share, RING_STRANGER_BURST * share, now) for _ in range(_HOSTS)]
        self._members: dict[Address, Bucket] = {}

    def take(self, source: Address, known: AbstractSet[Address], now: float) -> bool:
        if source not in known:
            return self._hosts[hash(source[0]) % _HOSTS].take(now) and self._strangers.take(now)
        bucket = self._members.get(source)
        if bucket is None:
            if len(self._members) >= RING_MEMBERS_MAX:  # addresses of members long gone: a full bucket each is no loss
                self._members.clear()
            bucket = self._members[source] = Bucket(RING_MEMBER_RATE, RING_MEMBER_BURST, now)
        return bucket.take(now)


class Places:
    """Streams that others have opened, by their hosts."""

    def __init__(self, now: float) -> None:
        self._begun = Bucket(*RING_STRANGER_STREAMS, now)
        self._taken: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()

    def take(self, host: str, now: float, *, known: bool) -> bool:
        """One more; give it back with `leave`."""
        half = RING_STREAMS // 2
        if self._taken.total() >= RING_STREAMS:
            return False
        if not is_loopback(host) and (self._taken[host] >= half or (not known and self._strangers.total() >= half)):
            return False
        if not known and not is_loopback(host) and not self._begun.take(now):
            return False
        self._taken[host] += 1
        self._strangers[host] += not known
        return True

    def leave(self, host: str, *, known: bool) -> None:
        """`known` as it was taken."""
        self._taken[host] -= 1
        self._strangers[host] -= not known
        self._taken, self._strangers = +self._taken, +self._strangers
