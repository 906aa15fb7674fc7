"""When to try again, and how long to wait before it (pure).

Rules: only UnavailableError is worth another try: no connection, silence, a cut body, an overloaded depot (`routes.error_of` decides
which status that is). Waits double and are spread by chance, so that a fleet which lost its depot does not come back as one. After
Habitat's client (reference: depot API 2), with shorter waits because a person watches, and fewer tries where nobody listens at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from hart.limits import (
    DEPOT_BACKOFF_FIRST_S,
    DEPOT_BACKOFF_MAX_S,
    DEPOT_CONNECT_TRIES,
    DEPOT_TRIES,
    DOWNLOAD_RATE_MIN,
    DOWNLOAD_WINDOW_S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often and how fast: `tries` in all (`connect_tries` while nobody listens), the first wait and the longest one in seconds."""

    tries: int = DEPOT_TRIES
    connect_tries: int = DEPOT_CONNECT_TRIES
    first_s: float = DEPOT_BACKOFF_FIRST_S
    max_s: float = DEPOT_BACKOFF_MAX_S

    def wait_s(self, failed: int, chance: random.Random, *, nobody_there: bool = False) -> float | None:
        """The wait after the `failed`th failure in a row (1 is the first): half to all of the doubled first wait; None: give up."""
        assert failed >= 1, failed
        if failed >= (self.connect_tries if nobody_there else self.tries):
            return None
        whole = min(self.max_s, self.first_s * 2.0 ** (failed - 1))
        return whole * (0.5 + chance.random() / 2)


def too_slow(size: int, elapsed_s: float, *, rate_min: float = DOWNLOAD_RATE_MIN, window_s: float = DOWNLOAD_WINDOW_S) -> bool:
    """Whether a body that brought `size` bytes in `elapsed_s` is one that never ends (threats S09)."""
    return elapsed_s >= window_s and size < rate_min * elapsed_s
