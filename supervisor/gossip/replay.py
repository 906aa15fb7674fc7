"""Which packets of each sender have been seen: nothing is taken twice. Pure.

Rules: a window of REPLAY_WINDOW numbers for each (sender, generation); what is older than the window is refused with what was seen. The
table is bounded: the sender that was silent longest is forgotten first, and what its old packets could then say, members.py and records.py
know to be old.
"""

from __future__ import annotations

from hart.limits import REPLAY_SENDERS, REPLAY_WINDOW
from supervisor.gossip.messages import MemberId

_ALL = (1 << REPLAY_WINDOW) - 1


class Replays:
    """`accept` says yes to each number once."""

    __slots__ = ("_limit", "_windows")

    def __init__(self, limit: int = REPLAY_SENDERS) -> None:
        self._limit = limit
        self._windows: dict[tuple[MemberId, int], tuple[int, int]] = {}  # highest number, bits of those below it; in order of last use

    def accept(self, sender: MemberId, generation: int, counter: int) -> bool:
        key = (sender, generation)
        found = self._windows.pop(key, None)
        if found is None:
            if len(self._windows) >= self._limit:
                del self._windows[next(iter(self._windows))]
            self._windows[key] = (counter, 1)
            return True
        highest, seen = found
        ahead = counter - highest
        if ahead > 0:
            self._windows[key] = (counter, (seen << ahead | 1) & _ALL if ahead < REPLAY_WINDOW else 1)
            return True
        fresh = -ahead < REPLAY_WINDOW and not seen >> -ahead & 1
        self._windows[key] = (highest, seen | 1 << -ahead) if fresh else found
        return fresh
