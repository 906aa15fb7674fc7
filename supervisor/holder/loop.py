"""Wait for descriptors and call back: epoll and nothing else.

Rules: level-triggered, one callback a descriptor, everybody has a turn in each round. A callback may watch and unwatch anything. Whoever
is watched since this round began has its first turn in the next: its number may be a closed descriptor's, whose event is still in hand.
Who asks for too many turns may be given a rest. Not here: other deadlines, which their owners compute and hand to `wait`.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable


class Loop:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, tuple[int, Callable[[], None]]] = {}  # with the round that it is watched since
        self._resting: dict[int, float] = {}  # who is not called, and until when
        self._round = 0

    def watch(self, fd: int, callback: Callable[[], None], *, writing: bool = False) -> None:
        """Call back when `fd` is readable, or with `writing` also when it takes bytes; replaces an earlier watch."""
        events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = self._round, callback

    def unwatch(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            self._resting.pop(fd, None)

    def rest(self, fd: int, seconds: float) -> None:
        """Do not call back for so long, whatever waits there; for a watch without `writing`."""
        if fd in self._callbacks:
            self._epoll.modify(fd, 0)
            self._resting[fd] = time.monotonic() + seconds

    def wait(self, timeout_s: float | None) -> None:
        """One round: until something happens or the time is over."""
        if self._resting:
            timeout_s = self._wake(time.monotonic(), timeout_s)
        events = self._epoll.poll(timeout_s)
        self._round += 1
        for fd, _ in events:
            since, callback = self._callbacks.get(fd, (self._round, None))
            if callback is not None and since < self._round:
                callback()

    def _wake(self, now: float, timeout_s: float | None) -> float | None:
        """End the rests that are over; the time until the next one ends."""
        for fd in [fd for fd, until in self._resting.items() if until <= now]:
            del self._resting[fd]
            self._epoll.modify(fd, select.EPOLLIN)
        left = [until - now for until in self._resting.values()] + ([] if timeout_s is None else [timeout_s])
        return min(left, default=None)
