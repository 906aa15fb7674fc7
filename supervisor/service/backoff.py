"""How long a service that failed waits before it is started again, and what is said of a row of failures. Pure.

Rules: the n-th failure in a row waits `min_s` doubled n-1 times, at most `max_s`, of which the later half is left to chance, so that
hosts that failed together do not come back together and the first start again comes within `min_s`. A service that stayed up for
`cooldown_s` is forgiven (`supervisor/service/state.py` counts; this file only computes). `CRASH_LOOP_FAILURES` in a row are a
crash loop: it is named, and goes on like every other wait.
"""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Failure:
    """One of a row. `at` in seconds of the life's clock."""

    at: float
    because: str


def cause(count: int, last: Sequence[Failure]) -> str:
    """What a row of `count` failures has in common: `exited with code 1, 5 times in 40 s`. `last` are the newest of them, oldest first."""
    newest = last[-1].because
    if count < 2:
        return newest
    span = f"in {last[-1].at - last[0].at:.0f} s"
    if len(last) < count:
        span = f"the last {len(last)} {span}"
    if all(each.because == newest for each in last):
        return f"{newest}, {count} times{',' if len(last) < count else ''} {span}"
    return f"{newest}; {count} failures in a row{',' if len(last) < count else ''} {span}"
