"""Running one command of a build: own session, own log, an end that leaves nothing behind.

Rules: standard input is empty, the file mode mask is 022, the environment is exactly the given one; the command, everything in its
process group and what it left elsewhere (`orphans`) is killed when the command ends, when it is interrupted, or at its deadline. The log
is on disk from the first byte and bounded. Not here: what a step is (`steps`), what is said about it (`reporter`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Protocol

from builder.orphans import adopted
from hart.errors import BuildError
from hart.files import storage
from hart.limits import CHUNK, STEP_DEADLINE_S, STEP_KILL_S, STEP_LOG_MAX, STEP_TAIL_LINES

TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit code, or minus the signal that killed it."""

    code: int
    timed_out: bool = False

    @property
    def words(self) -> str:
        if self.timed_out:
            return f"ran longer than {STEP_DEADLINE_S / 3600:g} hours and was killed"
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"ended with exit code {self.code}"


class Sink(Protocol):
    """Where a command's output goes."""

    def write(self, data: bytes, /) -> None: ...


class Questions(Protocol):
    """A second channel with a command: it asks on `fd` and waits, `answer` reads one question and answers it."""

    @property
    def fd(self) -> int: ...

    @property
    def inherited(self) -> tuple[int, ...]:
        """The command's own ends."""

    def answer(self) -> None: ...


class Log:
    """A step's log file: bounded, with what was dropped counted in its last line."""

    def __init__(self, path: Path, *, limit: int = STEP_LOG_MAX) -> None:
        self.path = path
        self.left = limit
        self.dropped = 0
        with storage(path):
            self.file: BinaryIO = path.open("wb")

    def write(self, data: bytes) -> None:
        kept = data[: self.left]
        self.left -= len(kept)
        self.dropped += len(data) - len(kept)
        with storage(self.path):
            self.file.write(kept)
            self.file.flush()

    def line(self, text: str) -> None:
        self.write(f"{text}\n".encode())

    def close(self) -> None:
        with storage(self.path):
            if self.dropped:
                self.file.write(f"\n[{self.dropped} more bytes were dropped: a step's log is limited]\n".encode())
            self.file.close()


def tail(path: Path, *, lines: int = STEP_TAIL_LINES) -> list[str]:
    """The last lines of a log, printable; long lines are cut."""
    kept: deque[str] = deque(maxlen=lines)
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 64 * 1024))
            for raw in stream.read().decode("utf-8", "replace").splitlines():
                kept.append("".join(char if char.isprintable() or char == "\t" else "�" for char in raw)[:500])
    except OSError:
        return []
    return [line for line in kept if line.strip()]


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    log: Sink,
    tick: Callable[[], None] = lambda: None,
    deadline_s: float = STEP_DEADLINE_S,
    questions: Questions | None = None,
    holding: Sequence[int] = (),
) -> Ended:
    """Run a command to its end. `log` is written, `tick` called about twice a second; see Questions for the rest.

    `holding` are descriptors that the command and its children keep open: a lock lives as long as any of them."""
    with adopted():
        return run_group(argv, cwd, environ, log, tick, deadline_s, questions, holding)


def run_group(
    argv: Sequence[str],
    cwd: Path,
    environ: Mapping[str, str],
    log: Sink,
    tick: Callable[[], None],
    deadline_s: float,
    questions: Questions | None,
    holding: Sequence[int],
) -> Ended:
    """The command and its process group."""
    if not cwd.is_dir():
        raise BuildError(str(cwd), "is no directory any more", next="does a step remove it?")
    try:
        child = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
            pass_fds=(*(questions.inherited if questions else ()), *holding),
        )
    except OSError as error:
        raise BuildError(argv[0], f"cannot be run: {error.strerror}", next=f"install {Path(argv[0]).name} and build again") from error
    try:
        return attend(child, log, tick, time.monotonic() + deadline_s, questions)
    finally:
        end_group(child)
        assert child.stdout is not None
        child.stdout.close()


def attend(child: subprocess.Popen[bytes], log: Sink, tick: Callable[[], None], deadline: float, questions: Questions | None) -> Ended:
    """Copy a child's output until the child itself has ended; what its leftovers hold open is not waited for."""
    assert child.stdout is not None
    output = child.stdout.fileno()
    os.set_blocking(output, False)
    pidfd = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        if questions is not None:
            poll.register(questions.fd, select.POLLIN)
        while True:
            ready = dict(poll.poll(TICK_S * 1000))
            tick()
            if output in ready and not pump(output, log):
                poll.unregister(output)
            if questions is not None and questions.fd in ready:
                pump(output, log)  # what was written before the question belongs before the answer
                questions.answer()
            if pidfd in ready:
                os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # not yet reaped, so the group's number is still ours
                pump(output, log)
                return Ended(child.wait())
            if time.monotonic() > deadline:
                end_group(child)
                return Ended(child.wait(), timed_out=True)
    finally:
        os.close(pidfd)


def pump(fd: int, log: Sink) -> bool:
    """Copy what can be read now; False at the end of the stream."""
    for _ in range(256):  # then let the caller look at the clock: a flood must not hide the end
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        log.write(data)
    return True


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Ask a running child's process group to end, then make it."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    wait_unreaped(child, STEP_KILL_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def wait_unreaped(child: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait without reaping, so that the process group's number stays ours until it was killed."""
    pidfd = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(timeout_s * 1000)
    finally:
        os.close(pidfd)


@contextmanager
def interruptible() -> Iterator[None]:
    """TERM and HUP end a build as Ctrl-C does: through the same clean-up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError):  # not the main thread: whoever runs us there has its own way to stop
                previous[number] = signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
