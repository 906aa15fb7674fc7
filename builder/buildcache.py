"""Which artifact an unchanged plan has been built into (`pkg build --if-changed`).

Rules: an entry is named by a digest over all that the outcome depends on; it counts only while its artifact is in the cache with the very
bytes; a damaged entry is no entry. The host's own compilers are not part of the key: docs/plan.md says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.assemble import Artifact, last_build, put_result
from builder.source.cache import sha256_of
from hart.artifact import checksum
from hart.errors import SteadError
from hart.files import make_dirs, write_atomic
from hart.ident import Ident
from hart.root import Root
from hart.target import Target
from hart.toml import dumps, loads


@dataclass(frozen=True, slots=True)
class Entry:
    """An artifact of an earlier build that is still what it was."""

    ident: Ident
    path: Path
    blake2b: str
    relocatable: bool


def key(facts: Iterable[str]) -> str:
    """The name of an entry."""
    whole = hashlib.blake2b(digest_size=32)
    for fact in facts:
        data = fact.encode()
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def place(root: Root, name: str) -> Path:
    return root.path / "cache" / "builds" / f"{name}.toml"


def remember(root: Root, name: str, ident: Ident, artifact: Artifact) -> None:
    """Write an entry."""
    path = place(root, name)
    make_dirs(path.parent)
    facts = {
        "ident": str(ident),
        "artifact": artifact.path.name,
        "blake2b": artifact.blake2b,
        "relocatable": artifact.relocatable,
    }
    write_atomic(path, dumps(facts).encode())


def find(root: Root, name: str) -> Entry | None:
    """The entry, if its artifact is there unchanged."""
    path = place(root, name)
    if not path.is_file():
        return None
    try:
        facts = loads(path.read_text("utf-8", "replace"), thing=str(path))
        ident = Ident.parse_full(str(facts["ident"]))
        file_name = str(facts["artifact"])
    except (SteadError, KeyError):
        return None
    artifact = root.artifacts / file_name
    if "/" in file_name or not artifact.is_file() or checksum(artifact) != facts.get("blake2b"):
        return None
    return Entry(ident, artifact, str(facts["blake2b"]), facts.get("relocatable") is True)


def restore(entry: Entry, results: Path, target: Target) -> tuple[Ident, Artifact]:
    """Put the artifact of an entry into the results as a build would."""
    artifact = Artifact(
        path=entry.path,
        result=put_result(entry.path, results),
        relocatable=entry.relocatable,
        sha256=sha256_of(entry.path),
        blake2b=entry.blake2b,
        size=entry.path.stat().st_size,
    )
    write_atomic(results / "last_build.env", last_build(entry.ident, target, artifact).encode())
    return entry.ident, artifact
