"""What services say of their readiness: which words count, whose, and what is bounded."""

from __future__ import annotations

import array
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.limits import NOTIFY_DATAGRAM, NOTIFY_STATUS, NOTIFY_TURN
from supervisor.holder import readiness
from supervisor.holder.readiness import NotifySocket, ReadyPipe, Said, bind, open_again, open_ear, parse

ME = os.getpid()


def is_me(pid: int) -> bool:
    return pid == ME


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[NotifySocket, Callable[..., None]]]:
    """A notify socket, and a function that sends to it."""
    ear = bind(str(tmp_path / "n"), os.geteuid(), None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.setblocking(False)

        def send(data: bytes, *more: object) -> None:
            client.sendmsg([data], list(more), 0, str(tmp_path / "n"))  # type: ignore[arg-type]

        yield ear, send
    ear.close()


def fill(connected: socket.socket) -> None:
    try:
        for _ in range(100_000):
            connected.send(b"WATCHDOG=1")
    except BlockingIOError:
        return
    raise AssertionError("the queue has no end")


@pytest.mark.parametrize(
    ("datagram", "said"),
    [
        (b"READY=1", Said(True)),
        (b"STATUS=loading\nREADY=1\nMAINPID=7\n", Said(True, "loading")),
        (b"READY=0\nREADY=11\nREADY\n READY=1\nready=1", Said()),
        (b"STOPPING=1\nWATCHDOG=1\nBARRIER=1\nRELOADING=1", Said()),
        (b"STATUS=first\nSTATUS=  \x1b[31mred\x07 \xff\xc3\xa9", Said(False, "[31mred  \ufffd\xe9")),
        (b"STATUS=" + b"x" * 4000, Said(False, "x" * NOTIFY_STATUS)),
        (b"", Said()),
    ],
)
def test_ready_and_status_are_known_and_everything_else_is_ignored(datagram: bytes, said: Said) -> None:
    """The text is shown on terminals: one line, printable, bounded."""
    assert parse(datagram) == said


@given(st.binary(max_size=300))
def test_any_bytes_are_read(datagram: bytes) -> None:
    said = parse(datagram)
    assert said.ready == (b"READY=1" in datagram.split(b"\n"))
    assert len(said.status) <= NOTIFY_STATUS
    assert said.status == "" or said.status.isprintable()


def test_what_says_ready_stays_until_the_end_is_shut(place: tuple[NotifySocket, Callable[..., None]]) -> None:
    """A holder that dies before that is on disk has taken nothing away from the next one."""
    ear, send = place
    send(b"STATUS=loading")
    send(b"READY=1")
    assert ear.hear(is_me) == Said(True, "loading")
    assert ear.hear(is_me) == Said(True)


def test_who_says_more_afterwards_gets_an_error_and_does_not_wait(tmp_path: Path) -> None:
    """A service may send WATCHDOG=1 for ever; nobody reads that, and its process holds the receiving end too."""
    path = str(tmp_path / "n")
    ear = bind(path, os.geteuid(), None)
    carried = socket.socket(fileno=os.dup(ear.fileno()))  # the service's copy
    with carried, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connected, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as late:
        connected.setblocking(False)
        connected.connect(path)
        fill(connected)  # who may block waits here
        ear.close()
        with pytest.raises(BrokenPipeError):
            connected.send(b"WATCHDOG=1")
        with pytest.raises(FileNotFoundError):
            late.sendto(b"WATCHDOG=1", path)


def test_a_strangers_word_does_not_count(place: tuple[NotifySocket, Callable[..., None]]) -> None:
    """Not one of the service's processes, or another user."""
    ear, send = place
    send(b"STATUS=hacked\nREADY=1")
    assert ear.hear(lambda _: False) == Said(strange=ME)
    send(b"READY=1")
    ear._uid = 12345
    assert ear.hear(is_me) == (Said(True) if os.geteuid() == 0 else Said(strange=ME)), "root counts always"


def test_a_sender_that_has_gone_could_be_anybody(place: tuple[NotifySocket, Callable[..., None]], tmp_path: Path) -> None:
    """The kernel says its pid, and nothing can be said of that any more."""
    ear, _ = place
    program = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "n")], check=True)
    said = ear.hear(lambda pid: Path(f"/proc/{pid}").exists())
    assert not said.ready
    assert said.strange not in (None, ME)


