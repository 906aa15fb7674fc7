"""The holder: the small process that owns the services' processes, so that nothing that decides can take them down.

    python -P -m supervisor.holder.main --state DIRECTORY --supervisor PROGRAM ARGUMENT…     (or one JSON list of them)

Rules: standard library only, no asyncio, no network, no configuration. One holder for a state directory (`LOCK`). It starts the
supervisor and starts it again whatever it dies of; INT or TERM asks the supervisor to stop all services; a second one, or no end within
the limit, stops them by force, and a third at once. HUP goes on to the supervisor. `replace` makes it its own next version
(`succession.py`); with `--check` before its arguments a program only says whether it could be that, and its version.

Exit codes: 0 everything is stopped, as somebody asked (also by the supervisor's exit code 84) · 86 the supervisor said that trying again
does not help, and why · 2 wrong arguments · 3 a record of a newer holder · 6 another holder runs · 9 the state directory.
Killed: services go on, and the next holder adopts them.

Source: docs/adr/0005-holder-and-log-fifos.md. Not here: everything that decides about services.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from hart.errors import ConflictError, FormatError, SteadError, StorageError, UsageError
from hart.limits import HOLDER_GRACE_S, HOLDER_LOCK_S, HOLDER_STOP_S, SUPERVISOR_LEAVES_S
from supervisor.holder import procfs, protocol, succession
from supervisor.holder.cgroup import find_site
from supervisor.holder.doorway import Doorway
from supervisor.holder.keeper import Keeper, RefusedError
from supervisor.holder.loop import Loop
from supervisor.holder.overseer import Overseer
from supervisor.holder.registry import NewerRecordError, Registry
from supervisor.holder.succession import Memo

STOPPED, GIVEN_UP = 84, 86
LOCK = "lock"  # in the names of descriptors that are handed over
PR_SET_CHILD_SUBREAPER = 36
USAGE = "python -P -m supervisor.holder.main --state DIRECTORY --supervisor PROGRAM ARGUMENT…"


class Holder:
    """One run, from adoption to the exit code. `state` is an absolute directory whose lock `lock` is; `memo` is of the image before us."""

    def __init__(self, state: str, argv: list[str], lock: int, memo: Memo) -> None:
        self._state, self._lock, self._memo = state, lock, memo
        self._successor: str | None = None  # the program that we are to become
        self._next_version = ""
        self._python = memo.python or sys.executable
        self._signals: list[int] = []
        self._loop = Loop()
        self._catch_signals()
        self._boot_id = procfs.boot_id()
        registry = Registry(state)
        self._site = find_site(state)
        self._keeper = Keeper(registry, self._loop, self._site, self._boot_id, self._tell, say)
        self._overseer = Overseer(registry, self._loop, self._boot_id, argv, self._supervisor_died, say)
        self._keeper.adopt_all(memo.fds)
        self._doorway = Doorway(f"{state}/holder.sock", self._loop, self._answer, self._greeting, say)
        self._stop_reason: str | None = None  # somebody asked us to end
        self._stop_by = 0.0
        self._exit_code: int | None = None  # we are ending
        self._kill_at = 0.0
        succession.let_signals_come()

    def run(self) -> int:
        self._overseer.begin(time.monotonic())
        while True:
            if self._successor is not None:
                self._become(self._successor)
            now = time.monotonic()
            self._overseer.tick(now)
            if self._stop_reason is not None and self._exit_code is None and now >= self._stop_by:
                say(f"the services did not stop within {HOLDER_STOP_S:g} s")
                self._end(0, now)
            if self._exit_code is not None and (now >= self._kill_at or not self._keeper.running()):
                self._keeper.end_all()
                self._kill_at = now + HOLDER_GRACE_S
                if self._overseer.pid is None:
                    self._doorway.flush()
                    return self._exit_code
            deadlines = [at for at in (self._overseer.deadline(), self._own_deadline()) if at is not None]
            self._loop.wait(max(0.0, min(deadlines) - now) if deadlines else None)

    def _become(self, program: str) -> None:
        """Go on as that program; returns when that could not be."""
        self._successor = None
        self._doorway.flush()
        fds = {LOCK: self._lock, **self._keeper.hand_over()}
        supervisor = succession.with_program(self._overseer.argv, self._python, program)
        memo = Memo(python=program, version=self._next_version, turn=self._memo.turn + 1, fds=fds)
        try:
            succession.become(succession.command(program, self._state, supervisor), os.environ, memo)
        except OSError as error:
            say(f"{program}: {error.strerror}; going on as before")

    def _replace(self, program: str) -> dict[str, Any]:
        if self._exit_code is not None or self._stop_reason is not None:
            raise RefusedError("the holder is ending")
        if not program.startswith("/"):
            raise RefusedError("the program is not an absolute path")
        supervisor = succession.with_program(self._overseer.argv, self._python, program)
        self._next_version, why = succession.check(succession.command(program, self._state, supervisor), os.environ)
        if why:
            raise RefusedError(why)
        self._successor = program
        return {"version": self._next_version}

    def _own_deadline(self) -> float | None:
        if self._exit_code is not None:
            return self._kill_at
        return None if self._stop_reason is None else self._stop_by

    def _end(self, code: int, now: float, *, supervisor_leaves_s: float = 0.0) -> None:
        """TERM to everything that runs; KILL after the grace (in `run`)."""
        if self._exit_code is None:
            self._exit_code = code
            self._keeper.signal_all(signal.SIGTERM)
            self._kill_at = now + HOLDER_GRACE_S
        self._overseer.rest(now + supervisor_leaves_s)

    def _supervisor_died(self, code: int | None) -> bool:
        now = time.monotonic()
        if self._exit_code is not None:
            return False
        if code == GIVEN_UP:
            self._end(GIVEN_UP, now)
        elif code == STOPPED:
            self._end(0, now)
        elif self._stop_reason is not None:
            say("the supervisor died while it was to stop the services: stopping them")
            self._end(0, now)
        return self._exit_code is None

    # --- requests

    def _tell(self, event: dict[str, Any]) -> None:
        self._doorway.tell(event)  # a method, since the doorway is made after the keeper

    def _greeting(self) -> list[dict[str, Any]]:
        return [] if self._stop_reason is None else [{"event": "stop", "reason": self._stop_reason}]

    def _answer(self, kind: str, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True, **self._carry_out(kind, message)}
        except (RefusedError, ValueError) as error:
            return {"ok": False, "error": str(error)}
        except KeyError as error:
            return {"ok": False, "error": f"{kind}: lacks {error}"}
        except Exception as error:  # noqa: BLE001  the border: a bug in one request must not orphan every service
            sys.excepthook(type(error), error, error.__traceback__)
            return {"ok": False, "error": f"bug in the holder: {type(error).__name__}: {error}"}

    def _carry_out(self, kind: str, message: dict[str, Any]) -> dict[str, Any]:
        match kind:
            case "hello":
                return {
                    "version": protocol.VERSION,
                    "boot_id": self._boot_id,
                    "pid": os.getpid(),
                    "containment": self._site.describe(),
                    "program": self._memo.version,
                    "turn": self._memo.turn,
                    "takes": protocol.TAKES,
                }
            case "attached":
                self._overseer.note_attached()
                return {}
            case "start":
                if self._exit_code is not None:
                    raise RefusedError("the holder is ending")
                return {"held": self._keeper.start(_text(message["service"]), protocol.to_start_request(message["start"]))}
            case "signal":
                who, signum = (_text(message["service"]), _text(message["start_id"])), message["signal"]
                if type(signum) is not int or not 0 <= signum < signal.NSIG:
                    raise RefusedError("no such signal")
                return {"sent": self._keeper.signal(*who, signum, group=message["group"] is True)}
            case "list":
                return {"held": self._keeper.list()}
            case "forget":
                self._keeper.forget(_text(message["service"]), _text(message["start_id"]))
                return {}
            case "shutdown":
                self._end(0, time.monotonic(), supervisor_leaves_s=SUPERVISOR_LEAVES_S)
                return {}
            case "replace":
                return self._replace(_text(message["program"]))
            case _:
                raise RefusedError(f"unknown request: {kind}")

    # --- signals

    def _catch_signals(self) -> None:
        """Every signal that has a default of ending us, or says something; the kernel keeps the rest from a PID 1 anyway."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(signum, lambda number, _: self._signals.append(number))
        for signum in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE):
            signal.signal(signum, signal.SIG_IGN)
        self._loop.watch(reader, lambda: self._take_signals(reader))

    def _take_signals(self, reader: int) -> None:
        with suppress(BlockingIOError):
            os.read(reader, 4096)
        taken, self._signals[:] = self._signals[:], []
        for signum in taken:
            if signum in (signal.SIGTERM, signal.SIGINT):
                self._asked_to_stop(signal.Signals(signum).name)
            elif signum == signal.SIGHUP:
                self._overseer.send(signum)
        known = self._keeper.known() | {self._overseer.pid or 0}
        procfs.reap_strangers(known)

    def _asked_to_stop(self, name: str) -> None:
        now = time.monotonic()
        if self._exit_code is not None:
            say(f"{name} again: killing everything")
            self._kill_at = now
            self._overseer.rest(now)
        elif self._stop_reason is not None or self._overseer.pid is None:
            say(f"{name}{' again' if self._stop_reason else ''}: stopping the services without the supervisor")
            self._stop_reason = name
            self._end(0, now)
        else:
            say(f"{name}: stopping the services; once more to force it")
            self._stop_reason, self._stop_by = name, now + HOLDER_STOP_S
            self._doorway.tell({"event": "stop", "reason": name})


