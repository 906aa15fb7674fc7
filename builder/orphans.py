"""What a command leaves behind in sessions of its own (daemons): adopted by us, not by init, and ended with the command.

Rules: while a command runs we are the reaper of its descendants, so one whose parent has ended becomes our child; at the end every child
that was not ours before is killed, and those that it leaves in turn. Only on the main thread: another thread's children could not be told
from orphans. Where the kernel lists no children, process groups are all that is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
ROUNDS = 1000  # a process that forks faster than it is killed is given up on, rather than waited for


@contextmanager
def adopted() -> Iterator[None]:
    """End what the body's commands left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    was = ctypes.c_int(0)
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0)
    before = children()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        for _ in range(ROUNDS):
            left = children() - before
            if not left:
                break
            end(left)
        libc.prctl(PR_SET_CHILD_SUBREAPER, was.value, 0, 0, 0)


def end(pids: set[int]) -> None:
    """Kill and reap children."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # our child and not reaped, so the number is still its own
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def children() -> set[int]:
    """Our children, of any thread."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, task.read_text().split()))
    return found
