"""One process, from fork to exec, with a gate between: it begins only after its record is on disk.

    holder: fork ─ pidfd ──────────────────────── record, fsync ─ open the gate ─ wait for exec ────────────────── reply
    child:  └─ close what it inherited ─ cgroup, limits ─ wait at the gate ─ session, log, readiness, user, cwd ─ exec

Rules: what of cgroup, limits and privileges cannot be had is told before the record is made, and is no reason not to start. A holder
that dies before it opens the gate closes it, and the child ends without having run anything. No PDEATHSIG: services outlive their
holder. The child gets no signal handler or signal mask of ours, and no descriptor but the one that it says it is ready with, and a copy
of the receiving end, which is there to be kept (`readiness.py`). Plain fork: this process is small and has no threads.
Not here: what is recorded (`registry.py`), and everything after exec (`process.py`).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from hart.limits import HOLDER_EXEC_S, SERVICE_PIDS
from supervisor.holder import procfs
from supervisor.holder.protocol import StartRequest

GATE_CLOSED = 125
NOT_STARTED = 127
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE = 0x20000, 0x1000, 0x4000, 0x80000
TMP = ("/tmp", "/var/tmp")  # noqa: S108  what a private one takes the place of
TOLD_MAX = 3000  # bytes: one write to a pipe
KEPT_FD = 10  # the lowest number of what a process only keeps for us: those below have meanings


class SpawnError(Exception):
    """The process could not be started; the text says at which step and why."""


class Plumbing(NamedTuple):
    """What a process is connected to, as in `spawn`."""

    pipe: str | None
    groups: Sequence[str]
    kept: int | None
    ready_pipe: str | None


def spawn(
    request: StartRequest,
    commit: Callable[[int, int, list[str]], None],
    *,
    pipe: str | None,
    groups: Sequence[str] = (),
    kept: int | None = None,
    ready_pipe: str | None = None,
) -> tuple[int, int]:
    """Start one process; its pid and a pidfd of it. `pipe` takes its output (None: it keeps ours), `groups` are the cgroup that it joins,
    `ready_pipe` is behind its descriptor `request.notify_fd`; of our descriptor `kept` it gets a copy.

    `commit(pid, start_time, less)` must have the process on disk when it returns; if it raises OSError, nothing was run. `less` is what
    could not be had for it. SpawnError."""
    ends: list[int] = []
    pid = pidfd = 0
    try:
        ends += os.pipe()
        ends += os.pipe()
        gate, opener, errors, reporter = ends
        pid = _fork(request, gate, reporter, Plumbing(pipe, groups, kept, ready_pipe))
        for fd in (gate, reporter):  # the child's ends: ours would hide its death
            ends.remove(fd)
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        found = procfs.stat(pid)
        assert found is not None, pid  # our own child, not reaped
        commit(pid, found.start_time, _await_ready(errors))
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


def _fork(request: StartRequest, gate: int, reporter: int, plumbing: Plumbing) -> int:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(request, gate, reporter, plumbing)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _await_ready(errors: int) -> list[str]:
    """Until the child waits at the gate: what it could not have."""
    poll = select.poll()
    poll.register(errors, select.POLLIN)
    told = os.read(errors, TOLD_MAX + 1) if poll.poll(HOLDER_EXEC_S * 1000) else b""
    if not told.endswith(b"\0"):
        raise SpawnError(told.decode(errors="replace") or "it did not come to the gate")
    return [line for line in told[:-1].decode(errors="replace").split("\n") if line]


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


def _become(request: StartRequest, gate: int, reporter: int, plumbing: Plumbing) -> None:
    """In the child: never returns. `step` is what the report names."""
    step = "gate"
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        signal.set_wakeup_fd(-1)
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError, ValueError):  # the C library keeps two for itself
                signal.signal(signum, signal.SIG_DFL)
        above = max(KEPT_FD, (request.notify_fd or 0) + 1)
        reporter = fcntl.fcntl(reporter, fcntl.F_DUPFD_CLOEXEC, above)
        kept = -1 if plumbing.kept is None else fcntl.fcntl(plumbing.kept, fcntl.F_DUPFD, above)
        _close_all_but(0, 1, 2, gate, reporter, kept)
        less = [*_join(plumbing.groups), *_limit(request, plumbing.groups), *_hide_tmp(request, libc)]
        os.write(reporter, "\n".join(less).encode(errors="replace")[:TOLD_MAX] + b"\0")
        if os.read(gate, 1) != b"g":
            os._exit(GATE_CLOSED)
        step = "session"
        os.setsid()
        step = "log"
        _connect(0, os.open("/dev/null", os.O_RDONLY))
        if plumbing.pipe is not None:
            _connect(1, os.open(plumbing.pipe, os.O_RDWR | os.O_NOFOLLOW))
            os.dup2(1, 2)
        step = "readiness"
        if plumbing.ready_pipe is not None and request.notify_fd is not None:
            fd = os.open(plumbing.ready_pipe, os.O_RDWR | os.O_NOFOLLOW)
            fcntl.fcntl(fd, fcntl.F_DUPFD, above)  # what it has written stays when it closes its own
            _connect(request.notify_fd, fd)
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
        if request.no_new_privs:
            step = "no_new_privs"
            _must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        step = "exec"
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(request.argv[0], request.argv, request.env)  # noqa: S606  an argument list, and never a shell
    except OSError as error:
        os.write(reporter, f"{step}: {error.strerror}".encode())
    except BaseException as error:  # noqa: BLE001  a forked child must not come back into the holder's loop
        os.write(reporter, f"{step}: {type(error).__name__}: {error}".encode())
    finally:
        os._exit(NOT_STARTED)


def _close_all_but(*kept: int) -> None:
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208  as above
        if fd not in kept:
            with suppress(OSError):  # the listing's own
                os.close(fd)


def _join(groups: Sequence[str]) -> list[str]:
    """Move ourselves into a cgroup. In version 1 `tasks` moves one thread, which we are, and has no lock to wait for."""
    less = []
    for path in groups:
        try:
            with open(f"{path}/tasks" if os.path.exists(f"{path}/tasks") else f"{path}/cgroup.procs", "wb", buffering=0) as file:  # noqa: PTH110
                file.write(b"0")
        except OSError as error:
            less.append(f"not in the group {path}: {error.strerror}")
    return less


def _limit(request: StartRequest, groups: Sequence[str]) -> list[str]:
    limits, less = request.limits, []
    wanted = [(name, kind, limits.get(name)) for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("core", resource.RLIMIT_CORE))]
    if not any(os.path.exists(f"{path}/pids.max") for path in groups):  # noqa: PTH110  pathlib is memory that we save
        # All processes of the user count: a small limit of one service would keep the others from starting.
        wanted.append(("pids", resource.RLIMIT_NPROC, max(limits["pids"], SERVICE_PIDS) if "pids" in limits else None))
    for name, kind, amount in wanted:
        if amount is None:
            continue
        try:
            resource.setrlimit(kind, (int(amount), int(amount)))
        except (OSError, ValueError):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (hard, hard))
            less.append(f"{name} {int(amount)}: only {hard}, the hard limit that this holder has")
    return less


def _hide_tmp(request: StartRequest, libc: ctypes.CDLL) -> list[str]:
    """A mount namespace in which the service's own directory stands for the directories of temporary files."""
    if request.tmp is None:
        return []
    if any(f"{path}/".startswith(f"{top}/") for path in (request.argv[0], request.cwd, request.log, request.tmp) for top in TMP):
        return ["no private /tmp, only TMPDIR: the service itself lies below it"]
    try:
        _must(libc.unshare(CLONE_NEWNS))
        _must(libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None))
        for top in TMP:
            if os.path.isdir(top):  # noqa: PTH112  as above
                _must(libc.mount(os.fsencode(request.tmp), top.encode(), None, MS_BIND, None))
    except OSError as error:
        return [f"no private /tmp, only TMPDIR: {error.strerror}"]
    return []


def _must(result: int) -> None:
    """OSError unless a call of the C library succeeded."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _connect(number: int, fd: int) -> None:
    if fd == number:
        os.set_inheritable(fd, True)
        return
    os.dup2(fd, number)
    if fd > 2:
        os.close(fd)
