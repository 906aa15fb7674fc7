"""Work beside the event loop that nobody is in a hurry for: a thread of its own, of low priority."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")
NICE: Final = 10


async def aside(work: Callable[[], T], *, name: str) -> T:
    """Run it in a thread that nobody waits for at the end of the process; its result, or what it raised."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            settle(value)

    def run() -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  whoever waits gets it
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, done.set_exception, error)
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, done.set_result, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
