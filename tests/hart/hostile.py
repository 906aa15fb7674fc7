"""Hostile archives, made byte by byte: what no honest writer would write."""

from __future__ import annotations

import lzma
from dataclasses import dataclass, field
from pathlib import Path

from hart.ident import Ident

IDENT = Ident("acme", "web", "1.0", "20260102030405")
HERE = f"hab/pkgs/{IDENT}/"
POSIX, GNU = b"ustar\x0000", b"ustar  \x00"


def block(
    name: bytes | str,
    kind: bytes = b"0",
    *,
    size: int = 0,
    link: bytes | str = b"",
    mode: bytes = b"0000644\0",
    size_field: bytes | None = None,
    mtime: bytes = b"00000000000\0",
    magic: bytes = GNU,
    checksum: bytes | None = None,
    prefix: bytes = b"",
) -> bytes:
    """One header, with any field as wrong as wanted."""
    raw, target = (value.encode() if isinstance(value, str) else value for value in (name, link))
    fields = [
        raw[:100].ljust(100, b"\0"),
        mode,
        b"0000765\0" * 2,  # an owner of the archive's choosing
        size_field or b"%011o\0" % size,
        mtime,
        b" " * 8,
        kind,
        target[:100].ljust(100, b"\0"),
        magic,
        b"evil".ljust(32, b"\0") * 2,
        b"0000000\0" * 2,
        prefix.ljust(167, b"\0"),
    ]
    whole = b"".join(fields)
    assert len(whole) == 512, len(whole)
    return whole[:148] + (checksum or b"%06o\0 " % sum(whole)) + whole[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes | str, data: bytes = b"x", **fields: object) -> bytes:
    return block(name, b"0", size=len(data), **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes | str) -> bytes:
    return block(name, b"5", mode=b"0000755\0")


def symlink(name: bytes | str, target: bytes | str) -> bytes:
    return long(b"K", target) + block(name, b"2", link=target)


def hard_link(name: bytes | str, target: bytes | str) -> bytes:
    return block(name, b"1", link=target)


def long(kind: bytes, value: bytes | str) -> bytes:
    """A GNU long-name (L) or long-link (K) header, when it is needed."""
    raw = value.encode() if isinstance(value, str) else value
    return b"" if len(raw) <= 100 else block("././@LongLink", kind, size=len(raw) + 1) + padded(raw + b"\0")


def long_file(name: bytes | str, data: bytes = b"x") -> bytes:
    return long(b"L", name) + file(name, data)


def pax(records: dict[str, str | bytes], kind: bytes = b"x") -> bytes:
    data = b"".join(pax_record(key, value) for key, value in records.items())
    return block("pax", kind, size=len(data), magic=POSIX) + padded(data)


def pax_record(key: str, value: str | bytes) -> bytes:
    body = b" " + key.encode() + b"=" + (value.encode() if isinstance(value, str) else value) + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def archive(*members: bytes, end: bytes = bytes(1024), tail: bytes = b"") -> bytes:
    """Members in one xz stream; `end` is the end mark, `tail` follows the stream."""
    return lzma.compress(b"".join(members) + end, preset=0) + tail


@dataclass
class Canary:
    """Files outside the target that must stay as they are: bytes, mode and time of change."""

    paths: list[Path] = field(default_factory=list)
    before: dict[Path, tuple[bytes, int, int]] = field(default_factory=dict)

    def add(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"untouched")
        path.chmod(0o640)
        self.paths.append(path)
        return path

    def look(self) -> dict[Path, tuple[bytes, int, int]]:
        return {path: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in self.paths}


def everything_below(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}
