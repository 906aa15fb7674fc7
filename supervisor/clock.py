"""The clock of the drivers: the only place of the supervisor that reads time. Cores get `now` as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> float:
    """Seconds on a clock that only goes forward, also while the host sleeps: a deadline that passed in between has passed."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall() -> float:
    """Seconds since the epoch, for people and for records that outlive a boot."""
    return time.time()  # noqa: TID251  the driver's clock


def stamp(wall_s: float) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(wall_s: float) -> str:
    """The day in UTC."""
    return stamp(wall_s)[:10]
