"""Standard error as JSON lines, for `sup run --json-logs`: also what Python, asyncio and libraries write there.

Rules: one line of text is one object; a traceback is one object. Nothing is held back longer than a line, and nothing is lost but what the
reader does not take (journal.py).
"""

from __future__ import annotations

import io
import sys
import traceback
from types import TracebackType
from typing import IO

from supervisor import clock
from supervisor.journal import json_line, show

LINE_MAX = 64 * 1024  # characters without an end of line; a longer one is several


class JsonLines(io.TextIOBase):
    """A text stream whose lines become objects on `terminal`."""

    def __init__(self, terminal: IO[str]) -> None:
        self._terminal = terminal
        self._part = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        *lines, self._part = (self._part + text).split("\n")
        if len(self._part) > LINE_MAX:
            lines, self._part = [*lines, self._part], ""
        for line in lines:
            if line.strip():
                self.show_line(line)
        return len(text)

    def flush(self) -> None:
        """A line is written when it has ended."""

    def show_line(self, line: str) -> None:
        topic, colon, because = line.partition(": ")
        if not colon or " " in topic or topic != topic.lower():
            topic, because = "supervisor", line
        show(self._terminal, json_line(clock.stamp(clock.wall()), "error", topic, because))

    def show_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """The hook for exceptions that nobody met."""
        if issubclass(kind, KeyboardInterrupt):
            return
        lines = "".join(traceback.format_exception(kind, error, trace))
        because = f"bug: {kind.__name__}: {error}"
        show(self._terminal, json_line(clock.stamp(clock.wall()), "error", "supervisor", because, traceback=lines[-2000:]))


def speak_json() -> None:
    """From now on everything that this process writes to standard error is JSON lines."""
    if sys.stderr is None or isinstance(sys.stderr, JsonLines):
        return
    made = JsonLines(sys.stderr)
    sys.stderr = made
    sys.excepthook = made.show_exception
