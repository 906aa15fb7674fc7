"""Peers that were named: `--peer HOST[:PORT]`, and `--join dns:NAME`. Names are resolved again and again, to IPv4 and IPv6."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from hart.limits import DISCOVERY_S
from supervisor.gossip.discovery.source import Say, parse_peer, resolve
from supervisor.gossip.messages import Address


class Static:
    """Each peer may be a name with many addresses: all of them are candidates."""

    def __init__(self, name: str, peers: Sequence[str], say: Say) -> None:
        self.name, self.trouble = name, ""
        self._peers = [parse_peer(peer) for peer in peers]
        self._say = say

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        while True:
            found: set[Address] = set()
            troubles = []
            for host, port in self._peers:
                try:
                    found |= await resolve(host, port)
                except OSError as error:
                    troubles.append(f"{host}: {error.strerror or error}")
            trouble = "; ".join(troubles)
            if trouble != self.trouble:
                self._say(f"{trouble}; asked again every {DISCOVERY_S:g} s" if trouble else "all names are found again")
            self.trouble = trouble
            yield frozenset(found)
            await asyncio.sleep(DISCOVERY_S)
