"""Reading a package's payload: extraction that cannot leave its directory, and metafiles without extraction.

Rules (threats 3.3, packages 1.2 and 1.3): the caller has verified the signature over the whole payload before it comes here. Every
directory is opened from its parent's descriptor without following links, every file is created new, symbolic links come last, hard links
only to files that this archive wrote; anything else is refused and the caller throws the directory away. Modes become 0755 or 0644;
setuid, setgid and sticky bits are dropped and reported (Habitat's packages of sudo and shadow have them; without the bit a program
fails closed, with it a publisher would decide who becomes root here). Owners are the caller's. Memory does not grow with the archive.
Writing is `hart/tarball.py`; what names and links may be is `hart/members.py`; durability is the caller's.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

from hart import members
from hart.errors import ConflictError, FormatError, LimitError
from hart.files import storage
from hart.ident import Ident
from hart.limits import METAFILE_MAX, METAFILES_MAX
from hart.members import DEFAULT, ArchiveCaps, Parts
from hart.metafiles import INDEXED, METAFILES
from hart.tarball import pack
from hart.tarstream import Kind, Member, TarReader
from hart.xzstream import Readable, XzReader

__all__ = ["DEFAULT", "Announced", "ArchiveCaps", "Extracted", "announced", "extract", "pack", "read_metafiles"]

METAFILE = re.compile(r"/?(?:opt/)?hab/pkgs/([^/]+/[^/]+/[^/]+/[^/]+)/([^/]+)(/.*)?")
RELEASE = re.compile(r"/?hab/pkgs/([^/]+/[^/]+/[^/]+/[^/]+)(/.*)?")
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NAMED = INDEXED | METAFILES
SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
STRIPPED_SHOWN = 100  # names of members that lost a special bit: for a warning, not for a list


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written: regular files (hard links count too), their bytes, and members that lost setuid, setgid or sticky bits."""

    files: int
    bytes: int
    stripped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Announced:
    """What the first members of an archive say: whose they are, and whether its metafiles can be read without unpacking it all."""

    ident: Ident
    metafiles_first: bool


class Directories:
    """The open directories from the top of a new tree down to where we are: paths are walked by descriptor, never by name."""

    def __init__(self, top: Path) -> None:
        self.fds = [os.open(top, DIRECTORY)]
        self.parts: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self.fds:
            os.close(self.fds.pop())

    def enter(self, parts: Parts, *, create: bool = True) -> int:
        """The descriptor of a directory below the top, made on the way if `create`. It stays open until the next call."""
        same = 0
        while same < min(len(parts), len(self.parts)) and parts[same] == self.parts[same]:
            same += 1
        while len(self.parts) > same:
            self.parts.pop()
            os.close(self.fds.pop())
        for part in parts[same:]:
            made = create and make_directory(part, self.fds[-1])
            self.fds.append(os.open(part, DIRECTORY, dir_fd=self.fds[-1]))
            self.parts.append(part)
            if made:
                os.fchmod(self.fds[-1], 0o755)
        return self.fds[-1]


