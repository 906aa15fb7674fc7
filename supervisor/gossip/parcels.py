"""Many things sent in pieces of a bounded size, each told whether more will come. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Parcels(Generic[T]):
    """Takes from `items`, which may be lazy, one piece at a time. `size` of an item in bytes; `budget` for all of them together: what is
    beyond it is left out, for another time."""

    __slots__ = ("_budget", "_items", "_next", "_size")

    def __init__(self, items: Iterable[T], size: Callable[[T], int], budget: int) -> None:
        self._items = iter(items)
        self._size = size
        self._budget = budget
        self._next = next(self._items, None)

    def take(self, room: int) -> list[T]:
        """The next items that fit `room`; at least one where there is one, since no single item is larger than a frame."""
        taken: list[T] = []
        while self._next is not None:
            size = self._size(self._next)
            if size > self._budget:
                self._next = None
            elif taken and size > room:
                break
            else:
                room -= size
                self._budget -= size
                taken.append(self._next)
                self._next = next(self._items, None)
        return taken

    @property
    def more(self) -> bool:
        return self._next is not None and self._size(self._next) <= self._budget
