"""What two members say on a stream: the frames, their shapes, and how much fits one. Pure.

Rules: a frame is a list of plain values, a word and its fields. Reading checks every type, length and range before anything is made of it,
and raises Refused alone. Entries and ids travel as joined bytes of fixed size: a frame has few values however much it says, and
its length is all that there is to check. What is made here fits RING_FRAME_MAX with room for the codec's envelope.

Not here: who says what when (sync.py), encryption and frame numbers (codec.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple

from hart.limits import RING_FETCH_KEYS, RING_FRAME_MAX, RING_KEY_TEXT_MAX
from supervisor.gossip.codec import size_of as size_on_wire
from supervisor.gossip.codec import to_announcement, to_claim, to_record
from supervisor.gossip.digest import BUCKETS, HASH
from supervisor.gossip.keyring import Reason, Refused
from supervisor.gossip.messages import Announcement, Claim, MemberId, Record, Version
from supervisor.gossip.records import Entry

ROOM: Final = RING_FRAME_MAX - 4096  # bytes for what a frame says; the rest is for its word, its lists' heads and the codec's envelope
SUMS_SIZE: Final = BUCKETS * HASH
MEMBER = Struct(">16sQQB")  # id, generation, incarnation, health
RECORD = Struct(">16sQQ16s")  # hash of the key, version, content hash
WANT = Struct(">16s16s")  # hash of the key, content hash
MemberEntry = tuple[MemberId, int, int, int]  # id, generation, incarnation, health


class Word(IntEnum):
    """Of a frame; its first value."""

    SYNC = 1
    SAME = 2
    SUMS = 3
    ASK = 4
    GIVE = 5
    GO = 6
    FETCH = 7
    PING = 8
    PONG = 9


class Sync(NamedTuple):
    """Opens: the digests of all members and all records."""

    members: bytes
    records: bytes


class Same(NamedTuple):
    """Nothing differs: the end."""


class Sums(NamedTuple):
    """The sums of all buckets, joined; empty where the digests were equal."""

    members: bytes
    records: bytes


class Part(NamedTuple):
    """Entries of one bucket, joined; `last` says that the bucket is complete."""

    records: bool  # else members
    bucket: int
    entries: bytes
    last: bool


class Ask(NamedTuple):
    """What is held here of the buckets that differ."""

    parts: tuple[Part, ...]
    more: bool


class Give(NamedTuple):
    """What the other lacks, in the order in which it is to be taken in, and what it is asked for."""

    announcements: tuple[Announcement, ...]
    claims: tuple[Claim, ...]
    records: tuple[Record, ...]
    members_wanted: bytes  # ids, joined
    records_wanted: bytes  # of WANT, joined
    more: bool


class Go(NamedTuple):
    """Answers whatever has `more`."""


class Fetch(NamedTuple):
    """Opens: give me what counts of these keys."""

    keys: tuple[str, ...]


class Ping(NamedTuple):
    """Opens: are you there, and are you this member? Where datagrams do not get through."""

    target: MemberId


class Pong(NamedTuple):
    member: MemberId


Frame = Sync | Same | Sums | Ask | Give | Go | Fetch | Ping | Pong
_FRAMES: Final[dict[type[Frame], Word]] = {
    Sync: Word.SYNC,
    Same: Word.SAME,
    Sums: Word.SUMS,
    Ask: Word.ASK,
    Give: Word.GIVE,
    Go: Word.GO,
    Fetch: Word.FETCH,
    Ping: Word.PING,
    Pong: Word.PONG,
}


# --- writing


def plain(frame: Frame) -> list[Any]:
    """A frame as the codec takes it: lists of plain values."""
    word = int(_FRAMES[type(frame)])
    if isinstance(frame, Ask):
        return [word, [list(part) for part in frame.parts], frame.more]
    if isinstance(frame, Give):
        return [
            word,
            [list(each) for each in frame.announcements],
            [[int(each.health), *each[1:]] for each in frame.claims],
            [[each.key, list(each.version), each.author, each.signature, each.body] for each in frame.records],
            *frame[3:],
        ]
    if isinstance(frame, Fetch):
        return [word, list(frame.keys)]
    return [word, *frame]


def size_of(item: Announcement | Claim | Record | Part) -> int:
    """Bytes that it takes in a frame, or a few more."""
    return 16 + len(item.entries) if isinstance(item, Part) else size_on_wire(item)


def weigh(frame: Frame) -> int:
    """Bytes of what a frame says, or a few more."""
    if isinstance(frame, Give):
        things: tuple[tuple[Announcement | Claim | Record, ...], ...] = frame[:3]
        items = sum(size_of(each) for some in things for each in some)
        return 16 + items + len(frame.members_wanted) + len(frame.records_wanted)
    if isinstance(frame, Ask):
        return 16 + sum(map(size_of, frame.parts))
    if isinstance(frame, Fetch):
        return 16 + sum(map(len, frame.keys))
    return 16 + sum(map(len, frame))


# --- entries


def join_members(entries: Iterable[MemberEntry]) -> bytes:
    return b"".join(MEMBER.pack(*entry) for entry in entries)


def join_records(entries: Iterable[Entry]) -> bytes:
    return b"".join(RECORD.pack(key, *version, digest) for key, version, digest in entries)


def split_members(joined: bytes) -> Iterator[MemberEntry]:
    return MEMBER.iter_unpack(joined)


def split_records(joined: bytes) -> Iterator[Entry]:
    return (Entry(key, Version(major, minor), digest) for key, major, minor, digest in RECORD.iter_unpack(joined))


def split_ids(joined: bytes) -> Iterator[MemberId]:
    return (joined[at : at + HASH] for at in range(0, len(joined), HASH))


# --- reading


def read(value: object) -> Frame:
    """The frame that a decoded value is; Refused for anything else."""
    word, *fields = _list(value, least=1)
    _demand(type(word) is int and 1 <= word <= len(Word))
    match Word(word), fields:
        case Word.SYNC, [members, records]:
            return Sync(_bytes(members, HASH), _bytes(records, HASH))
        case Word.SAME, []:
            return Same()
        case Word.SUMS, [members, records]:
            return Sums(_bytes(members, 0, SUMS_SIZE), _bytes(records, 0, SUMS_SIZE))
        case Word.ASK, [parts, more]:
            return Ask(tuple(_part(each) for each in _list(parts, 2 * BUCKETS)), _bool(more))
        case Word.GIVE, [announcements, claims, records, members_wanted, records_wanted, more]:
            return Give(
                tuple(to_announcement(each) for each in _list(announcements)),
                tuple(to_claim(each) for each in _list(claims)),
                tuple(to_record(each) for each in _list(records)),
                _joined(members_wanted, HASH),
                _joined(records_wanted, WANT.size),
                _bool(more),
            )
        case Word.GO, []:
            return Go()
        case Word.FETCH, [keys]:
            return Fetch(tuple(_text(each, RING_KEY_TEXT_MAX) for each in _list(keys, RING_FETCH_KEYS)))
        case Word.PING, [target]:
            return Ping(_bytes(target, HASH))
        case Word.PONG, [member]:
            return Pong(_bytes(member, HASH))
        case _:
            raise Refused(Reason.SHAPE)


def _part(value: object) -> Part:
    records, bucket, entries, last = _list(value, 4, 4)
    of_records = _bool(records)
    return Part(of_records, _number(bucket, BUCKETS - 1), _joined(entries, RECORD.size if of_records else MEMBER.size), _bool(last))


def _demand(holds: bool) -> None:
    if not holds:
        raise Refused(Reason.SHAPE)


def _list(value: object, most: int = RING_FRAME_MAX, least: int = 0) -> list[Any]:
    """A tuple is one too: the simulator's codec hands values over as they are."""
    if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
        raise Refused(Reason.SHAPE)
    return list(value)


def _bytes(value: object, *lengths: int) -> bytes:
    if type(value) is not bytes or len(value) not in lengths:
        raise Refused(Reason.SHAPE)
    return value


def _joined(value: object, size: int) -> bytes:
    if type(value) is not bytes or len(value) % size or len(value) > RING_FRAME_MAX:
        raise Refused(Reason.SHAPE)
    return value


def _text(value: object, most: int) -> str:
    if type(value) is not str or len(value) > most:
        raise Refused(Reason.SHAPE)
    return value


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise Refused(Reason.SHAPE)
    return value


def _bool(value: object) -> bool:
    if type(value) is not bool:
        raise Refused(Reason.SHAPE)
    return value
