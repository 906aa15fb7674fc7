"""An artifact as a package: its signature header and its metadata.

Rules: nothing is verified here, so nothing may be trusted: this is for showing what a file says about itself, and for an upload, which is
verified by who receives it. Installing is `hart/installed.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hart.archive import read_metafiles
from hart.artifact import Header, read_header
from hart.files import open_regular
from hart.metafiles import Metadata, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a `.hart` file says. `size` is the whole file's, in bytes."""

    header: Header
    metadata: Metadata
    path: Path
    size: int


def read_metadata(payload: BinaryIO, *, thing: str) -> Metadata:
    """What the metafiles in a payload say; `payload` stands at its start."""
    return parse(read_metafiles(payload, thing=thing))


def read_artifact(path: Path) -> Artifact:
    """Header and metafiles, not verified; NotFoundError, FormatError or LimitError."""
    with open_regular(path) as stream:
        header = read_header(stream, thing=str(path))
        metadata = read_metadata(stream, thing=str(path))
        return Artifact(header=header, metadata=metadata, path=path, size=os.fstat(stream.fileno()).st_size)
