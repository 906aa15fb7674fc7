"""Atomic files and the border to the file system (hart/files.py)."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from hart.errors import ConflictError, LimitError, NotFoundError, SteadError, StorageError
from hart.files import copy_hashing, fsync_dir, make_dirs, storage, write_atomic, writing


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    """Content and mode, whatever the umask; nothing else is left in the directory."""
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:
        write_atomic(path, b"content", mode=0o644)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    """A reader that has the old file open keeps the old content."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_file_that_must_not_be_replaced_is_not(tmp_path: Path) -> None:
    """ConflictError, the old content, no temporary left."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(ConflictError) as caught:
        write_atomic(path, b"new", replace=False)
    assert caught.value.thing == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stream_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Half a file is never seen under its name."""
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail() -> None:
        with writing(path) as out:
            out.write(b"half")
            raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """The temporary beside it is not longer than a name can be."""
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_file_that_cannot_be_made_is_named_itself(tmp_path: Path) -> None:
    """Nobody knows the name of the temporary."""
    with pytest.raises(NotFoundError) as caught:
        write_atomic(tmp_path / "missing" / "file", b"content")
    assert caught.value.thing == str(tmp_path / "missing" / "file")


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    """Made once, and again is fine."""
    make_dirs(tmp_path / "a" / "b", mode=0o700)
    make_dirs(tmp_path / "a" / "b", mode=0o700)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    fsync_dir(tmp_path / "a")


def test_a_file_in_the_way_of_a_directory_is_a_conflict(tmp_path: Path) -> None:
    """What is there stays there."""
    (tmp_path / "a").write_text("file")
    with pytest.raises(ConflictError):
        make_dirs(tmp_path / "a")
    with pytest.raises(SteadError):
        make_dirs(tmp_path / "a" / "b")


def test_copying_gives_both_digests(tmp_path: Path) -> None:
    """Size, BLAKE2b-256 and SHA-256 of what went by."""
    data, sink = bytes(range(256)) * 4096, io.BytesIO()
    digested = copy_hashing(io.BytesIO(data), sink, limit=len(data), thing="stream")
    assert sink.getvalue() == data
    assert digested.size == len(data)
    assert digested.blake2b == hashlib.blake2b(data, digest_size=32).hexdigest()
    assert digested.sha256 == hashlib.sha256(data).hexdigest()
    assert copy_hashing(io.BytesIO(data), None, limit=len(data), thing="stream") == digested


def test_a_stream_past_its_limit_is_cut_before_it_is_written() -> None:
    """Not a byte of the block that passes the limit reaches the disk."""
    sink = io.BytesIO()
    with pytest.raises(LimitError):
        copy_hashing(io.BytesIO(b"x" * 101), sink, limit=100, thing="stream")
    assert sink.getvalue() == b""


@pytest.mark.parametrize(
    ("number", "family", "says"),
    [
        (errno.EEXIST, ConflictError, "exists already"),
        (errno.ENOENT, NotFoundError, "no such file"),
        (errno.EACCES, StorageError, "permission denied"),
        (errno.EPERM, StorageError, "permission denied"),
        (errno.ENOSPC, StorageError, "no space left"),
        (errno.EDQUOT, StorageError, "no space left"),
        (errno.EROFS, StorageError, "read-only"),
        (errno.EIO, StorageError, "input/output"),
        (errno.EISDIR, StorageError, "is a directory"),
        (errno.ENOTDIR, StorageError, "not a directory"),
        (errno.ENAMETOOLONG, StorageError, "too long"),
        (errno.ELOOP, StorageError, "symbolic links"),
        (errno.EXDEV, StorageError, "cross-device"),
        (errno.EMFILE, StorageError, "too many open files"),
    ],
)
def test_what_a_disk_can_do_is_translated(number: int, family: type[SteadError], says: str) -> None:
    """A person sees thing and cause, never a trace."""
    with pytest.raises(family, match=says) as caught, storage(Path("/srv/thing")):
        raise OSError(number, os.strerror(number))
    assert caught.value.thing == "/srv/thing"


@pytest.mark.parametrize(
    "error", [BrokenPipeError(errno.EPIPE, "x"), TimeoutError(), BlockingIOError(), OSError("no number"), KeyError("x")]
)
def test_what_no_disk_does_passes(error: Exception) -> None:
    """Pipes and sockets have their own borders; other exceptions are bugs."""
    with pytest.raises(type(error)) as caught, storage(Path("/srv/thing")):
        raise error
    assert caught.value is error


def test_the_file_that_the_system_names_is_the_thing(tmp_path: Path) -> None:
    """More exact than what the caller was doing."""
    with pytest.raises(NotFoundError) as caught, storage(Path("/srv/thing")):
        (tmp_path / "missing").read_bytes()
    assert caught.value.thing == str(tmp_path / "missing")


def test_a_full_disk_is_named_by_a_directory_that_outlives_the_attempt(tmp_path: Path) -> None:
    """What was being written is cleared away, and its parents with it: `df` on them would find nothing."""
    with pytest.raises(StorageError) as caught, storage(tmp_path / "made" / "for" / "this"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    command, _, mount = caught.value.next.partition("df -h ")
    assert command
    assert os.path.ismount(mount)
    assert Path(mount).stat().st_dev == tmp_path.stat().st_dev
