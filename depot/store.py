"""One depot's data: a directory with the catalog, the blobs and the lock, opened by one process at a time.

    depot.sqlite   the catalog      blobs/aa/<hash>   artifacts      tmp/   uploads under way
    LOCK           held (flock) by the one process that may write     admin.sock   for `stead depot token` while the server runs

Rules: opening takes the lock, drops what was staged by a process that died, and opens the catalog (and with it repeats its log). Blobs that
no package refers to are collected at the start of a server, when they are a day old: publishing may be between its link and its commit.
A failed disk makes the store read-only until it is opened again. Source: threats 4.1. Not here: what may be done with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from operator import methodcaller
from pathlib import Path
from typing import TypeVar

from depot.blobs import Blobs, DirectoryBlobs
from depot.catalog import Catalog, Reader, Writer
from depot.database import open_catalog, read_catalog
from depot.filesystem import check_local
from hart import limits
from hart.errors import ConflictError, StorageError, UnavailableError
from hart.files import make_dirs, storage

T = TypeVar("T")


class Store:
    """Catalog and blobs of one depot, locked. Made by `open_store`; close it."""

    def __init__(self, directory: Path, catalog: Catalog, blobs: Blobs, lock: int) -> None:
        self.directory = directory
        self.catalog = catalog
        self.blobs = blobs
        self.read_only = False
        self.publishing = ThreadPoolExecutor(limits.PUBLISHERS, thread_name_prefix="publish")
        self._lock = lock

    async def read(self, query: Callable[[Reader], T]) -> T:
        return await self.catalog.read(query)

    async def write(self, change: Callable[[Writer], T], *, by: str) -> T:
        """One change now, by an account; UnavailableError after a disk failure."""
        self.check_writable()
        try:
            return await self.catalog.write(change, by=by, at_us=now_us())
        except StorageError as error:
            self.note_failure(error)
            raise

    def check_writable(self) -> None:
        if self.read_only:
            raise UnavailableError("this depot", "is read-only since its disk failed", next="check the disk, then restart the depot")

    def note_failure(self, error: StorageError) -> None:
        """Nothing is written any more once the disk has lost something."""
        self.read_only = self.read_only or bool(error.data.get("disk_failed"))

    async def collect_orphans(self) -> int:
        """Remove old blobs that no package refers to; how many. Before requests are served."""
        now_s = now_us() / 1e6
        old = [found for found in await asyncio.to_thread(list, self.blobs.all(now_s)) if found.age_s > limits.ORPHAN_AGE_S]
        count = 0
        for found in old:
            if not await self.read(methodcaller("is_referenced", found.checksum)):
                await asyncio.to_thread(self.blobs.remove, found.checksum)
                count += 1
        return count

    async def close(self) -> None:
        await asyncio.to_thread(self.publishing.shutdown)
        await self.catalog.close()
        if self._lock >= 0:
            os.close(self._lock)


def open_store(directory: Path) -> Store:
    """Open or create a depot's data; blocking. ConflictError when another process has it."""
    make_dirs(directory, mode=0o700)
    with suppress(OSError):  # a sandbox may hide it
        check_local(directory.resolve(), Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    return _locked(directory, take_lock(directory))


def _locked(directory: Path, lock: int) -> Store:
    try:
        blobs = DirectoryBlobs(directory)
        blobs.sweep()
        return Store(directory, open_catalog(directory / "depot.sqlite"), blobs, lock)
    except BaseException:
        os.close(lock)
        raise


def open_beside(directory: Path) -> Store:
    """Open an existing depot's data for reading only, whether or not another process has it; blocking."""
    try:
        lock = take_lock(directory)
    except ConflictError:  # a server runs: its log is readable, and rows never refer to blobs that are not there yet
        catalog = read_catalog(directory / "depot.sqlite")
    else:  # nobody runs: a log that was left behind must be put right first, and nobody may start meanwhile
        return _locked(directory, lock)
    store = Store(directory, catalog, DirectoryBlobs(directory), -1)
    store.read_only = True
    return store


def take_lock(directory: Path) -> int:
    """The descriptor that holds the lock; ConflictError when another process holds it."""
    with storage(directory):
        lock = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ConflictError(
                f"depot in {directory}", "is in use by another process", next="stop that `stead depot serve` first", lock=True
            ) from None
    return lock


def now_us() -> int:
    """Microseconds since 1970: the depot's wall clock, read in one place."""
    return time.time_ns() // 1000
