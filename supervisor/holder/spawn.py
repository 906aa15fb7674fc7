"""One process, from fork to exec, with a gate between: it begins only after its record is on disk.

    holder: fork ─ pidfd ─ record, fsync ─ open the gate ─ wait for exec ───────────── reply
    child:  └─ close what it inherited ─ wait at the gate ─ session, log, user, cwd ─ exec

Rules: a holder that dies before it opens the gate closes it, and the child ends without having run anything. No PDEATHSIG: services
outlive their holder. The child gets no descriptor, signal handler or signal mask of ours. Plain fork: this process is small and has no
threads. Not here: what is recorded (`registry.py`), and everything after exec (`process.py`).
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress

from hart.limits import HOLDER_EXEC_S
from supervisor.holder import procfs
from supervisor.holder.protocol import StartRequest

GATE_CLOSED = 125
NOT_STARTED = 127


class SpawnError(Exception):
    """The process could not be started; the text says at which step and why."""


def spawn(request: StartRequest, commit: Callable[[int, int], None], *, pipe: str | None) -> tuple[int, int]:
    """Start one process; its pid and a pidfd of it. `pipe` takes its output (None: it keeps ours).

    `commit(pid, start_time)` must have the process on disk when it returns; if it raises OSError, nothing was run. SpawnError."""
    ends: list[int] = []
    pid = pidfd = 0
    try:
        ends += os.pipe()
        ends += os.pipe()
        gate, opener, errors, reporter = ends
        pid = _fork(request, gate, reporter, pipe)
        for fd in (gate, reporter):  # the child's ends: ours would hide its death
            ends.remove(fd)
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        found = procfs.stat(pid)
        assert found is not None, pid  # our own child, not reaped
        commit(pid, found.start_time)
        os.write(opener, b"g")
        _await_exec(errors, request.argv[0])
    except (OSError, SpawnError) as error:
        if pid:
            os.kill(pid, signal.SIGKILL)  # our own child, not reaped: the number is its
            os.waitid(os.P_PID, pid, os.WEXITED)
        if pidfd:
            os.close(pidfd)
        if isinstance(error, SpawnError):
            raise
        raise SpawnError(f"cannot {'record it' if pidfd else 'fork'}: {error.strerror}") from error
    finally:
        for fd in ends:
            os.close(fd)
    return pid, pidfd


def _fork(request: StartRequest, gate: int, reporter: int, pipe: str | None) -> int:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(request, gate, reporter, pipe)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _await_exec(errors: int, program: str) -> None:
    """Until exec closed the pipe; SpawnError with what the child reports."""
    poll = select.poll()
    poll.register(errors, select.POLLIN)
    if not poll.poll(HOLDER_EXEC_S * 1000):
        raise SpawnError(f"exec: not done within {HOLDER_EXEC_S:g} s: {program}")
    failure = os.read(errors, 4096).decode(errors="replace")
    if failure:
        raise SpawnError(_explain(failure, program))


def _explain(failure: str, program: str) -> str:
    if failure.startswith("exec: No such file") and os.path.exists(program):  # noqa: PTH110  pathlib is memory that we save
        return f"exec: the interpreter that {program} names in its first line is not there"
    return f"{failure}: {program}" if failure.startswith("exec:") else failure


def _become(request: StartRequest, gate: int, reporter: int, pipe: str | None) -> None:
    """In the child: never returns. `step` is what the report names."""
    step = "gate"
    try:
        signal.set_wakeup_fd(-1)
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError, ValueError):  # the C library keeps two for itself
                signal.signal(signum, signal.SIG_DFL)
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208  as above
            if fd > 2 and fd not in (gate, reporter):
                with suppress(OSError):  # the listing's own
                    os.close(fd)
        if os.read(gate, 1) != b"g":
            os._exit(GATE_CLOSED)
        step = "session"
        os.setsid()
        step = "log"
        _connect(0, os.open("/dev/null", os.O_RDONLY))
        if pipe is not None:
            _connect(1, os.open(pipe, os.O_RDWR | os.O_NOFOLLOW))
            os.dup2(1, 2)
        step = "user"
        if os.geteuid() == 0 and (request.uid is not None or request.gid is not None):
            os.setgroups(request.groups)
        if request.gid is not None:
            os.setgid(request.gid)
        if request.uid is not None:
            os.setuid(request.uid)
        os.umask(request.umask)
        step = f"directory {request.cwd}"
        os.chdir(request.cwd)
        step = "exec"
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(request.argv[0], request.argv, request.env)  # noqa: S606  an argument list, and never a shell
    except OSError as error:
        os.write(reporter, f"{step}: {error.strerror}".encode())
    except BaseException as error:  # noqa: BLE001  a forked child must not come back into the holder's loop
        os.write(reporter, f"{step}: {type(error).__name__}: {error}".encode())
    finally:
        os._exit(NOT_STARTED)


def _connect(number: int, fd: int) -> None:
    os.dup2(fd, number)
    if fd > 2:
        os.close(fd)
