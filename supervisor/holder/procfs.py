"""What the kernel says about processes: who is who, whose child, what a dead one left behind.

Rules: a pid alone names nobody. A process is (boot id, pid, start time), and whoever is to be signalled is first held by a pidfd and
then looked at again. Source: proc(5), fields of /proc/PID/stat.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MARK = "STEAD_START_ID"
PIDFD_SIGNAL_PROCESS_GROUP = 4  # Linux 6.9: the group of exactly that process, even after its number is free again


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that we need; `start_time` in clock ticks since boot (field 22)."""

    pid: int
    state: str
    ppid: int
    pgrp: int
    session: int
    start_time: int

    @property
    def dead(self) -> bool:
        return self.state in "ZXx"


def parse_stat(line: bytes) -> Stat:
    """ValueError when it is none. The name in parentheses may itself hold parentheses and spaces."""
    head, bracket, tail = line.rpartition(b")")
    fields = tail.split()
    if not bracket or len(fields) < 20 or len(fields[0]) != 1:
        raise ValueError("not a line of /proc/PID/stat")
    return Stat(int(head.partition(b" ")[0]), chr(fields[0][0]), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    data = read(f"/proc/{pid}/stat")
    return parse_stat(data) if data else None


def boot_id() -> str:
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208  pathlib is memory that we save


def children() -> list[int]:
    """Pids of our own children, dead or alive."""
    me = os.getpid()
    data = read(f"/proc/{me}/task/{me}/children")
    if data:
        return [int(pid) for pid in data.split()]
    return [pid for pid in processes() if (found := stat(pid)) and found.ppid == me]  # kernels without CONFIG_PROC_CHILDREN; or none


def reap_strangers(known: set[int]) -> None:
    """Reap dead children that nobody asked for (orphans that came to us). A status that somebody waits for is not touched."""
    for pid in children():
        if pid not in known:
            try:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                continue


def living(belongs: Callable[[Stat], bool]) -> list[int]:
    """Pids of the processes that live and belong."""
    return [pid for pid in processes() if pid != os.getpid() and (found := stat(pid)) and not found.dead and belongs(found)]


def carries(pid: int, start_id: str) -> bool:
    """Whether a process was started, at whatever distance, by the start with this id."""
    return f"{MARK}={start_id}".encode() in read(f"/proc/{pid}/environ").split(b"\0")


def send(pid: int, signum: int, belongs: Callable[[Stat], bool]) -> bool:
    """Signal one process if it is still the one that belongs: first hold it, then look again."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        found = stat(pid)
        if found is None or found.dead or not belongs(found):
            return False
        signal.pidfd_send_signal(pidfd, signum)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def read(path: str) -> bytes:
    """The whole file, empty when its process is gone or not ours to read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""
