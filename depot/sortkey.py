"""Version order as bytes, so that a database index holds it and "the latest" is one lookup. Pure.

Rule: two keys compare as bytes exactly as `hart.version` orders the versions; then by release, then by the version's text.

The encoding is that of nested tuples: every item begins with a code and ends by itself, so concatenation keeps the order.

    tuple   05 items… 00            text    02 UTF-8 with 00 → 00 FF, 00
    number  15 four bytes           bool    26 | 27

00 is below every code, so a shorter tuple sorts first; FF is above every code, so a longer text sorts last. UTF-8 keeps code point order.
A change of `hart.version`'s order is a change of stored data: it needs a new schema version that computes the column again.
Source: the tuple encoding of ordered key-value stores. Not here: the column and its index (depot/schema.py).
"""

from __future__ import annotations

from typing import TypeAlias

from hart.version import version_key

Nested: TypeAlias = "bool | int | str | tuple[Nested, ...]"


def version_bytes(version: str) -> bytes:
    """The order of versions alone; a prefix of every `sort_key` of this version."""
    return _encode(version_key(version))


def sort_key(version: str, release: str) -> bytes:
    """The order of one package's releases, newest greatest."""
    return version_bytes(version) + release.encode() + _text(version)


def after_version(version: str) -> bytes:
    """Greater than every `sort_key` of this version and smaller than those of the next: a release is digits, below FF."""
    return version_bytes(version) + b"\xff"


def _encode(value: Nested) -> bytes:
    if isinstance(value, bool):
        return b"\x27" if value else b"\x26"
    if isinstance(value, int):
        return b"\x15" + value.to_bytes(4)  # lengths of numbers: never negative, at most a version's length
    if isinstance(value, str):
        return b"\x02" + _text(value)
    return b"\x05" + b"".join(map(_encode, value)) + b"\x00"


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass").replace(b"\x00", b"\x00\xff") + b"\x00"
