"""Tell everybody who waits that something has changed, without a queue for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pulse:
    """`beat` wakes all that wait now; what they then look at is the present, never a message."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        now, self._next = self._next, asyncio.Event()
        now.set()

    async def wait(self) -> None:
        await self._next.wait()

    async def until(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `true()`, at most so many seconds; the last answer."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true():
                    await self.wait()
        except TimeoutError:
            return true()
        return True
