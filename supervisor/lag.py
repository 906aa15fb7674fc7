"""How late the event loop is: what blocks it blocks every service, so the metrics show it.

A timer is set for every LAG_PERIOD_S, and how much later it is called is counted into buckets.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Final

LAG_PERIOD_S: Final = 1.0
BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Lag:
    """`counts[i]` of the measurements were at most BOUNDS_S[i], the last one is of those beyond; `total_s` is their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LAG_PERIOD_S, self._measure, loop.time() + LAG_PERIOD_S)

    def _measure(self, due: float) -> None:
        self.note(max(0.0, asyncio.get_running_loop().time() - due))
        self.start()

    def note(self, lag_s: float) -> None:
        self.counts[bisect_left(BOUNDS_S, lag_s)] += 1
        self.total_s += lag_s

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, how many up to it), as Prometheus wants a histogram."""
        bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
        return [(bound, float(sum(self.counts[: number + 1]))) for number, bound in enumerate(bounds)]

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
