"""Names of hosts and their addresses, of both families, by the system's own resolver (`/etc/hosts`, DNS and what else it is set up for).

Rules: a literal address is never asked for. What a name had when it was last found is kept while it is not found: name servers are often
away when the network is, and that is when peers are needed. A resolver that hangs costs a thread of its own, which nobody waits for, also
not the end of the process.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address

from hart.limits import DISCOVERY_NAME_ADDRESSES, DISCOVERY_NAME_S, DISCOVERY_NAMES_AT_ONCE
from supervisor.gossip.messages import Address

Peer = tuple[str, int]  # a host, which may be a name, and a port

_WORDS = {
    socket.EAI_NONAME: "no such name",
    socket.EAI_NODATA: "has no address",
    socket.EAI_AGAIN: "the name servers do not answer",
    errno.ETIMEDOUT: "the name servers do not answer",
}


def literal(host: str) -> str:
    """An address as members write it; empty where it is a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


async def resolve(host: str, port: int) -> frozenset[Address]:
    """All addresses of a host; OSError, whose text is for people, when there are none."""
    if known := literal(host):
        return frozenset({(known, port)})
    try:
        async with asyncio.timeout(DISCOVERY_NAME_S):
            hosts = await _ask(host)
    except OSError as error:
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
        raise OSError(number, _WORDS.get(number, error.strerror or "cannot be asked for")) from None
    found = sorted({known for each in hosts if "%" not in each and (known := literal(each))})
    if not found:
        raise OSError(socket.EAI_NODATA, _WORDS[socket.EAI_NODATA])
    return frozenset((known, port) for known in found[:DISCOVERY_NAME_ADDRESSES])


async def _ask(host: str) -> list[str]:
    """The system's answer, from a thread that may outlive the question."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def tell(hosts: list[str], error: OSError | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(hosts)

    def ask() -> None:
        hosts: list[str] = []
        trouble: OSError | None = None
        try:
            hosts = [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)]
        except OSError as error:
            trouble = error
        except UnicodeError:  # a label of more than 63 characters, or an empty one
            trouble = OSError(socket.EAI_NONAME, "")
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, hosts, trouble)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await answer


class Names:
    """Remembers what it found."""

    def __init__(self) -> None:
        self._last: dict[Peer, frozenset[Address]] = {}

    def at_once(self, peers: Iterable[Peer]) -> frozenset[Address]:
        """What can be said without asking."""
        literals = {(known, port) for host, port in peers if (known := literal(host))}
        return frozenset(literals).union(*(self._last.get(peer, ()) for peer in peers))

    async def find(self, peers: Iterable[Peer]) -> tuple[frozenset[Address], list[str]]:
        """All addresses of all peers, and which of them are not found, in words."""
        turn, troubles = asyncio.Semaphore(DISCOVERY_NAMES_AT_ONCE), dict[Peer, str]()
        peers = list(dict.fromkeys(peers))

        async def one(peer: Peer) -> None:
            async with turn:
                try:
                    self._last[peer] = await resolve(*peer)
                except OSError as error:
                    troubles[peer] = f"{peer[0]}: {error.strerror}"

        await asyncio.gather(*(one(peer) for peer in peers))
        self._last = {peer: self._last[peer] for peer in peers if peer in self._last}
        return frozenset().union(*self._last.values()), [troubles[peer] for peer in peers if peer in troubles]