def test_a_turn_is_bounded_and_too_long_a_datagram_is_nothing(place: tuple[NotifySocket, Callable[..., None]]) -> None:
    ear, send = place
    send(b"READY=1\n" + b"x" * NOTIFY_DATAGRAM)
    assert ear.hear(is_me) == Said()
    sent = 0
    try:
        while sent < NOTIFY_TURN + 5:
            send(b"STATUS=%d" % sent)
            sent += 1
    except BlockingIOError:  # the kernel's own bound is lower
        pass
    assert ear.hear(is_me).status == f"{min(sent, NOTIFY_TURN) - 1}"


def test_descriptors_that_come_along_are_closed(place: tuple[NotifySocket, Callable[..., None]]) -> None:
    """BARRIER=1 of systemd-notify waits for just that; and nobody can fill our table."""
    ear, send = place
    reader, writer = os.pipe()
    send(b"BARRIER=1", (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer])))
    os.close(writer)
    before = set(Path("/proc/self/fd").iterdir())
    assert ear.hear(is_me) == Said()
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert os.read(reader, 1) == b"", "the last writing end is gone"
    os.close(reader)


def test_the_socket_is_the_users_alone_and_an_old_one_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "n"
    first = bind(str(path), os.geteuid(), None)
    second = bind(str(path), os.geteuid(), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second.close()
    first.close()
    path.write_text("somebody's file")
    with pytest.raises(OSError, match="in use"):
        bind(str(path), os.geteuid(), None)
    assert path.read_text() == "somebody's file"
    with pytest.raises(OSError, match="is longer than the 107 bytes"):
        bind(str(tmp_path / ("n" * 108)), os.geteuid(), None)


def test_a_newline_says_ready_and_what_comes_before_it_does_not(tmp_path: Path) -> None:
    """s6: everything before the newline is ignored. It stays in the pipe until the end is shut."""
    path = str(tmp_path / "run.log.ready")
    ear = open_ear(None, path, None, None)
    assert isinstance(ear, ReadyPipe)
    service = os.open(path, os.O_RDWR)
    kept = os.dup(service)
    assert ear.hear(is_me) == Said()
    os.write(service, b"not yet")
    assert ear.hear(is_me) == Said()
    os.write(service, b"now\n")
    os.close(service)
    assert ear.hear(is_me) == Said(True)
    assert ear.hear(is_me) == Said(True)
    again, complaint = open_again(None, path, None, ME, -1)
    assert isinstance(again, ReadyPipe)
    assert (again.hear(is_me), complaint) == (Said(True), "")
    again.close()
    os.close(ear.fileno())
    os.close(kept)
    assert not Path(path).exists()


def test_a_flood_without_a_newline_is_read_away_in_bounded_turns(tmp_path: Path) -> None:
    """The service must not block, and we must not grow."""
    path = str(tmp_path / "p")
    ear = open_ear(None, path, None, None)
    assert ear is not None
    service = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    written = os.write(service, b"x" * 65_536)
    for _ in range(-(-written // readiness.READY_BYTES)):
        assert ear.hear(is_me) == Said()
    assert os.write(service, b"x" * written) == written
    os.close(service)
    ear.close()


def test_the_next_holder_takes_the_end_that_the_process_kept(tmp_path: Path) -> None:
    """What was said while no holder was there is in its queue."""
    path = str(tmp_path / "n")
    first = bind(path, os.geteuid(), None)
    program = (
        "import os, socket, sys; os.write(1, b'.'); os.read(0, 1);"
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1]); os.write(1, b'.'); os.read(0, 1)"
    )
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[first.fileno()], bufsize=0) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdout.read(1)
        first._connection.close()  # this holder dies, and cleans up nothing
        service.stdin.write(b".")
        service.stdout.read(1)
        pidfd = os.pidfd_open(service.pid)
        second, complaint = open_again(path, None, None, service.pid, pidfd)
        assert second is not None
        assert (second.hear(lambda pid: pid == service.pid), complaint) == (Said(True), "")
        second.close()
        third, complaint = open_again(path, None, None, ME, pidfd)
        assert third is not None
        assert "is a new one" in complaint, "who keeps none has lost it, and that is said"
        third.close()
        os.close(pidfd)
