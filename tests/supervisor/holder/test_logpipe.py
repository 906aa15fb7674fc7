"""A service's log: every byte in order, a time before each line, bounded files, and a disk that says no."""

from __future__ import annotations

import os
import re
import resource
import select
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.holder import logpipe, rotation
from supervisor.holder.budget import Budget
from supervisor.holder.logpipe import LogPipe, make_pipe, stamp, timestamp

STAMPED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)\n")


class Service:
    """The writing end, as a service holds it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pipe = make_pipe(str(log), None, None)
        self.end = os.open(self.pipe, os.O_RDWR)

    def write(self, data: bytes) -> None:
        os.write(self.end, data)

    def logged(self) -> list[bytes]:
        lines = self.log.read_bytes().splitlines(keepends=True)
        return [found[1] if (found := STAMPED.fullmatch(line)) else line for line in lines]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "log" / "web.log")
    yield made
    os.close(made.end)


@pytest.fixture
def pipe(service: Service) -> Iterator[LogPipe]:
    opened = LogPipe(str(service.log))
    yield opened
    opened.close()


@given(st.binary(max_size=60).map(lambda data: data.replace(b"<", b"")), st.lists(st.integers(0, 60), max_size=5), st.integers(1, 9))
def test_the_same_lines_come_out_however_the_bytes_came_in(data: bytes, cuts: list[int], width: int) -> None:
    """Without times and added breaks the log is the output, and no line is longer than the width."""
    column, out, at = 0, b"", 0
    for cut in [*sorted(cuts), len(data)]:
        text, column = stamp(data[at : max(at, cut)], column, b"<", width=width)
        out += text
        at = max(at, cut)
    lines = out.replace(b"<", b"").split(b"\n")
    assert all(len(line) <= width for line in lines)
    assert out.replace(b"<", b"").replace(b"\n", b"") == data.replace(b"\n", b"")
    assert out == stamp(data, 0, b"<", width=width)[0]
    assert all(line.startswith(b"<") for line in out.splitlines() if b"\r" not in out)


@pytest.mark.parametrize(
    ("data", "column", "expected", "after"),
    [
        (b"", 0, b"", 0),
        (b"a\nb", 0, b"<a\n<b", 1),
        (b"c\n", 1, b"c\n", 0),
        (b"\n\n", 0, b"<\n<\n", 0),
        (b"50%\r60%\n", 0, b"<50%\r60%\n", 0),
        (b"abcdefghij", 0, b"<abcdefgh\n<ij", 2),
        (b"abcdefgh\n", 0, b"<abcdefgh\n", 0),
        (b"xyz\n", 7, b"x\n<yz\n", 0),
    ],
)
def test_a_time_stands_before_each_line_and_nowhere_else(data: bytes, column: int, expected: bytes, after: int) -> None:
    """Lines are broken at the width (eight here); a carriage return begins no line."""
    assert stamp(data, column, b"<", width=8) == (expected, after)


def test_a_time_is_utc_with_milliseconds() -> None:
    """Readable, sortable, the same on every host."""
    assert timestamp(1_700_000_000.0625) == b"2023-11-14T22:13:20.062Z "


def test_what_is_written_is_logged_also_half_a_line(service: Service, pipe: LogPipe) -> None:
    """A prompt without newline must not wait for one."""
    service.write(b"one\ntwo")
    pipe.drain()
    assert service.log.read_bytes().endswith(b"two")
    service.write(b"\nthree\n")
    pipe.drain()
    assert service.logged() == [b"one", b"two", b"three"]


def test_the_next_holder_finds_what_the_last_one_left_in_the_pipe(service: Service) -> None:
    """The service's own end keeps the bytes; a line begun under one holder goes on under the next."""
    first = LogPipe(str(service.log))
    service.write(b"be")
    first.drain()
    first.close()
    service.write(b"gun\nlater\n")
    second = LogPipe(str(service.log))
    second.drain()
    second.close()
    assert service.logged() == [b"begun", b"later"]


def test_one_turn_is_bounded(service: Service, pipe: LogPipe) -> None:
    """A flooding service has its turn like everybody else."""
    service.write(b"x" * 60_000)
    service.write(b"y\n" * 30_000)
    pipe.drain(limit=1)
    assert len(service.logged()) < 60_000 / 16_384 + 1 + (65_536 - 60_000) / 2 + 1
    for _ in range(10):
        pipe.drain(limit=1)
    assert service.logged().count(b"y") == 29_999


def rotated_files(log: Path) -> list[Path]:
    return [Path(path) for _, path in rotation.rotated(str(log))]


def test_files_are_rotated_by_size_and_the_oldest_goes(service: Service) -> None:
    """A log never takes more than it may, and no line is lost between two of its files."""
    pipe = LogPipe(str(service.log), keep=400)
    for number in range(30):
        service.write(b"line %d %s\n" % (number, b"." * 40))
        pipe.drain()
    pipe.close()
    files = [*rotated_files(service.log), service.log]
    assert files[0].name == "web.log.26"  # one line a file: twenty-five have gone, and none was ever renamed again
    assert sum(path.stat().st_size for path in files) <= 400
    found = [int(line.split()[2]) for path in files for line in path.read_bytes().splitlines()]
    assert found == list(range(25, 30))


