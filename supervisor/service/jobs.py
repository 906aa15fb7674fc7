"""The runs of a job, and what to do about the next one. Pure; times are seconds since the epoch.

    <root>/sup/default/jobs/<name>.toml    anchor, queued, skipped, runs

Rules: a run is written down before anybody acts on it: `asked`, then `begun` before a process is asked for, then how it ended before the
holder forgets the process. So a supervisor that finds an open run knows: `asked` never began; one that is `begun` and still held goes on;
one that is `begun` and not held was never started where the holder is the same, and else nobody knows how it ended. No run begins twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from hart.errors import FormatError
from hart.limits import JOB_CLOCK_BACK_S, JOB_NO_RESULT, JOB_NOT_RUN, JOB_RUNS_KEPT, JOB_TIMED_OUT
from hart.toml import dumps, loads
from supervisor.service.schedule import Overlap, Schedule, anchor_after, due_after


class Outcome(StrEnum):
    ASKED = "asked"  # to be run
    BEGUN = "begun"  # its process was asked for
    OK = "ok"  # exited with 0
    FAILED = "failed"  # exited with another code, or was ended by a signal
    STOPPED = "stopped"  # somebody stopped it, or its successor did
    TIMED_OUT = "timed out"
    NOT_RUN = "not run"  # nothing of it was ever started
    UNKNOWN = "unknown"  # it ended while nobody watched


OPEN = frozenset({Outcome.ASKED, Outcome.BEGUN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`due` 0: a person asked for it. `holder` says which one was asked for the process, `start_id` which process it is."""

    id: str
    asked_at: float = 0.0
    due: float = 0.0
    args: tuple[str, ...] = ()
    outcome: Outcome = Outcome.ASKED
    began_at: float = 0.0
    ended_at: float = 0.0
    code: int = -1
    signal: int = 0
    because: str = ""
    holder: str = ""
    start_id: str = ""

    @property
    def open(self) -> bool:
        return self.outcome in OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Everything that is remembered of a job. `queued`: a run that was due then waits for the one that runs (0: none)."""

    anchor: float = 0.0
    queued: float = 0.0
    skipped: int = 0
    runs: tuple[Run, ...] = field(default=())

    @property
    def begun(self) -> Run | None:
        return next((run for run in self.runs if run.outcome is Outcome.BEGUN), None)

    @property
    def asked(self) -> Run | None:
        return next((run for run in self.runs if run.outcome is Outcome.ASKED), None)

    @property
    def last(self) -> Run | None:
        """The last one that has ended."""
        return next((run for run in reversed(self.runs) if not run.open), None)

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)

    def add(self, run: Run) -> Book:
        return replace(self, runs=(*self.runs, run)[-JOB_RUNS_KEPT:])

    def put(self, run_id: str, **changes: Any) -> Book:
        """The book with another word about one run."""
        return replace(self, runs=tuple(replace(run, **changes) if run.id == run_id else run for run in self.runs))

    def render(self) -> str:
        runs = [{key: list(value) if isinstance(value, tuple) else value for key, value in row(run).items()} for run in self.runs]
        return dumps({"anchor": self.anchor, "queued": self.queued, "skipped": self.skipped, "runs": runs})

    @classmethod
    def parse(cls, text: str, *, thing: str) -> Book:
        """FormatError for what is no book."""
        table = loads(text, thing=thing)
        try:
            runs = tuple(_run(each) for each in table.get("runs", []))
            return cls(anchor=float(table.get("anchor", 0)), queued=float(table.get("queued", 0)), skipped=int(table["skipped"]), runs=runs)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise FormatError(thing, "is not a job's book") from None


def row(run: Run) -> dict[str, Any]:
    return {each.name: getattr(run, each.name) for each in fields(Run)} | {"outcome": str(run.outcome)}


def _run(table: Mapping[str, Any]) -> Run:
    known = {each.name: table[each.name] for each in fields(Run) if each.name in table}
    made = Run(**{**known, "outcome": Outcome(known["outcome"]), "args": tuple(map(str, known.get("args", ())))})
    for each in fields(Run):
        if each.name not in ("outcome", "args") and not isinstance(getattr(made, each.name), (str, int, float)):
            raise TypeError(each.name)
    return made


# --- what to do about the next run


class Act(StrEnum):
    WAIT = "wait"  # until `at`
    RUN = "run"
    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"
    ANCHOR = "anchor"  # count anew from now


@dataclass(frozen=True, slots=True)
class Verdict:
    """`at`: when to look again for WAIT, else the time that is due."""

    act: Act
    at: float
    because: str


def decide(schedule: Schedule, book: Book, *, busy: bool, now: float, jitter_s: float) -> Verdict:
    """`busy`: a run is under way; `jitter_s`: by how much the next one is put off."""
    if book.anchor > now + JOB_CLOCK_BACK_S:
        return Verdict(Act.ANCHOR, now, "the clock was set back")
    if book.queued and not busy:
        return Verdict(Act.RUN, book.queued, "the run before it has ended")
    due = due_after(schedule, book.anchor)
    if now < due + jitter_s:
        return Verdict(Act.WAIT, due + jitter_s, "not due yet")
    late = due_after(schedule, due) <= now
    if not busy:
        return Verdict(Act.RUN, due, f"{schedule}: missed runs are caught up with this one" if late else f"{schedule}: it is due")
    match schedule.overlap:
        case Overlap.REPLACE:
            return Verdict(Act.REPLACE, due, f"{schedule}: the next run is due")
        case Overlap.QUEUE if not book.queued:
            return Verdict(Act.QUEUE, due, "the run before it goes on")
        case _:
            return Verdict(Act.SKIP, due, "one run waits already" if book.queued else "the run before it goes on")


def seen_to(schedule: Schedule, book: Book, verdict: Verdict, now: float) -> Book:
    """The book once a verdict is carried out, but for its run."""
    match verdict.act:
        case Act.WAIT:
            return book
        case Act.ANCHOR:
            return replace(book, anchor=now)
        case Act.RUN if book.queued:
            return replace(book, queued=0.0)
    moved = replace(book, anchor=anchor_after(schedule, verdict.at, now))
    if verdict.act is Act.SKIP:
        return replace(moved, skipped=book.skipped + 1)
    return replace(moved, queued=verdict.at) if verdict.act is Act.QUEUE else moved


# --- how a run ended


def ended(code: int | None, signal: int | None, *, wanted: bool, timed_out: bool) -> Outcome:
    """From what the holder says of its process; not `wanted` any more: somebody has stopped it."""
    if timed_out:
        return Outcome.TIMED_OUT
    if code == 0:
        return Outcome.OK
    if not wanted:
        return Outcome.STOPPED
    return Outcome.UNKNOWN if code is None and signal is None else Outcome.FAILED


def exit_code(run: Run) -> int:
    """What a command that waited for it passes on."""
    if run.outcome is Outcome.TIMED_OUT:
        return JOB_TIMED_OUT
    if run.outcome is Outcome.NOT_RUN:
        return JOB_NOT_RUN
    return run.code if run.code >= 0 else 128 + run.signal if run.signal else JOB_NO_RESULT


def found_open(run: Run, holder: str) -> tuple[Outcome, str]:
    """What an open run is that nobody holds a process of, for a supervisor that has just come; `holder` is the one that is there now."""
    if run.outcome is Outcome.ASKED or (not run.start_id and run.holder == holder):
        return Outcome.ASKED, "the supervisor that was to run it is gone, and it never began"
    return Outcome.UNKNOWN, "it was running when its host or its holder went down, and nobody saw how it ended"
