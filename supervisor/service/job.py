"""A service that is a job: begins its runs when they are due or asked for, and writes down how they ended. Decisions are in jobs.py.

Rules: the disk first, then we: a run that could not be written down is not begun. A job's life is down between its runs.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hart.errors import ConflictError, InputError, SteadError
from hart.files import make_dirs, storage, write_atomic
from hart.limits import JOB_BOOKS_KEPT, JOB_LOOK_S
from supervisor import clock
from supervisor.attach import Exited
from supervisor.holder import procfs
from supervisor.service import hooks, jobs
from supervisor.service.events import Event, Happened, Plan, State
from supervisor.service.jobs import Act, Book, Outcome, Run
from supervisor.service.schedule import due_after

if TYPE_CHECKING:
    from supervisor.service.driver import Service


class Job:
    """The runs of one service."""

    def __init__(self, service: Service) -> None:
        self._service, self._host = service, service.host
        self._directory = service.host.settings.jobs
        self.trouble = ""  # why the disk has not got the last word
        self.book = read(self._directory, service.name)
        self._known = not any(run.open for run in self.book.runs)  # whether it is known what became of open runs
        self._stir = asyncio.Event()
        self._jitter_s = 0.0
        self._paused = False  # it was to be down meanwhile
        self._task: asyncio.Task[None] | None = None

    # --- what is asked of it

    def want_up(self, because: str) -> None:
        """Wanted, and no process of it is held: see to what an earlier supervisor has left, and follow the schedule."""
        for run in self.book.runs:
            if run.open and not self._known:
                outcome, why = jobs.found_open(run, self._holder())
                self._save(self.book.put(run.id, outcome=outcome, because=why, ended_at=0.0 if outcome is Outcome.ASKED else clock.wall()))
        self._known = True
        spec = self._service.spec
        if spec.run_once and self.book.run(spec.run_once) is None:
            lost = "its book is lost, so nobody knows whether it has run"
            self._save(self.book.add(Run(id=spec.run_once, outcome=Outcome.UNKNOWN, because=lost, ended_at=clock.wall())))
        if (asked := self.book.asked) is not None:
            self._service.tell(Event.WANTED_UP, asked.because or because)
        if spec.schedule is not None:
            if not self.book.anchor or self._paused:  # what was missed while it was to be down is not caught up
                self._save(replace(self.book, anchor=clock.wall()))
            self._follow()
        self._paused = False
        self.settle()

    def ask(self, run_id: str, args: tuple[str, ...]) -> None:
        """A person wants a run now, beside the schedule. ConflictError while another one is under way."""
        if self.book.run(run_id) is not None:
            return
        if not self._service.spec.wanted:
            raise ConflictError(f"job {self._service.name}", "is stopped", next=f"stead svc start {self._service.name}")
        if self.busy:
            raise ConflictError(f"job {self._service.name}", "runs already", next=f"stead svc status {self._service.name}")
        self._must_save(self.book.add(Run(id=run_id, asked_at=clock.wall(), args=args)))
        self._service.tell(Event.WANTED_UP, "a run was asked for")

    def carry(self) -> None:
        """Its spec has changed."""
        self._paused |= not self._service.spec.wanted
        self._stir.set()

    def forget(self) -> None:
        """It is not loaded any more; its runs are kept for who asks."""
        self.end()
        if self.book.anchor:
            self._save(replace(self.book, anchor=0.0, queued=0.0))

    def end(self) -> None:
        """It is no job any more, or gone."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def busy(self) -> bool:
        service = self._service
        return service.life.state is not State.DOWN or not service.settled or any(run.open for run in self.book.runs)

    @property
    def done_well(self) -> bool:
        return self.book.last is not None and self.book.last.outcome is Outcome.OK

    def left(self, plan: Plan) -> Plan:
        """The plan of the run that was found, with the time that is left of it."""
        run = self.book.begun
        if run is None or plan.run_timeout_s is None:
            return plan
        return replace(plan, run_timeout_s=max(0.0, plan.run_timeout_s - max(0.0, clock.wall() - run.began_at)))

    # --- its runs

    def attached(self, start_id: str) -> None:
        """A process of it was found."""
        run = self.book.begun
        if run is not None and not run.start_id:
            self._save(self.book.put(run.id, start_id=start_id))
        self._known = True
        if self._service.spec.schedule is not None:
            self._follow()

    def begin(self) -> tuple[str, ...]:
        """The holder is about to be asked: the arguments of the run. SteadError: it is not to begin."""
        run = self.book.asked
        if run is None:
            raise ConflictError(f"job {self._service.name}", "has no run to begin")
        self._must_save(self.book.put(run.id, outcome=Outcome.BEGUN, began_at=clock.wall(), holder=self._holder(), because=""))
        return run.args

    def began(self, start_id: str) -> None:
        if (run := self.book.begun) is not None:
            self._save(self.book.put(run.id, start_id=start_id))

    def exited(self, event: Exited) -> None:
        """A process has ended: written down before the holder forgets it."""
        run = self.book.begun
        earlier = {each.start_id for each in self.book.runs if each is not run}
        if run is None or run.start_id not in ("", event.start_id) or event.start_id in earlier:
            return
        service, life = self._service, self._service.life
        stopping = life.state in (State.DRAINING, State.STOPPING)
        wanted = service.spec.wanted and not service.gone and not self._host.stopping and not stopping
        outcome = jobs.ended(event.code, event.signal, wanted=wanted, timed_out=stopping and life.timed_out)
        because = hooks.how_it_ended(event.code, event.signal, event.cause) + (f": {life.stop_because}" if stopping else "")
        code, signal = -1 if event.code is None else event.code, event.signal or 0
        self._save(
            self.book.put(
                run.id, start_id=event.start_id, outcome=outcome, code=code, signal=signal, because=because, ended_at=clock.wall()
            )
        )
        self._judge(outcome, because)

    def settle(self) -> None:
        """Called whenever its life may have come to rest: what is still open then was never started."""
        service = self._service
        if not self._known or service.life.state is not State.DOWN or not service.settled:
            return
        for run in self.book.runs:
            if run.open:
                self._save(self.book.put(run.id, outcome=Outcome.NOT_RUN, because=service.life.because, ended_at=clock.wall()))
                self._judge(Outcome.NOT_RUN, service.life.because)
        once = service.spec.run_once
        done = self.book.run(once) if once else None
        if done is not None and not done.open and not service.gone:
            with suppress(SteadError):  # the next supervisor finds the run closed, and tries again
                self._host.specs.remove(service.name)
        self._stir.set()

    def _judge(self, outcome: Outcome, because: str) -> None:
        """A release that is on trial is proved by a run that ends well, and given up after one that does not."""
        self._host.journal.write("job", self._service.name, f"{outcome}: {because}")
        if outcome is Outcome.OK:
            self._service.memory.prove()
        elif outcome in (Outcome.FAILED, Outcome.TIMED_OUT):
            self._service.memory.give_up_trial(because)
        self._host.announce()

    # --- its schedule

    def _follow(self) -> None:
        if self._task is None or self._task.done():
            self._draw()
            self._task = self._host.tasks.create_task(self._keep_time(), name=f"{self._service.name} schedule")
        self._stir.set()

    async def _keep_time(self) -> None:
        while True:
            self._stir.clear()
            left_s = self._look(clock.wall())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stir.wait(), min(left_s, JOB_LOOK_S))  # short: the clock may be set

    def _look(self, now: float) -> float:
        """Do what is due; the seconds until the next look."""
        service, schedule = self._service, self._service.spec.schedule
        if schedule is None or not service.spec.wanted or service.gone or self._host.stopping or not self._known:
            return JOB_LOOK_S
        verdict = jobs.decide(schedule, self.book, busy=self.busy, now=now, jitter_s=self._jitter_s)
        if verdict.act is Act.WAIT:
            return max(0.0, verdict.at - now)
        book = jobs.seen_to(schedule, self.book, verdict, now)
        if verdict.act in (Act.RUN, Act.REPLACE):
            for run in self.book.runs:
                if run.outcome is Outcome.ASKED:  # it has not begun, and its successor takes its place
                    book = book.put(run.id, outcome=Outcome.NOT_RUN, because="replaced by the next run", ended_at=now)
            book = book.add(Run(id=os.urandom(8).hex(), asked_at=now, due=verdict.at))
        try:
            self._must_save(book)
        except SteadError:
            return JOB_LOOK_S
        self._draw()
        if verdict.act is Act.RUN:
            service.tell(Event.WANTED_UP, verdict.because)
        elif verdict.act is Act.REPLACE:
            service.post(Happened(event=Event.RESTART, because=verdict.because))
        else:
            self._host.journal.write("job", service.name, f"{verdict.act}: {verdict.because}")
        return 0.0

    def _draw(self) -> None:
        schedule = self._service.spec.schedule
        self._jitter_s = schedule.jitter_s * self._host.chance.random() if schedule is not None else 0.0

    @property
    def next_run(self) -> float | None:
        """When the next one is due, as far as it is known."""
        spec = self._service.spec
        if spec.schedule is None or not spec.wanted or self._service.gone:
            return None
        return due_after(spec.schedule, self.book.anchor) + self._jitter_s

    # --- the disk

    def _holder(self) -> str:
        """Which holder is there now."""
        info = self._host.holder.info
        found = procfs.stat(info.pid) if info is not None else None
        return f"{info.boot_id} {info.pid} {found.start_time}" if info is not None and found is not None else ""

    def _save(self, book: Book) -> None:
        """A disk that refuses costs the memory, not the run."""
        with suppress(SteadError):
            self._must_save(book)
        self.book = book

    def _must_save(self, book: Book) -> None:
        """On disk, or SteadError and no change."""
        try:
            write(self._directory, self._service.name, book)
        except SteadError as error:
            if not self.trouble:
                self._host.journal.write("job", self._service.name, f"its book could not be written: {error}")
            self.trouble = f"its book could not be written: {error}"
            raise
        self.book, self.trouble = book, ""
        self._host.changed.beat()


