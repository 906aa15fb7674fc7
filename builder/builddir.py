"""The working directory of one build: `<root>/cache/build/NAME-RELEASE`.

Rules: one build at a time per name and release, held by a file lock that ends with the build and its steps, so that steps of a build that
was killed never write into the next one; after success only the logs stay; after a failure everything stays for a look until the next
build of the same name. Its path is the same for the same release, since compilers write it into what they make.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.environment import Places
from hart.errors import ConflictError
from hart.files import make_dirs, storage
from hart.ident import Ident
from hart.root import Root

LOGS_KEPT = 10  # builds of one name whose logs stay


@dataclass(frozen=True, slots=True)
class BuildDirectory:
    """The directories below one build's own. `lock` is the descriptor that holds it; steps inherit it."""

    path: Path
    lock: int = -1

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def places(self, prefix: Path, plan_dir: Path, context_dir: Path) -> Places:
        return Places(
            prefix=prefix,
            destdir=self.path / "out",
            src=self.path / "src",
            sources=self.path / "sources",
            plan_dir=plan_dir,
            context_dir=context_dir,
            home=self.path / "home",
            tmp=self.path / "tmp",
        )

    def empty(self) -> None:
        """Remove everything but the logs."""
        for entry in self.path.iterdir():
            if entry != self.logs:
                remove(entry)


@contextmanager
def claimed(root: Root, ident: Ident) -> Iterator[BuildDirectory]:
    """The fresh directory of a build; ConflictError while another process builds the same name and release."""
    base = root.path / "cache" / "build"
    make_dirs(base)
    path = base / f"{ident.name}-{ident.release}"
    with storage(path):
        locks = (base / f".{ident.name}.lock").open("w")
    with locks:
        if not locked(locks, str(ident.release)):
            raise ConflictError(
                f"build of {ident}",
                "is running already, or steps of it that was killed are",
                next="wait, or give this one another --release",
            )
        sweep(base, ident.name, path, locks)
        with storage(path):
            if path.exists():
                remove(path)
            for name in ("logs", "src", "sources", "out", "home", "tmp", "steps"):
                (path / name).mkdir(parents=True)
        yield BuildDirectory(path, locks.fileno())


def locked(locks: IO[str], release: str) -> bool:
    """Hold a release of a name: one byte of the name's lock file, at the release's number, until everybody has closed the file."""
    try:
        change(locks, fcntl.F_WRLCK, release)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def change(locks: IO[str], kind: int, release: str) -> None:
    """Lock or unlock a byte for the open file, not for this process: those that inherit the file share it. Does not wait."""
    fcntl.fcntl(locks, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", kind, os.SEEK_SET, int(release), 1, 0))  # struct flock


def sweep(base: Path, name: str, own: Path, locks: IO[str]) -> None:
    """Remove what earlier builds of this name left, except the newest logs and builds that are running."""
    mine = re.compile(re.escape(name) + r"-([0-9]{14})")
    earlier = sorted((entry for entry in base.iterdir() if mine.fullmatch(entry.name) and entry != own), reverse=True)
    for number, path in enumerate(earlier):
        release = path.name[-14:]
        if not locked(locks, release):
            continue
        with storage(path):
            if number < LOGS_KEPT:
                BuildDirectory(path).empty()
            else:
                remove(path)
        change(locks, fcntl.F_UNLCK, release)


def remove(path: Path) -> None:
    """Remove a tree, also one whose directories a build has made read-only."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for base, directories, _files in os.walk(path):
        for name in directories:
            entry = Path(base, name)
            if not entry.is_symlink():
                entry.chmod(0o700)
    shutil.rmtree(path)
