"""When jobs are due."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError
from supervisor.service.schedule import Schedule, anchor_after, due_after, duration, read, show, table


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def cron(expression: str, zone: str = "UTC") -> Schedule:
    made = read({"cron": expression, "time_zone": zone}, "it")
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due"),
    [
        ("0 3 * * *", "UTC", "2026-03-01T03:00:00", "2026-03-02T03:00:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-01-01T12:00:00", "2026-01-02T03:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T03:00:00"),  # 02:30 is not there that night: once, not never
        ("*/15 * * * *", "UTC", "2026-01-01T00:14:59", "2026-01-01T00:15:00"),
        ("@daily", "UTC", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_a_cron_expression_is_read_in_its_zone(expression: str, zone: str, after: str, due: str) -> None:
    assert due_after(cron(expression, zone), at(after, zone)) == at(due, zone)


def test_an_hour_that_comes_twice_is_one_run() -> None:
    first = due_after(cron("30 2 * * *", "Europe/Berlin"), at("2026-10-24T12:00:00", "Europe/Berlin"))
    second = due_after(cron("30 2 * * *", "Europe/Berlin"), first)
    assert second == at("2026-10-26T02:30:00", "Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "anchor"),
    [(100, 100), (159.9, 100), (160, 160), (1000, 1000)],
)
def test_what_was_missed_is_due_once(now: float, anchor: float) -> None:
    """Less than one interval late keeps the beat; more begins a new one."""
    assert anchor_after(Schedule(every_s=60), 100, now) == anchor


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), (7, 7), ("0.5s", 0.5)])
def test_durations(text: str | int, seconds: float) -> None:
    assert duration(text, "it") == seconds


@given(st.integers(0, 31_000_000) | st.sampled_from([0.5, 1.25, 1e-3]))
def test_a_shown_duration_is_exact(seconds: float) -> None:
    assert duration(show(seconds), "it") == seconds


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({"every": "15"}, "is not a duration"),
        ({"every": "15 m"}, "is not a duration"),
        ({"every": "-1m"}, "is not a duration"),
        ({"every": True}, "is not a duration"),
        ({"every": "0s"}, "is not between 1s and 366d"),
        ({"every": "400d"}, "is not between"),
        ({"every": float("nan")}, "is not a duration"),
        ({"every": "1m", "cron": "0 3 * * *"}, "has every and cron"),
        ({"every": "1m", "time_zone": "UTC"}, "of no use with every"),
        ({"overlap": "skip"}, "of no use without every or cron"),
        ({"every": "1m", "overlap": "wait"}, "is not one of skip, queue, replace"),
        ({"cron": "0 3 * *"}, "has not five fields"),
        ({"cron": "0 0 3 * * *"}, "has not five fields"),
        ({"cron": "0 25 * * *"}, "cannot be read: bad hour"),
        ({"cron": "0 0 30 2 *"}, "cannot be read: bad day"),
        ({"cron": "0 3 * * *", "time_zone": "Mars/Olympus"}, "is not known here"),
        ({"cron": "0 3 * * *", "time_zone": "../../etc/passwd"}, "is not known here"),
        ({"cron": 3}, "is not text"),
    ],
)
def test_a_schedule_that_nobody_can_follow_is_refused(given_: dict[str, Any], why: str) -> None:
    with pytest.raises(FormatError, match=why):
        read(given_, "it")


def test_a_schedule_says_itself() -> None:
    for told in ({"every": "1h30m", "overlap": "queue", "jitter": "5m"}, {"cron": "0 3 * * *", "time_zone": "UTC", "overlap": "skip"}):
        assert table(read(told, "it")) == told
    assert (read({}, "it"), table(None)) == (None, {})


def test_the_library_is_loaded_only_for_a_cron_expression() -> None:
    act = "from supervisor.service.schedule import Schedule, due_after; due_after(Schedule(every_s=5), 0)"
    code = f"import sys, supervisor.run; {act}; print('cronsim' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
