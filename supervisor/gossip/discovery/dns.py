"""SRV records: `--join srv:_stead._udp.example.org`. Their targets are resolved to all their addresses; ports are the records' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hart.limits import DISCOVERY_S
from supervisor.gossip.discovery.source import Say, resolve
from supervisor.gossip.messages import Address


class Srv:
    """dnspython is loaded with the first question: it costs memory that most hosts need not pay."""

    def __init__(self, record: str, say: Say) -> None:
        self.name, self.trouble = f"--join srv:{record}", ""
        self._record, self._say = record, say

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        while True:
            found, trouble = await self._ask()
            if trouble != self.trouble:
                self._say(f"{trouble}; asked again every {DISCOVERY_S:g} s" if trouble else "its records are found again")
            self.trouble = trouble
            yield found
            await asyncio.sleep(DISCOVERY_S)

    async def _ask(self) -> tuple[frozenset[Address], str]:
        import dns.asyncresolver
        import dns.exception

        try:
            answer = await dns.asyncresolver.resolve(self._record, "SRV")
        except (dns.exception.DNSException, OSError) as error:
            return frozenset(), f"{self._record}: {error}"
        found: set[Address] = set()
        troubles = []
        for row in answer:
            try:
                found |= await resolve(str(row.target).rstrip("."), row.port)
            except OSError as error:
                troubles.append(f"{row.target}: {error.strerror or error}")
        return frozenset(found), "; ".join(troubles)