def read(directory: Path, name: str) -> Book:
    """A job's book; an empty one when there is none, or when it cannot be read (it is then put aside as `.broken`)."""
    path = directory / f"{name}.toml"
    with storage(path):
        try:
            return Book.parse(path.read_text(), thing=str(path))
        except FileNotFoundError:
            return Book()
        except (InputError, UnicodeDecodeError):
            path.replace(path.with_suffix(".broken"))
            return Book()


def write(directory: Path, name: str, book: Book) -> None:
    make_dirs(directory, mode=0o700)
    write_atomic(directory / f"{name}.toml", book.render().encode(), mode=0o600)


def told(run: Run) -> dict[str, Any]:
    """What people and programs are shown of a run. Arguments are not: they may be secret."""
    stamps = {
        key: clock.stamp(value) if value else None for key, value in (("due", run.due), ("began", run.began_at), ("ended", run.ended_at))
    }
    code = run.code if run.code >= 0 else None
    return {"id": run.id, "outcome": str(run.outcome), "because": run.because, **stamps, "code": code, "signal": run.signal or None}


def prune(directory: Path, loaded: set[str]) -> None:
    """Books of jobs that are not loaded any more: the newest are kept."""
    with suppress(OSError):
        left = sorted((file for file in directory.glob("*.toml") if file.stem not in loaded), key=lambda file: file.stat().st_mtime)
        for file in left[:-JOB_BOOKS_KEPT]:
            file.unlink(missing_ok=True)
