"""FILES: the signed list of a package's files with their checksums (reference: packages 3.2), and the check of a tree against it.

Rules: one line `<64 hex><two spaces><absolute path>` for each regular file, sorted by path as bytes; MANIFEST and FILES are not listed,
since FILES is made before MANIFEST. Links, directories and modes are not covered by the format. A hash is BLAKE2b-256 of the content.
Signing and verifying the list's own signature is `hart/artifact.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hart.errors import FormatError
from hart.files import storage
from hart.limits import CHUNK

UNLISTED = frozenset({"FILES", "MANIFEST"})
WRITTEN_AT_INSTALL = frozenset({"INSTALL_HOOK_STATUS", "UNINSTALL_HOOK_STATUS"})
NO_LIST = "is not there: the package has no signed list of files to compare with"
EXTRA = "is not in the signed list of files"
LINE = re.compile(rb"([0-9a-f]{64})  (/.+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one file of a package; `path` relative to the release."""

    path: str
    cause: str


def files_list(tree_dir: Path, ident_prefix: str) -> bytes:
    """The list for a finished tree. `ident_prefix` is the absolute path of the release as its users will see it."""
    with storage(tree_dir):
        rows = [
            (os.fsencode(f"{ident_prefix.rstrip('/')}/{name}"), hash_file(tree_dir / name))
            for name in regular_files(tree_dir)
            if name not in UNLISTED
        ]
    return b"".join(digest.encode() + b"  " + path + b"\n" for path, digest in sorted(rows))


def parse_files_list(text: bytes, prefix: str, *, thing: str) -> dict[str, str]:
    """Checksums by path relative to the release; FormatError for a line that is none, or of another package."""
    listed = {}
    for line in text.split(b"\n"):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.rstrip(b"\r"))
        path = os.fsdecode(match[2]) if match else ""
        if match is None or not path.startswith(prefix + "/"):
            raise FormatError(thing, f"FILES has a line that is not about this package: {line[:200]!r}")
        listed[path[len(prefix) + 1 :]] = match[1].decode()
    return listed


def compare(tree_dir: Path, listed: Mapping[str, str], pause: Callable[[int], None] = lambda _: None) -> list[Problem]:
    """What differs from the list: changed, missing and extra files, and files that others than their owner may change."""
    problems = []
    found = set(regular_files(tree_dir)) - UNLISTED - WRITTEN_AT_INSTALL
    for name in sorted(found | listed.keys()):
        if name not in listed:
            problems.append(Problem(name, EXTRA))
        elif name not in found:
            problems.append(Problem(name, "is missing, or no longer a regular file"))
        elif hash_file(tree_dir / name, pause) != listed[name]:
            problems.append(Problem(name, "has other content than the signed list says"))
        elif (tree_dir / name).lstat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH):
            problems.append(Problem(name, "has a mode that a package never has: writable by others, setuid or setgid"))
    return problems


def regular_files(tree_dir: Path) -> Iterator[str]:
    """Paths of all regular files relative to the tree, links not followed."""
    stack = [""]
    while stack:
        above = stack.pop()
        with os.scandir(tree_dir / above) as entries:
            for entry in entries:
                name = f"{above}/{entry.name}" if above else entry.name
                if entry.is_dir(follow_symlinks=False):
                    stack.append(name)
                elif entry.is_file(follow_symlinks=False):
                    yield name


def mark_of(tree_dir: Path) -> str:
    """What changes when a file of the tree is written, replaced, added, removed or gets another mode, as far as the file system tells."""
    digest = hashlib.blake2b(digest_size=16)
    with storage(tree_dir):
        for name in sorted(regular_files(tree_dir)):
            found = (tree_dir / name).lstat()
            parts = (os.fsencode(name), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
            digest.update(repr(parts).encode())
    return digest.hexdigest()


def hash_file(path: Path, pause: Callable[[int], None] = lambda _: None) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as source:
        while block := source.read(CHUNK):
            digest.update(block)
            pause(len(block))
    return digest.hexdigest()
