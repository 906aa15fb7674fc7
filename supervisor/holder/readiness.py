"""How a service says that it is ready: `READY=1` in a datagram to its notify socket (sd_notify), or a newline to a descriptor (s6).

Rules
- The receiving end is there before the process, which inherits it (`spawn.py`). So what a service says while no holder lives waits in the
  kernel, and the next holder opens the same end again, where it may look at the process's descriptors; else a new one. To its next
  image a holder hands it over.
- What says ready is left where it is until that is on disk. Then the end is shut and its name removed: who says more gets an error at
  once, and never waits for a reader.
- A datagram counts when its sender, by the kernel's word, has the service's uid or root's, and is one of its processes that is still
  there. One that has gone when we look could be anybody's: it does not count.
- Bounded: a datagram's size, how many are read in a turn, how soon the next turn comes (`keeper.py`), bytes before the newline.

Words that are known: READY=1, and STATUS=TEXT before it. All others are ignored, WATCHDOG=1, STOPPING=1 and MAINPID= too; descriptors that
come along are closed, which is all that BARRIER=1 asks for. Format: sd_notify(3); s6, "Service startup notifications".
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hart.limits import NOTIFY_DATAGRAM, NOTIFY_STATUS, NOTIFY_TURN, READY_BYTES, UNIX_PATH
from supervisor.holder.logpipe import PIPE_FLAGS

PEEK = socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC
SPLICE_F_NONBLOCK = 2
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
SYS_PIDFD_GETFD = 438  # the same number on every architecture
LISTED = 8  # columns of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path


@dataclass(frozen=True, slots=True)
class Said:
    """What came in one turn; `strange`: the pid of somebody whose word does not count."""

    ready: bool = False
    status: str = ""
    strange: int | None = None


def parse(datagram: bytes) -> Said:
    """Lines of NAME=VALUE; the last STATUS wins. Text is for people: one line, printable, bounded."""
    ready, status = False, ""
    for line in datagram.split(b"\n"):
        name, _, value = line.partition(b"=")
        if name == b"READY" and value == b"1":
            ready = True
        elif name == b"STATUS":
            text = value[: NOTIFY_STATUS * 4].decode(errors="replace")
            status = "".join(char if char.isprintable() else " " for char in text)[:NOTIFY_STATUS].strip()
    return Said(ready, status)


class NotifySocket:
    """The receiving end of one service's notify socket. `uid` is that of the service's user."""

    def __init__(self, connection: socket.socket, path: str, uid: int) -> None:
        self._connection, self._path, self._uid = connection, path, uid

    def fileno(self) -> int:
        return self._connection.fileno()

    def hear(self, is_own: Callable[[int], bool]) -> Said:
        """What waits, up to what makes it ready; `is_own(pid)`: whether a process is one of the service's."""
        status, strange = "", None
        for _ in range(NOTIFY_TURN):
            try:
                data, extra, flags, _ = self._connection.recvmsg(NOTIFY_DATAGRAM, socket.CMSG_SPACE(CREDENTIALS.size), PEEK)
            except OSError:  # nothing more
                break
            pid, uid = sender(extra)
            if uid not in (0, self._uid) or not is_own(pid):
                strange = pid
            elif not flags & socket.MSG_TRUNC:
                said = parse(data)
                status = said.status or status
                if said.ready:
                    return Said(True, status, strange)
            self._connection.recv(1)
        return Said(False, status, strange)

    def close(self) -> None:
        """For good: also where the process holds this end."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)
            while self._connection.recv(1, socket.MSG_DONTWAIT):  # whoever waits for room goes on
                pass
        self._connection.close()
        _remove(self._path)


def sender(extra: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """Pid and uid from the kernel's word; (-1, -1) without it."""
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) >= CREDENTIALS.size:
            pid, uid, _ = CREDENTIALS.unpack_from(data)
            return pid, uid
    return -1, -1


