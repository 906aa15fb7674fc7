"""When a job is due: `every` so long, or by a cron expression in a time zone. Pure; times are seconds since the epoch.

Rules: what is due is counted from `anchor`, the last time that it was due, whether it ran then or not; at first from when it was loaded.
What was missed, because the host was down or a run took too long, is caught up with one run and never with several. Cron expressions have
five fields, read as Debian's cron does, also on the days when clocks change; the library is loaded only where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from hart.errors import FormatError
from hart.limits import JOB_EVERY_MAX_S, JOB_EVERY_MIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])")
WORDS: Final = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *"}


class Overlap(StrEnum):
    """What is done when a run is due while the one before it still runs."""

    SKIP = "skip"  # it is left out
    QUEUE = "queue"  # it runs as soon as that one has ended; one at most waits
    REPLACE = "replace"  # that one is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`every_s` or `cron`. Each run is put off by chance, up to `jitter_s`, so that a hundred hosts do not begin together."""

    every_s: float | None = None
    cron: str = ""
    time_zone: str = "UTC"
    overlap: Overlap = Overlap.SKIP
    jitter_s: float = 0.0

    def __str__(self) -> str:
        return f"every {show(self.every_s)}" if self.every_s is not None else f"cron {self.cron} ({self.time_zone})"


def read(table: Mapping[str, Any], thing: str) -> Schedule | None:
    """From `every`, `cron`, `time_zone`, `overlap` and `jitter`; None where neither of the first two is. FormatError names the key."""
    every, cron = table.get("every"), table.get("cron")
    if every is None and cron is None:
        if stray := sorted({"time_zone", "overlap", "jitter"} & set(table)):
            raise FormatError(thing, f"{stray[0]} is of no use without every or cron")
        return None
    if every is not None and cron is not None:
        raise FormatError(thing, "has every and cron: one of them says when it runs")
    zone, overlap = table.get("time_zone", "UTC"), table.get("overlap", "skip")
    if overlap not in set(Overlap):
        raise FormatError(thing, f"overlap {overlap!r} is not one of {', '.join(Overlap)}")
    jitter_s = duration(table.get("jitter", 0), f"{thing}: jitter")
    if every is not None:
        if "time_zone" in table:
            raise FormatError(thing, "time_zone is of no use with every")
        every_s = duration(every, f"{thing}: every")
        if not JOB_EVERY_MIN_S <= every_s <= JOB_EVERY_MAX_S:
            raise FormatError(f"{thing}: every {every!r}", f"is not between {show(JOB_EVERY_MIN_S)} and {show(JOB_EVERY_MAX_S)}")
        return Schedule(every_s=every_s, overlap=Overlap(overlap), jitter_s=jitter_s)
    if not isinstance(cron, str) or not isinstance(zone, str):
        raise FormatError(thing, "cron or time_zone is not text")
    made = Schedule(cron=WORDS.get(cron, cron), time_zone=zone, overlap=Overlap(overlap), jitter_s=jitter_s)
    check(made, thing)
    return made


def table(schedule: Schedule | None) -> dict[str, Any]:
    """What `read` reads."""
    if schedule is None:
        return {}
    when: dict[str, Any] = {"cron": schedule.cron, "time_zone": schedule.time_zone}
    if schedule.every_s is not None:
        when = {"every": show(schedule.every_s)}
    return {**when, "overlap": str(schedule.overlap), **({"jitter": show(schedule.jitter_s)} if schedule.jitter_s else {})}


def duration(value: object, thing: str) -> float:
    """Seconds, from a number of them or from text as `90s`, `15m`, `1h30m`, `2d`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= JOB_EVERY_MAX_S:
        return float(value)
    parts = DURATION.findall(value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise FormatError(f"{thing} {value!r}", "is not a duration", next="for example 90s, 15m, 1h30m or 2d")
    return float(sum(float(number) * UNITS[unit] for number, unit in parts))


def show(seconds: float) -> str:
    """Exactly so many seconds as text that `duration` reads."""
    if seconds <= 0 or seconds != int(seconds):
        return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
    left, said = int(seconds), ""
    for unit, size in sorted(UNITS.items(), key=lambda item: -item[1]):
        many, left = divmod(left, size)
        said += f"{many}{unit}" if many else ""
    return said


def check(schedule: Schedule, thing: str) -> None:
    """FormatError for an expression or a zone that nobody can follow."""
    if len(schedule.cron.split()) != 5:
        raise FormatError(
            f"{thing}: cron {schedule.cron!r}", "has not five fields", next='for example --cron "0 3 * * *": each day at 03:00'
        )
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(schedule.time_zone)
    except (OSError, ValueError, KeyError):
        raise FormatError(f"{thing}: time_zone {schedule.time_zone!r}", "is not known here", next="for example Europe/Berlin") from None
    try:
        due_after(schedule, 0.0)
    except FormatError as error:
        raise FormatError(f"{thing}: {error.thing}", error.cause, next='for example --cron "0 3 * * *": each day at 03:00') from None


def due_after(schedule: Schedule, anchor: float) -> float:
    """The first time after `anchor` that it is due."""
    if schedule.every_s is not None:
        return anchor + schedule.every_s
    from zoneinfo import ZoneInfo

    from cronsim import CronSim, CronSimError

    try:
        times: Iterator[datetime] = CronSim(schedule.cron, datetime.fromtimestamp(anchor, ZoneInfo(schedule.time_zone)))
        return next(times).timestamp()
    except CronSimError as error:
        raise FormatError(f"cron {schedule.cron!r}", f"cannot be read: {error}".lower()) from None
    except (StopIteration, OverflowError):
        raise FormatError(f"cron {schedule.cron!r}", "is never due") from None


def anchor_after(schedule: Schedule, due: float, now: float) -> float:
    """What counts as the last time that it was due, once that has been seen to: `now` where more than one was missed."""
    return due if due_after(schedule, due) > now else now
