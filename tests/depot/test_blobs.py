"""Artifacts by content, in a directory."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from depot import blobs
from depot.blobs import DirectoryBlobs
from hart import limits
from hart.errors import NotFoundError, StorageError


def checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def keep(store: DirectoryBlobs, data: bytes, *, repair: bool = False) -> str:
    staged = store.stage()
    try:
        staged.write(data)
        store.keep(staged, repair=repair)
        return staged.checksum()
    finally:
        staged.discard()


def read(store: DirectoryBlobs, name: str) -> bytes:
    with store.open(name) as blob:
        return blob.read()


def test_a_blob_is_named_by_its_content(tmp_path: Path) -> None:
    """And nothing is left in the place for uploads."""
    store = DirectoryBlobs(tmp_path)
    name = keep(store, b"hello")
    assert name == checksum(b"hello")
    assert read(store, name) == b"hello"
    assert (tmp_path / "blobs" / name[:2] / name).is_file()
    assert not list((tmp_path / "tmp").iterdir())


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    """Keeping it again is fine."""
    store = DirectoryBlobs(tmp_path)
    assert keep(store, b"hello") == keep(store, b"hello")
    assert [found.size for found in store.all(0.0)] == [5]


def test_a_blob_is_on_disk_before_it_has_a_name_and_its_name_before_keep_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threats 4.1, steps 5 to 7: fsync of the file, link, fsync of the directory, also when the name is there already."""
    store, seen = DirectoryBlobs(tmp_path), []
    fsync, link = os.fsync, os.link

    def told_fsync(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        seen.append(f"fsync {path.parent.name if path.is_file() else path.name}")
        fsync(fd)

    def told_link(source: Path, target: Path) -> None:
        seen.append("link")
        link(source, target)

    monkeypatch.setattr(blobs.os, "fsync", told_fsync)
    monkeypatch.setattr(blobs.os, "link", told_link)
    keep(store, b"hello")
    aa = checksum(b"hello")[:2]
    assert seen == ["fsync tmp", "fsync blobs", "link", f"fsync {aa}"]
    seen.clear()
    keep(store, b"hello")
    assert seen == ["fsync tmp", "link", f"fsync {aa}"]


def test_nothing_has_the_name_before_it_is_kept(tmp_path: Path) -> None:
    """Staged bytes are nobody's blob, and discarding them leaves nothing."""
    store = DirectoryBlobs(tmp_path)
    staged = store.stage()
    staged.write(b"hello")
    assert not list(store.all(0.0))
    with pytest.raises(NotFoundError):
        store.open(staged.checksum())
    staged.discard()
    staged.discard()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_blob_that_was_cut_short_is_put_right_by_the_same_content(tmp_path: Path) -> None:
    """Something other than us truncated it."""
    store = DirectoryBlobs(tmp_path)
    name = keep(store, b"hello")
    (tmp_path / "blobs" / name[:2] / name).write_bytes(b"he")
    keep(store, b"hello")
    assert read(store, name) == b"hello"


def test_repair_replaces_what_has_the_name(tmp_path: Path) -> None:
    """Bit rot does not change the size, so only a repair gets rid of it."""
    store = DirectoryBlobs(tmp_path)
    name = keep(store, b"hello")
    (tmp_path / "blobs" / name[:2] / name).write_bytes(b"jello")
    keep(store, b"hello")
    assert read(store, name) == b"jello"
    keep(store, b"hello", repair=True)
    assert read(store, name) == b"hello"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "/" + "0" * 63])
def test_only_a_hash_becomes_a_path(tmp_path: Path, name: str) -> None:
    """Names come from the catalog; anything else there is our own bug."""
    with pytest.raises(AssertionError):
        DirectoryBlobs(tmp_path).open(name)


def test_a_link_in_the_place_of_a_blob_is_not_followed(tmp_path: Path) -> None:
    """Nobody reads other files of the host through the store."""
    store = DirectoryBlobs(tmp_path)
    name = keep(store, b"hello")
    path = tmp_path / "blobs" / name[:2] / name
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(StorageError):
        store.open(name)


def test_what_a_dead_process_staged_is_swept(tmp_path: Path) -> None:
    """Blobs are not touched."""
    store = DirectoryBlobs(tmp_path)
    name = keep(store, b"hello")
    left = store.stage()
    left.write(b"half")
    os.close(left._fd)  # as the end of its process does
    assert DirectoryBlobs(tmp_path).sweep() == 1
    assert not list((tmp_path / "tmp").iterdir())
    assert read(store, name) == b"hello"


def test_the_age_of_a_blob_counts_from_its_writing(tmp_path: Path) -> None:
    """It decides when an orphan may go; strangers' files in the store are nobody's blobs."""
    store = DirectoryBlobs(tmp_path)
    name = keep(store, b"hello")
    os.utime(tmp_path / "blobs" / name[:2] / name, (1000, 1000))
    (tmp_path / "blobs" / "README").write_text("a stranger")
    (tmp_path / "blobs" / name[:2] / "notes").write_text("a stranger")
    assert [(found.checksum, found.age_s) for found in store.all(4600.0)] == [(name, 3600.0)]
    store.remove(name)
    store.remove(name)
    assert not list(store.all(0.0))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_507_and_no_failed_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """It works again when there is space."""
    store = DirectoryBlobs(tmp_path)
    staged = store.stage()

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(blobs.os, "write", full)
        with pytest.raises(StorageError) as caught:
            staged.write(b"x")
    assert caught.value.data == {"status": 507}
    staged.discard()
    assert keep(store, b"hello")


def test_the_last_of_the_disk_is_left_for_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads stop before the disk is full, at their start and every MiB."""
    store = DirectoryBlobs(tmp_path)
    staged = store.stage()
    monkeypatch.setattr(limits, "DISK_RESERVE", 1 << 60)
    staged.write(b"x" * (limits.MIB - 1))
    with pytest.raises(StorageError, match="no space"):
        staged.write(b"x")
    staged.discard()
    with pytest.raises(StorageError, match="no space"):
        store.stage()
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failed_fsync_is_a_failed_disk_whatever_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The kernel may have dropped the pages; a second fsync would lie."""
    store = DirectoryBlobs(tmp_path)
    staged = store.stage()
    staged.write(b"hello")

    def fail(_fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(blobs.os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        store.keep(staged)
    assert caught.value.data["disk_failed"] is True
    assert not list(store.all(0.0))
    staged.discard()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take less than it was given (S25)."""
    store = DirectoryBlobs(tmp_path)
    real = os.write
    staged = store.stage()
    with monkeypatch.context() as patched:
        patched.setattr(blobs.os, "write", lambda fd, data: real(fd, bytes(data[:3])))
        staged.write(b"hello world")
    store.keep(staged)
    assert read(store, checksum(b"hello world")) == b"hello world"
