"""Peers that were named: `--peer HOST[:PORT]`, and `--join dns:NAME`. Names are resolved again and again, to IPv4 and IPv6."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from hart.limits import DISCOVERY_S
from supervisor.gossip.discovery.names import Names
from supervisor.gossip.discovery.source import Say, Trouble, parse_peer, some
from supervisor.gossip.messages import Address


class Static:
    """Each peer may be a name with many addresses: all of them are candidates."""

    def __init__(self, name: str, peers: Sequence[str], say: Say) -> None:
        self.name = name
        self._peers = [parse_peer(peer) for peer in peers]
        self._names, self._trouble = Names(), Trouble(say, "all names are found again")

    @property
    def trouble(self) -> str:
        return self._trouble.text

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        while True:
            if early := self._names.at_once(self._peers):  # what can be said without waiting for name servers
                yield early
            found, troubles = await self._names.find(self._peers)
            self._trouble.is_now(some(troubles), DISCOVERY_S)
            yield found
            await asyncio.sleep(DISCOVERY_S)
