"""Compress the rotated files of logs: `run.log.7` becomes `run.log.7.gz`.

Rules: the packed file is whole, on disk and has its name before the other one goes, so a crash leaves one or both, and readers take each
number once. Numbers, times, owners and modes stay. No link is followed. A hook's log may still be written to by the hook that had opened
it, so it waits; the holder writes nothing into what it has rotated. One thread of low priority that rests most of the time; what a full
disk refuses stays as it is, and is said once. Not here: which files are removed (`holder/rotation.py`).
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import TYPE_CHECKING

from hart.limits import CHUNK, PACK_HOOK_S, PACK_PERIOD_S, PACK_SHARE
from supervisor import clock
from supervisor.aside import aside
from supervisor.holder.rotation import PACKED

if TYPE_CHECKING:
    from supervisor.host import Host

PART = f"{PACKED}.part"
LEVEL = 6


@dataclass(frozen=True, slots=True)
class File:
    """One entry of a log directory; `written` is wall time."""

    name: str
    written: float


@dataclass(frozen=True, slots=True)
class Work:
    """What to do in one directory. `remove` are half-made files, and what is there packed already."""

    pack: list[str]
    remove: list[str]


def work_in(files: Iterable[File], now: float) -> Work:
    """What of a log directory is to be packed, the oldest first; pure."""
    there = {file.name: file for file in files}
    pack, remove = list[tuple[str, int]](), list[str]()
    for name, file in there.items():
        if name.endswith(PART):
            remove.append(name)
            continue
        log, _, number = name.rpartition(".")
        if not log.endswith(".log") or not number.isascii() or not number.isdigit():
            continue
        if f"{name}{PACKED}" in there:
            remove.append(name)
        elif log == "run.log" or now - file.written >= PACK_HOOK_S:
            pack.append((log, int(number)))
    return Work([f"{log}.{number}" for log, number in sorted(pack)], sorted(remove))


def look(directory: Path) -> Iterator[File]:
    """The regular files of a log directory; none when it is not there."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield File(entry.name, found.st_mtime)


def pack(directory: Path, name: str) -> None:
    """Compress one file. OSError, and then it is as it was; no error when it has gone meanwhile."""
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    part = f"{name}{PART}"
    try:
        try:
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=top)
        except FileNotFoundError:
            return
        try:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                return
            _compress(top, source, part, found)
        finally:
            os.close(source)
        os.rename(part, f"{name}{PACKED}", src_dir_fd=top, dst_dir_fd=top)
        os.fsync(top)
        with suppress(FileNotFoundError):  # removed as the oldest
            os.unlink(name, dir_fd=top)
    except BaseException:
        with suppress(OSError):
            os.unlink(part, dir_fd=top)
        raise
    finally:
        os.close(top)


def _compress(top: int, source: int, part: str, found: os.stat_result) -> None:
    target = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=top)
    try:
        with os.fdopen(os.dup(target), "wb") as raw, GzipFile("", "wb", LEVEL, raw, mtime=0) as out:
            while block := os.read(source, CHUNK):
                out.write(block)
        if os.geteuid() == 0:
            os.fchown(target, found.st_uid, found.st_gid)
        os.fchmod(target, stat.S_IMODE(found.st_mode))
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(target)
    finally:
        os.close(target)


def tidy(directory: Path, share: float = PACK_SHARE) -> str:
    """In a thread: everything that is to be done in one directory; what could not be."""
    work, trouble = work_in(look(directory), clock.wall()), ""
    for name in work.remove:
        with suppress(OSError):
            (directory / name).unlink()
    for name in work.pack:
        began = time.monotonic()
        try:
            pack(directory, name)
        except (OSError, zlib.error) as error:
            trouble = f"{directory / name} is not compressed: {getattr(error, 'strerror', None) or error}"
        time.sleep((time.monotonic() - began) * (1 - share) / share)
    return trouble


async def keep(host: Host) -> None:
    """The logs of this host's services, at an interval, for ever."""
    said: dict[str, str] = {}
    while True:
        await asyncio.sleep(PACK_PERIOD_S * (0.5 + host.chance.random()))
        for name in list(host.services):
            directory = host.root.service(name) / "logs"
            trouble = await aside(lambda directory=directory: tidy(directory), name="pack")  # type: ignore[misc]
            if trouble and said.get(name) != trouble:
                host.journal.write("service", name, trouble, level="warning")
            said[name] = trouble
