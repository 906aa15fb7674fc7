"""A download on disk: `.<name>.part` until it is whole, then `<name>` in one step.

Rules: whoever holds the lock on the part owns it, so two downloads of one file cannot mix; bytes that are there already are hashed again
before more are added; `finish` makes it durable (fsync, rename, fsync of the directory) and only then visible. A part that nobody
finished stays for the next try. Which bytes are the right ones is decided in `depot/download.py`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

from hart.errors import StorageError
from hart.files import fsync_dir, storage
from hart.limits import CHUNK


class Part:
    """One locked part file, open at its end. Close it, or the lock stays until the process ends."""

    def __init__(self, path: Path, target: Path, fd: int) -> None:
        self.path = path
        self.target = target
        self.size = 0  # bytes hashed and known to be in the file
        self._fd = fd
        self._hash = hashlib.blake2b(digest_size=32)

    @classmethod
    def acquire(cls, directory: Path, name: str) -> Part | None:
        """Lock the part of `name` in `directory`; None while somebody else holds it (also when it was just finished: look again)."""
        path = directory / f".{name}.part"
        with storage(path):
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.EISDIR):
                    raise StorageError(str(path), "is not a plain file", next=f"look at it, then remove it: rm {path}") from error
                raise
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_ino != path.stat().st_ino:  # renamed or removed between our open and our lock
                    os.close(fd)
                    return None
            except (BlockingIOError, FileNotFoundError):
                os.close(fd)
                return None
        return cls(path, directory / name, fd)

    def resume(self) -> int:
        """Hash what an earlier try left; returns its size. Blocking: reads the whole part."""
        self._hash = hashlib.blake2b(digest_size=32)
        self.size = 0
        with storage(self.path):
            os.lseek(self._fd, 0, os.SEEK_SET)
            while block := os.read(self._fd, CHUNK):
                self._hash.update(block)
                self.size += len(block)
        return self.size

    def restart(self) -> None:
        """Forget every byte."""
        with storage(self.path):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.blake2b(digest_size=32)
        self.size = 0

    def write(self, block: bytes) -> None:
        """Append; raises StorageError when the disk is full."""
        view = memoryview(block)
        with storage(self.target):
            while view:
                view = view[os.write(self._fd, view) :]
        self._hash.update(block)
        self.size += len(block)

    @property
    def checksum(self) -> str:
        """BLAKE2b-256 of all the bytes so far, lowercase hex."""
        return self._hash.hexdigest()

    def finish(self) -> Path:
        """Make the file durable and give it its name. Blocking."""
        with storage(self.target):
            os.fchmod(self._fd, 0o644)
            os.fsync(self._fd)
            try:
                self.path.replace(self.target)
            except FileNotFoundError as error:
                raise StorageError(str(self.path), "was removed while it was written", next="try again") from error
            fsync_dir(self.target.parent)
        return self.target

    def discard(self) -> None:
        """Remove the part: its bytes are wrong, or the disk needs the room."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._fd)
