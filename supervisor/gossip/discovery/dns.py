"""SRV records: `--join srv:_stead._udp.example.org`. Their targets are resolved to all their addresses; ports are the records' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from hart.limits import DISCOVERY_NAME_S, DISCOVERY_PEERS_MAX, DISCOVERY_S
from supervisor.gossip.discovery.names import Names, Peer
from supervisor.gossip.discovery.source import Say, Trouble, some
from supervisor.gossip.messages import Address

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver


class Srv:
    """dnspython is loaded with the first question: it costs memory that most hosts need not pay. A new resolver each time: `resolv.conf`
    changes with the network."""

    def __init__(self, record: str, say: Say, *, resolver: Callable[[], Resolver] | None = None) -> None:
        self.name = f"--join srv:{record}"
        self._record, self._resolver = record, resolver
        self._names, self._trouble = Names(), Trouble(say, "its records are found again")
        self._peers: list[Peer] = []

    @property
    def trouble(self) -> str:
        return self._trouble.text

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        while True:
            unanswered = await self._ask()
            found, troubles = await self._names.find(self._peers)
            self._trouble.is_now(some([*unanswered, *troubles]), DISCOVERY_S)
            yield found
            await asyncio.sleep(DISCOVERY_S)

    async def _ask(self) -> list[str]:
        """Look who is named now; those from before stay where there is no answer. What went wrong, in words."""
        import dns.asyncresolver
        import dns.exception
        import dns.resolver

        try:
            resolver = self._resolver() if self._resolver is not None else dns.asyncresolver.Resolver()
            answer = await resolver.resolve(self._record, "SRV", lifetime=DISCOVERY_NAME_S)
        except dns.resolver.NXDOMAIN:
            return [f"{self._record}: no such name"]
        except dns.resolver.NoAnswer:
            return [f"{self._record}: has no SRV record"]
        except (dns.resolver.LifetimeTimeout, dns.resolver.NoNameservers):
            return [f"{self._record}: the name servers do not answer"]
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return [f"{self._record}: {error}"]
        named = {(str(row.target).rstrip("."), row.port) for row in answer}
        peers = sorted((host, port) for host, port in named if host and port)  # "." is a way to say that there is nobody
        self._peers = peers[:DISCOVERY_PEERS_MAX]
        return [f"only {DISCOVERY_PEERS_MAX} of its {len(peers)} records are tried"] if len(peers) > DISCOVERY_PEERS_MAX else []
