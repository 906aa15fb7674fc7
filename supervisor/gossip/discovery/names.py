"""Names of hosts and their addresses, of both families, by the system's own resolver (`/etc/hosts`, DNS and what else it is set up for).

Rules: a literal address is never asked for. What a name had when it was last found is kept while it is not found: name servers are often
away when the network is, and that is when peers are needed. A resolver that hangs costs one thread for each name, which nobody waits for,
also not the end of the process, and there are only so many.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address

from hart.limits import DISCOVERY_NAME_ADDRESSES, DISCOVERY_NAME_S, DISCOVERY_NAMES_AT_ONCE, DISCOVERY_ROUND_S, DISCOVERY_THREADS
from supervisor.gossip.discovery.source import NAME_MAX
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


class _Question:
    """A name that the system is being asked for, and who waits for its answer."""

    __slots__ = ("_host", "_lock", "_waiting")

    def __init__(self, host: str) -> None:
        self._host, self._lock = host, threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[list[str]]]] = []

    def join(self) -> asyncio.Future[list[str]]:
        """A future of the running loop; one that nobody awaits any more is no harm."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()
        with self._lock:
            self._waiting.append((loop, answer))
        return answer

    def leave(self, answer: asyncio.Future[list[str]]) -> None:
        with self._lock:
            self._waiting = [each for each in self._waiting if each[1] is not answer]

    def run(self) -> None:
        """In a thread of its own."""
        hosts: list[str] = []
        trouble: OSError | None = None
        try:
            hosts = [str(found[4][0]) for found in socket.getaddrinfo(self._host, None, type=socket.SOCK_DGRAM)]
        except OSError as error:
            trouble = error
        except UnicodeError:  # a label of more than 63 characters, or an empty one
            trouble = OSError(socket.EAI_NONAME, "")
        finally:
            with _asking_lock:
                if _asking.get(self._host) is self:
                    del _asking[self._host]
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for loop, answer in waiting:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(_tell, answer, hosts, trouble)


_asking: dict[str, _Question] = {}  # of the whole process: that is what has so many threads
_asking_lock = threading.Lock()


def _tell(answer: asyncio.Future[list[str]], hosts: list[str], trouble: OSError | None) -> None:
    if answer.done():  # nobody waits any more
        return
    if trouble is not None:
        answer.set_exception(trouble)
    else:
        answer.set_result(hosts)


async def _ask(host: str) -> list[str]:
    """The system's answer, from a thread that may outlive the question; one that is being asked already is joined."""
    with _asking_lock:
        question = _asking.get(host)
        if question is not None:
            answer = question.join()
        elif len(_asking) >= DISCOVERY_THREADS:
            raise OSError(errno.EAGAIN, f"not asked for, since {len(_asking)} other names wait for name servers")
        else:
            question = _asking[host] = _Question(host)
            answer = question.join()
            try:
                threading.Thread(target=question.run, name=f"resolve {host[:NAME_MAX]}", daemon=True).start()
            except RuntimeError:
                del _asking[host]
                raise OSError(errno.EAGAIN, "no thread is left to ask for it") from None
    try:
        return await answer
    finally:
        question.leave(answer)


class Names:
    """Remembers what it found."""

    def __init__(self) -> None:
        self._last: dict[Peer, frozenset[Address]] = {}
        self._overdue: list[Peer] = []  # had no turn in the last round

    def at_once(self, peers: Iterable[Peer]) -> frozenset[Address]:
        """What can be said without asking."""
        literals = {(known, port) for host, port in peers if (known := literal(host))}
        return frozenset(literals).union(*(self._last.get(peer, ()) for peer in peers))

    async def find(self, peers: Iterable[Peer]) -> tuple[frozenset[Address], list[str]]:
        """All addresses of all peers, and which of them are not found, in words. Takes no longer than DISCOVERY_ROUND_S and one name."""
        peers, loop, troubles = list(dict.fromkeys(peers)), asyncio.get_running_loop(), dict[Peer, str]()
        asked = set(peers)
        literals = {(known, port) for host, port in peers if (known := literal(host))}
        turns = deque(peer for peer in dict.fromkeys([*self._overdue, *peers]) if peer in asked and not literal(peer[0]))
        until = loop.time() + DISCOVERY_ROUND_S

        async def ask() -> None:
            while turns and loop.time() < until:
                peer = turns.popleft()
                try:
                    self._last[peer] = await resolve(*peer)
                except OSError as error:
                    troubles[peer] = f"{peer[0]}: {error.strerror}"

        await asyncio.gather(*(ask() for _ in range(min(DISCOVERY_NAMES_AT_ONCE, len(turns)))))
        self._overdue = list(turns)
        troubles |= {peer: f"{peer[0]}: no time was left to ask for it" for peer in turns}
        self._last = {peer: self._last[peer] for peer in peers if peer in self._last}
        return frozenset(literals).union(*self._last.values()), [troubles[peer] for peer in peers if peer in troubles]
