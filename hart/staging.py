"""Directories that become a release by one rename, or stop being one (threats S16 to S18).

Rules: a staging directory lies beside the release, mode 0700, and its maker holds a lock on it for as long as it lives: who gets the lock
knows that the maker is gone and may sweep. Renaming is the only moment of change, to a name that nothing has; everything below is durable
before, the name after. Habitat's own temporary directories have other names and are never touched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hart.errors import NotFoundError, StorageError
from hart.files import fsync_dir, make_dirs, storage
from hart.kernel import exchange_directories, rename_directory, sync_tree
from hart.limits import STAGING_TRIES

PREFIX, SUFFIX = ".hab-pkg-install-", ".stead"
STAGED = re.compile(r"\.hab-pkg-install-[0-9]{14}-[0-9a-f]{12}\.stead")
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Staging:
    """One locked staging directory. As a context manager it is removed at the end, unless it was put in place."""

    path: Path
    fd: int

    @classmethod
    def beside(cls, release: Path) -> Self:
        """A new, empty one for that release; makes the parents."""
        gone: NotFoundError | None = None
        for _ in range(STAGING_TRIES):
            try:
                make_dirs(release.parent)
            except NotFoundError as error:  # another install removed a parent that was still empty
                gone = error
                continue
            path = new_name(release)
            with storage(path):
                try:
                    path.mkdir(mode=0o700)
                    fd = os.open(path, DIRECTORY)
                except FileNotFoundError:
                    continue  # an uninstall removed the empty parent, or a sweep was faster
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(path, fd):
                return cls(path, fd)
            os.close(fd)
        raise gone or StorageError(str(release.parent), "does not keep a new directory", next="see which process removes it")

    @classmethod
    def take(cls, release: Path) -> Self | None:
        """Take a release out of the tree: from here on nobody sees it. None when it is not there."""
        with storage(release):
            try:
                fd = os.open(release, DIRECTORY)
            except FileNotFoundError:
                return None
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not is_at(release, fd):
                os.close(fd)
                return None
            path = new_name(release)
            try:
                rename_directory(release, path)
                fsync_dir(path.parent)
            except BaseException:
                os.close(fd)
                raise
        return cls(path, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if is_at(self.path, self.fd):
                remove_tree(self.path)
        finally:
            os.close(self.fd)

    def sync(self) -> None:
        """Everything below, durable."""
        with storage(self.path):
            sync_tree(self.fd, self.path)

    def become(self, release: Path) -> bool:
        """Take the release's name; False when something has it. Call `sync` before."""
        with storage(release):
            os.fchmod(self.fd, 0o755)
            try:
                rename_directory(self.path, release)
            except FileExistsError:
                return False
            fsync_dir(release.parent)
        return True

    def replace(self, release: Path) -> bool:
        """Take the name of a release that is there, so that at no moment nobody has it, and remove what was there. False when it is gone,
        or when the file system cannot do that. Call `sync` before."""
        with storage(release):
            os.fchmod(self.fd, 0o755)
            try:
                if not exchange_directories(self.path, release):
                    return False
            except FileNotFoundError:
                return False
            fsync_dir(release.parent)
            with suppress(FileNotFoundError):  # a sweep was faster
                fd = os.open(self.path, DIRECTORY)
                fcntl.flock(fd, fcntl.LOCK_EX)
                with Staging(self.path, fd):
                    pass
        return True


def sweep(pkgs: Path) -> list[Path]:
    """Remove the staging directories whose makers are gone; gives their paths. What belongs to others is left."""
    swept = []
    for version in pkgs.glob("*/*/*"):
        try:
            names = [path.name for path in version.iterdir()]
        except OSError:
            continue
        gone = [version / name for name in names if STAGED.fullmatch(name) and sweep_one(version / name)]
        if gone:
            prune(version, pkgs)
        swept += gone
    return swept


def sweep_one(path: Path) -> bool:
    try:
        fd = os.open(path, DIRECTORY)
    except OSError:
        return False  # gone already, or of another user
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_at(path, fd):
            return False
        remove_tree(path)
    except (BlockingIOError, StorageError):
        return False
    finally:
        os.close(fd)
    return True


def prune(directory: Path, top: Path) -> None:
    """Remove a directory and those above it, below `top`, as long as they are empty."""
    while directory != top and top in directory.parents:
        try:
            directory.rmdir()
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS):
                return
            if error.errno != errno.ENOENT:
                raise
        directory = directory.parent


def remove_tree(path: Path) -> None:
    """Remove a directory with all below it, also where its author closed directories. Links are not followed."""
    with storage(path):
        open_up(path)
        for directory, folders, _ in os.walk(path):  # looks into a folder after we had it
            for name in folders:
                open_up(Path(directory, name))
        shutil.rmtree(path)


def open_up(path: Path) -> None:
    """Make a directory one that its owner may look into and change; links to directories stay as they are."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
        path.chmod(0o700)


def new_name(release: Path) -> Path:
    return release.with_name(f"{PREFIX}{release.name}-{secrets.token_hex(6)}{SUFFIX}")


def is_at(path: Path, fd: int) -> bool:
    """Whether the open directory is the one with that name."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
