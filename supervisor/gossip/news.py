"""What still has to be told to the ring, and what goes into the next packet: SWIM's piggyback buffer (4.1), in classes.

Rules. An item is sent a bounded number of times by each member (formulas.retransmit_limit); in a class the least sent goes first, among
those the newest. Classes go in order of urgency, but every fourth packet begins with records: no flood of membership news can starve
them, and they cannot starve it (with one queue, a ring of 1,024 with 5 % loss delivered a record to 56 %). News of a member replaces
older news of it; claims by different accusers stand beside each other, since they are counted. The queue is bounded: the most
sent of the least urgent is dropped, and push/pull carries it. While more than FLOOD members are news (a healed partition, a fleet that
is switched on), news of each is sent a quarter as often: else those who know it are told for minutes, and push/pull finds the rest.

Not here: what is worth telling (beliefs.py, node.py), the packet itself (speaker.py).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any, Final, NamedTuple

from hart.limits import RING_NEWS_MAX, RING_TELL_MAX
from supervisor.gossip.members import Member
from supervisor.gossip.messages import Announcement, Claim, Notice, Record

RECORDS_FIRST: Final = 4  # every fourth packet: a quarter of the bytes
FLOOD: Final = 256  # announcements and suspicions that wait: some 50 packets to each listener
FLOOD_SHARE: Final = 4  # by which they are then sent less often
MISFITS: Final = 16  # items too large for what is left of a packet, before the next class is looked at
SMALLEST: Final = 40  # bytes of the smallest item: with less room nothing is looked for


class Urgency(IntEnum):
    """Classes of news, most urgent first."""

    REFUTATION = 0  # our own life
    END = 1  # dead and departed
    SUSPICION = 2
    ARRIVAL = 3  # announcements of others
    RECORD = 4  # records and notices


class Item:
    """One thing to tell."""

    __slots__ = ("sent", "size", "stamp", "subject", "urgency", "value")

    def __init__(self, urgency: Urgency, subject: bytes | str, value: Any, size: int) -> None:
        self.urgency = urgency
        self.subject = subject
        self.value = value
        self.size = size  # bytes on the wire
        self.sent = 0
        self.stamp = 0  # of the listener that has it already


class Load(NamedTuple):
    """What one packet carries."""

    announcements: tuple[Announcement, ...] = ()
    claims: tuple[Claim, ...] = ()
    records: tuple[Record, ...] = ()
    notices: tuple[Notice, ...] = ()


EMPTY: Final = Load()
_ORDER: Final = tuple(Urgency)
_RECORDS_FIRST: Final = (Urgency.RECORD, *_ORDER[:-1])


class News:
    """The queue. `count` items of `size` bytes wait."""

    __slots__ = ("_about", "_lengths", "_listener", "_packets", "_shelves", "count", "idle", "in_person", "size")

    def __init__(self) -> None:
        # by urgency, then by how often it was sent: an ordered set, newest last
        self._shelves: tuple[list[dict[Item, None]], ...] = tuple([] for _ in Urgency)
        self._lengths = [0] * len(Urgency)  # items of each class
        self._about: dict[bytes | str, list[Item]] = {}
        self._listener = 0
        self._packets = 0
        self.in_person: deque[Member] = deque(maxlen=RING_TELL_MAX)  # members that are to hear from us that they are doubted
        self.count = 0
        self.size = 0
        self.idle = True  # nothing waits; one look for those who are in a hurry

    @property
    def flooded(self) -> bool:
        """There is more news of members than gossip can carry in a second or two."""
        return self._lengths[Urgency.ARRIVAL] > FLOOD or self._lengths[Urgency.SUSPICION] > FLOOD

    def tell_in_person(self, member: Member) -> None:
        """A member is to be told that it is doubted, whoever else is."""
        self.in_person.append(member)
        self.idle = False

    def next_in_person(self) -> Member:
        member = self.in_person.popleft()
        self.idle = not self.count and not self.in_person
        return member

    def tell(self, urgency: Urgency, subject: bytes | str, value: Any, size: int, *, beside: bool = False) -> None:
        """An item about `subject`, in place of all older ones, or `beside` them."""
        if not beside:
            self.drop(subject)
        if self.count >= RING_NEWS_MAX:
            self._make_room()
        item = Item(urgency, subject, value, size)
        self._about.setdefault(subject, []).append(item)
        self._shelve(item)
        self._lengths[urgency] += 1
        self.count += 1
        self.size += size
        self.idle = False

    def drop(self, subject: bytes | str) -> None:
        """Nothing is told of `subject` any more."""
        for item in self._about.get(subject, ())[:]:
            self._remove(item)

    def listener(self) -> int:
        """A number for somebody who is sent several packets in a row: nothing twice."""
        self._listener += 1
        return self._listener

    def fill(self, room: int, limit: int, listener: int = 0) -> Load:
        """What goes into `room` bytes, of items sent fewer than `limit` times; they count as sent."""
        if not self.count:
            return EMPTY
        if not listener:
            listener = self.listener()
        self._packets += 1
        picked: list[Item] = []
        for urgency in _ORDER if self._packets % RECORDS_FIRST else _RECORDS_FIRST:
            if room < SMALLEST:
                break
            room = self._pick(self._shelves[urgency], room, listener, picked)
        if not picked:
            return EMPTY
        loads: tuple[list[Any], ...] = ([], [], [], [])
        for item in picked:
            item.stamp = listener
            loads[_part(item.value)].append(item.value)
            self._sent(item, limit)
        return Load(*map(tuple, loads))

    @staticmethod
    def _pick(shelves: list[dict[Item, None]], room: int, listener: int, picked: list[Item]) -> int:
        misfits = 0
        for shelf in shelves:
            for item in reversed(shelf):
                if item.stamp == listener:
                    continue
                if item.size <= room:
                    picked.append(item)
                    room -= item.size
                else:
                    misfits += 1
                if room < SMALLEST or misfits >= MISFITS:
                    return room
        return room

    def _sent(self, item: Item, limit: int) -> None:
        if self._lengths[item.urgency] > FLOOD and Urgency.SUSPICION <= item.urgency <= Urgency.ARRIVAL:
            limit //= FLOOD_SHARE
        if item.sent + 1 >= limit:
            self._remove(item)
            return
        del self._shelves[item.urgency][item.sent][item]
        item.sent += 1
        self._shelve(item)

    def _shelve(self, item: Item) -> None:
        shelves = self._shelves[item.urgency]
        while len(shelves) <= item.sent:
            shelves.append({})
        shelves[item.sent][item] = None

    def _remove(self, item: Item) -> None:
        del self._shelves[item.urgency][item.sent][item]
        about = self._about[item.subject]
        about.remove(item)
        if not about:
            del self._about[item.subject]
        self._lengths[item.urgency] -= 1
        self.count -= 1
        self.size -= item.size
        self.idle = not self.count and not self.in_person

    def _make_room(self) -> None:
        for shelves in reversed(self._shelves):
            for shelf in reversed(shelves):
                if shelf:
                    self._remove(next(iter(shelf)))
                    return


def _part(value: Announcement | Claim | Record | Notice) -> int:
    """Which part of a load it belongs to."""
    if isinstance(value, Announcement):
        return 0
    if isinstance(value, Claim):
        return 1
    return 2 if isinstance(value, Record) else 3
