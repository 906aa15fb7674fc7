"""Virtual time: one heap of (time, sequence, event), one random.Random(seed).

Nothing happens at the same time twice in another order: equal times run in the order in which they were asked for. Everything that is
random in a simulation draws from `chance`, so a seed is a whole run. Times are seconds since the run's start.
There is no event loop, no real clock and no thread here, and no knowledge of rings.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

LINES_KEPT: Final = 40  # of a trace, for a failure's report: the last second or so of a small ring

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class World:
    """The heap, the clock and the dice."""

    __slots__ = ("chance", "heap", "now", "sequence")

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.heap: list[Event] = []
        self.sequence = 0

    def at(self, time: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(*args)` at `time`; never in the past."""
        self.sequence += 1
        heappush(self.heap, (time if time > self.now else self.now, self.sequence, call, args))  # noqa: FURB136 - four times as fast as max()

    def after(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(*args)` in `delay_s` seconds."""
        self.at(self.now + delay_s, call, *args)

    def run(self, until: float) -> int:
        """All events up to and including `until`; the number of them."""
        heap = self.heap
        before = self.sequence - len(heap)
        while heap and heap[0][0] <= until:
            self.now, _, call, args = heappop(heap)
            call(*args)
        self.now = until
        return self.sequence - len(heap) - before


class Trace:
    """What happened, as one hash over all lines and the last lines in clear."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)

    def add(self, line: str) -> None:
        self._hash.update(line.encode())
        self.lines.append(line)

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()
