"""The sockets of a ring: UDP and TCP on one address. Addresses inside are as members tell them: literals, IPv4 never written as IPv6.

Rules: both protocols have the same port, also when any free one will do. `[::]` takes both families. The stock datagram endpoint of asyncio
is not used: its receive buffer costs three system calls a datagram (python/cpython issue 85451).
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from hart.errors import UnavailableError, UsageError
from hart.limits import RING_BACKLOG, RING_RECEIVE_BUFFER
from supervisor.gossip.messages import Address

_MAPPED = "::ffff:"
_TRIES = 16  # free UDP ports whose TCP port is somebody's


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound, the stream one listening, neither blocking."""

    datagrams: socket.socket
    streams: socket.socket
    address: Address

    @property
    def ipv6(self) -> bool:
        return self.datagrams.family == socket.AF_INET6

    def outward(self, address: Address) -> Address:
        """As the socket wants it."""
        host, port = address
        return (_MAPPED + host, port) if self.ipv6 and ":" not in host else address

    def close(self) -> None:
        self.datagrams.close()
        self.streams.close()


def inward(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """As members write it."""
    host, port = address[0], address[1]
    return (host.removeprefix(_MAPPED), port)


def open_sockets(listen: Address, *, sealed: bool) -> Sockets:
    """Port 0: any that is free for both. UnavailableError when the address is taken or not ours; UsageError for plain text on a network."""
    host, port = listen
    if not sealed and not ip_address(host).is_loopback:
        raise UsageError(f"ring at {host}", "a ring without a key is for loopback only", next="stead ring key generate NAME")
    for tries in range(_TRIES):
        try:
            return _open(host, port)
        except OSError as error:
            if port or tries == _TRIES - 1:
                text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                raise UnavailableError(
                    f"ring at {text}", f"cannot listen: {error.strerror}", next="another supervisor? --listen-gossip ADDRESS:PORT"
                ) from None
    raise AssertionError


def _open(host: str, port: int) -> Sockets:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    datagrams, streams = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
    try:
        for each in (datagrams, streams):
            each.setblocking(False)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        with suppress(OSError):
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RING_RECEIVE_BUFFER)
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last process that linger
        datagrams.bind((host, port))
        taken = datagrams.getsockname()[1]
        streams.bind((host, taken))
        streams.listen(RING_BACKLOG)
    except OSError:
        datagrams.close()
        streams.close()
        raise
    return Sockets(datagrams, streams, (host, taken))
