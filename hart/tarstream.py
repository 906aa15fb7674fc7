"""A strict reader of tar as packages use it: ustar, GNU long names, and a few pax keys (formats: POSIX.1-2017 pax, GNU tar manual D).

Rules (threats 3.3): regular files, directories, symbolic and hard links, nothing else; every header has its checksum and its magic; numbers
are octal, so nothing can be negative; long-name and pax headers are capped, belong to the next member and do not stack; pax keys are
an allow-list. Owners and times of owners' choosing are read over. `tarfile` is not used: a crafted archive escapes its filters.
No I/O of its own: bytes come from an XzReader. What names may be is `hart/members.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from hart import members
from hart.errors import FormatError, LimitError
from hart.limits import ARCHIVE_PATH_MAX, ARCHIVE_PAX_MAX, CHUNK
from hart.members import ArchiveCaps
from hart.xzstream import XzReader

BLOCK = 512
POSIX_MAGIC, GNU_MAGIC = b"ustar\x0000", b"ustar  \x00"
MARK = b"metafirst\0\0\0"  # in the header padding of our first member: all metafiles come before all other members
MARK_AT = 500
LATEST_MTIME = 2**33 - 1  # what eleven octal digits hold
PAX_USED = frozenset({"path", "linkpath", "size", "mtime"})
PAX_IGNORED = frozenset({"atime", "ctime", "uid", "gid", "uname", "gname", "comment", "LIBARCHIVE.creationtime"})
PAX_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ")
OCTAL = re.compile(rb" *([0-7]*)[ \0]*")


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"


KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"5": Kind.DIRECTORY, b"2": Kind.SYMLINK, b"1": Kind.HARDLINK}
REFUSED = {b"3": "a character device", b"4": "a block device", b"6": "a fifo", b"7": "a contiguous file", b"S": "a sparse file"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member. `name` and `link` as they stand in the archive; `size` in bytes, 0 unless a file; `mtime` in seconds."""

    name: str
    kind: Kind
    size: int
    mode: int
    mtime: int
    link: str


@dataclass(slots=True)
class Extension:
    """What long-name and pax headers said about the member that follows."""

    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    mtime: int | None = None
    seen: set[bytes] = field(default_factory=set)


