"""The catalog in one SQLite file: threads, transactions, durability.

Rules: one thread owns the only connection that writes, and checkpoints; readers are read-only connections in a few threads, so that a
slow question blocks neither the event loop nor a publish. WAL with `synchronous=FULL`: what was committed is on disk. A file of a newer
schema is refused. A disk that answers EIO makes the catalog refuse every later change (never try an fsync again); a full disk does not.
Source: threats 4.1. Not here: questions and changes (depot/sqlite_reader.py, depot/sqlite_writer.py).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from depot import schema
from depot.audit import GENESIS
from depot.catalog import Reader, Writer
from depot.sqlite_reader import SqliteReader
from depot.sqlite_writer import SqliteWriter
from hart import limits
from hart.errors import SteadError, StorageError, UnavailableError

T = TypeVar("T")

_FULL, _BUSY, _IOERR, _READONLY = 13, 5, 10, 8  # primary result codes of SQLite, stable by its promise


class SqliteCatalog:
    """A `depot.catalog.Catalog` in a file. Made by `open_catalog`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False  # the disk refused to keep something: no change is accepted until a restart
        self._connections: list[sqlite3.Connection] = []
        self._own = threading.local()
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="catalog-writer")
        self._reading = ThreadPoolExecutor(limits.CATALOG_READERS, thread_name_prefix="catalog-reader")

    async def read(self, query: Callable[[Reader], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, query)

    async def write(self, change: Callable[[Writer], T], *, by: str, at_us: int) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._write, change, by, at_us)

    async def close(self) -> None:
        """Finish what is under way, put the log into the file and let go of it."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._reading.shutdown)
        if not self.failed:
            await loop.run_in_executor(self._writing, self._checkpoint)
        await loop.run_in_executor(None, self._writing.shutdown)
        for connection in reversed(self._connections):  # the writer last: the last one that leaves removes the log
            connection.close()

    def start(self) -> None:
        """Open the writing connection and bring the tables; blocking. Errors as in `open_catalog`."""
        self._writing.submit(self._open_writer).result()

    def _open_writer(self) -> None:
        unclean = self.path.with_name(self.path.name + "-wal").exists()
        with _translated(self):
            connection = self._connect("rwc")
            self._own.writer = connection
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {limits.CATALOG_CHECKPOINT_PAGES}")
            if unclean and (broken := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise StorageError(str(self.path), f"is damaged: {broken}", next="restore the catalog and the blobs from a backup")
            self._bring_tables(connection)

    def _bring_tables(self, connection: sqlite3.Connection) -> None:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "schema_version" in tables:
            (found,) = connection.execute("SELECT version FROM schema_version").fetchone()
            if found != schema.VERSION:
                raise StorageError(str(self.path), f"has schema {found}, this depot knows {schema.VERSION}", next="use a newer stead")
            return
        if tables:
            raise StorageError(str(self.path), "is a database of something else", next="choose another directory with --data DIR")
        connection.execute("BEGIN IMMEDIATE")
        for statement in schema.TABLES.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version VALUES (?)", (schema.VERSION,))
        connection.execute("INSERT INTO audit_head VALUES (1, 0, ?)", (GENESIS,))
        connection.execute("COMMIT")

    def _connect(self, mode: str) -> sqlite3.Connection:
        # Used by its own thread only; the check is off because close() runs elsewhere, after the threads have ended.
        uri = f"file:{quote(str(self.path))}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=limits.CATALOG_BUSY_S, check_same_thread=False)
        self._connections.append(connection)
        connection.row_factory = sqlite3.Row
        for pragma in ("foreign_keys = ON", "trusted_schema = OFF", "cell_size_check = ON", "wal_autocheckpoint = 0"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _read(self, query: Callable[[Reader], T]) -> T:
        with _translated(self):
            connection: sqlite3.Connection | None = getattr(self._own, "reader", None)
            if connection is None:
                connection = self._own.reader = self._connect("ro")
            connection.execute("BEGIN")
            try:
                return query(SqliteReader(connection))
            finally:
                connection.execute("ROLLBACK")

    def _write(self, change: Callable[[Writer], T], by: str, at_us: int) -> T:
        if self.failed:
            raise UnavailableError("this depot", "is read-only since its disk failed", next="check the disk, then restart the depot")
        connection: sqlite3.Connection | None = getattr(self._own, "writer", None)
        assert connection is not None, "opened for reading only"
        with _translated(self):
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = change(SqliteWriter(connection, by=by, at_us=at_us))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself when the disk was full
                    connection.execute("ROLLBACK")
                raise
            return result

    def _checkpoint(self) -> None:
        with _translated(self):
            if hasattr(self._own, "writer"):
                self._own.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


class _translated:  # noqa: N801  reads as what it does
    """The border to sqlite3: its errors become ours, and a failed disk is remembered."""

    def __init__(self, catalog: SqliteCatalog) -> None:
        self._catalog = catalog

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise self._meaning(error) from error

    def _meaning(self, error: sqlite3.Error) -> SteadError:
        path = self._catalog.path
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case code if code == _FULL:
                return StorageError(str(path), "no space left on the device", next=f"free some space: df -h {path.parent}", status=507)
            case code if code == _BUSY:
                return UnavailableError(str(path), "is locked by another program")
            case code if code in (_IOERR, _READONLY):
                self._catalog.failed = True
                return StorageError(str(path), f"the disk failed: {error}", status=503, disk_failed=True)
            case _:
                return StorageError(str(path), str(error), status=500)


def read_catalog(path: Path) -> SqliteCatalog:
    """A catalog that another process writes, for reading only."""
    return SqliteCatalog(path)


def open_catalog(path: Path) -> SqliteCatalog:
    """Open or create the catalog; blocking. StorageError when the file is damaged, newer than this program, or something else."""
    catalog = SqliteCatalog(path)
    try:
        catalog.start()
    except BaseException:
        catalog._reading.shutdown()  # noqa: SLF001  our own half-open object
        catalog._writing.shutdown()  # noqa: SLF001
        for connection in catalog._connections:  # noqa: SLF001
            connection.close()
        raise
    return catalog