class ReadyPipe:
    """The reading end of the pipe whose other end is a descriptor of the service."""

    def __init__(self, path: str, pipe: int | None = None) -> None:
        """Open it by name, unless it is open already. OSError."""
        self._path = path
        self._pipe = os.open(path, PIPE_FLAGS | os.O_NOFOLLOW) if pipe is None else pipe

    def fileno(self) -> int:
        return self._pipe

    def hear(self, _: Callable[[int], bool]) -> Said:
        data = _peek(self._pipe)
        if b"\n" in data:
            return Said(ready=True)
        with suppress(BlockingIOError):
            os.read(self._pipe, len(data))
        return Said()

    def close(self) -> None:
        os.close(self._pipe)
        _remove(self._path)


def _peek(pipe: int) -> bytes:
    """What waits in a pipe, up to a bound; it stays there."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        count = ctypes.CDLL(None).tee(pipe, writer, READY_BYTES, SPLICE_F_NONBLOCK)
        return os.read(reader, count) if count > 0 else b""
    finally:
        os.close(reader)
        os.close(writer)


Ear = NotifySocket | ReadyPipe


def open_ear(notify: str | None, pipe: str | None, uid: int | None, gid: int | None) -> Ear | None:
    """Before the process: a new end at the path of the socket or of the pipe; None when neither is wanted. OSError."""
    if notify is not None:
        return bind(notify, os.geteuid() if uid is None else uid, gid)
    if pipe is None:
        return None
    _remove(pipe)
    os.mkfifo(pipe, 0o600)
    return ReadyPipe(pipe)


def open_again(
    notify: str | None, pipe: str | None, uid: int | None, pid: int, pidfd: int, *, end: int | None = None
) -> tuple[Ear | None, str]:
    """The end of a process that an earlier holder started, and what there is to say of it. `end`: it was handed over. OSError."""
    if notify is None:
        return (None if pipe is None else ReadyPipe(pipe, end)), ""
    owner = os.geteuid() if uid is None else uid
    fd = _inherited(notify, pid, pidfd) if end is None else end
    if fd is not None:
        return NotifySocket(_listening(socket.socket(fileno=fd)), notify, owner), ""
    return bind(notify, owner, None), "its notify socket is a new one: what it said while no holder was there is lost"


def discard(notify: str | None, pipe: str | None) -> None:
    """Remove the name of an end that nobody has any more."""
    for path in (notify, pipe):
        if path is not None:
            _remove(path)


def bind(path: str, uid: int, gid: int | None) -> NotifySocket:
    """OSError. Only the service's user and root may send."""
    if len(os.fsencode(path)) > UNIX_PATH:
        raise OSError(0, f"is longer than the {UNIX_PATH} bytes that a socket's path may have; a shorter STEAD_ROOT helps")
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)  # noqa: PTH108  pathlib is memory that we save
    connection = _listening(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
    try:
        connection.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101  as above
        if os.geteuid() == 0:
            os.chown(path, uid, -1 if gid is None else gid, follow_symlinks=False)
    except OSError:
        connection.close()
        raise
    return NotifySocket(connection, path, uid)


def _listening(connection: socket.socket) -> socket.socket:
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return connection


def _inherited(path: str, pid: int, pidfd: int) -> int | None:
    """The process's own descriptor of the socket at `path`, as one of ours. None when it has none, or we may not."""
    try:
        with open("/proc/self/net/unix", "rb") as file:
            lines = [line.split(None, LISTED - 1) for line in file.read().splitlines()]
        inodes = {b"socket:[%s]" % columns[-2] for columns in lines if len(columns) == LISTED and columns[-1] == os.fsencode(path)}
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208  as above
            if os.fsencode(os.readlink(f"/proc/{pid}/fd/{name}")) in inodes:  # noqa: PTH115  as above
                fd = ctypes.CDLL(None).syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
                return fd if fd >= 0 else None
    except OSError:
        return None
    return None


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108  as above
