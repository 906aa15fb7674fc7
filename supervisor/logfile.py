"""Read a log that somebody else writes and rotates: its last lines, and what comes after.

Rules: reading is bounded and never holds the writer up. When the file is rotated (another inode under the name), the old one is read to
its end first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from hart.limits import CHUNK

LOOK_S = 0.25  # between two looks while following


def last_lines(path: Path, lines: int) -> tuple[list[bytes], int]:
    """The last lines of the log, reaching back into the file before it (`.1`) where the current one is shorter; and `follow`'s place."""
    found, end = tail(path, lines)
    older = path.with_name(f"{path.name}.1")
    if len(found) < lines and older.is_file():
        found = tail(older, lines - len(found))[0] + found
    return found, end


def tail(path: Path, lines: int) -> tuple[list[bytes], int]:
    """The last lines of one file, read from its end; and that end."""
    with path.open("rb") as file:
        position = end = file.seek(0, os.SEEK_END)
        if lines <= 0:
            return [], end
        data = b""
        while position > 0 and data.count(b"\n") <= lines:
            size = min(CHUNK, position)
            position -= size
            file.seek(position)
            data = file.read(size) + data
    return data.splitlines(keepends=True)[-lines:], end


def follow(path: Path, position: int) -> Iterator[bytes]:
    """For ever: what is written after that position of the current file."""
    file = path.open("rb")
    try:
        file.seek(position)
        while True:
            if block := file.read(CHUNK):
                yield block
                continue
            try:
                now = path.stat()
            except FileNotFoundError:
                now = None
            here = os.fstat(file.fileno())
            if now is not None and (now.st_ino, now.st_dev) != (here.st_ino, here.st_dev):
                if block := file.read(CHUNK):
                    yield block
                    continue
                file.close()
                file = path.open("rb")
                continue
            if now is not None and now.st_size < file.tell():  # cut in place
                file.seek(0)
            time.sleep(LOOK_S)
    finally:
        file.close()