def say(text: str) -> None:
    """One line for people, or one JSON object where our supervisor was told `--json-logs` (supervisor/journal.py has its shape).

    A terminal that went away is no reason to end, nor one that nobody reads a reason to wait.
    """
    line = f"stead holder: {text}"
    if "--json-logs" in sys.argv:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"at": at, "level": "warning", "topic": "holder", "because": text[:2000]}, ensure_ascii=False)
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    with suppress(OSError):
        if poll.poll(0):
            os.write(2, f"{line}\n".encode(errors="replace"))


def take_lock(state: str, fd: int | None = None) -> int:
    """The descriptor that holds `<state>/LOCK`, with our pid in it; `fd` is open already. ConflictError when another holder runs."""
    if fd is None:
        fd = os.open(f"{state}/LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    until = time.monotonic() + HOLDER_LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                pid = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
                os.close(fd)
                raise ConflictError(state, f"a supervisor runs here already (pid {pid})", next="stead sup status") from None
            time.sleep(0.02)
            continue
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd


def arguments(argv: list[str]) -> tuple[str, list[str]]:
    """The state directory and the supervisor's command line; UsageError."""
    match argv:
        case ["--state", state, "--supervisor", only] if only.startswith("["):
            try:
                words = json.loads(only)
            except ValueError:
                words = None
        case ["--state", state, "--supervisor", *words]:
            pass
        case _:
            raise UsageError("holder", "wrong arguments", next=USAGE)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words) or not words[0].startswith("/"):
        raise UsageError("--supervisor", "not a program's absolute path and its arguments", next=USAGE)
    return os.path.abspath(state), words  # noqa: PTH100  pathlib is memory that we save


