"""What a person sees of a build: steps with their time, output with -v, the end of a failed step's log.

Rules: everything goes to stderr, with `--json` too; a moving line only on a terminal; nothing when quiet (tests).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from builder.process import Log
from hart.console import DIM, GREEN, RED, colourful, paint, warn


class Reporter:
    """One build's voice. Times are from the monotonic clock."""

    def __init__(self, *, verbose: bool = False, quiet: bool = False) -> None:
        self.verbose = verbose and not quiet
        self.quiet = quiet
        self.moving = not quiet and not verbose and colourful(sys.stderr)
        self.step = ""
        self.began_s = 0.0
        self.shown_s = -1

    def note(self, text: str) -> None:
        if not self.quiet:
            self.clear()
            print(text, file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        if not self.quiet:
            self.clear()
            warn(text)

    def begin(self, step: str) -> None:
        self.step, self.began_s, self.shown_s = step, time.monotonic(), -1
        if self.verbose:
            self.note(f"== {step}")
        self.tick()

    def tick(self) -> None:
        """Move the time of a running step, once a second."""
        elapsed = int(time.monotonic() - self.began_s)
        if self.moving and self.step and elapsed != self.shown_s:
            self.shown_s = elapsed
            print(f"\r  {self.step:<10} {elapsed:>5} s ", end="", file=sys.stderr, flush=True)

    def end(self, *, ok: bool, detail: str = "") -> None:
        took = f"{time.monotonic() - self.began_s:.1f} s"
        mark = paint("ok", GREEN, sys.stderr) if ok else paint("failed", RED, sys.stderr)
        self.note(f"  {self.step:<10} {took:>8}  {mark}{'  ' + paint(detail, DIM, sys.stderr) if detail else ''}")
        self.step = ""

    def clear(self) -> None:
        if self.moving and self.step:
            print("\r" + " " * 30 + "\r", end="", file=sys.stderr)

    def failed_log(self, lines: Sequence[str], path: Path) -> None:
        """The end of a failed step's log; with -v it was shown already."""
        if not self.verbose and lines:
            self.note("".join(f"  | {line}\n" for line in lines).rstrip("\n"))
            self.note(paint(f"  the whole log: {path}", DIM, sys.stderr))

    def tee(self, log: Log) -> Tee:
        return Tee(log, echo=self.verbose)


class Tee:
    """A log that is also shown with -v."""

    def __init__(self, log: Log, *, echo: bool) -> None:
        self.log = log
        self.echo = echo

    def write(self, data: bytes, /) -> None:
        self.log.write(data)
        if self.echo:
            sys.stderr.write(data.decode("utf-8", "replace"))
            sys.stderr.flush()

    def line(self, text: str) -> None:
        self.write(f"{text}\n".encode())
