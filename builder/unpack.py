"""Unpacking source archives: pinned, but written by strangers.

Rules: members are checked and written by ourselves, never by an archive library: relative names without `..`, regular files, directories,
and links that stay inside; no devices, no special modes, bounded in number and bytes. Symbolic links are made last, so nothing is ever
written through one. The executable bit and the time are kept. Not here: our own artifacts (`hart.archive`, with stricter rules).
"""

from __future__ import annotations

import calendar
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO

from hart.errors import BuildError, FormatError, LimitError
from hart.files import make_dirs, storage
from hart.limits import CHUNK, UNPACK_HEADER_MAX, UNPACK_MAX, UNPACK_MEMBERS_MAX, UNPACK_PATH_MAX

DESCRIBING = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


@dataclass(frozen=True, slots=True)
class Caps:
    """How much one archive may hold."""

    members: int = UNPACK_MEMBERS_MAX
    size: int = UNPACK_MAX


@dataclass(frozen=True, slots=True)
class Member:
    """One checked entry: `data` for a regular file, `link` for a symbolic link, `copy_of` for a hard link, none for a directory.

    `mtime` is the file's own time in seconds since 1970: make compares them, and remakes what seems older than what it is made from."""

    parts: tuple[str, ...]
    executable: bool = False
    mtime: int = 0
    data: IO[bytes] | None = None
    link: str | None = None
    copy_of: tuple[str, ...] | None = None


def unpack(archive: Path, into: Path, *, name: str, strip: int | None = None, caps: Caps = Caps()) -> int:
    """Unpack below `into`, merging with what is there; the number of members. `name` tells the kind and is used in messages.

    `strip` leading components are dropped; None drops the single directory at the top, when all is in one. FormatError, LimitError."""
    make_dirs(into)
    with storage(into):
        work = Path(tempfile.mkdtemp(prefix=".unpack-", dir=into.parent))
    try:
        count = write_all(archive, work, name, strip or 0, caps)
        top = work
        if strip is None:
            entries = list(work.iterdir())
            if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
                top = entries[0]
        merge(top, into, name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return count


def write_all(archive: Path, work: Path, name: str, strip: int, caps: Caps) -> int:
    """Write all members below the empty directory `work`."""
    count, size = 0, 0
    links: list[Member] = []
    try:
        for member in members(archive, name):
            count += 1
            if count > caps.members:
                raise LimitError(name, f"has more than {caps.members} members")
            member = stripped(member, strip)
            if not member.parts:
                continue
            if member.link is not None:
                links.append(member)
                continue
            size = write_one(work, member, name, size, caps.size)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError) as error:
        raise FormatError(name, f"is a damaged or unsupported archive: {error}") from error
    except RuntimeError as error:  # zipfile's word for "encrypted"
        raise FormatError(name, f"cannot be unpacked: {error}") from error
    except OSError as error:  # bzip2's and gzip's word for damaged data; those of the system carry a number, and are translated by now
        raise FormatError(name, f"is a damaged archive: {error}") from error
    for member in links:
        place = work.joinpath(*member.parts)
        make_directory(work, member.parts[:-1], name)
        assert member.link is not None
        with storage(place):
            if place.is_dir() and not place.is_symlink():
                raise FormatError(name, f"{'/'.join(member.parts)!r} is a link and a directory")
            place.unlink(missing_ok=True)
            place.symlink_to(member.link)
    return count


def write_one(work: Path, member: Member, name: str, size: int, limit: int) -> int:
    """Write a directory, file or hard link; the bytes written so far."""
    place = work.joinpath(*member.parts)
    if member.data is None and member.copy_of is None:
        make_directory(work, member.parts, name)
        return size
    make_directory(work, member.parts[:-1], name)
    with storage(place):
        if place.is_dir():
            raise FormatError(name, f"{'/'.join(member.parts)!r} is a file and a directory")
        place.unlink(missing_ok=True)
        if member.copy_of is not None:
            original = work.joinpath(*member.copy_of)
            if not original.is_file():
                raise FormatError(name, f"{'/'.join(member.parts)!r} is a link to a member that is not there")
            os.link(original, place)
            return size
        assert member.data is not None
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o755 if member.executable else 0o644)
        with os.fdopen(fd, "wb") as out:
            while block := member.data.read(CHUNK):
                size += len(block)
                if size > limit:
                    raise LimitError(name, f"unpacks to more than {limit} bytes")
                out.write(block)
            out.flush()
            os.utime(fd, (member.mtime, member.mtime))
    return size


def make_directory(work: Path, parts: tuple[str, ...], name: str) -> None:
    """Make a directory and those above it; FormatError when the archive has a file in its place."""
    directory = work.joinpath(*parts)
    with storage(directory):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise FormatError(name, f"{'/'.join(parts)!r} is a file and a directory") from error


