"""All sources at once: what any of them names is tried, for as long as nobody in the ring is there.

Rules: a source that ends or fails is begun again after a while; the others do not notice. Candidates that are no living member's address
are tried at once when they are new, then at a growing interval, and for ever: a peer that was named is never given up. No more than
RING_JOINS_MAX are tried at once, chosen at random: more are greeted in vain, since the node remembers so many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random

from hart.limits import DISCOVERY_S, JOIN_S, RING_JOINS_MAX
from supervisor.gossip.discovery.source import Source
from supervisor.gossip.messages import Address


class Follow:
    """`join(addresses)` tries them; `known()` are the addresses where living members are, this one too."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        join: Callable[[Iterable[Address]], None],
        known: Callable[[], Iterable[Address]],
        chance: Random,
    ) -> None:
        self.sources = sources
        self.found: dict[str, frozenset[Address]] = {}
        self._join, self._known, self._chance = join, known, chance
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self.sources:
                tasks.create_task(self._listen(source), name=source.name)
            tasks.create_task(self._try(), name="join")

    async def _listen(self, source: Source) -> None:
        while True:
            async for addresses in source.addresses():
                if self.found.get(source.name) != addresses:
                    self.found[source.name] = addresses
                    self._news.set()
            await asyncio.sleep(DISCOVERY_S)

    async def _try(self) -> None:
        least, most = JOIN_S
        wait_s = least
        while True:
            missing = frozenset().union(*self.found.values()).difference(self._known())
            if missing:
                self._join(self._chance.sample(sorted(missing), min(len(missing), RING_JOINS_MAX)))
            try:
                async with asyncio.timeout(wait_s * self._chance.uniform(0.8, 1.2)):
                    await self._news.wait()
            except TimeoutError:
                wait_s = min(wait_s * 2, most) if missing else least
            else:
                self._news.clear()
                wait_s = least
