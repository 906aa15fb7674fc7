"""Files for a service group: documents `group/<service.group>/file/<name>` of the ring. Pure: a view over its records.

    body    {"data": bytes, "by": who, "at": seconds since the epoch}

Rules: a name is one plain path component, and is checked by who sends it and again by who receives it (habitat-supervisor W28, where a name
from the network was joined to a directory as it came). Names that differ in case are different files, as on the disk. A body that cannot be
read is a file that nobody gets, and is reported. Writing them is the service's (service/files.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hart.errors import FormatError, InputError, LimitError
from hart.limits import GROUP_BY_MAX, GROUP_FILE_MAX, GROUP_FILE_NAME, RING_FILE_MAX
from hart.wire import decode, encode
from supervisor.gossip.messages import Record
from supervisor.plain import one_line
from supervisor.roll import Shelf
from supervisor.service.spec import Group

NAME: Final = re.compile(r"[A-Za-z0-9_@+~][A-Za-z0-9._@+~-]*", re.ASCII)


def safe_name(name: str) -> str:
    """The name, when it is one that a group's file may have; else FormatError or LimitError."""
    thing = f"file name {name[:GROUP_FILE_NAME]!r}"
    if not NAME.fullmatch(name):
        raise FormatError(
            thing,
            "is not a plain name: letters, digits and . _ @ + ~ -, and neither a dot nor a dash comes first",
            next="--name NAME gives it another one",
        )
    if len(name) > GROUP_FILE_NAME:
        raise LimitError(thing, f"is longer than {GROUP_FILE_NAME} characters", next="--name NAME gives it another one")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class RingFile:
    """One file. `at` in seconds since the epoch."""

    name: str
    revision: int
    data: bytes
    by: str = ""
    at: float = 0.0

    def body(self) -> bytes:
        """As it goes into the ring; LimitError."""
        if len(self.data) > GROUP_FILE_MAX:
            raise LimitError(f"file {self.name}", f"has {len(self.data)} bytes, more than {GROUP_FILE_MAX}", next="ship it in a package")
        return encode({"data": self.data, "by": one_line(self.by, GROUP_BY_MAX), "at": self.at})


def key_of(group: Group, name: str) -> str:
    return f"{prefix_of(group)}{safe_name(name)}"


def prefix_of(group: Group) -> str:
    return f"group/{group}/file/"


def read(record: Record) -> RingFile:
    """What a record says; FormatError or LimitError for what may not be written anywhere."""
    _, _, name = record.key.partition("/file/")
    body = decode(record.body or b"", thing=record.key, limit=RING_FILE_MAX)
    if not isinstance(body, dict) or not isinstance(data := body.get("data"), bytes):
        raise FormatError(record.key, "has no content")
    if len(data) > GROUP_FILE_MAX:
        raise LimitError(record.key, f"has {len(data)} bytes, more than {GROUP_FILE_MAX}")
    by, at = body.get("by"), body.get("at")
    return RingFile(
        name=safe_name(name),
        revision=record.version.major,
        data=data,
        by=one_line(by, GROUP_BY_MAX) if isinstance(by, str) else "",
        at=float(at) if isinstance(at, (int, float)) and 0 <= at < 1e11 else 0.0,
    )


NOTHING: Final[Mapping[str, Record]] = {}


class RingFiles:
    """The files of all groups, as this host's ring has them now."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._digest = b""
        self._records: dict[str, dict[str, Record]] = {}  # by group, then by name

    def records(self, group: Group) -> Mapping[str, Record]:
        """By name; equal while nothing of the group has changed."""
        if (digest := self._shelf.digest) != self._digest:
            self._digest = digest
            self._records = {}
            for key in self._shelf.keys("group/"):
                record = self._shelf.get(key)
                _, of, rest = key.split("/", 2)
                if rest.startswith("file/") and record is not None:
                    self._records.setdefault(of, {})[rest.removeprefix("file/")] = record
        return self._records.get(str(group), NOTHING)

    def revision(self, group: Group, name: str) -> int:
        """Of the file, or of its removal; 0 where there never was one."""
        record = self._shelf.get(key_of(group, name))
        return 0 if record is None else record.version.major

    def files(self, group: Group) -> tuple[list[RingFile], list[str]]:
        """The files by name, and what is wrong with those that nobody gets."""
        found, troubles = [], []
        for _, record in sorted(self.records(group).items()):
            try:
                found.append(read(record))
            except InputError as error:
                troubles.append(f"{error.thing}: {error.cause}")
        return found, troubles
