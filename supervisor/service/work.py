"""The one thing that is under way for a service and can be called off: preparing, or a hook that its life waits for.

Rules: what is called off is cancelled at once, and its answer does not count; the next thing begins when everything
before it has really ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Work:
    """`number` names the work that counts; an answer that carries another number comes from what was called off."""

    def __init__(self, tasks: asyncio.TaskGroup, name: str) -> None:
        self._group, self._name = tasks, name
        self._tasks: set[asyncio.Task[None]] = set()  # the one that counts, and those called off that have not ended yet
        self.number = 0

    def begin(self, work: Coroutine[None, None, None]) -> None:
        self.call_off()
        before = set(self._tasks)

        async def after() -> None:
            if before:
                await asyncio.wait(before)
            await work

        task = self._group.create_task(after(), name=f"{self._name} work")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())

    def call_off(self) -> None:
        self.number += 1
        for task in self._tasks:
            task.cancel()
