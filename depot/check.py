"""Checking a depot's data: every package has its bytes, they are what was signed, and nobody edited the audit trail.

Rules: reports, changes nothing, stops at nothing: one problem is one line. Memory does not grow with the number of packages.
Source: threats S32, S33, S35. Not here: the command (depot/admin.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from operator import methodcaller

from depot import audit
from depot.catalog import Reader, Stored
from depot.store import Store
from hart import limits
from hart.archive import read_metafiles
from hart.artifact import authorise_key, verify
from hart.errors import NotFoundError, SteadError, TrustError
from hart.files import copy_hashing
from hart.ident import Ident
from hart.keys import KeyName, PublicSigningKey, parse_key
from hart.metafiles import parse


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what it is about, and what."""

    thing: str
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """`head` is the newest audit entry's hash: noted elsewhere, it proves later that nothing before it was rewritten."""

    packages: int
    audit_entries: int
    head: str
    findings: list[Finding]


async def check_store(store: Store, progress: Callable[[int], None]) -> Report:
    """Walk all packages and the audit trail; `progress` is told the number of packages so far."""
    findings: list[Finding] = []
    count = 0
    async for row in _rows(store):
        try:
            await _check(store, row)
        except SteadError as error:
            findings.append(Finding(f"{row.ident} for {row.target}", error.cause))
        count += 1
        progress(count)
    broken, head = await store.read(_check_audit)
    if broken is not None:
        findings.append(Finding("audit trail", broken))
    return Report(count, head[0], head[1].hex(), findings)


async def _rows(store: Store) -> AsyncIterator[Stored]:
    after = 0
    while rows := await store.read(methodcaller("stored", after=after, count=limits.CHECK_ROWS)):
        for row in rows:
            yield row
        after = rows[-1].id


async def _check(store: Store, row: Stored) -> None:
    ident, name = Ident.parse(row.ident), KeyName.parse(row.key_name)
    authorise_key(name, ident)
    text = await store.read(lambda reader: reader.key(name.name, name.revision))
    if text is None:
        raise NotFoundError(f"key {name}", f"its key {name} is missing")
    key = parse_key(text)
    assert isinstance(key, PublicSigningKey), name
    await asyncio.to_thread(_check_blob, store, row, key)


def _check_blob(store: Store, row: Stored, key: PublicSigningKey) -> None:
    with store.blobs.open(row.checksum) as blob:
        found = copy_hashing(blob, None, limit=limits.PAYLOAD_MAX, thing=row.ident)
        if (found.blake2b, found.size) != (row.checksum, row.size):
            raise TrustError(row.ident, f"its bytes have checksum {found.blake2b}, not {row.checksum}")
        verify(blob, lambda _name: key, thing=row.ident)
        inside = parse(read_metafiles(blob, thing=row.ident))
    if (str(inside.ident), str(inside.target)) != (row.ident, row.target):
        raise TrustError(row.ident, f"its bytes are those of {inside.ident} for {inside.target}")


def _check_audit(reader: Reader) -> tuple[str | None, tuple[int, bytes]]:
    head = reader.audit_head()

    def rows() -> Iterator[tuple[audit.Entry, bytes]]:
        after = 0
        while batch := reader.audit(after=after, count=limits.CHECK_ROWS):
            yield from batch
            after = batch[-1][0].seq

    return audit.first_break(rows(), head), head
