"""Applied configuration of service groups: `<root>/sup/default/groups/<service.group>/<version>.toml`, mode 0600.

Rules: a version is never written twice and only grows; the greatest one counts and replaces the one before as a whole. The last ones are
kept as history. A document is stored as it was given; whether it is acceptable was decided before (commands.py). The ring will carry
these documents between hosts; here they are one host's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hart.errors import ConflictError, FormatError, LimitError
from hart.files import make_dirs, storage, write_atomic
from hart.limits import GROUP_CONFIG_MAX, GROUP_HISTORY
from hart.toml import loads
from supervisor.service.spec import Group

NONE_YET = 0  # the version of a group that has no document
NAME = re.compile(r"[0-9]{19}", re.ASCII)  # of a document's file; whatever else is there is not ours


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a group's configuration."""

    version: int
    text: str

    def table(self, group: Group) -> dict[str, Any]:
        return loads(self.text, thing=f"configuration {self.version} of {group}")


def parse_document(group: Group, version: int, raw: bytes) -> Document:
    """Check size, encoding and TOML; LimitError or FormatError."""
    thing = f"configuration {version} of {group}"
    if len(raw) > GROUP_CONFIG_MAX:
        raise LimitError(thing, f"has {len(raw)} bytes, more than {GROUP_CONFIG_MAX}")
    if not 0 < version < 1 << 63:
        raise FormatError(thing, "the version is not a number above zero", next="stead config apply GROUP VERSION [FILE|-]")
    try:
        document = Document(version, raw.decode())
    except UnicodeDecodeError:
        raise FormatError(thing, "is not UTF-8 text") from None
    document.table(group)
    return document


class Groups:
    """The documents of all groups on this host."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self, group: Group) -> Document | None:
        """The document that counts. FormatError or LimitError when it was broken by another hand."""
        versions = self.versions(group)
        if not versions:
            return None
        with storage(self.path), self._file(group, versions[-1]).open("rb") as file:
            raw = file.read(GROUP_CONFIG_MAX + 1)
        return parse_document(group, versions[-1], raw)

    def version(self, group: Group) -> int:
        return max(self.versions(group), default=NONE_YET)

    def versions(self, group: Group) -> list[int]:
        """The kept versions, oldest first."""
        with storage(self.path):
            try:
                names = [file.stem for file in (self.path / str(group)).iterdir() if file.suffix == ".toml"]
            except FileNotFoundError:
                return []
        return sorted(int(name) for name in names if NAME.fullmatch(name))

    def check_next(self, group: Group, version: int) -> None:
        """ConflictError unless the version is greater than the one that counts."""
        current = self.version(group)
        if version <= current:
            raise ConflictError(
                f"configuration {version} of {group}",
                f"is not newer than version {current}, which counts now",
                next=f"apply it as version {current + 1}",
                current=current,
            )

    def store(self, group: Group, document: Document) -> None:
        """Durable when this returns; ConflictError when somebody was faster."""
        self.check_next(group, document.version)
        directory = self.path / str(group)
        make_dirs(directory, mode=0o700)
        write_atomic(self._file(group, document.version), document.text.encode(), mode=0o600, replace=False)
        for version in self.versions(group)[: -GROUP_HISTORY - 1]:
            self._file(group, version).unlink(missing_ok=True)

    def _file(self, group: Group, version: int) -> Path:
        return self.path / str(group) / f"{version:019}.toml"
