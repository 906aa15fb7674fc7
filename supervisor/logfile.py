"""Read a log that somebody else writes, rotates and packs: its last lines, those of a time, and what comes after.

Rules: reading is bounded and never holds the writer up. Rotated files, packed or not, are read as if they were one with the current
(`holder/rotation.py` has their names). What vanishes while it is read was the oldest, and is no error.
Not here: what is shown of a line (`logline.py`), and who packs (`packer.py`).
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from pathlib import Path

from hart.limits import CHUNK, LOG_LINE, LOG_WORDS, LOG_WORDS_LINES
from supervisor.holder.rotation import PACKED, rotated

LOOK_S = 0.25  # between two looks while following

Part = BufferedReader | GzipFile


def files(path: Path, *, after: int = 0) -> list[Path]:
    """The rotated files with a number above `after`, the oldest first, each once."""
    found: list[tuple[int, str]] = []
    with suppress(FileNotFoundError):
        found = rotated(str(path))
    return [Path(name) for name in {number: name for number, name in found if number > after}.values()]


def newest(path: Path) -> int:
    """The number of the file that was rotated last; 0 when none was."""
    with suppress(FileNotFoundError):
        return max((number for number, _ in rotated(str(path))), default=0)
    return 0


def open_part(path: Path) -> Part:
    """One file of a log, packed or not; if it is packed just now, the packed one."""
    if path.suffix != PACKED:
        with suppress(FileNotFoundError):
            return path.open("rb")
        path = path.with_name(path.name + PACKED)
    return GzipFile(path, "rb")


def lines_of(part: Part) -> Iterator[bytes]:
    """The lines of one file; a packed one that is damaged ends where it is."""
    with part:
        try:
            while line := part.readline(4 * LOG_LINE):
                yield line
        except (EOFError, zlib.error, BadGzipFile):
            yield b"stead: the rest of this packed log is damaged\n"


def all_lines(path: Path, *, since_s: float = 0.0) -> Iterator[bytes]:
    """All lines, the oldest first, without the files that were last written before `since_s` (wall time)."""
    for part in [*files(path), path]:
        with suppress(FileNotFoundError):
            file = open_part(part)
            if os.fstat(file.fileno()).st_mtime < since_s:
                file.close()
                continue
            yield from lines_of(file)


def last_lines(path: Path, lines: int, following: Following | None = None) -> list[bytes]:
    """The last lines, reaching back into rotated files where the current one is shorter. `following` goes on behind them."""
    found = following.tail(lines) if following is not None else tail(path, lines)
    for part in reversed(files(path)):
        if len(found) >= lines:
            break
        with suppress(FileNotFoundError):
            found = _joined([*deque(lines_of(open_part(part)), lines + 1)], found)[-lines:]
    return found


def last_words(path: Path, lines: int = LOG_WORDS_LINES) -> list[str]:
    """The last lines of a log as texts without their times, short enough for a message; none when there is no log, or it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_WORDS))
            data = file.read(LOG_WORDS)
    except OSError:
        return []
    whole = data if size <= LOG_WORDS else data.partition(b"\n")[2]
    texts = (text_of(line).decode(errors="replace").strip() for line in whole.split(b"\n"))
    return [text for text in texts if text][-lines:]


def text_of(line: bytes) -> bytes:
    """A line without the time before it."""
    return line[TIME + 1 :] if is_stamped(line) else line


TIME = len("2026-01-31T23:59:59.123Z")


def is_stamped(line: bytes) -> bool:
    """Whether a line begins with the time that the holder writes."""
    return line[TIME - 1 : TIME + 1] == b"Z " and line[10:11] == b"T" and line[:4].isdigit() and line[19:20] == b"."


def _joined(older: list[bytes], newer: list[bytes]) -> list[bytes]:
    """Two files' lines: one that was cut by the rotation is whole again."""
    if older and newer and not older[-1].endswith(b"\n"):
        return [*older[:-1], older[-1] + newer[0], *newer[1:]]
    return older + newer


def tail(path: Path, lines: int) -> list[bytes]:
    """The last lines of one file that is not packed, read from its end; none when there is no file."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return _tail(file, file.seek(0, os.SEEK_END), lines)
    return []


def _tail(file: Part, end: int, lines: int) -> list[bytes]:
    position, seen = end, 0
    if lines <= 0:
        return []
    kept: deque[bytes] = deque()
    while position > 0 and seen <= lines:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        seen += block.count(b"\n")
        kept.appendleft(block)
    blocks = b"".join(kept).split(b"\n")
    whole = [block + b"\n" for block in blocks[:-1]] + ([blocks[-1]] if blocks[-1] else [])
    return whole[-lines:]


class Following:
    """A reader that stays at a log's end, over every rotation. `read` gives what is there now, and nothing when there is nothing new."""

    def __init__(self, path: Path, *, position: int = 0, number: int | None = None) -> None:
        """Begin at the end of the current file, or at `position` of the file with, or to get, the number; if it is gone, at the next."""
        self.path = path
        self._file: Part | None = None
        self.number = 1  # that the file in hand has, or will have
        if number is None:
            if (file := self._open_current()) is not None:
                file.seek(0, os.SEEK_END)
            return
        self.number = number
        if (file := self._open_numbered()) is not None and self.number == number:
            file.seek(position)

    @property
    def position(self) -> int:
        return self._file.tell() if self._file is not None else 0

    def tail(self, lines: int) -> list[bytes]:
        """The last lines of the current file before the place where reading goes on."""
        if self._file is None:
            return []
        end = self._file.tell()
        found = _tail(self._file, end, lines)
        self._file.seek(end)
        return found

    def read(self, size: int = CHUNK) -> bytes:
        """The next bytes, b"" when there are none now."""
        while True:
            file = self._file or self._open_numbered()
            if file is None:
                return b""
            with suppress(EOFError, zlib.error, BadGzipFile):  # damaged: what follows it is next
                if block := file.read(size):
                    return block
            if not self._ended(file):
                return b""
            with suppress(EOFError, zlib.error, BadGzipFile):
                if block := file.read(size):  # written between the read and the rotation
                    return block
            self._next()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _ended(self, file: Part) -> bool:
        """Whether nothing more can come into the file in hand."""
        if isinstance(file, GzipFile):
            return True
        here = os.fstat(file.fileno())
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return newest(self.path) >= self.number
        if (now.st_ino, now.st_dev) != (here.st_ino, here.st_dev):
            return True
        if now.st_size < file.tell():  # cut in place
            file.seek(0)
        return False

    def _next(self) -> None:
        """The file after this one. Where all was deleted numbers begin anew."""
        self.close()
        latest = newest(self.path)
        self.number = self.number + 1 if latest >= self.number else latest + 1
        self._open_numbered()

    def _open_numbered(self) -> Part | None:
        """The file with our number, or the next one that is there: what is missing was removed, as the oldest."""
        for part in files(self.path, after=self.number - 1):
            with suppress(FileNotFoundError):
                self._file = open_part(part)
                self.number = int(part.name.removesuffix(PACKED).rpartition(".")[2])
                return self._file
        return self._open_current()

    def _open_current(self) -> Part | None:
        """The current file, and the number that it will get."""
        while True:
            self._file, before = None, newest(self.path)
            with suppress(FileNotFoundError):
                self._file = self.path.open("rb")
            self.number = before + 1
            if self._file is None or newest(self.path) == before:
                return self._file
            self._file.close()
