"""Artifacts by content: a blob's name is the BLAKE2b-256 of its bytes, so it never changes and is never stored twice.

Rules: bytes are staged, checked by the caller, and only then kept; `keep` returns when file, name and directory are on disk, in this
order: fsync of the file, link, fsync of the directory. A name that is there already has the same bytes. Only validated hashes become paths.
The last bit of the disk is left free (`limits.DISK_RESERVE`) so that the catalog can still commit and readers go on when it is full.
Every failed fsync or EIO carries `disk_failed`: nobody may try it again. Blocking: call it in a thread.
Source: threats 4.1, steps 3 to 7. Not here: which bytes are good (depot/publish.py), who refers to a blob (depot/catalog.py).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from hart import limits
from hart.errors import NotFoundError, StorageError
from hart.files import fsync_dir

_NAME = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Staged(Protocol):
    """Bytes on their way in. Discard it in every case; after `keep` that does nothing."""

    size: int

    def write(self, block: bytes) -> None:
        """StorageError with status 507 when the disk is full."""
        ...

    def checksum(self) -> str:
        """BLAKE2b-256 of what was written, lowercase hex."""
        ...

    def open(self) -> BinaryIO:
        """What was written, from the start, seekable."""
        ...

    def discard(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A blob in the store. `age_s` counts from when its bytes were written."""

    checksum: str
    size: int
    age_s: float


class Blobs(Protocol):
    """Where artifacts are kept: a directory, later also an object store."""

    def stage(self) -> Staged: ...
    def keep(self, staged: Staged, *, repair: bool = False) -> None:
        """Make staged bytes permanent under their checksum. `repair` puts them in place of what has the name."""
        ...

    def open(self, checksum: str) -> BinaryIO:
        """A blob for reading, with a real descriptor; NotFoundError."""
        ...

    def all(self, now_s: float) -> Iterator[Found]: ...
    def remove(self, checksum: str) -> None:
        """Only for blobs that nothing refers to, never while requests are served."""
        ...

    def sweep(self) -> int:
        """Drop what an earlier process staged and did not keep; how many. Only when no other process uses the store."""
        ...


class DirectoryBlobs:
    """Blobs in `blobs/aa/aa…`, staged in `tmp/` of the same file system."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "blobs"
        self._tmp = directory / "tmp"
        with _disk(directory):
            for path in (self._blobs, self._tmp):
                path.mkdir(mode=0o700, exist_ok=True)
            fsync_dir(directory)

    def stage(self) -> StagedFile:
        return StagedFile(self._tmp / secrets.token_hex(16))

    def keep(self, staged: Staged, *, repair: bool = False) -> None:
        assert isinstance(staged, StagedFile), staged
        staged.sync()
        path = self._path(staged.checksum())
        with _disk(path):
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _fsync_dir(self._blobs)
            try:
                if repair:
                    staged.path.replace(path)
                else:
                    os.link(staged.path, path)
            except FileExistsError:
                if path.stat().st_size != staged.size:  # cut short by something other than us: same name, so the same bytes belong there
                    staged.path.replace(path)
            _fsync_dir(path.parent)  # also when it was there: whoever linked it may not have come this far
        staged.discard()

    def open(self, checksum: str) -> BinaryIO:
        path = self._path(checksum)
        try:
            with _disk(path):
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"blob {checksum}", "is missing", next="stead depot verify") from None
        return os.fdopen(fd, "rb", buffering=0)  # a raw file: blocks are large, and sendfile wants the descriptor

    def all(self, now_s: float) -> Iterator[Found]:
        for directory in sorted(self._blobs.iterdir()):
            for path in sorted(directory.iterdir()) if directory.is_dir() else ():
                if _NAME.fullmatch(path.name) and path.name.startswith(directory.name):
                    status = path.stat()
                    yield Found(path.name, status.st_size, now_s - status.st_mtime)

    def remove(self, checksum: str) -> None:
        with _disk(self._blobs):
            self._path(checksum).unlink(missing_ok=True)

    def sweep(self) -> int:
        with _disk(self._tmp):
            left = list(self._tmp.iterdir())
            for path in left:
                path.unlink()
        return len(left)

    def _path(self, checksum: str) -> Path:
        assert _NAME.fullmatch(checksum), checksum
        return self._blobs / checksum[:2] / checksum


class StagedFile:
    """A temporary file with a name that nobody guesses; hashes as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.blake2b(digest_size=32)
        self._checked = 0  # size at the last look at the free space
        with _disk(path):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._check_space()
        except StorageError:
            self.discard()
            raise

    def write(self, block: bytes) -> None:
        self._hash.update(block)
        self.size += len(block)
        if self.size - self._checked >= limits.MIB:
            self._check_space()
        rest = memoryview(block)
        with _disk(self.path):
            while rest:  # a write may take less than it was given
                rest = rest[os.write(self._fd, rest) :]

    def checksum(self) -> str:
        return self._hash.hexdigest()

    def open(self) -> BinaryIO:
        with _disk(self.path):
            return self.path.open("rb")

    def sync(self) -> None:
        with _disk(self.path, syncing=True):
            os.fsync(self._fd)

    def discard(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with _disk(self.path):
            self.path.unlink(missing_ok=True)

    def _check_space(self) -> None:
        self._checked = self.size
        with _disk(self.path):
            status = os.fstatvfs(self._fd)
        if status.f_bavail * status.f_frsize < limits.DISK_RESERVE:
            raise _full(self.path)


def _fsync_dir(path: Path) -> None:
    with _disk(path, syncing=True):
        fsync_dir(path)


def _full(path: Path) -> StorageError:
    return StorageError(str(path.parent), "no space left on the device", next=f"free some space: df -h {path.parent}", status=507)


@contextmanager
def _disk(path: Path, *, syncing: bool = False) -> Iterator[None]:
    """The border to the file system. `syncing`: after a failed fsync nobody knows what is on disk, whatever the reason was."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in _FULL and not syncing:
            raise _full(path) from error
        raise StorageError(str(path), f"the disk failed: {error.strerror}", status=503, disk_failed=True) from error