def members(archive: Path, name: str) -> Iterator[Member]:
    """The checked members of a tar (plain, gz, bz2, xz) or zip archive."""
    with storage(archive):
        is_tar = is_tarfile(archive)
        is_zip = not is_tar and zipfile.is_zipfile(archive)
    if is_zip:
        yield from zip_members(archive, name)
        return
    if not is_tar:
        raise FormatError(
            name, "is no archive that is unpacked here (tar, plain or with gzip, bzip2, xz; zip)", next="set unpack = false for it"
        )
    with storage(archive), tarfile.open(archive, mode="r:*", tarinfo=BoundedInfo) as opened:
        for info in opened:
            yield from tar_member(opened, info, name)


def is_tarfile(archive: Path) -> bool:
    """As tarfile's own, with bounded headers."""
    try:
        with tarfile.open(archive, mode="r:*", tarinfo=BoundedInfo):
            return True
    except tarfile.TarError:
        return False


class BoundedInfo(tarfile.TarInfo):
    """A tar header; those that only describe the next member are read whole into memory, so they are bounded first."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in DESCRIBING and self.size > UNPACK_HEADER_MAX:
            raise LimitError(self.name, f"is a header of more than {UNPACK_HEADER_MAX} bytes in the archive")
        described: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return described


def tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Iterator[Member]:
    parts = safe_parts(info.name, name)
    executable = bool(info.mode & stat.S_IXUSR)
    if info.isdir():
        yield Member(parts)
    elif info.issym():
        yield Member(parts, link=inside(parts, info.linkname, name))
    elif info.islnk():
        yield Member(parts, copy_of=safe_parts(info.linkname, name))
    elif info.isreg():
        data = opened.extractfile(info)
        assert data is not None
        yield Member(parts, executable=executable, mtime=sane_time(info.mtime), data=data)
    else:
        raise FormatError(name, f"{info.name!r} is a device, pipe or other special member")


def zip_members(archive: Path, name: str) -> Iterator[Member]:
    with storage(archive), zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            parts = safe_parts(info.filename, name)
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Member(parts)
            elif stat.S_ISLNK(mode):
                if info.file_size > UNPACK_PATH_MAX:
                    raise FormatError(name, f"{info.filename!r} is a link with a target that is too long")
                yield Member(parts, link=inside(parts, opened.read(info).decode("utf-8", "surrogateescape"), name))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise FormatError(name, f"{info.filename!r} is a device, pipe or other special member")
            else:
                with opened.open(info) as data:
                    yield Member(parts, executable=bool(mode & stat.S_IXUSR), mtime=zip_time(info), data=data)


def sane_time(mtime: float) -> int:
    """A member's time, when it is one that every file system can hold; else the earliest."""
    return int(mtime) if 0 <= mtime < 2**32 else 0


def zip_time(info: zipfile.ZipInfo) -> int:
    """A zip member's time; it names no zone, so UTC is taken, to be the same everywhere."""
    try:
        return sane_time(calendar.timegm((*info.date_time, 0, 0, 0)))
    except ValueError:
        return 0


def safe_parts(path: str, name: str) -> tuple[str, ...]:
    """A member's path as parts; FormatError unless it is relative, without `..` and of a sane length."""
    if path.startswith("/") or "\x00" in path:
        raise FormatError(name, f"{path!r} is not a relative path")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise FormatError(name, f"{path!r} leads out of the archive")
    if len(os.fsencode(path)) > UNPACK_PATH_MAX or any(len(os.fsencode(part)) > 255 for part in parts):
        raise FormatError(name, f"{path[:80]!r}… is too long a path")
    return parts


def inside(parts: tuple[str, ...], target: str, name: str) -> str:
    """A symbolic link's target, when it stays inside the archive.

    `..` may only lead: behind another link it would go up from somewhere else than it seems to."""
    shown = f"{'/'.join(parts)!r} is a link to {target!r}"
    if not target or target.startswith("/") or "\x00" in target:
        raise FormatError(name, f"{shown}, which is no relative path", next="set unpack = false and unpack it in [steps] prepare")
    steps = PurePosixPath(target).parts
    ups = len(list(takewhile(lambda part: part == "..", steps)))
    if ups > len(parts) - 1 or ".." in steps[ups:]:
        raise FormatError(name, f"{shown}, which leads out of the archive")
    return target


def stripped(member: Member, strip: int) -> Member:
    """The member without its first components, hard links alike."""
    if strip == 0:
        return member
    copy_of = member.copy_of[strip:] if member.copy_of is not None else None
    return replace(member, parts=member.parts[strip:], copy_of=copy_of)


def merge(source: Path, into: Path, name: str) -> None:
    """Move everything below `source` to `into`; directories merge, files must not meet."""
    with storage(into):
        for entry in sorted(source.iterdir()):
            place = into / entry.name
            if not os.path.lexists(place):
                entry.rename(place)
            elif entry.is_dir() and not entry.is_symlink() and place.is_dir() and not place.is_symlink():
                merge(entry, place, name)
            else:
                raise BuildError(name, f"{place.name!r} came from another source already", next='give one of them its own into = "…"')