class TarReader:
    """The members of an archive, in order. The content of a file is read with `content` before the next member is asked for."""

    def __init__(self, source: XzReader, caps: ArchiveCaps) -> None:
        self.source = source
        self.caps = caps
        self.thing = source.thing
        self.count = 0
        self.metafiles_first = False  # known once the first member has been given
        self._left = 0  # unread bytes of the current file
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Until the end mark; then nothing but zeros may follow."""
        extension = Extension()
        while (block := self._header()) is not None:
            self.count += 1
            if self.count > self.caps.members:
                raise LimitError(self.thing, f"has more than {self.caps.members} members")
            if self.count == 1:
                self.metafiles_first = block[MARK_AT:] == MARK
            flag = block[156:157]
            if flag in b"LKxg":
                self._extend(extension, flag, self._number(block[124:136], "size"))
                continue
            yield self._member(block, flag, extension)
            extension = Extension()
        if extension.seen:
            raise FormatError(self.thing, "an extended header has no member after it")
        self.source.finish()

    def content(self) -> Iterator[memoryview]:
        """The rest of the current file."""
        while self._left:
            part = self.source.read(min(self._left, CHUNK))
            if not part:
                raise FormatError(self.thing, "the archive is cut short")
            self._left -= len(part)
            yield part

    def _header(self) -> bytes | None:
        """The next header block, None at the end mark (two blocks of zeros)."""
        for _ in self.content():
            pass
        self.source.take(self._padding)
        self._padding = 0
        block = self.source.take(BLOCK)
        if block.strip(b"\0"):
            self._check(block)
            return block
        if self.source.take(BLOCK).strip(b"\0"):
            raise FormatError(self.thing, "the archive has a lone zero block")
        return None

    def _check(self, block: bytes) -> None:
        if self._number(block[148:156], "checksum") != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise FormatError(self.thing, "a member's header is damaged: wrong checksum")
        if block[257:265] not in (POSIX_MAGIC, GNU_MAGIC):
            raise FormatError(self.thing, f"a member's header is neither POSIX nor GNU tar: {block[257:265]!r}")

    def _number(self, digits: bytes, what: str) -> int:
        match = OCTAL.fullmatch(digits)
        if match is None:  # also GNU's base 256, whose numbers can be negative: nothing that fits our caps needs it
            raise FormatError(self.thing, f"a member's {what} is not an octal number: {digits!r}")
        return int(match[1] or b"0", 8)

    def _extend(self, extension: Extension, flag: bytes, size: int) -> None:
        """Take in a long name (L), a long link (K), or pax records for one member (x) or all (g)."""
        if flag in extension.seen or (flag in b"LK" and b"x" in extension.seen) or (flag == b"x" and not extension.seen <= {b"g"}):
            raise FormatError(self.thing, "extended headers are stacked")  # readers differ in which one wins
        extension.seen.add(flag)
        if size > (ARCHIVE_PAX_MAX if flag in b"xg" else ARCHIVE_PATH_MAX + 1):
            raise LimitError(self.thing, f"an extended header has {size} bytes")
        data = self.source.take(size)
        self._padding = -size % BLOCK
        if flag == b"L":
            extension.name = data.split(b"\0", 1)[0]
        elif flag == b"K":
            extension.link = data.split(b"\0", 1)[0]
        else:
            records = parse_pax(data, thing=self.thing)
            if flag == b"g":
                if not PAX_USED.isdisjoint(records):
                    raise FormatError(self.thing, "a global header would rename members")
                return
            self._apply(extension, records)

    def _apply(self, extension: Extension, records: dict[str, bytes]) -> None:
        extension.name = records.get("path", extension.name)
        extension.link = records.get("linkpath", extension.link)
        if "size" in records:
            if not re.fullmatch(rb"[0-9]{1,18}", records["size"]):
                raise FormatError(self.thing, f"an extended header has no valid size: {records['size']!r}")
            extension.size = int(records["size"])
        if match := re.fullmatch(rb"([0-9]{1,11})(\.[0-9]*)?", records.get("mtime", b"")):
            extension.mtime = int(match[1])

    def _member(self, block: bytes, flag: bytes, extension: Extension) -> Member:
        if flag not in KINDS:
            raise FormatError(
                self.thing, f"has {REFUSED.get(flag, f'a member of type {flag!r}')}: only files, directories and links may be"
            )
        kind = KINDS[flag]
        name = text_field(block[0:100]) if extension.name is None else extension.name
        if extension.name is None and block[257:265] == POSIX_MAGIC and (above := text_field(block[345:500])):
            name = above + b"/" + name
        link = text_field(block[157:257]) if extension.link is None else extension.link
        size = self._number(block[124:136], "size") if extension.size is None else extension.size
        shown = members.text(name, thing=self.thing, what="name")
        if not shown:
            raise FormatError(self.thing, "a member has no name")
        if kind is not Kind.DIRECTORY and shown.endswith("/"):
            raise FormatError(self.thing, f"member {shown!r} is a {kind} with the name of a directory")
        if kind is not Kind.FILE and size:
            raise FormatError(self.thing, f"member {shown!r} is a {kind} with content")
        if size > self.caps.output:
            raise LimitError(self.thing, f"member {shown!r} has more than {self.caps.output} bytes")
        self._left, self._padding = size, -size % BLOCK
        mtime = self._number(block[136:148], "mtime") if extension.mtime is None else extension.mtime
        is_link = kind in (Kind.SYMLINK, Kind.HARDLINK)
        return Member(
            name=shown,
            kind=kind,
            size=size,
            mode=self._number(block[100:108], "mode"),
            mtime=min(mtime, LATEST_MTIME),
            link=members.text(link, thing=self.thing, what="link target") if is_link else "",
        )


def text_field(raw: bytes) -> bytes:
    """A header's text field: up to the first NUL, or all of it."""
    return raw.split(b"\0", 1)[0]


def parse_pax(data: bytes, *, thing: str) -> dict[str, bytes]:
    """pax records `<length> <key>=<value>\\n`: only keys that we use or may ignore, each once."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        match = PAX_RECORD.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or end > len(data) or end <= match.end() or data[end - 1 : end] != b"\n":
            raise FormatError(thing, "an extended header has a malformed record")
        key, equals, value = data[match.end() : end - 1].partition(b"=")
        name = key.decode("ascii", "replace")
        if not equals or name in records:
            raise FormatError(thing, "an extended header has a malformed record")
        if name not in PAX_USED and name not in PAX_IGNORED:
            raise FormatError(thing, f"an extended header has {name!r}: extended attributes, sparse files and the like are refused")
        if b"\0" in value:
            raise FormatError(thing, f"an extended header has a NUL in {name!r}")
        records[name] = value
        at = end
    return records
