"""Whether a package's files name where they were built: bytes searched for, in files and in links.

Rules: every regular file and link below the tree except the named top-level files is searched; a package in which nothing is found may
be installed under any root. What is packed inside (a .gz, a .pyc of a path it computes) is not looked into. Files are read in pieces
that overlap, so memory is bounded.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hart.files import storage
from hart.limits import CHUNK


@dataclass(frozen=True, slots=True)
class Found:
    """Per needle, up to `SHOWN` files (relative to the tree) that hold it."""

    files: tuple[tuple[str, ...], ...]

    def any(self, needle: int) -> bool:
        return bool(self.files[needle])


SHOWN = 20


def search(tree: Path, needles: Sequence[bytes], *, skip: Collection[str] = ()) -> Found:
    """Which files below `tree` hold each needle; `skip` are names at the top."""
    hits: list[list[str]] = [[] for _ in needles]
    for base, directories, files in os.walk(tree):
        directories.sort()
        for name in sorted([*files, *(entry for entry in directories if Path(base, entry).is_symlink())]):
            path = Path(base, name)
            relative = str(path.relative_to(tree))
            if relative in skip or all(len(found) >= SHOWN for found in hits):
                continue
            for number, there in enumerate(held(path, needles)):
                if there and len(hits[number]) < SHOWN:
                    hits[number].append(relative)
    return Found(tuple(tuple(found) for found in hits))


def held(path: Path, needles: Sequence[bytes]) -> list[bool]:
    """Which needles a file's content (or a link's target) holds."""
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        return [needle in target for needle in needles]
    found = [False] * len(needles)
    if not path.is_file():
        return found
    overlap = max(len(needle) for needle in needles) - 1
    kept = b""
    with storage(path), path.open("rb") as stream:
        while (block := stream.read(CHUNK)) and not all(found):
            window = kept + block
            found = [already or needle in window for already, needle in zip(found, needles, strict=True)]
            kept = window[-overlap:] if overlap else b""
    return found
