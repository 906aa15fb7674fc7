"""Which packets of each sender have been seen: nothing is taken twice. Pure.

Rules: a window of REPLAY_WINDOW numbers for each (sender, generation); what is older than the window is refused with what was seen. The
table is bounded: the sender that was silent longest is forgotten first, and what its old packets could then say, members.py and records.py
know to be old.
"""

from __future__ import annotations

from hart.limits import REPLAY_SENDERS, REPLAY_WINDOW
from supervisor.gossip.messages import MemberId

_ALL = (1 << REPLAY_WINDOW) - 1
Window = tuple[int, int]  # highest number taken, bits of it and of those below it


def slide(window: Window | None, counter: int) -> Window | None:
    """The window after `counter` was taken; None where it was taken before, or nobody knows any more."""
    if window is None:
        return (counter, 1)
    highest, seen = window
    ahead = counter - highest
    if ahead > 0:
        return (counter, (seen << ahead | 1) & _ALL if ahead < REPLAY_WINDOW else 1)
    if -ahead < REPLAY_WINDOW and not seen >> -ahead & 1:
        return (highest, seen | 1 << -ahead)
    return None


class Replays:
    """`accept` says yes to each number once."""

    __slots__ = ("_limit", "_windows")

    def __init__(self, limit: int = REPLAY_SENDERS) -> None:
        self._limit = limit
        self._windows: dict[tuple[MemberId, int], Window] = {}  # in order of last use

    def __len__(self) -> int:
        return len(self._windows)

    def accept(self, sender: MemberId, generation: int, counter: int) -> bool:
        key = (sender, generation)
        found = self._windows.pop(key, None)
        if found is None and len(self._windows) >= self._limit:
            del self._windows[next(iter(self._windows))]
        slid = slide(found, counter)
        if slid is not None:
            self._windows[key] = slid
        elif found is not None:
            self._windows[key] = found
        return slid is not None

    def hand_over(self, sender: MemberId, generation: int) -> Window | None:
        """The window of a sender that is known from now on and keeps its own."""
        return self._windows.pop((sender, generation), None)
