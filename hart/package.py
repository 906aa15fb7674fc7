"""An artifact as a package: its signature header and its metadata.

Rules: nothing is verified here, so nothing may be trusted: this is for showing what a file says about itself, and for an upload, which is
verified by who receives it. Installing is `hart/installed.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hart.archive import read_metafiles
from hart.artifact import Header, read_header
from hart.files import storage
from hart.metafiles import Metadata, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a `.hart` file says. `size` is the whole file's, in bytes."""

    header: Header
    metadata: Metadata
    path: Path
    size: int


def read_artifact(path: Path) -> Artifact:
    """Header and metafiles, not verified; NotFoundError, FormatError or LimitError."""
    with storage(path), path.open("rb") as stream:
        header = read_header(stream, thing=str(path))
        metadata = parse(read_metafiles(stream, thing=str(path)))
        return Artifact(header=header, metadata=metadata, path=path, size=path.stat().st_size)
