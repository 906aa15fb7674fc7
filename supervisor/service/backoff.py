"""How long a service that failed waits before it is started again. Pure.

Rules: the n-th failure in a row waits `min_s` doubled n-1 times, at most `max_s`, of which the later half is left to chance, so that
hosts that failed together do not come back together and the first start again comes within `min_s`. A service that stayed up for
`cooldown_s` is forgiven (`supervisor/service/state.py` counts; this file only computes).
"""

from __future__ import annotations

from dataclasses import dataclass

from hart.errors import UsageError
from hart.limits import BACKOFF_COOLDOWN_S, BACKOFF_MAX_S, BACKOFF_MIN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Seconds: the first wait, the longest wait, and how long up means forgiven."""

    min_s: float = BACKOFF_MIN_S
    max_s: float = BACKOFF_MAX_S
    cooldown_s: float = BACKOFF_COOLDOWN_S

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s or self.cooldown_s <= 0:
            raise UsageError(
                f"back-off from {self.min_s} s to {self.max_s} s, cooldown {self.cooldown_s} s",
                "must be above zero, and the first wait not longer than the longest",
                next="--service-min-backoff-period 1 --service-max-backoff-period 60 --service-restart-cooldown-period 300",
            )


def wait_s(policy: Backoff, failures: int, chance: float) -> float:
    """Seconds to wait after `failures` failures in a row (at least 1); `chance` is in [0, 1)."""
    assert failures >= 1, failures
    longest = min(policy.max_s, policy.min_s * 2.0 ** min(failures - 1, 60))
    return longest * (1 - chance / 2)
