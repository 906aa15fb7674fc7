"""The journal: every decision with its reason, as bounded JSON lines on disk, and as lines on the supervisor's terminal.

Rules: append only; past its size the file becomes `.1` and a new one begins. A disk that is full costs lines, never a service: the
journal counts what it could not write and says so in the next line that it can. A terminal that is stopped, or a pipe that nobody reads,
costs the lines on it, and never holds anybody up. On the terminal a line is for people, or with `json_lines` one JSON object
{at, level, topic, because, …}: what else the process writes there is made such a line by terminal.py.
"""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal

from hart.console import text
from hart.limits import JOURNAL_MAX
from supervisor import clock

Level = Literal["info", "warning", "error"]
WORRYING: Final = frozenset({"backoff", "crash-looping", "unhealthy"})  # states in which somebody may want to look


class Journal:
    """`<root>/sup/default/journal.jsonl`, mode 0600; each decision is also a line on the supervisor's terminal."""

    def __init__(self, path: Path, *, echo: IO[str] | None = None, json_lines: bool = False) -> None:
        self.path, self.echo, self.json_lines = path, echo, json_lines
        self.lost = 0

    def write(self, kind: str, subject: str, because: str, *, level: Level | None = None, **data: object) -> None:
        at = clock.stamp(clock.wall())
        line = {"at": at, "kind": kind, "subject": subject, "because": because, **data}
        if self.echo is not None:
            state = f"{data['state']}: " if "state" in data else ""
            weight: Level = level or ("warning" if str(data.get("state")) in WORRYING else "info")
            told = json_line(at, weight, subject, because, kind=kind, **data) if self.json_lines else f"{subject}: {state}{text(because)}"
            show(self.echo, told)
        if self.lost:
            line["lost_before"] = self.lost
        try:
            self._rotate()
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "ab") as out:
                out.write(json.dumps(line, default=str).encode() + b"\n")
        except OSError:
            self.lost += 1
        else:
            self.lost = 0

    def _rotate(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size >= JOURNAL_MAX:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))


def json_line(at: str, level: Level, topic: str, because: str, **data: object) -> str:
    """One object that a pipe takes whole: where there is too much of it first the data is left out, then the texts are shortened."""
    line: dict[str, object] = {"at": at, "level": level, "topic": topic, "because": because, **data}
    while len((made := json.dumps(line, default=str, ensure_ascii=False)).encode(errors="replace")) >= select.PIPE_BUF:
        if data:
            line, data = {"at": at, "level": level, "topic": topic, "because": because, "left_out": sorted(data)}, {}
        else:
            topic, because = topic[: max(64, len(topic) // 2)], because[: len(because) // 2]
            line = {"at": at, "level": level, "topic": topic, "because": f"{because} …"}
    return made


def show(terminal: IO[str], line: str) -> None:
    """One line for people, where there is room for it now."""
    poll = select.poll()
    with suppress(OSError, ValueError):  # a terminal that went away is no reason to end
        poll.register(terminal.fileno(), select.POLLOUT)
        if poll.poll(0):  # then a pipe takes this many bytes without waiting
            os.write(terminal.fileno(), line.encode(errors="replace")[: select.PIPE_BUF - 1] + b"\n")
