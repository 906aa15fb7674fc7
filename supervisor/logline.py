"""A line of a log, for people and for programs: its time, where it comes from, what it says. Pure.

Rules: the time before a line is the holder's, in UTC; a line without one (the rest of a line, or somebody else's) has that of the line
before. Times of one format compare as texts. A line that is a JSON object stays an object for programs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hart.errors import UsageError
from supervisor.logfile import TIME, is_stamped, text_of

AGO = re.compile(r"(?:\d{1,9}[smhdw])+\Z")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Line:
    """`at` is the time as the log has it, empty when nothing says one; `stream` is `run` or a hook's name; `raw` has time and newline."""

    at: str
    stream: str
    raw: bytes

    @property
    def text(self) -> str:
        return text_of(self.raw).removesuffix(b"\n").decode(errors="replace")


def lines_from(raws: Iterable[bytes], stream: str) -> Iterator[Line]:
    """Lines with their times."""
    at = ""
    for raw in raws:
        if is_stamped(raw):
            at = raw[:TIME].decode(errors="replace")
        yield Line(at, stream, raw)


def within(lines: Iterable[Line], since: str, until: str) -> Iterator[Line]:
    """The lines of a time: from `since` on, before `until`; empty is no bound."""
    return (line for line in lines if line.at >= since and (not until or line.at < until))


def as_time(text: str, now: datetime, *, option: str) -> datetime:
    """`10m`, `1h30m`, `2d` ago, or a date or time of ISO 8601, which is UTC unless it says otherwise. UsageError."""
    try:
        if AGO.match(text):
            ago = sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))
            return now - timedelta(seconds=ago)
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text[:60]}", "is not a time", next=f"{option} 10m, {option} 2h30m, or {option} 2026-01-31T23:00 (UTC)"
        ) from None


def as_stamp(time: datetime) -> str:
    """As the holder writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time.microsecond // 1000:03d}Z"


def for_programs(line: Line, service: str) -> str:
    """One JSON object: `at`, `service`, `stream`, and `text`, or `data` where the line itself is a JSON object."""
    value: dict[str, Any] = {"at": line.at or None, "service": service, "stream": line.stream}
    text = line.text
    data = _object(text)
    return json.dumps({**value, "text": text} if data is None else {**value, "data": data}, ensure_ascii=False)


def for_people(line: Line, *, named: bool) -> bytes:
    """As it stands in the log; `named`: with the stream behind its time."""
    raw = line.raw if line.raw.endswith(b"\n") else line.raw + b"\n"
    return raw if not named else f"{line.at} {line.stream}: ".encode() + text_of(raw)


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Lines:
    """Bytes as they come, cut into lines; what is not ended yet waits, at most `most` bytes of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of the line that is not ended yet."""
        return len(self._rest)

    def feed(self, block: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + block).split(b"\n")
        lines = [line + b"\n" for line in whole]
        if len(self._rest) > self._most:
            lines.append(self._rest + b"\n")
            self._rest = b""
        return lines