def test_a_log_of_yesterday_is_rotated_before_the_first_line_of_today(service: Service, pipe: LogPipe) -> None:
    """By time as well as by size; what is not ours in the file is no date of ours."""
    service.log.write_bytes(b"2001-01-01T00:00:00.000Z old\n")
    service.write(b"new\n")
    pipe.drain()
    (before,) = rotated_files(service.log)
    assert (before.read_bytes().endswith(b" old\n"), service.logged()) == (True, [b"new"])
    service.write(b"same day\n")
    pipe.drain()
    assert (rotated_files(service.log), service.logged()) == ([before], [b"new", b"same day"])


def test_what_is_over_the_rate_is_dropped_counted_and_said(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """S52: a flood costs neither the disk nor the service's time, and where the gap is stands in the log."""
    now = 0.0
    monkeypatch.setattr("supervisor.holder.budget.LOG_BURST", 0)
    monkeypatch.setattr(logpipe.time, "monotonic", lambda: now)
    pipe = LogPipe(str(service.log), rate=70_000)
    pipe._budget = Budget(70_000, now, burst=0)
    assert not pipe.drain()
    service.write(b"a" * 49 + b"\n")
    service.write((b"b" * 99 + b"\n") * 700)
    assert not pipe.drain(limit=1)
    assert pipe.drain()
    now = 0.5
    service.write(b"c\n")
    assert pipe.drain()  # half a second's worth is not enough after it was empty
    now = 1.0
    service.write(b"d\n")
    assert not pipe.drain()
    pipe.close()
    logged = service.logged()
    (over,) = [at for at, line in enumerate(logged) if line.startswith(b"stead: more than 70000 bytes a second")]
    kept = sum(line.count(b"b") for line in logged[:over])
    assert (logged[over + 1].startswith(b"stead: "), logged[over + 1].endswith(b"dropped: over the rate")) == (True, True)
    assert kept + int(logged[over + 1].split(b"(")[1].split()[0]) > 65_000
    assert logged[over + 2 :] == [b"d"]


def test_what_was_dropped_last_is_said_when_the_log_is_closed(service: Service) -> None:
    """A service that floods and dies: the end of its log says that it is not the end of what it said."""
    pipe = LogPipe(str(service.log), rate=1)
    pipe._budget = Budget(1, 0.0, burst=0)
    pipe._budget.shut = True
    pipe._budget.rate = 1 << 40  # never a second's worth
    service.write(b"lost\n")
    assert pipe.drain()
    pipe.close()
    assert service.logged()[-1] == b"stead: 1 lines (5 bytes) dropped: over the rate"


def test_what_the_disk_refuses_is_counted_and_said_when_there_is_room(service: Service, pipe: LogPipe) -> None:
    """S52, S60: the service is not held up, the holder does not end, and the log says what is missing."""
    service.log.parent.rename(service.log.parent.with_name("away"))
    service.write(b"lost\nlost\n")
    pipe.drain()
    service.write(b"lost\n")
    pipe.drain()
    service.log.parent.with_name("away").rename(service.log.parent)
    service.write(b"kept\n")
    pipe.drain()
    assert service.logged() == [b"stead: 3 lines (15 bytes) dropped: No such file or directory", b"kept"]


def test_a_disk_that_fills_in_the_middle_of_a_line_leaves_the_next_line_whole(service: Service, pipe: LogPipe) -> None:
    """The count begins on a line of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
    try:
        service.write(b"abcdefghijk\n")
        pipe.drain()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    service.write(b"kept\n")
    pipe.drain()
    cut, note, kept = service.logged()
    assert (cut, note, kept) == (b"abcde", b"stead: 1 lines (12 bytes) dropped: File too large", b"kept")


def test_a_deleted_log_is_begun_anew(service: Service, pipe: LogPipe) -> None:
    """Somebody cleaned up: what follows is written where people look."""
    service.write(b"one\n")
    pipe.drain()
    service.log.unlink()
    service.write(b"two\n")
    pipe.drain()
    assert service.logged() == [b"two"]


def test_a_pipe_whose_name_was_removed_is_found_through_its_writer(tmp_path: Path) -> None:
    """Else its service would block on a full pipe that nobody reads."""
    log = tmp_path / "web.log"
    make_pipe(str(log), None, None)
    reader = os.open(f"{log}.fifo", os.O_RDWR | os.O_NONBLOCK)
    with subprocess.Popen(["/bin/sh", "-c", f"exec 1<>{log}.fifo; rm {log}.fifo; echo here; exec sleep 30"]) as writer:
        try:
            while not select.select([reader], [], [], 20)[0]:
                raise AssertionError("nothing was written")
            os.close(reader)
            with pytest.raises(FileNotFoundError):
                LogPipe(str(log))
            opened = LogPipe(str(log), writer.pid)
            opened.drain()
            opened.close()
        finally:
            writer.kill()
    assert log.read_bytes().endswith(b" here\n")


def test_a_link_or_a_file_in_the_pipes_place_is_replaced_and_never_followed(tmp_path: Path) -> None:
    """Whoever can write the log's directory cannot point a root process elsewhere."""
    log, target = tmp_path / "web.log", tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "web.log.fifo").symlink_to(target)
    path = make_pipe(str(log), None, None)
    assert stat.S_ISFIFO(os.lstat(path).st_mode)
    log.symlink_to(target)
    service = Service(log)
    opened = LogPipe(str(log))
    service.write(b"evil\n")
    opened.drain()
    opened.close()
    os.close(service.end)
    assert target.read_bytes() == b"precious"