def run(argv: list[str]) -> int:
    """SteadError says why it cannot begin; afterwards nothing but a kill ends it early."""
    checking = argv[:1] == ["--check"]
    state, supervisor = arguments(argv[1:] if checking else argv)
    memo = succession.take(os.environ)
    try:
        os.makedirs(state, mode=0o755, exist_ok=True)  # noqa: PTH103  as above
        if checking:
            return answer_check(state)
        lock = take_lock(state, memo.fds.get(LOCK))
        become_subreaper()
        leave_no_core()
        return Holder(state, supervisor, lock, memo).run()
    except NewerRecordError as error:
        raise FormatError(state, str(error), next="start the newer version again") from error
    except OSError as error:
        raise StorageError(str(error.filename or state), error.strerror or str(error)) from error


def answer_check(state: str) -> int:
    """Everything is loaded, and the records can be kept: say the version."""
    from importlib.metadata import PackageNotFoundError, version

    Registry(state).check()
    try:
        print(version("stead"), flush=True)
    except PackageNotFoundError:  # run from a checkout
        print("unknown", flush=True)
    return 0


def become_subreaper() -> None:
    """Orphans of our services come to us and not to init; not possible is no harm, they are only reaped elsewhere."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leave_no_core() -> None:
    """Our environment, and the supervisor's memory, hold tokens and secrets of services: no crash writes them to a disk. Who must may raise
    the soft limit again; services have limits of their own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RefusedError("service and start_id are texts")
    return value


def main() -> None:
    try:
        sys.exit(run(sys.argv[1:]))
    except SteadError as error:
        say(f"{error.thing}: {error.cause}" + (f"\n  next: {error.next}" if error.next else ""))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
