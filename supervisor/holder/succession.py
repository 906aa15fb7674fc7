"""The holder's upgrade: it becomes its own next version by exec, so that its children stay its children.

    old image: check the new program ─ drain the logs ─ keep signals back ─ exec
    new image: read the memo ─ the lock and the pipes are in hand ─ adopt from the records ─ let the signals come

Rules: the process, and so its pid, its children's statuses, the lock, its place in systemd and in its cgroup stay. Descriptors go over by
number, each under a name; everything else the next image finds in the records, as after a kill. What is missing is opened anew. What
cannot start, or cannot read our records, is refused before anything was done. Not here: when (`main.py`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn

from hart.limits import HOLDER_CHECK_S

MODULE = ("-P", "-m", "supervisor.holder.main")
MEMO = "STEAD_HOLDER_MEMO"  # in the environment, from image to image; never in a child's
CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)  # would end a Python that has not set its handlers yet
SAID_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What one image leaves to the next. `python` is how it was started, `version` its own, `turn` counts the images of this process."""

    python: str = ""
    version: str = ""
    turn: int = 0
    fds: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps({"python": self.python, "version": self.version, "turn": self.turn, "fds": dict(self.fds)})


def parse(text: str) -> Memo:
    """A memo, as far as it can be understood: what cannot is found out in other ways. Never raises."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Memo()
    if not isinstance(value, dict):
        return Memo()
    python, version, turn, fds = value.get("python"), value.get("version"), value.get("turn"), value.get("fds")
    named = fds.items() if isinstance(fds, dict) else ()
    return Memo(
        python=python if isinstance(python, str) else "",
        version=version if isinstance(version, str) else "",
        turn=turn if type(turn) is int and turn >= 0 else 0,
        fds={name: fd for name, fd in named if type(fd) is int and fd > 2},
    )


def take(environ: MutableMapping[str, str]) -> Memo:
    """The memo that we were started with; out of the environment, and its descriptors are nobody else's. Closed ones are left out."""
    memo = parse(environ.pop(MEMO, ""))
    open_fds = {}
    for name, fd in memo.fds.items():
        with suppress(OSError):
            os.set_inheritable(fd, False)
            open_fds[name] = fd
    return replace(memo, fds=open_fds)


def with_program(argv: Sequence[str], old: str, new: str) -> list[str]:
    """A command line with another interpreter, where it had ours."""
    return [new, *argv[1:]] if argv and argv[0] == old else list(argv)


def command(program: str, state: str, supervisor: Sequence[str]) -> list[str]:
    """The holder's command line."""
    return [program, *MODULE, "--state", state, "--supervisor", *supervisor]


def check(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[str, str]:
    """Run a holder's command line with `--check`: its version, or why it cannot take over. Waits for it, at most HOLDER_CHECK_S."""
    read_end, write_end = os.pipe()
    said, pid = b"", 0
    try:
        actions = [(os.POSIX_SPAWN_DUP2, write_end, 1), (os.POSIX_SPAWN_DUP2, write_end, 2)]
        first = 1 + len(MODULE)
        pid = os.posix_spawn(
            argv[0], [*argv[:first], "--check", *argv[first:]], dict(environ), file_actions=actions, setsigmask=[], setsigdef=CAUGHT
        )
        os.close(write_end)
        write_end = -1
        said, ended = _read(read_end, time.monotonic() + HOLDER_CHECK_S)
    except OSError as error:
        return "", f"{argv[0]}: {error.strerror}"
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if not ended:
        os.kill(pid, signal.SIGKILL)  # our own child, not reaped: the number is its
    _, status = os.waitpid(pid, 0)
    lines = said.decode(errors="replace").split("\n")
    if not ended or status != 0:
        said_lines = [line.strip() for line in lines if line.strip() and not line.strip().startswith("next:")]
        last = said_lines[-1] if said_lines else "it said nothing"
        return "", f"{argv[0]} cannot take over: {last if ended else f'no answer in {HOLDER_CHECK_S:g} s'}"
    return lines[0].strip(), ""


def _read(fd: int, until: float) -> tuple[bytes, bool]:
    """What is written until the end, or until the time is over; and whether it ended."""
    said = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        block = os.read(fd, SAID_MAX)
        if not block:
            return said, True
        said = (said + block)[-SAID_MAX:]
    return said, False


def become(argv: Sequence[str], environ: Mapping[str, str], memo: Memo) -> NoReturn:
    """Exec. OSError when it could not be: nothing has changed then."""
    for fd in memo.fds.values():
        os.set_inheritable(fd, True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
    try:
        os.execve(argv[0], list(argv), {**environ, MEMO: memo.text()})  # noqa: S606  an argument list, and never a shell
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for fd in memo.fds.values():
            os.set_inheritable(fd, False)


def let_signals_come() -> None:
    """What came between the images is delivered now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
