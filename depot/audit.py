"""The audit trail: one entry for every change of the depot, each bound to the one before by a hash. Pure.

Rules: an entry is written in the transaction of the change it tells of; `hash = BLAKE2b-256(previous hash, entry as canonical JSON)`;
numbers are 1, 2, 3 without a gap. So an entry that was edited, removed or put in offline is found, and named. Cutting off the *newest*
entries is found through the head that the catalog keeps apart; who can rewrite everything is found only by a head noted elsewhere.
Source: threats 4.2, S35. Not here: the table (depot/catalog.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

GENESIS: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One change: who did what to what, when (microseconds since 1970)."""

    seq: int
    at_us: int
    account: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def link(previous: bytes, entry: Entry) -> bytes:
    """The hash that binds an entry to the one before it."""
    fields = [entry.seq, entry.at_us, entry.account, entry.action, entry.subject, entry.detail]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(previous + canonical.encode(), digest_size=32, person=b"stead-audit").digest()


def first_break(rows: Iterable[tuple[Entry, bytes]], head: tuple[int, bytes]) -> str | None:
    """Where the chain is broken, in words; None when it is whole and ends at `head` (number and hash)."""
    previous, expected = GENESIS, 1
    for entry, stored in rows:
        if entry.seq != expected:
            return f"audit entry {expected} is missing"
        if link(previous, entry) != stored:
            return f"audit entry {entry.seq} ({entry.action} {entry.subject}) was changed"
        previous, expected = stored, expected + 1
    if (expected - 1, previous) != head:
        return f"the audit trail ends at entry {expected - 1}, but its head is entry {head[0]}"
    return None
