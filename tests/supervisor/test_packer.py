"""Rotated logs are compressed: which, in which order, and what a crash, a full disk and a link leave."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from pathlib import Path

import pytest

from hart.limits import PACK_HOOK_S
from supervisor import packer
from supervisor.holder.rotation import prune, rotate
from supervisor.logfile import Following, last_lines
from supervisor.packer import File, Work, pack, tidy, work_in

NOW = 1e9


def files(*names: str, written: float = NOW) -> list[File]:
    return [File(name, written) for name in names]


def test_rotated_files_are_packed_the_oldest_first_and_nothing_else_is() -> None:
    there = files("run.log", "run.log.10", "run.log.9", "run.log.fifo", "run.log.8.gz", "init.log", "run.log.x", "other.1", "failed.log")
    assert work_in(there, NOW) == Work(["run.log.9", "run.log.10"], [])


def test_what_a_crash_left_goes() -> None:
    """A half-made file, and a file whose packed one has its name already."""
    assert work_in(files("run.log.7", "run.log.7.gz", "run.log.8", "run.log.8.gz.part"), NOW) == Work(
        ["run.log.8"], ["run.log.7", "run.log.8.gz.part"]
    )


def test_a_hooks_log_waits_until_no_hook_can_write_to_it() -> None:
    there = files("init.log.1", written=NOW - PACK_HOOK_S) + files("init.log.2", written=NOW - PACK_HOOK_S + 1)
    assert work_in(there, NOW).pack == ["init.log.1"]


def test_packed_is_what_it_was(tmp_path: Path) -> None:
    """Bytes, time and mode; readers see each line once, in order."""
    data = b"".join(b"%d\n" % number for number in range(200_000))
    source = tmp_path / "run.log.1"
    source.write_bytes(data)
    source.chmod(0o640)
    os.utime(source, (1000, 1000))
    (tmp_path / "run.log").write_bytes(b"last\n")
    assert tidy(tmp_path, share=1.0) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.log", "run.log.1.gz"]
    packed = tmp_path / "run.log.1.gz"
    assert gzip.decompress(packed.read_bytes()) == data
    assert (packed.stat().st_mtime, stat.S_IMODE(packed.stat().st_mode)) == (1000, 0o640)
    assert last_lines(tmp_path / "run.log", 3) == [b"199998\n", b"199999\n", b"last\n"]


def test_who_follows_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_bytes(b"one\n")
    following = Following(log, position=0, number=1)
    assert following.read() == b"one\n"
    with log.open("ab") as out:
        out.write(b"two\n")
    rotate(str(log), 1 << 20)
    log.write_bytes(b"three\n")
    rotate(str(log), 1 << 20)
    log.write_bytes(b"four\n")
    tidy(tmp_path, share=1.0)
    assert b"".join(iter(following.read, b"")) == b"two\nthree\nfour\n"
    following.close()


def test_packed_files_count_with_their_size_when_the_oldest_go(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"run.log.{number}").write_bytes(b"x" * 100_000)
    tidy(tmp_path, share=1.0)
    prune(str(tmp_path / "run.log"), 100_000)
    assert len(list(tmp_path.iterdir())) == 5
    prune(str(tmp_path / "run.log"), 300)
    assert max(path.name for path in tmp_path.iterdir()) == "run.log.5.gz"
    assert len(list(tmp_path.iterdir())) < 5


def test_a_full_disk_leaves_it_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.log.1").write_bytes(b"kept\n")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packer.os, "fsync", full)
    assert "run.log.1 is not compressed: No space left" in tidy(tmp_path, share=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["run.log.1"]


def test_a_link_is_not_followed_and_what_has_gone_is_no_error(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "run.log.1").symlink_to(secret)
    assert tidy(logs, share=1.0) == ""
    with pytest.raises(OSError, match="Too many levels"):
        pack(logs, "run.log.1")
    pack(logs, "run.log.2")
    assert tidy(tmp_path / "none") == ""
    assert [path.name for path in logs.iterdir()] == ["run.log.1"]
    assert secret.read_text() == "s"
