"""Links to a package's programs in a directory that is on everybody's PATH (reference: packages 5.5, binlink).

Rules: one symbolic link for each file in the package's PATH directories. A link that is right stays; another link stays too unless
`force`, which replaces it in one step; anything that is not a link is never touched.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from hart.files import make_dirs, storage

if TYPE_CHECKING:
    from hart.installed import InstalledPackage

DEFAULT_DIR = "/bin"


class LinkState(StrEnum):
    MADE = "made"
    KEPT = "already there"
    OTHER = "skipped: another link is there, see --force"
    IN_THE_WAY = "skipped: a file is there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    path: Path
    target: Path
    state: LinkState


def binlink(package: InstalledPackage, directory: Path, *, force: bool) -> list[Link]:
    """Link every program of the package; raises StorageError when the directory cannot be written."""
    make_dirs(directory)
    return [Link(path=path, target=target, state=_link(path, target, force=force)) for path, target in _programs(package, directory)]


def _programs(package: InstalledPackage, directory: Path) -> Iterator[tuple[Path, Path]]:
    seen: set[str] = set()
    for folder in map(Path, package.metadata.path):
        if not folder.is_relative_to(package.path) or not folder.is_dir():
            continue
        for program in sorted(folder.iterdir()):
            if program.name not in seen and not program.is_dir():
                seen.add(program.name)
                yield directory / program.name, program


def _link(path: Path, target: Path, *, force: bool) -> LinkState:
    if path.is_symlink():
        if path.readlink() == target:
            return LinkState.KEPT
        if not force:
            return LinkState.OTHER
    elif path.exists():
        return LinkState.IN_THE_WAY
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    with storage(path):
        os.symlink(target, temporary)  # noqa: PTH211  a link's text, not a path of ours
        temporary.replace(path)
    return LinkState.MADE
