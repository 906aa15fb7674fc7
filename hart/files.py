"""Files that survive a crash: atomic write, fsync of directories, digest while copying.

Rules: a reader sees the old file or the new one, never a part; what a function has returned from is on disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hart.errors import ConflictError, FormatError, LimitError, NotFoundError, StorageError
from hart.limits import CHUNK


@dataclass(frozen=True, slots=True)
class Digested:
    """What went by while copying: bytes, and both digests as lowercase hex."""

    size: int
    blake2b: str
    sha256: str


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True, durable: bool = True) -> None:
    """Write a whole file from memory; see `writing`."""
    with writing(path, mode=mode, replace=replace, durable=durable) as out:
        out.write(data)


@contextmanager
def writing(path: Path, *, mode: int = 0o644, replace: bool = True, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a whole file as a stream: temporary beside it, fsync, rename (or link, which refuses to replace), fsync of the directory.
    Not `durable`: without the fsyncs, for what means nothing any more after the machine went down.

    When the block raises, the name is as it was before and the temporary is gone.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
    with storage(path):
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error  # nobody knows the temporary's name
        try:
            with os.fdopen(fd, "wb") as out:
                yield out
                out.flush()
                os.fchmod(out.fileno(), mode)
                if durable:
                    os.fsync(out.fileno())
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if durable:
            fsync_dir(path.parent)


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """A file to read, from its start and as often as wanted; FormatError for a pipe, device or directory, which is never waited for."""
    with storage(path):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FormatError(str(path), "is no regular file")
        with os.fdopen(fd, "rb") as stream:
            yield stream


def fsync_dir(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_dirs(path: Path, *, mode: int = 0o755) -> None:
    """Create a directory and its missing parents, each durable in its parent. `mode` is for all that are made."""
    with storage(path):
        if path.is_dir():
            return
    make_dirs(path.parent, mode=mode)
    with storage(path):
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            if not path.is_dir():
                raise
            return
        fsync_dir(path.parent)


def copy_hashing(source: BinaryIO, sink: BinaryIO | None, *, limit: int, thing: str) -> Digested:
    """Copy to the end while hashing; `sink` None only hashes. Past `limit` bytes: LimitError."""
    blake, sha, size = hashlib.blake2b(digest_size=32), hashlib.sha256(), 0
    while block := source.read(CHUNK):
        size += len(block)
        if size > limit:
            raise LimitError(thing, f"is larger than {limit} bytes")
        blake.update(block)
        sha.update(block)
        if sink is not None:
            sink.write(block)
    return Digested(size, blake.hexdigest(), sha.hexdigest())


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """The border to the file system: translate what a disk can do to us. `path` is named where the error names none."""
    try:
        yield
    except (ConnectionError, TimeoutError, BlockingIOError):
        raise  # of a socket or pipe, not of a disk
    except FileExistsError as error:
        raise ConflictError(str(error.filename2 or error.filename or path), "exists already") from error
    except FileNotFoundError as error:
        raise NotFoundError(str(error.filename2 or error.filename or path), "no such file or directory") from error
    except PermissionError as error:
        raise StorageError(
            str(error.filename2 or error.filename or path),
            "permission denied",
            next="run as its owner, or choose another root with --root DIR or STEAD_ROOT",
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(str(path), "no space left on the device", next=f"free some space: df -h {mount_of(path)}") from error
        if error.errno is None:  # not from the system: shutil and socket errors carry no number
            raise
        raise StorageError(str(error.filename2 or error.filename or path), os.strerror(error.errno).lower()) from error


def mount_of(path: Path) -> Path:
    """Where the file system begins that a path is on, or would be."""
    return next(above for above in (path.absolute(), *path.absolute().parents) if os.path.ismount(above))
