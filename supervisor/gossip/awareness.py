"""How well we are ourselves: Lifeguard's local health score (arXiv 1707.00788, 4.1).

Rules: 0 is well. A probe that failed and of which no other member said that it failed there too, each NACK that is then missing (one, where
most are), having to refute, and having slept add to it; a probe answered in time takes one off.
The period and the time-outs are score + 1 times as long: the observer may be the sick one, and then it must look slower, not harder.
"""

from __future__ import annotations


class Awareness:
    """The score, from 0 to `limit`; with `limit` 0 it never moves."""

    __slots__ = ("limit", "score")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.score = 0

    def worse(self, by: int = 1) -> None:
        self.score = min(self.limit, self.score + by)

    @property
    def worst(self) -> bool:
        """As sick as we can be; never without Lifeguard."""
        return 0 < self.limit <= self.score

    def better(self) -> None:
        if self.score:
            self.score -= 1
