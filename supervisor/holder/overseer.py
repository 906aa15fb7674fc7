"""The supervisor as the holder's child: started, started again when it dies, and never twice.

Rules: a supervisor that did its work is started again at once, whatever it died of; only one that fails again and again at its start is
waited with (`after_death`). Its hooks that are left behind are killed: nobody else would end them in time. After a holder's death the old
supervisor, known by its record as a service is, must be gone before a new one starts; it leaves by itself, or is killed. It runs in its own
session, so a terminal's Ctrl-C reaches the holder only. Not here: what its exit codes mean (`main.py`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from hart.limits import SUPERVISOR_BACKOFF_S, SUPERVISOR_LEAVES_S, SUPERVISOR_STEADY_S
from supervisor.holder import procfs
from supervisor.holder.loop import Loop
from supervisor.holder.process import Process, adopt
from supervisor.holder.protocol import Held, StartRequest
from supervisor.holder.registry import Record, Registry
from supervisor.holder.spawn import SpawnError, spawn

NAME = "supervisor"


FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP)  # a program's own


def after_death(failures: int, *, attached: bool, signum: int | None, lived_s: float) -> tuple[int, float]:
    """The failures in a row after a death (`signum`: of which signal, None for an exit), and the wait before the next start: 0, ½, 1 … s.

    One that had taken over the services did its work, and its death is no failure when somebody else killed it or it had lived a while."""
    if attached and (lived_s >= SUPERVISOR_STEADY_S or signum not in (None, *FAULTS)):
        return 0, 0.0
    first_s, longest_s = SUPERVISOR_BACKOFF_S
    return failures + 1, min(longest_s, first_s * 2.0 ** min(failures - 1, 32)) if failures else 0.0


class Overseer:
    """`died(code)` hears of each end of a supervisor that we started (None: a signal) and says whether another is wanted."""

    def __init__(
        self,
        registry: Registry,
        loop: Loop,
        boot_id: str,
        argv: list[str],
        died: Callable[[int | None], bool],
        say: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._loop = loop
        self._boot_id = boot_id
        self._died = died
        self._say = say
        self._argv = argv
        self._env = dict(os.environ)
        self._process: Process | None = None
        self._former = False
        self._start_at: float | None = None
        self._kill_at: float | None = None
        self._started = 0.0
        self._attached = False
        self._failures = 0

    @property
    def argv(self) -> list[str]:
        return self._argv

    @property
    def pid(self) -> int | None:
        """None between two supervisors."""
        return None if self._process is None else self._process.pid

    def begin(self, now: float) -> None:
        """Start the supervisor, after the one that a dead holder left."""
        record, complaint = self._registry.load_supervisor()
        if complaint:
            self._say(complaint)
        former = None if record is None else adopt(record, self._boot_id)
        self._start_at = now
        if former is not None and former.running:
            self._say(f"waiting for the former supervisor (pid {former.pid}) to leave")
            self._watch(former)
            self._former = True
            self._kill_at = now + SUPERVISOR_LEAVES_S

    def note_attached(self) -> None:
        """The supervisor says that it has taken over the services."""
        self._attached = True

    def send(self, signum: int) -> None:
        if self._process is not None:
            self._process.send(signum, group=False)

    def rest(self, kill_at: float) -> None:
        """No further start; whoever runs at `kill_at` is killed."""
        self._start_at, self._kill_at = None, kill_at

    def deadline(self) -> float | None:
        """When `tick` is next wanted."""
        return self._start_at if self._process is None else self._kill_at

    def tick(self, now: float) -> None:
        if self._process is None:
            if self._start_at is not None and now >= self._start_at:
                self._start(now)
        elif self._kill_at is not None and now >= self._kill_at:
            self._say(f"killing the supervisor (pid {self._process.pid})")
            self._process.send(signal.SIGKILL, group=True)
            self._kill_at = now + SUPERVISOR_LEAVES_S

    def _start(self, now: float) -> None:
        start_id, started_at = os.urandom(16).hex(), time.time()  # noqa: TID251  the shell reads the clock: people read it
        request = StartRequest(argv=self._argv, env={**self._env, procfs.MARK: start_id}, cwd=".", log="", umask=_umask())
        records: list[Record] = []

        def commit(pid: int, start_time: int, _: list[str]) -> None:
            held = Held(
                service=NAME,
                start_id=start_id,
                pid=pid,
                boot_id=self._boot_id,
                start_time=start_time,
                started_at=started_at,
                running=True,
            )
            records.append(Record(held=held, log=None, argv=self._argv))
            self._registry.save_supervisor(records[0])

        self._started, self._start_at, self._attached = now, None, False
        try:
            _, pidfd = spawn(request, commit, pipe=None)
        except SpawnError as error:
            self._start_again(now, None, f"the supervisor cannot be started: {error}")
            return
        self._watch(Process(records[0], pidfd, ours=True))

    def _watch(self, process: Process) -> None:
        self._process = process
        self._loop.watch(process.pidfd, self._ended)

    def _ended(self) -> None:
        process, now = self._process, time.monotonic()
        assert process is not None
        self._loop.unwatch(process.pidfd)
        process.learn_end()
        if left := process.sweep():
            self._say(f"what the supervisor left behind does not die: pid {', '.join(map(str, left))}")
        process.release()
        self._process = self._kill_at = None  # its record stays: the next one's needs its room, and it names nobody else
        if self._former:
            self._former = False
            return
        held = process.record.held
        if self._died(held.code):
            how = f"signal {held.signal}" if held.code is None else f"exit code {held.code}"
            self._start_again(now, held.signal, f"the supervisor ended by {how}")
            return
        try:
            self._registry.drop_supervisor()
        except OSError as error:
            self._say(f"the supervisor's record cannot be removed: {error.strerror}")

    def _start_again(self, now: float, signum: int | None, why: str) -> None:
        lived_s = now - self._started
        self._failures, wait_s = after_death(self._failures, attached=self._attached, signum=signum, lived_s=lived_s)
        self._start_at = now + wait_s
        self._say(f"{why}; starting it again {f'in {wait_s:g} s' if wait_s else 'at once'}, the services go on")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
