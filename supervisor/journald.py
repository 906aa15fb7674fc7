"""What services write, passed on to systemd's journal, where the operator wants it (`sup run --journald`).

Rules: the log files are the source, read from a position that is remembered on disk: nothing is lost while this process or the journal
is away, as long as the log still has it. A position is remembered after what comes before it was taken, so a killed supervisor says the
lines of about a second twice. A journal that is not there, or takes nothing, is told once and tried again. The format is pure.

Source: systemd, "Native Journal Protocol". A value with a newline is its name, a newline, its length in 8 bytes, the value, a newline.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hart.errors import SteadError
from hart.files import make_dirs, write_atomic
from hart.limits import JOURNALD_LOOK_S, JOURNALD_TRY_S, LOG_LINE
from supervisor.logfile import TIME, Following, is_stamped, newest, text_of
from supervisor.logline import Lines

if TYPE_CHECKING:
    from supervisor.host import Host

SOCKET = "/run/systemd/journal/socket"
INFO = "6"
PAUSE_S = 0.02  # between two looks of which the first found something: others have the loop
BLOCK = 64 * 1024


def encode(fields: Mapping[str, str | bytes]) -> bytes:
    """One entry as a datagram."""
    out = []
    for name, value in fields.items():
        data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
        if b"\n" in data:
            out.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            out.append(name.encode() + b"=" + data + b"\n")
    return b"".join(out)


def entry(line: bytes, *, service: str, group: str) -> bytes:
    """A line of a log as an entry; its own time goes along, since the journal takes the time when it gets it."""
    at = {"STEAD_TIME": line[:TIME]} if is_stamped(line) else {}
    message = text_of(line).removesuffix(b"\n")
    return encode(
        {"MESSAGE": message, "PRIORITY": INFO, "SYSLOG_IDENTIFIER": service, "STEAD_SERVICE": service, "STEAD_GROUP": group, **at}
    )


@dataclass(slots=True)
class Tail:
    """One service's log, and the lines of it that the journal has not taken yet."""

    following: Following
    lines: Lines
    waiting: list[bytes]
    told: tuple[int, int]  # number and position that are on disk


class Journald:
    """The passing on of one host. `path` is the journal's socket."""

    def __init__(self, host: Host, path: str = SOCKET) -> None:
        self._host, self._path = host, path
        self._tails: dict[str, Tail] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._directory = host.root.sup / "journald"
        self.trouble = ""
        self._looked = False  # from here on a service that comes is a new one

    async def keep(self) -> None:
        """For ever."""
        make_dirs(self._directory, mode=0o700)
        while True:
            moved = self.look()
            await asyncio.sleep(JOURNALD_TRY_S if self.trouble else PAUSE_S if moved else JOURNALD_LOOK_S)

    def look(self) -> bool:
        """One round over all services; whether there is more at once."""
        moved = False
        for name in [*self._tails]:
            if name not in self._host.services:
                self._tails.pop(name).following.close()
        for name, service in self._host.services.items():
            with suppress(OSError):  # no log yet, or no directory
                moved = self._pass_on(name, str(service.spec.service_group)) or moved
            if self.trouble:
                return False
        self._looked = True
        return moved

    def _pass_on(self, name: str, group: str) -> bool:
        tail = self._tails.get(name) or self._begin(name)
        if not tail.waiting:
            tail.waiting = tail.lines.feed(tail.following.read(BLOCK))
        taken = 0
        for line in tail.waiting:
            if not self._send(entry(line, service=name, group=group)):
                break
            taken += 1
        del tail.waiting[:taken]
        now = (tail.following.number, max(0, tail.following.position - tail.lines.held))
        if not tail.waiting and now != tail.told:
            tail.told = now
            with suppress(SteadError, OSError):
                write_atomic(self._directory / f"{name}.json", json.dumps(now).encode(), mode=0o600)
        return taken > 0

    def _begin(self, name: str) -> Tail:
        """Where the last supervisor was; else at the end of what is there, or for a log that is new at its begin."""
        log = self._host.root.service(name) / "logs" / "run.log"
        try:
            number, position = json.loads((self._directory / f"{name}.json").read_bytes())
            following = Following(log, position=int(position), number=int(number))
        except (OSError, ValueError, TypeError):
            following = Following(log, position=0, number=1) if self._looked and not newest(log) else Following(log)
        tail = Tail(following, Lines(2 * LOG_LINE), [], (-1, -1))
        self._tails[name] = tail
        return tail

    def _send(self, datagram: bytes) -> bool:
        """Whether it was taken. One that is too long for the socket is cut."""
        try:
            self._socket.sendto(datagram, self._path)
        except BlockingIOError:
            return False  # it is busy: the next look
        except OSError as error:
            if not self.trouble:
                self._host.journal.write("supervisor", "journald", f"{self._path}: {error.strerror}; tried again", level="warning")
            self.trouble = error.strerror or str(error)
            return False
        self.trouble = ""
        return True

    def close(self) -> None:
        self._socket.close()
        for tail in self._tails.values():
            tail.following.close()
        self._tails.clear()
