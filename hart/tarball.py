"""Writing a package's payload: the same tree gives the same bytes, on any machine with the same liblzma (packages 1.2 and 1.3).

Rules: GNU tar, one xz stream (CRC64, one thread: thread counts change bytes). The release's directory first, then the metafiles with IDENT
and TARGET in front, then everything else in byte order, each directory before its content. Owner root 0:0, one time for all, modes 0755
and 0644. The first header carries a mark in its unused padding, so that readers of metadata may stop early; other readers do not see it.
What `hart/archive.py` would refuse is refused here already. Hard links within the tree are kept. Special bits are dropped.
"""

from __future__ import annotations

import lzma
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hart import members
from hart.errors import FormatError, LimitError, UsageError
from hart.files import storage
from hart.ident import Ident
from hart.limits import CHUNK, METAFILE_MAX, XZ_DICTIONARY
from hart.members import DEFAULT, Parts
from hart.metafiles import INDEXED
from hart.tarstream import BLOCK, GNU_MAGIC, LATEST_MTIME, MARK, MARK_AT

RECORD = 10_240  # GNU tar pads its archives to this
FIRST = {"IDENT": 0, "TARGET": 1}


@dataclass(slots=True)
class XzWriter:
    """Compresses what is written into `out`, and counts both sides."""

    out: BinaryIO
    level: int
    given: int = 0
    written: int = 0
    encoder: lzma.LZMACompressor = field(init=False)

    def __post_init__(self) -> None:
        dictionary = min(XZ_DICTIONARY, 256 * 1024 if self.level == 0 else 2 ** (19 + self.level))
        filters = [{"id": lzma.FILTER_LZMA2, "preset": self.level, "dict_size": dictionary}]
        self.encoder = lzma.LZMACompressor(format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=filters)

    def write(self, data: bytes) -> None:
        self.given += len(data)
        self._put(self.encoder.compress(data))

    def finish(self) -> None:
        self._put(self.encoder.flush())

    def _put(self, data: bytes) -> None:
        self.written += len(data)
        self.out.write(data)


def pack(tree: Path, ident: Ident, out: BinaryIO, *, mtime: int, level: int = 6) -> None:
    """Write the payload of a release whose files stand in `tree`. `mtime` in seconds, `level` 0 to 9.

    FormatError or LimitError for a tree that could not be installed again.
    """
    if not 0 <= level <= 9:
        raise UsageError(f"compression level {level}", "is not between 0 and 9")
    if not 0 <= mtime <= LATEST_MTIME:
        raise UsageError(f"time {mtime}", "does not fit into an archive")
    with storage(tree):
        Packing(tree, ident, XzWriter(out, level), mtime).run()


