"""A service's log: a named pipe that outlives both ends, drained into a file that is rotated by size and at midnight UTC.

Rules: the service holds its pipe open for reading as well as writing, so a vanished holder costs it neither SIGPIPE nor the bytes in
the pipe; the next holder opens the pipe by name. Bytes go to the file as they come, a UTC timestamp before each line, and are never kept
back for the rest of a line, so a killed holder loses at most the one read in its hand. What the disk refuses, or what is over the rate, is
counted and dropped, and the count is written when there is room again.
Never fsynced: a log is not worth a stall. Not here: who reads and packs logs, the names of rotated files (`rotation.py`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress

from hart.limits import LOG_FILE, LOG_KEEP, LOG_LINE, LOG_PIPE, LOG_RATE, LOG_READ, LOG_TURN
from supervisor.holder import rotation
from supervisor.holder.budget import Budget

# Reading and writing: with a writer of our own the pipe never reports an end when the service closes its side.
PIPE_FLAGS = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


def stamp(data: bytes, column: int, prefix: bytes, *, width: int = LOG_LINE) -> tuple[bytes, int]:
    """`data` with `prefix` before each line that begins in it, lines broken at `width`; and the column after it."""
    out = []
    for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
        rest = line
        while column + len(rest.rstrip(b"\n")) > width:
            taken, rest = rest[: width - column], rest[width - column :]
            out.append((b"" if column else prefix) + taken + b"\n")
            column = 0
        out.append((b"" if column else prefix) + rest)
        column = 0 if rest.endswith(b"\n") else column + len(rest)
    return b"".join(out), column


def _lines(data: bytes) -> list[bytes]:
    """Split at newlines only: a carriage return is a progress bar, not a line."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def timestamp(now: float) -> bytes:
    """Wall time in seconds as `2026-01-31T23:59:59.123Z ` in UTC."""
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z ").encode()


def make_pipe(log: str, uid: int | None, gid: int | None) -> str:
    """The path of the named pipe of a log file, made when there is none; its owner may open it again as /dev/stdout. OSError."""
    path = f"{log}.fifo"
    os.makedirs(os.path.dirname(log), mode=0o755, exist_ok=True)  # noqa: PTH103,PTH120  pathlib is memory that we save
    try:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            os.unlink(path)  # noqa: PTH108  as above
            os.mkfifo(path, 0o600)
    except FileNotFoundError:
        os.mkfifo(path, 0o600)
    if os.geteuid() == 0 and uid is not None:
        os.chown(path, uid, -1 if gid is None else gid, follow_symlinks=False)
    return path


class LogPipe:
    """The reading end of one service's pipe, and its file."""

    def __init__(self, log: str, pid: int | None = None, *, rate: int = LOG_RATE, keep: int = LOG_KEEP, pipe: int | None = None) -> None:
        """Open the log's pipe by name, or when somebody removed the name, through the process that writes to it. OSError.

        `rate`: bytes a second that are logged (0: all). `keep`: bytes of the file and its rotated ones. `pipe`: it is open already."""
        self.log = log
        self._budget = Budget(rate, time.monotonic())
        self._limit = min(LOG_FILE, keep // 4)  # bytes of one file
        self._keep = keep - self._limit
        self._pipe = _open_pipe(log, pid) if pipe is None else pipe
        if not stat.S_ISFIFO(os.fstat(self._pipe).st_mode):
            os.close(self._pipe)
            raise FileExistsError(errno.EEXIST, "not a named pipe", f"{log}.fifo")
        with suppress(OSError):  # a quota on pipes: the usual size does
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, LOG_PIPE)
        self._file = -1
        self._size = 0
        self._day = b""  # of the file's first line
        self._column = 0
        self._dropped_lines = 0
        self._dropped_bytes = 0
        self._why = ""

    def fileno(self) -> int:
        return self._pipe

    def drain(self, limit: int = LOG_TURN) -> bool:
        """Move what waits, about `limit` bytes at most; whether it is over its rate, and had better be left alone for a moment.

        Never raises for the disk's sake."""
        moved = 0
        while moved < (LOG_PIPE if self._budget.shut else limit):
            try:
                data = os.read(self._pipe, LOG_READ)
            except BlockingIOError:
                return self._budget.shut
            moved += len(data)
            was_shut = self._budget.shut
            if self._budget.take(len(data), time.monotonic()):
                self._write(data)
                continue
            if not was_shut:
                self._say(f"stead: more than {self._budget.rate} bytes a second: what follows is dropped until it is less".encode())
            self._drop(data, "over the rate")
        return self._budget.shut

    def hand_over(self) -> int:
        """The pipe for the next image of this process; the file has all that was in it."""
        self.drain(LOG_PIPE)
        self._say()
        return self._pipe

    def close(self) -> None:
        self._say()
        os.close(self._pipe)
        if self._file >= 0:
            os.close(self._file)

    def _write(self, data: bytes) -> None:
        prefix = _now()
        try:
            self._open()
            if self._dropped_bytes:
                self._say_dropped(prefix)
            text, column = stamp(data, self._column, prefix)
            if self._size and (self._size + len(text) > self._limit or self._day < prefix[:10]):
                self._rotate()
            self._append(text)
            self._column = column
        except OSError as error:
            self._drop(data, error.strerror or str(error))

    def _drop(self, data: bytes, why: str) -> None:
        self._dropped_lines += data.count(b"\n")
        self._dropped_bytes += len(data)
        self._why = why

    def _say(self, text: bytes = b"") -> None:
        """What was dropped, and a line of our own, where the disk takes them."""
        prefix = _now()
        with suppress(OSError):
            if self._dropped_bytes or text:
                self._open()
            if self._dropped_bytes:
                self._say_dropped(prefix)
            if text:
                self._append((b"\n" if self._column else b"") + prefix + text + b"\n")
                self._column = 0

    def _say_dropped(self, prefix: bytes) -> None:
        note = f"stead: {self._dropped_lines} lines ({self._dropped_bytes} bytes) dropped: {self._why}\n".encode()
        self._append((b"\n" if self._column else b"") + prefix + note)
        self._column = self._dropped_lines = self._dropped_bytes = 0

    def _append(self, text: bytes) -> None:
        rest = memoryview(text)
        while rest:
            written = os.write(self._file, rest)
            self._size += written
            self._column = 0 if rest[written - 1] == 10 else 1  # a refused rest must not run into the next line
            rest = rest[written:]

    def _open(self) -> None:
        if self._file >= 0:
            if os.fstat(self._file).st_nlink:
                return
            os.close(self._file)  # somebody deleted it: what follows would go nowhere
            self._file, self._column = -1, 0
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.log, flags, 0o640)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise FileExistsError(errno.EEXIST, "not a file", self.log)
        self._file, self._size = fd, found.st_size
        self._day = os.pread(fd, 10, 0) or _now()[:10]
        if found.st_size and os.pread(fd, 1, found.st_size - 1) != b"\n":
            self._column = 1  # a killed holder stopped in the middle of a line: what comes now continues it

    def _rotate(self) -> None:
        rotation.rotate(self.log, self._keep)
        os.close(self._file)
        self._file = -1
        self._open()


def _open_pipe(log: str, pid: int | None) -> int:
    try:
        return os.open(f"{log}.fifo", PIPE_FLAGS | os.O_NOFOLLOW)
    except FileNotFoundError:
        if pid is None:
            raise
        return os.open(f"/proc/{pid}/fd/1", PIPE_FLAGS)


def _now() -> bytes:
    return timestamp(time.time())  # noqa: TID251  the shell reads the clock: a log line says when
