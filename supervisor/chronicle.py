"""A journal read again: the lines that concern a service, and repetitions of theirs told once. Pure.

Rules: what concerns a service is what was decided of it, of its group (configuration, files), and of the whole supervisor. Lines that
nobody can read are counted and passed over: a journal ends in the middle of a line where the power failed. A circle of decisions that comes
again and again (a crash loop) is shown as its last turn, with how often it came and since when; numbers in its words may differ.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hart.errors import UsageError

EVERYBODY: Final = "supervisor"  # the subject of what concerns all services
CIRCLE: Final = 8  # decisions in one turn of a crash loop: waiting, initializing, spawning, starting, stopping, finishing, backoff and one
TURNS: Final = 3  # turns from which on they are told once
NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal. `at` as it is written there, ISO 8601 in UTC, which sorts as text; `data`: what else the line has."""

    at: str
    kind: str
    subject: str
    because: str
    data: Mapping[str, Any]

    @property
    def state(self) -> str:
        return str(self.data.get("state", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line for people. `turns`: how often the circle that begins here came; `since`: when its first turn began."""

    entry: Entry
    turns: int = 1
    length: int = 1
    since: str = ""


def parse(lines: Iterable[bytes]) -> tuple[list[Entry], int]:
    """The entries, in the order of the lines, and how many lines are none."""
    entries, broken = [], 0
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            broken += 1
            continue
        words = [found.get(key) for key in ("at", "kind", "subject", "because")] if isinstance(found, dict) else []
        if not words or not all(isinstance(word, str) for word in words):
            broken += 1
            continue
        at, kind, subject, because = map(str, words)
        data = {key: value for key, value in found.items() if key not in ("at", "kind", "subject", "because")}
        entries.append(Entry(at=at, kind=kind, subject=subject, because=because, data=data))
    return entries, broken


def concerning(entries: Iterable[Entry], service: str | None, *, since: str = "") -> list[Entry]:
    """Those of a service, of its group, and of the supervisor from the first of them on; without a name all."""
    chosen = [entry for entry in entries if entry.at >= since]
    if service is None:
        return chosen
    group = f"{service}."
    begun, found = False, []
    for entry in chosen:
        own = entry.subject == service or entry.subject.startswith(group)
        begun = begun or own
        if own or (begun and entry.subject == EVERYBODY):
            found.append(entry)
    return found


def since(text: str, now: float) -> str:
    """`10m`, `2h30m`, `3d`, or a time in ISO 8601 (UTC where it names no zone), as the journal writes times. UsageError."""
    spans = SPAN.findall(text)
    if spans and "".join(number + unit for number, unit in spans) == text:
        at = now - sum(float(number) * UNITS[unit] for number, unit in spans)
    else:
        try:
            when = dt.datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"--since {text}", "is no span and no time", next="such as 10m, 2h, 3d or 2026-01-31T03:00") from None
        at = when.replace(tzinfo=when.tzinfo or dt.UTC).timestamp()
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""  # before there were years: everything


def fold(entries: Sequence[Entry]) -> list[Line]:
    """Circles that come at least TURNS times in a row as their last turn; the shortest circle that fits is taken."""
    words = [(entry.kind, entry.subject, entry.state, NUMBER.sub("#", entry.because)) for entry in entries]
    lines: list[Line] = []
    at = 0
    while at < len(entries):
        for length in range(1, CIRCLE + 1):
            turns = 1
            while words[at : at + length] == words[at + turns * length : at + (turns + 1) * length]:
                turns += 1
            if turns >= TURNS:
                last = at + (turns - 1) * length
                lines.append(Line(entry=entries[last], turns=turns, length=length, since=entries[at].at))
                lines += [Line(entry=entry) for entry in entries[last + 1 : last + length]]
                at += turns * length
                break
        else:
            lines.append(Line(entry=entries[at]))
            at += 1
    return lines