def make_directory(name: str, parent: int) -> bool:
    """Whether it had to be made."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    return True


class Extraction:
    """One archive on its way into one empty directory."""

    def __init__(self, reader: TarReader, tree: Directories, ident: Ident, stores: Sequence[str]) -> None:
        self.reader = reader
        self.tree = tree
        self.thing = reader.thing
        self.prefix = members.release_prefix(ident)
        self.stores = stores
        self.files = self.bytes = self.link_bytes = 0
        self.stripped: list[str] = []
        self.links: list[tuple[Parts, str]] = []
        self.directories: set[bytes] = set()  # digests of the names of directory members: a name may be 1 KiB, a digest is 16 bytes
        self.among_metafiles = self.past_metafiles = False

    def run(self) -> Extracted:
        for member in self.reader:
            parts = members.inside(member.name, self.prefix, thing=self.thing)
            if member.kind is not Kind.DIRECTORY and not parts:
                raise FormatError(self.thing, f"member {member.name!r} is a {member.kind} in the place of a directory")
            self._order(parts, member.kind)
            if parts is None:
                continue
            if member.kind is Kind.FILE and member.mode & SPECIAL_BITS and len(self.stripped) < STRIPPED_SHOWN:
                self.stripped.append("/".join(parts))
            match member.kind:
                case Kind.DIRECTORY:
                    self._directory(parts)
                case Kind.FILE:
                    self._file(parts, member)
                case Kind.HARDLINK:
                    self._hard_link(parts, member)
                case Kind.SYMLINK:
                    self._remember_link(parts, member)
        self._make_links()
        return Extracted(self.files, self.bytes, tuple(self.stripped))

    def _order(self, parts: Parts | None, kind: Kind) -> None:
        """A writer that claims to put metafiles first must: a reader that stops early would miss the others."""
        if parts and parts[0] in NAMED and (kind is not Kind.FILE or len(parts) > 1):
            raise no_regular_file(parts[0], self.thing)
        if not parts or parts[0] not in INDEXED:
            self.past_metafiles |= bool(parts) or self.among_metafiles
            return
        if self.past_metafiles and self.reader.metafiles_first:
            raise FormatError(self.thing, f"metafile {parts[0]} comes late in an archive that is marked metafiles-first")
        self.among_metafiles = True

    def _directory(self, parts: Parts) -> None:
        digest = blake2b("/".join(parts).encode(), digest_size=16).digest()
        if digest in self.directories:
            raise FormatError(self.thing, f"has directory {'/'.join(parts)!r} twice")
        self.directories.add(digest)
        self.tree.enter(parts)

    def _file(self, parts: Parts, member: Member) -> None:
        fd = os.open(parts[-1], NEW_FILE, 0o600, dir_fd=self.tree.enter(parts[:-1]))
        try:
            for part in self.reader.content():
                write_all(fd, part)
            os.fchmod(fd, 0o755 if member.mode & 0o111 else 0o644)
            os.utime(fd, (member.mtime, member.mtime))
        finally:
            os.close(fd)
        self.files += 1
        self.bytes += member.size

    def _hard_link(self, parts: Parts, member: Member) -> None:
        target = members.inside(member.link, self.prefix, thing=self.thing)
        if not target:
            raise FormatError(self.thing, f"hard link {'/'.join(parts)!r} points to a directory: {member.link!r}")
        source = self._existing_directory(target[:-1])
        if source is None or not is_regular(target[-1], source):
            raise FormatError(self.thing, f"hard link {'/'.join(parts)!r} points to no file that came before: {member.link!r}")
        source = os.dup(source)
        try:
            os.link(target[-1], parts[-1], src_dir_fd=source, dst_dir_fd=self.tree.enter(parts[:-1]), follow_symlinks=False)
        finally:
            os.close(source)
        self.files += 1

    def _remember_link(self, parts: Parts, member: Member) -> None:
        self.link_bytes += len(member.name) + len(member.link)
        if self.link_bytes > self.reader.caps.links:
            raise LimitError(self.thing, f"the names of its links have more than {self.reader.caps.links} bytes")
        self.links.append((parts, member.link))

    def _make_links(self) -> None:
        """All targets are judged while no link exists yet, so a directory that is there is a real one."""
        for parts, target in self.links:
            for directory in members.link_target(parts, target, self.stores, thing=self.thing):
                if self._existing_directory(directory) is None:
                    raise FormatError(self.thing, f"link {'/'.join(parts)!r} → {target!r} steps out of what is no directory")
        for parts, target in self.links:
            os.symlink(target, parts[-1], dir_fd=self.tree.enter(parts[:-1]))

    def _existing_directory(self, parts: Parts) -> int | None:
        try:
            return self.tree.enter(parts, create=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise


def extract(
    payload: Readable, into: Path, ident: Ident, *, caps: ArchiveCaps = DEFAULT, stores: Sequence[str] = (members.STORE,)
) -> Extracted:
    """Write the content of `hab/pkgs/O/N/V/R/` directly below `into`, an existing empty directory of the caller's.

    `payload` stands at the first compressed byte and is read to its end. Absolute links may point to releases in `stores`. Raises
    FormatError, LimitError or StorageError; `into` then holds a part, which the caller removes.
    """
    thing = f"package {ident}"
    reader = TarReader(XzReader(payload, caps, thing=thing), caps)
    with refusing(thing, into), Directories(into) as tree:
        if any(into.iterdir()):
            raise ConflictError(str(into), "is not empty")
        return Extraction(reader, tree, ident, stores).run()


def announced(payload: Readable, *, caps: ArchiveCaps = DEFAULT, thing: str = "artifact") -> Announced:
    """Read until the first member that lies in a release; FormatError when none does. Whether all others do is for `extract`."""
    reader = TarReader(XzReader(payload, caps, thing=thing), caps)
    for member in reader:
        if match := RELEASE.fullmatch(member.name):
            return Announced(Ident.parse_full(match[1]), reader.metafiles_first)
    raise FormatError(thing, "has no member below hab/pkgs/ORIGIN/NAME/VERSION/RELEASE", next="this is no package for this system")


def read_metafiles(payload: Readable, *, caps: ArchiveCaps = DEFAULT, thing: str = "artifact") -> dict[str, bytes]:
    """The metafiles by name, as they are, with default.toml, service.toml and config.schema.json; MANIFEST too, FILES not.

    Stops after the last metafile when the archive is marked metafiles-first (ours are), else reads to the end. An archive's metafiles all
    belong to one release, and its IDENT says which.
    """
    reader = TarReader(XzReader(payload, caps, thing=thing), caps)
    found: dict[str, bytes] = {}
    release = ""
    for member in reader:
        match = METAFILE.fullmatch(member.name)
        if match is None or match[2] not in INDEXED:
            if reader.metafiles_first and found:
                break
            continue
        if member.kind is not Kind.FILE or match[3]:
            raise no_regular_file(match[2], thing)
        if match[2] in found or (release and match[1] != release):
            raise FormatError(thing, f"has a second metafile {match[2]}")
        release = match[1]
        if member.size > METAFILE_MAX or member.size + sum(map(len, found.values())) > METAFILES_MAX:
            raise LimitError(thing, f"metafile {match[2]} has {member.size} bytes")
        found[match[2]] = b"".join(reader.content())
    if "IDENT" in found and found["IDENT"].strip() != release.encode():
        raise FormatError(thing, f"IDENT says {found['IDENT'][:200].decode(errors='replace').strip()!r}, the path {release!r}")
    return found


def no_regular_file(metafile: str, thing: str) -> FormatError:
    """For who unpacks as for who only reads: else a link or a directory would give them different metafiles."""
    return FormatError(thing, f"metafile {metafile} is no regular file")


@contextmanager
def refusing(thing: str, into: Path) -> Iterator[None]:
    """The border to the file system: what a hostile archive runs into, and what a disk can do."""
    with storage(into):
        try:
            yield
        except FileExistsError as error:
            raise FormatError(thing, f"has {str(error.filename2 or error.filename)!r} twice") from error
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
                raise FormatError(thing, f"has {str(error.filename)!r} as a directory and as something else") from error
            raise


def is_regular(name: str, directory: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
