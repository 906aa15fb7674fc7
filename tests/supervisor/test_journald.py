"""Lines of services in systemd's journal: the format, and that nothing is lost while somebody is away."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.root import Root
from supervisor.holder.rotation import rotate
from supervisor.journald import Journald, encode, entry

AT = b"2026-01-31T12:00:00.001Z "


def decoded(datagram: bytes) -> dict[str, bytes]:
    """As the journal reads it."""
    fields = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        if b"=" in name:
            key, _, value = name.partition(b"=")
            fields[key.decode()], datagram = value, rest
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            fields[name.decode()], datagram = rest[8 : 8 + size], rest[9 + size :]
    return fields


@given(st.dictionaries(st.sampled_from(["MESSAGE", "A", "B_C"]), st.binary(max_size=60)))
def test_what_is_encoded_is_read_again(fields: dict[str, bytes]) -> None:
    """Also values with newlines and equals signs."""
    assert decoded(encode(fields)) == fields


def test_a_line_is_an_entry_with_its_own_time() -> None:
    found = decoded(entry(AT + b"hello=you\n", service="web-a", group="web-a.default"))
    assert found["MESSAGE"] == b"hello=you"
    assert found["STEAD_TIME"] == AT.strip()
    assert (found["SYSLOG_IDENTIFIER"], found["STEAD_GROUP"], found["PRIORITY"]) == (b"web-a", b"web-a.default", b"6")
    assert "STEAD_TIME" not in decoded(entry(b"rest\n", service="w", group="g"))


class Place:
    """A host with one service, and a journal."""

    def __init__(self, directory: Path) -> None:
        self.root, self.path = Root(directory / "root"), str(directory / "socket")
        self.log = self.root.service("web") / "logs" / "run.log"
        self.log.parent.mkdir(parents=True)
        (self.root.sup / "journald").mkdir(parents=True)
        self.notes: list[str] = []
        journal = SimpleNamespace(write=lambda _kind, _subject, text, **_: self.notes.append(text))
        service = SimpleNamespace(spec=SimpleNamespace(service_group="web.default"))
        self.host: Any = SimpleNamespace(root=self.root, services={"web": service}, journal=journal)
        self.receiver: socket.socket | None = None

    def listen(self) -> None:
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.receiver.bind(self.path)

    def say(self, text: str) -> None:
        with self.log.open("ab") as out:
            out.write(AT + text.encode() + b"\n")

    def heard(self, journald: Journald) -> list[str]:
        assert self.receiver is not None
        found: list[str] = []
        for _ in range(1000):
            moved = journald.look()
            try:
                while True:
                    found.append(decoded(self.receiver.recv(1 << 17))["MESSAGE"].decode())
            except BlockingIOError:
                if not moved:
                    return found
        raise AssertionError("no end")

    def close(self) -> None:
        if self.receiver is not None:
            self.receiver.close()


@pytest.fixture
def place(tmp_path: Path) -> Any:
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def passing(place: Place) -> Any:
    made: list[Journald] = []

    def make() -> Journald:
        made.append(Journald(place.host, place.path))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_lines_arrive_once_over_rotations_restarts_and_a_journal_that_is_away(place: Place, passing: Any) -> None:
    place.say("before it was asked for")
    journald = passing()
    journald.look()
    place.say("1")
    assert journald.look() is False
    assert "tried again" in place.notes[0]
    place.listen()
    assert place.heard(journald) == ["1"]
    place.say("2")
    rotate(str(place.log), 1 << 20)
    place.say("3")
    assert place.heard(journald) == ["2", "3"]
    journald.close()
    place.say("4")  # nobody is there
    rotate(str(place.log), 1 << 20)
    place.say("5")
    assert place.heard(passing()) == ["4", "5"]
    assert len(place.notes) == 1


def test_a_service_that_comes_later_is_heard_from_its_first_line(place: Place, passing: Any) -> None:
    place.listen()
    services, place.host.services = place.host.services, {}
    journald = passing()
    journald.look()
    place.say("first")
    place.host.services = services
    assert place.heard(journald) == ["first"]


def test_a_line_that_is_not_ended_waits(place: Place, passing: Any) -> None:
    place.listen()
    journald = passing()
    journald.look()
    with place.log.open("ab") as out:
        out.write(AT + b"half")
    assert place.heard(journald) == []
    with place.log.open("ab") as out:
        out.write(b" and half\n")
    assert place.heard(journald) == ["half and half"]
