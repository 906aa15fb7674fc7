"""All sources at once: what any of them names is tried, for as long as nobody in the ring is there.

Rules: a source that ends or fails, for whatever reason, is begun again after a while; the others do not notice. Candidates that are no
living member's address are tried at once when they are new, then at a growing interval, and for ever: a peer that was named is never given
up. No more than RING_JOINS_MAX are tried at once, chosen at random: more are greeted in vain, since the node remembers so many. What a
source can make us send to strangers is bounded, however often it changes its mind (threats S39).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

from hart.limits import DISCOVERY_GREETINGS_S, DISCOVERY_S, JOIN_S, RING_JOINS_MAX
from supervisor.gossip.budget import Bucket
from supervisor.gossip.discovery.source import Say, Source, Trouble, cut
from supervisor.gossip.messages import Address


class Follow:
    """`join(addresses)` tries them; `known()` are the addresses where living members are, this one too; `say` is told when a source
    breaks, and `again_s` later it is begun again."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        join: Callable[[Iterable[Address]], None],
        known: Callable[[], Iterable[Address]],
        chance: Random,
        say: Say,
        again_s: float = DISCOVERY_S,
    ) -> None:
        self.sources = sources
        self.found: dict[str, frozenset[Address]] = {}
        self._join, self._known, self._chance = join, known, chance
        self._again_s = again_s
        self._broken = {source.name: Trouble(partial(_said, say, source.name), "works again") for source in sources}
        self._news = asyncio.Event()

    def trouble(self, source: Source) -> str:
        """Why it finds nothing, or not all; else empty."""
        return self._broken[source.name].text or source.trouble

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self.sources:
                tasks.create_task(self._listen(source), name=source.name)
            tasks.create_task(self._try(), name="join")

    async def _listen(self, source: Source) -> None:
        broken = self._broken[source.name]
        while True:
            try:
                async for addresses in source.addresses():
                    broken.is_now("", self._again_s)
                    if self.found.get(source.name) != addresses:
                        self.found[source.name] = addresses
                        self._news.set()
            except Exception as error:  # noqa: BLE001  what a stranger provokes in a library is not the end of the supervisor
                broken.is_now(f"{type(error).__name__}: {cut(str(error))}", self._again_s)
            await asyncio.sleep(self._again_s)

    async def _try(self) -> None:
        least, most = JOIN_S
        wait_s = least
        now = asyncio.get_running_loop().time
        greetings = Bucket(DISCOVERY_GREETINGS_S, RING_JOINS_MAX, now())
        while True:
            missing = frozenset().union(*self.found.values()).difference(self._known())
            chosen = self._chance.sample(sorted(missing), min(len(missing), RING_JOINS_MAX))
            if greeted := [address for address in chosen if greetings.take(now())]:
                self._join(greeted)
            try:
                async with asyncio.timeout(wait_s * self._chance.uniform(0.8, 1.2)):
                    await self._news.wait()
            except TimeoutError:
                wait_s = min(wait_s * 2, most) if missing else least
            else:
                self._news.clear()
                wait_s = least


def _said(say: Say, name: str, because: str) -> None:
    say(f"{name}: {because}")
