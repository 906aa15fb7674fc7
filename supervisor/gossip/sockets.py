"""The sockets of a ring: UDP and TCP on one address. Addresses inside are as members tell them: literals, IPv4 never written as IPv6.

Rules: both protocols have the same port, also when any free one will do. `[::]` takes both families. The stock datagram endpoint of asyncio
is not used: its receive buffer costs three system calls a datagram (python/cpython issue 85451).
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from hart.errors import UnavailableError, UsageError
from hart.limits import RING_BACKLOG, RING_RECEIVE_BUFFER
from supervisor.gossip.messages import Address

_MAPPED = "::ffff:"
_SO_RCVBUFFORCE, _SO_MEMINFO = 33, 55  # of Linux; Python has no names for them
_MEMINFO = struct.Struct("9I")  # the last one: what the socket has dropped
_TRIES = 16  # free UDP ports whose TCP port is somebody's


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound, the stream one listening, neither blocking."""

    datagrams: socket.socket
    streams: socket.socket
    address: Address
    sealed: bool  # else it is plain text, which only this host's processes may hear and say

    @property
    def ipv6(self) -> bool:
        return self.datagrams.family == socket.AF_INET6

    def outward(self, address: Address) -> Address:
        """As the socket wants it."""
        host, port = address
        return (_MAPPED + host, port) if self.ipv6 and ":" not in host else address

    def overflowed(self) -> int:
        """Datagrams that came while the kernel's queue was full."""
        with suppress(OSError, struct.error):  # a kernel before 4.12 does not tell
            return int(_MEMINFO.unpack(self.datagrams.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[-1])
        return 0

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
            return _open(host, port, sealed=sealed)
        except OSError as error:
            if port or tries == _TRIES - 1:
                text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                raise UnavailableError(
                    f"ring at {text}", f"cannot listen: {error.strerror}", next="another supervisor? --listen-gossip ADDRESS:PORT"
                ) from None
    raise AssertionError


def _open(host: str, port: int, *, sealed: bool) -> Sockets:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    datagrams, streams = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
    try:
        for each in (datagrams, streams):
            each.setblocking(False)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        widen(datagrams)
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last process that linger
        datagrams.bind((host, port))
        taken = datagrams.getsockname()[1]
        streams.bind((host, taken))
        streams.listen(RING_BACKLOG)
    except OSError:
        datagrams.close()
        streams.close()
        raise
    return Sockets(datagrams, streams, (host, taken), sealed)


def widen(datagrams: socket.socket) -> None:
    """The receive queue that we want, or where the system's limit is ours too, that."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with suppress(OSError):
            datagrams.setsockopt(socket.SOL_SOCKET, option, RING_RECEIVE_BUFFER)
            return
