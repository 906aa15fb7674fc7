"""Documents that wait for the disk: of each only the last few bodies, since a slow disk must not cost memory without end. Pure but for
its event.

What is skipped was outranked before it could be written. The newest and the one before it are what a restart falls back on.
"""

from __future__ import annotations

import asyncio
from typing import Final

from supervisor.gossip.messages import Record

KEPT: Final = 2  # bodies of one document that wait


class Backlog:
    """Documents take turns in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Record]] = {}
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, record: Record) -> None:
        waiting = self._waiting.setdefault(record.key, [])
        waiting.append(record)
        del waiting[:-KEPT]
        self._some.set()

    async def get(self) -> Record:
        """The next, oldest body of a document first."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        key, waiting = next(iter(self._waiting.items()))
        record = waiting.pop(0)
        if not waiting:
            del self._waiting[key]
        return record
