"""The Linux calls that a store needs and Python's `os` lacks: renameat2 (RENAME_NOREPLACE, RENAME_EXCHANGE) and syncfs.

Rules: each has a fallback with the same promise where the kernel or the file system does not know the call, or says that it cannot.
Nothing else of ctypes stands in `hart`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
UNKNOWN_CALL = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})

LIBC = ctypes.CDLL(None, use_errno=True)


def rename_directory(source: Path, target: Path) -> None:
    """Give a directory a name that nothing has yet; FileExistsError when something has it.

    The fallback, plain rename, replaces an empty directory too, which is no release.
    """
    call = getattr(LIBC, "renameat2", None)
    if call is not None:
        if call(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in UNKNOWN_CALL:
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(source), None, str(target)) from error
        raise


def exchange_directories(one: Path, other: Path) -> bool:
    """Let two directories take each other's name, at once; False where kernel or file system cannot: nothing has happened then."""
    call = getattr(LIBC, "renameat2", None)
    if call is None:
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNKNOWN_CALL:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def sync_tree(fd: int, path: Path) -> None:
    """Make all that was written below a directory durable: `fd` is open on it.

    One syncfs costs one journal commit where an fsync of each file costs thousands; it also tells of write errors (Linux 5.8).
    """
    call = getattr(LIBC, "syncfs", None)
    if call is not None:
        if call(fd) == 0:
            return
        code = ctypes.get_errno()
        if code not in UNKNOWN_CALL:
            raise OSError(code, os.strerror(code), str(path))
    for directory, _, names in os.walk(path, topdown=False):
        for name in [*names, "."]:
            sync_one(Path(directory, name))


def sync_one(path: Path) -> None:
    """fsync a file or directory; a link has nothing of its own to write."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
