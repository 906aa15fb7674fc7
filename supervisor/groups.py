"""Applied configuration of service groups: documents `group/<service.group>/config` of the ring. Pure: a view over its records.

    body    {"text": TOML, "by": who, "at": seconds since the epoch, "why": reason}

Rules: a revision is never written twice and only grows; the greatest one counts, the last ones are kept as history. Whoever writes merges
(configuration.py), so a document is always whole. Whether it is acceptable was decided by who wrote it, on its own host; what arrives here
may still be anything: a body that cannot be read is a document that no member can take, and never more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hart.errors import FormatError, InputError, LimitError, NotFoundError
from hart.limits import GROUP_BY_MAX, GROUP_CONFIG_MAX, GROUP_WHY_MAX, RING_CONFIG_KEPT, RING_CONFIG_MAX, RING_GENERATION_MAX
from hart.toml import loads
from hart.wire import decode, encode
from supervisor.gossip.messages import Record
from supervisor.plain import one_line
from supervisor.roll import Shelf
from supervisor.service.spec import Group

NONE_YET: Final = 0  # the revision of a group that has no document


@dataclass(frozen=True, slots=True)
class Document:
    """One revision of a group's configuration. `at` in seconds since the epoch; `trouble`: why it cannot be read."""

    version: int
    text: str
    by: str = ""
    at: float = 0.0
    why: str = ""
    trouble: str = ""

    def table(self, group: Group) -> dict[str, Any]:
        """FormatError or LimitError when it is not what it should be."""
        if self.trouble:
            raise FormatError(f"configuration {self.version} of {group}", self.trouble)
        return loads(self.text, thing=f"configuration {self.version} of {group}", limit=GROUP_CONFIG_MAX)

    def body(self) -> bytes:
        """As it goes into the ring."""
        return encode({"text": self.text, "by": one_line(self.by, GROUP_BY_MAX), "at": self.at, "why": one_line(self.why, GROUP_WHY_MAX)})


def key_of(group: Group) -> str:
    return f"group/{group}/config"


def parse_document(group: Group, version: int, raw: bytes) -> Document:
    """Check number, size, encoding and TOML; LimitError or FormatError."""
    thing = f"configuration {version} of {group}"
    if len(raw) > GROUP_CONFIG_MAX:
        raise LimitError(thing, f"has {len(raw)} bytes, more than {GROUP_CONFIG_MAX}")
    if not 0 < version <= RING_GENERATION_MAX:
        raise FormatError(thing, "the version is not a number above zero", next="stead config apply GROUP [VERSION] [FILE|-]")
    try:
        document = Document(version, raw.decode())
    except UnicodeDecodeError:
        raise FormatError(thing, "is not UTF-8 text") from None
    document.table(group)
    return document


def read(record: Record) -> Document:
    """What a record says, whoever wrote it; never an error."""
    version = record.version.major
    try:
        body = decode(record.body or b"", thing="it", limit=RING_CONFIG_MAX)
    except InputError as error:
        return Document(version, "", trouble=f"cannot be read: {error.cause}")
    if not isinstance(body, dict) or not isinstance(text := body.get("text"), str):
        return Document(version, "", trouble="cannot be read: it has no text")
    by, at, why = body.get("by"), body.get("at"), body.get("why")
    return Document(
        version,
        text,
        by=one_line(by, GROUP_BY_MAX) if isinstance(by, str) else "",
        at=float(at) if isinstance(at, (int, float)) and 0 <= at < 1e11 else 0.0,
        why=one_line(why, GROUP_WHY_MAX) if isinstance(why, str) else "",
    )


class Groups:
    """The documents of all groups, as this host's ring has them now."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def documents(self, group: Group) -> list[Document]:
        """All kept ones, newest first. Of two with one revision, written apart at the same time, the one that counts."""
        found: dict[int, Document] = {}
        for record in self._shelf.history(key_of(group)):
            if record.body is not None:
                found.setdefault(record.version.major, read(record))
        return list(found.values())

    def mark(self, group: Group) -> object:
        """Equal while no document of the group has changed."""
        return self._shelf.history(key_of(group))

    def current(self, group: Group) -> Document | None:
        """The document that counts."""
        record = self._shelf.get(key_of(group))
        return None if record is None or record.body is None else read(record)

    def version(self, group: Group) -> int:
        """Of the document that counts, or of its withdrawal."""
        record = self._shelf.get(key_of(group))
        return NONE_YET if record is None else record.version.major

    def versions(self, group: Group) -> list[int]:
        """The kept versions, oldest first."""
        return [document.version for document in reversed(self.documents(group))]

    def at(self, group: Group, version: int) -> Document:
        """A kept version; NotFoundError."""
        for document in self.documents(group):
            if document.version == version:
                return document
        kept = ", ".join(map(str, self.versions(group))) or "none"
        raise NotFoundError(f"configuration {version} of {group}", f"is not kept; kept: {kept}", next=f"stead config history {group}")

    def names(self) -> list[str]:
        """Groups that have a document."""
        return [key.split("/")[1] for key in self._shelf.keys("group/") if key.endswith("/config")]

    def candidates(self, group: Group, least: int = NONE_YET) -> Sequence[Document | None]:
        """What a member may run with, best first: the kept documents down to `least`, then none at all where that was before them."""
        documents = self.documents(group)
        whole = len(documents) < RING_CONFIG_KEPT and (not documents or least == NONE_YET)
        found: list[Document | None] = [document for document in documents if document.version >= least] or [*documents[:1]]
        return [*found, None] if whole else found