class Packing:
    """One tree on its way into one archive."""

    def __init__(self, tree: Path, ident: Ident, sink: XzWriter, mtime: int) -> None:
        self.tree = tree
        self.thing = f"package {ident}"
        self.prefix = "/".join(members.release_prefix(ident))
        self.sink = sink
        self.mtime = mtime
        self.count = 0
        self.inodes: dict[tuple[int, int], str] = {}  # files with several names that have been written, by device and inode
        build_root = tree / "BUILD_ROOT"
        self.stores = members.stores_of(build_root.read_text().strip() if build_root.is_file() else None)

    def run(self) -> None:
        self._put(self.prefix + "/", b"5", mode=0o755, mark=True)
        metafiles = [path.name for path in self.tree.iterdir() if path.name in INDEXED]
        for name in sorted(metafiles, key=lambda name: (FIRST.get(name, 2), name)):
            self._metafile(name)
        for parts in self._walk((), skip=set(metafiles)):
            self._entry(parts)
        self.sink.write(bytes(2 * BLOCK))
        self.sink.write(bytes(-self.sink.given % RECORD))
        self.sink.finish()
        if self.sink.given > DEFAULT.output:
            raise LimitError(self.thing, f"has more than {DEFAULT.output} bytes, and no reader would unpack it")
        if self.sink.given > DEFAULT.ratio_free and self.sink.given > DEFAULT.ratio * self.sink.written:
            raise LimitError(
                self.thing,
                f"compresses {self.sink.given // self.sink.written} to 1, which readers take for a decompression bomb",
                next="make the large files of zeros when the package is installed or started",
            )

    def _walk(self, above: Parts, *, skip: set[str] | frozenset[str] = frozenset()) -> Iterator[Parts]:
        """Paths below a directory in byte order, each directory before its content."""
        for name in sorted((path.name for path in self.tree.joinpath(*above).iterdir()), key=os.fsencode):
            if name in skip:
                continue
            parts = (*above, name)
            yield parts
            if stat.S_ISDIR(self.tree.joinpath(*parts).lstat().st_mode):
                yield from self._walk(parts)

    def _metafile(self, name: str) -> None:
        state = (self.tree / name).lstat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > METAFILE_MAX:
            raise FormatError(self.thing, f"metafile {name} is no regular file of at most {METAFILE_MAX} bytes")
        self._file((name,), f"{self.prefix}/{name}")

    def _entry(self, parts: Parts) -> None:
        path = self.tree.joinpath(*parts)
        state = path.lstat()
        name = f"{self.prefix}/{'/'.join(parts)}"
        self._check(name)
        if stat.S_ISDIR(state.st_mode):
            self._put(name + "/", b"5", mode=0o755)
        elif stat.S_ISLNK(state.st_mode):
            self._link(parts, name, os.fsencode(path.readlink()))
        elif not stat.S_ISREG(state.st_mode):
            raise FormatError(self.thing, f"{'/'.join(parts)!r} is no file, directory or link")
        elif (key := (state.st_dev, state.st_ino)) in self.inodes:
            self._put(name, b"1", mode=file_mode(state), link=self.inodes[key].encode())
        else:
            if state.st_nlink > 1:
                self.inodes[key] = name
            self._file(parts, name)

    def _check(self, name: str) -> None:
        """The reader's rules about names."""
        members.split(members.text(os.fsencode(name), thing=self.thing, what="name"), thing=self.thing)

    def _link(self, parts: Parts, name: str, raw: bytes) -> None:
        target = members.text(raw, thing=self.thing, what="link target")
        for directory in members.link_target(parts, target, self.stores, thing=self.thing):
            for depth in range(1, len(directory) + 1):
                step = self.tree.joinpath(*directory[:depth])
                if step.is_symlink() or not step.is_dir():
                    raise FormatError(self.thing, f"link {'/'.join(parts)!r} → {target!r} steps out of what is no directory")
        self._put(name, b"2", mode=0o777, link=raw)

    def _file(self, parts: Parts, name: str) -> None:
        fd = os.open(self.tree.joinpath(*parts), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb", buffering=0) as source:
            state = os.fstat(fd)
            self._put(name, b"0", mode=file_mode(state), size=state.st_size)
            left = state.st_size
            while left and (block := source.read(min(left, CHUNK))):
                self.sink.write(block)
                left -= len(block)
            if left or source.read(1):
                raise FormatError(self.thing, f"{'/'.join(parts)!r} changed while it was read")
            self.sink.write(bytes(-state.st_size % BLOCK))

    def _put(self, name: str, kind: bytes, *, mode: int, size: int = 0, link: bytes = b"", mark: bool = False) -> None:
        raw = name.encode()
        self.count += 1 + (len(link) > 100) + (len(raw) > 100)  # readers count long names as members
        if self.count > DEFAULT.members:
            raise LimitError(self.thing, f"has more than {DEFAULT.members} members")
        for flag, value in ((b"K", link), (b"L", raw)):
            if len(value) > 100:
                self.sink.write(header(b"././@LongLink", flag, size=len(value) + 1, mode=0o644, mtime=0))
                self.sink.write(value + bytes(1 + -(len(value) + 1) % BLOCK))
        self.sink.write(header(raw[:100], kind, size=size, mode=mode, mtime=self.mtime, link=link[:100], padding=MARK if mark else b""))


def file_mode(state: os.stat_result) -> int:
    return 0o755 if state.st_mode & 0o111 else 0o644


def header(name: bytes, kind: bytes, *, size: int, mode: int, mtime: int, link: bytes = b"", padding: bytes = b"") -> bytes:
    """One GNU header block, owned by root. `name` and `link` have at most 100 bytes; `padding` goes where no format says anything."""
    if size >= 8**11:
        raise LimitError(repr(name), f"has {size} bytes, more than a header can say")
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:124] = b"%07o\0%07o\0%07o\0" % (mode, 0, 0)
    block[124:148] = b"%011o\0%011o\0" % (size, mtime)
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = GNU_MAGIC
    block[265:269] = block[297:301] = b"root"
    block[MARK_AT : MARK_AT + len(padding)] = padding
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * ord(" "))
    return bytes(block)
