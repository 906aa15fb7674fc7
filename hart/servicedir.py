"""A service's directory: which directories are in it, whose they are, with which modes (reference: supervisor 2.5).

Rules: those that exist keep owner and mode, since a service may have changed what is its own; a link in the way is refused, so that
nobody who may write there can move our writing elsewhere. Rendered files are written through descriptors that follow no link, for the
same reason: the directories belong to the service's user, the writer may be root. A file is written only when its content differs,
beside and renamed, with its owner and mode from its first byte on; one whose template has vanished is removed, and what the service
made itself is left alone. What is rendered is the business of whoever renders.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hart.account import Account
from hart.errors import StorageError
from hart.files import make_dirs, storage

OURS = ("hooks", "logs")
THEIRS = ("config", "config_install", "data", "files", "static", "var")  # of the service's user


def make_directories(service: Path, account: Account) -> None:
    """Make what is missing of a service's directories. StorageError when something else is in the way."""
    make_dirs(service.parent)
    for path, mode in [(service, 0o755), *((service / name, 0o755) for name in OURS), *((service / name, 0o770) for name in THEIRS)]:
        with storage(path):
            if not path.is_symlink() and path.is_dir():
                continue
            if path.is_symlink() or path.exists():
                raise StorageError(str(path), "is in the way: it is not a directory")
            made = path.with_name(f".{path.name}.new")  # a kill leaves this one, which is finished the next time, and never a half-made one
            made.mkdir(0o700, exist_ok=True)
            if account.uid is not None and account.gid is not None and path.name in THEIRS and path != service:
                os.chown(made, account.uid, account.gid)
            made.chmod(mode)  # whatever the umask says
            made.rename(path)


def fresh_tmp(service: Path, account: Account) -> Path:
    """An empty directory for temporary files that nobody but the service's user may enter; what an earlier start left there goes."""
    path = service / "tmp"
    with storage(path):
        if path.is_symlink() or path.exists():
            shutil.rmtree(path)  # follows no link, also while somebody puts some there
        path.mkdir(0o700)
        if account.uid is not None and account.gid is not None:
            os.chown(path, account.uid, account.gid)
        path.chmod(0o700)
    return path


def missing_directories(service: Path) -> list[str]:
    """Which of a service's directories are not there, relative to it; `.` is itself."""
    with storage(service):
        return [name for name in (".", *OURS, *THEIRS) if not (service / name).is_dir()]


def differing(service: Path, rendered: Mapping[str, bytes], account: Account) -> dict[str, str]:
    """What is not as `put` leaves it, with what is the matter. Nothing is changed."""
    found = {}
    with storage(service):
        for path, content in sorted(rendered.items()):
            *parents, name = path.split("/")
            try:
                with _opened(service) as top, _descend(top, parents, None) as directory:
                    cause = _trouble(directory, name, content, _mode_of(parents), account.uid if _theirs(parents) else None)
            except (FileNotFoundError, NotADirectoryError):
                cause = "is missing"
            if cause:
                found[path] = cause
    return found


def _trouble(directory: int, name: str, content: bytes, mode: int, uid: int | None) -> str:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return "is missing"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if _content(directory, name, len(content)) != content:
        return "has other content"
    if stat.S_IMODE(status.st_mode) != mode:
        return f"has mode {stat.S_IMODE(status.st_mode):04o} instead of {mode:04o}"
    return f"belongs to user {status.st_uid} instead of {uid}" if uid is not None and status.st_uid != uid else ""


def _theirs(parents: list[str]) -> bool:
    return parents[:1] in (["config"], ["config_install"], ["files"])


def _mode_of(parents: list[str]) -> int:
    return 0o740 if _theirs(parents) else 0o755


def put(service: Path, rendered: Mapping[str, bytes], account: Account, *, before: Collection[str], anew: Collection[str] = ()) -> None:
    """Write what differs below a service's directory, and `anew` also what has the right content; remove what was rendered `before` and is
    not any more.

    Paths are relative to `service`. What lies in a directory of the service's user becomes that user's, 0740; hooks are ours, 0755.
    StorageError names the file that could not be written.
    """
    with storage(service), _opened(service) as top:
        for path, content in sorted(rendered.items()):
            *parents, name = path.split("/")
            owner = (account.uid, account.gid) if _theirs(parents) else (None, None)
            with _named(service / path), _descend(top, parents, owner) as directory:
                if path in anew or _content(directory, name, len(content)) != content:
                    _place(directory, name, content, _mode_of(parents), owner)
        for path in set(before) - set(rendered):
            *parents, name = path.split("/")
            with suppress(FileNotFoundError, NotADirectoryError), _descend(top, parents, None) as directory:
                os.unlink(name, dir_fd=directory)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of calls that go through descriptors know only the last part of a name, or a number: put the whole one in its place."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def _opened(path: Path | str, at: int | None = None) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _descend(top: int, parents: list[str], owner: tuple[int | None, int | None] | None) -> Iterator[int]:
    """The directory below `top`; missing ones are made, for that owner, unless `owner` is None."""
    if not parents:
        yield top
        return
    first, *rest = parents
    if owner is not None:
        with suppress(FileExistsError):
            os.mkdir(first, 0o700, dir_fd=top)
            with _opened(first, top) as made:
                _own(made, owner, 0o770 if owner[0] is not None else 0o755)
    with _opened(first, top) as below, _descend(below, rest, owner) as directory:
        yield directory


def _own(fd: int, owner: tuple[int | None, int | None], mode: int) -> None:
    uid, gid = owner
    if uid is not None and gid is not None:
        os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)


def _content(directory: int, name: str, size: int) -> bytes | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None  # absent, or something that is not ours: it is replaced
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(size + 1)


def _place(directory: int, name: str, content: bytes, mode: int, owner: tuple[int | None, int | None]) -> None:
    temporary = f".{name[:200]}.{secrets.token_hex(6)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(content)
            out.flush()
            _own(out.fileno(), owner, mode)
            os.fsync(out.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise
