"""The holder's socket: who may connect, lines in, lines out.

Rules: only our own uid and root are heard (SO_PEERCRED). A connection that sends no request, sends without end or does not read is closed;
nobody else notices. Nothing here blocks. Not here: what a request means (`main.py`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hart.limits import HOLDER_CONNECTIONS, HOLDER_UNREAD, UNIX_PATH
from supervisor.holder import protocol
from supervisor.holder.loop import Loop

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Doorway:
    """`answer(kind, message)` returns the reply's fields; `greet()` what a new connection must know."""

    def __init__(
        self, path: str, loop: Loop, answer: Answer, greet: Callable[[], list[dict[str, Any]]], say: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._greet = greet
        self._say = say
        self._peers: set[_Peer] = set()
        self._listener = _listen(path)
        loop.watch(self._listener.fileno(), self._accept)

    def tell(self, event: dict[str, Any]) -> None:
        """An event for everybody."""
        for peer in list(self._peers):
            peer.send(event)

    def flush(self) -> None:
        """Before the end: a last bounded chance for what is still unsent."""
        for peer in list(self._peers):
            peer.flush()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it went away again, or no descriptor is free: its turn comes
            return
        _, uid, _ = CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        if uid not in (0, os.geteuid()) or len(self._peers) >= HOLDER_CONNECTIONS:
            self._say(f"refused a connection of uid {uid}: {len(self._peers)} are open")
            connection.close()
            return
        connection.setblocking(False)
        peer = _Peer(connection, self._loop, self._receive, self._peers.discard)
        self._peers.add(peer)
        for event in self._greet():
            peer.send(event)

    def _receive(self, peer: _Peer, line: bytes) -> None:
        try:
            number, kind, message = protocol.decode_request(line)
        except ValueError as error:
            self._say(f"closed a connection that sent no request: {error}")
            peer.close()
            return
        peer.send({"id": number, **self._answer(kind, message)})


class _Peer:
    def __init__(
        self, connection: socket.socket, loop: Loop, receive: Callable[[_Peer, bytes], None], gone: Callable[[_Peer], None]
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._receive = receive
        self._gone = gone
        self._unread = b""
        self._unsent = bytearray()
        self._open = True
        loop.watch(connection.fileno(), self._turn)

    def send(self, message: dict[str, Any]) -> None:
        if self._open:
            self._unsent += protocol.encode(message)
            self.flush()

    def flush(self) -> None:
        try:
            while self._open and self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            if len(self._unsent) > HOLDER_UNREAD:
                self.close()
        except OSError:
            self.close()
        if self._open:
            self._loop.watch(self._connection.fileno(), self._turn, writing=bool(self._unsent))

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.unwatch(self._connection.fileno())
            self._connection.close()
            self._gone(self)

    def _turn(self) -> None:
        self.flush()
        try:
            data = self._connection.recv(64 * 1024) if self._open else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        if not data or len(self._unread) > protocol.MAX_LINE:
            self.close()
        for line in lines:
            if self._open:
                self._receive(self, line)


def _listen(path: str) -> socket.socket:
    """OSError when it cannot be. Under the lock a socket that is there is a dead holder's."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    directory, name = os.path.split(path)
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  pathlib is memory that we save
    umask = os.umask(0o177)
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(path if len(os.fsencode(path)) <= UNIX_PATH else f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)
        os.umask(umask)
    listener.listen(HOLDER_CONNECTIONS)
    return listener
