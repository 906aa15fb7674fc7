"""A listening socket with a limit: so many connections at once, TLS handshakes among them, and no handshake for ever.

Rules: a connection beyond the limit is closed at once and unread. A handshake has its time and holds up nobody else (reference: supervisor
W30). When the system has no descriptor left, accepting rests for a moment. asyncio's own server has no limit and counts no handshakes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Final

from hart.errors import UnavailableError
from hart.limits import GATEWAY_CONNECTIONS, GATEWAY_PORTS
from supervisor.gossip.messages import Address
from supervisor.settings import show_address

ACCEPTS: Final = 16  # in one turn of the loop: others have theirs
REST_S: Final = 1.0
NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
OF_OTHERS: Final = (9632, 9638)  # Habitat's control port and the ring's own: never taken in passing


def listen(address: Address, *, fixed: bool) -> socket.socket:
    """A socket that listens there, or, unless `fixed`, at the next free port. UnavailableError when there is none."""
    host, port = address
    last: OSError | None = None
    for candidate in (port,) if fixed or not port else (number for number in range(port, port + GATEWAY_PORTS) if number not in OF_OTHERS):
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, candidate))
            made.listen(GATEWAY_CONNECTIONS)
        except OSError as error:
            made.close()
            last = error
            if error.errno != errno.EADDRINUSE:
                break
        except OverflowError:  # beyond the last port
            made.close()
            break
        else:
            return made
    cause = last.strerror.lower() if last is not None and last.strerror else "no port is free"
    raise UnavailableError(
        f"--listen-http {show_address(address)}", f"cannot listen: {cause}", next="choose another port, or none: --http-disable"
    )


class Doorway:
    """Accepts until it is closed. `held`: how many connections are open beyond their handshake."""

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[], asyncio.BaseProtocol],
        tls: SSLContext | None,
        *,
        held: Callable[[], int],
        handshake_s: float,
    ) -> None:
        self._listening, self._connect, self._tls = listening, connect, tls
        self._held, self._handshake_s = held, handshake_s
        self._entering: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self.refused = 0
        self._open()

    def _open(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._loop.remove_reader(self._listening)
                self._rest = self._loop.call_later(REST_S, self._open)
                return
            if len(self._entering) + self._held() >= GATEWAY_CONNECTIONS:
                self.refused += 1
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._enter(connection))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connect,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_s if self._tls else None,
            )
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError: the peer does not speak TLS, is too slow, or is not known
            self.refused += 1
            connection.close()

    async def close(self) -> None:
        """Accept no more; handshakes under way are called off."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._entering:
            task.cancel()
        await asyncio.gather(*self._entering, return_exceptions=True)
