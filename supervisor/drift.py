"""What is not as it was put: findings, and what is done about them. Pure; looking and putting back are in upkeep.py.

Rules: what was rendered and what was installed is put back, and what runs goes on: nothing is restarted. A file that is changed again and
again is left alone after some tries, since its service writes it itself. Files that a package does not list are told and left, since it may
have written them (byte code, caches). What cannot be compared with anything is told once and is no drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from hart.errors import EXIT_DIFFERS
from hart.filelist import EXTRA, NO_LIST, Problem
from hart.limits import VERIFY_TRIES


class Kind(StrEnum):
    DIRECTORY = "directory"
    RENDERED = "rendered file"
    FILE = "file of its group"
    PACKAGE = "package"
    PROCESS = "process"


class Outcome(StrEnum):
    REPAIRED = "repaired"
    LEFT = "not repaired"  # it is not as it should be
    NOTED = "noted"  # nothing that could be put back


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`subject`: a service, or a package's ident; `path` is below its directory; `because`: what is the matter, and what was done."""

    kind: Kind
    subject: str
    path: str
    outcome: Outcome
    because: str

    def row(self) -> dict[str, Any]:
        return {
            "outcome": str(self.outcome),
            "kind": str(self.kind),
            "subject": self.subject,
            "path": self.path,
            "because": self.because,
        }

    def __str__(self) -> str:
        return f"{self.kind} {self.path}: {self.because}" if self.path else f"{self.kind}: {self.because}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a package: install it `again`, because of these problems; `noted` are left."""

    again: tuple[Problem, ...]
    noted: tuple[Problem, ...]


def judge(problems: Iterable[Problem]) -> Verdict:
    """A package's problems, as its signed list tells them."""
    every = tuple(problems)
    noted = tuple(problem for problem in every if problem.cause in (EXTRA, NO_LIST))
    return Verdict(tuple(problem for problem in every if problem not in noted), noted)


def told(problems: Sequence[Problem], most: int = 3) -> str:
    """The first ones, and how many more."""
    shown = "; ".join(f"{problem.path} {problem.cause}" for problem in problems[:most])
    return shown if len(problems) <= most else f"{shown}; and {len(problems) - most} more"


class Tries:
    """How often in a row each file was put back."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def allowed(self, subject: str, paths: Iterable[str]) -> set[str]:
        """Those that are put back once more."""
        return {path for path in paths if self._counts.get((subject, path), 0) < VERIFY_TRIES}

    def count(self, subject: str, put_back: Iterable[str], differing: Iterable[str]) -> None:
        """After a look: what was put back counts one more; what was as it should be is forgiven."""
        still = {(subject, path) for path in differing}
        for key in [key for key in self._counts if key[0] == subject and key not in still]:
            del self._counts[key]
        for path in put_back:
            self._counts[subject, path] = self._counts.get((subject, path), 0) + 1

    def forget(self, subject: str) -> None:
        for key in [key for key in self._counts if key[0] == subject]:
            del self._counts[key]


AGAIN: Final = f"it was put back {VERIFY_TRIES} times in a row and is changed again: the service writes it itself; left alone"


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when nothing is left that is not as it should be."""
    return EXIT_DIFFERS if any(finding.outcome is Outcome.LEFT for finding in findings) else 0
