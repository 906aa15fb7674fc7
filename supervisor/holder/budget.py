"""How much of its output a service may have logged: a token bucket that is filled again before it lets anything through. Pure.

Rules: what is over the rate is dropped and counted by whoever asks here; the service is never made to wait for its log's sake. Once empty,
the bucket stays shut until it holds a second's worth, so that a flood becomes one gap a second and not one behind each line.
"""

from __future__ import annotations

from hart.limits import LOG_BURST


class Budget:
    """`rate` bytes a second, and as much at once as has been left over, at most `burst`. A rate of 0 is no limit."""

    def __init__(self, rate: int, now: float, burst: int = LOG_BURST) -> None:
        self.rate = rate
        self.shut = False
        self._burst = max(burst, rate)
        self._left = float(self._burst)
        self._at = now

    def take(self, size: int, now: float) -> bool:
        """Whether so many bytes may go through at this time."""
        if self.rate == 0:
            return True
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        self.shut = self._left < (self.rate if self.shut else size)
        if not self.shut:
            self._left -= size
        return not self.shut
