"""Reading logs that are written, rotated and packed meanwhile."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from supervisor import logfile
from supervisor.holder.rotation import rotate
from supervisor.logfile import Following, last_lines, last_words


def pack(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_the_last_lines_reach_back_over_all_rotated_files(tmp_path: Path) -> None:
    """Also over packed ones, in the order of their numbers, and each once while one is being packed."""
    log = tmp_path / "run.log"
    for number, text in {9: "1\n2\n", 10: "3\n", 11: "4\n5\n"}.items():
        (tmp_path / f"run.log.{number}").write_text(text)
    pack(tmp_path / "run.log.9")
    (tmp_path / "run.log.10.gz").write_bytes(gzip.compress(b"3\n"))
    log.write_text("6\n7")
    assert last_lines(log, 100) == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n", b"6\n", b"7"]
    assert [last_lines(log, number) for number in (0, 1, 3)] == [[], [b"7"], [b"5\n", b"6\n", b"7"]]
    assert list(logfile.all_lines(log)) == last_lines(log, 100)


def test_a_line_that_the_rotation_cut_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.log.1").write_text("a\nbe")
    (tmp_path / "run.log").write_text("gun\nb\n")
    assert last_lines(tmp_path / "run.log", 3) == [b"a\n", b"begun\n", b"b\n"]


def test_long_logs_are_read_from_their_end(tmp_path: Path) -> None:
    """Lines that lie across the blocks of reading are whole."""
    log = tmp_path / "run.log"
    lines = [b"%d " % number + b"x" * 1000 + b"\r\n" for number in range(2000)]
    log.write_bytes(b"".join(lines))
    assert last_lines(log, 700) == lines[-700:]


def test_a_damaged_packed_file_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    (tmp_path / "run.log.1.gz").write_bytes(gzip.compress(b"one\n" * 1000)[:-9])
    (tmp_path / "run.log.2.gz").write_bytes(b"no gzip")
    (tmp_path / "run.log").write_text("end\n")
    lines = last_lines(tmp_path / "run.log", 5000)
    assert lines[-1] == b"end\n"
    assert lines.count(b"stead: the rest of this packed log is damaged\n") == 2


def test_files_older_than_the_time_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "run.log.1").write_text("old\n")
    os.utime(tmp_path / "run.log.1", (1000, 1000))
    (tmp_path / "run.log").write_text("new\n")
    assert list(logfile.all_lines(tmp_path / "run.log", since_s=2000.0)) == [b"new\n"]


def test_following_goes_on_over_rotations(tmp_path: Path) -> None:
    """The old file is read to its end first; several rotations between two looks lose nothing, packed or not."""
    log = tmp_path / "run.log"
    log.write_text("old\n")
    following = Following(log)
    assert (last_lines(log, 9, following), following.read()) == ([b"old\n"], b"")
    for number in range(4):
        with log.open("a") as writer:
            writer.write(f"{number}\n")
        rotate(str(log), 1000)
    pack(tmp_path / "run.log.2")
    log.write_text("now\n")
    assert [following.read() for _ in range(6)] == [b"0\n", b"1\n", b"2\n", b"3\n", b"now\n", b""]
    following.close()


def test_following_survives_what_was_deleted_and_cut(tmp_path: Path) -> None:
    """What is gone is gone; what comes is shown."""
    log = tmp_path / "run.log"
    following = Following(log)
    assert following.read() == b""
    log.write_text("one\n")
    assert (following.read(), following.read()) == (b"one\n", b"")
    log.write_text("")
    assert following.read() == b""
    log.write_text("x\n")
    assert following.read() == b"x\n"
    log.unlink()
    assert following.read() == b""
    log.write_text("new\n")
    assert (following.read(), following.read()) == (b"new\n", b"")
    for number in range(3):
        log.write_text(f"{number}\n")
        rotate(str(log), 1000)
    (tmp_path / "run.log.1").unlink()
    (tmp_path / "run.log.2").unlink()
    log.write_text("now\n")
    assert b"2\n" in [following.read() for _ in range(3)]
    following.close()


def test_following_goes_on_where_another_left_off(tmp_path: Path) -> None:
    """A place is the number that a file has, or will have, and a position in it."""
    log = tmp_path / "run.log"
    log.write_text("one\ntwo\n")
    first = Following(log, number=1, position=4)
    assert (first.read(), first.number, first.position) == (b"two\n", 1, 8)
    first.close()
    with log.open("a") as writer:
        writer.write("three\n")
    rotate(str(log), 1000)
    log.write_text("four\n")
    second = Following(log, number=1, position=8)
    assert [second.read() for _ in range(3)] == [b"three\n", b"four\n", b""]
    second.close()


def test_last_words_are_texts_of_the_end(tmp_path: Path) -> None:
    """For a reason: without times and empty lines, and never more than a message can bear."""
    log = tmp_path / "run.log"
    assert last_words(log) == []
    log.write_bytes(b"x" * 9000 + b"\n2026-01-31T23:59:59.123Z no route to host\n\n2026-01-31T23:59:59.124Z  bye \xff\n")
    assert last_words(log) == ["no route to host", "bye �"]
    assert last_words(log, 1) == ["bye �"]
    log.write_bytes(b"y" * 9000)
    assert last_words(log) == []
