"""One conversation of two members on a stream: sync (push/pull), fetch, or a ping where datagrams do not get through. Pure.

    opener                               other
    Sync(digests)              →
                               ←         Same, and that was all; or Sums(of the buckets of what differs)
    Ask(entries of buckets)    →         ... in pieces, each answered by Go
                               ←         Give(what the opener lacks, what it is asked for)        ... in pieces
    Give(what was asked for)   →         ... in pieces; then both hold the union

    Fetch(keys)                →
                               ←         Give(their records)        ... in pieces
    Ping(member)               →
                               ←         Pong(member)

Rules: the two take turns, so that neither ever has more than one frame of the other in hand, and a frame out of turn (a replayed one is)
ends the conversation, as does one of a wrong shape or beyond the limits: the turn then names a Fault and nothing raises. What comes is
handed to the caller in the order in which it is to be taken in: announcements, claims, records, since a fact of an unknown member does not
count. The caller checks signatures and merges; nothing is changed here. What passes RING_SYNC_BYTES is left for the next conversation.

Source: push/pull after memberlist (SWIM 4.3 leaves it out), with digests in place of whole states. Not here: the frames (frames.py), when
to hold a conversation (node.py), bytes (codec.py, driver.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum, auto
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

from hart.limits import RING_FETCH_KEYS, RING_SYNC_BUCKET, RING_SYNC_BYTES, RING_SYNC_FRAMES, RING_SYNC_WANTS
from supervisor.gossip import frames
from supervisor.gossip.digest import HASH, bucket_of
from supervisor.gossip.frames import Ask, Fetch, Frame, Give, Go, MemberEntry, Part, Ping, Pong, Same, Sums
from supervisor.gossip.keyring import Refused
from supervisor.gossip.kinds import departed_key
from supervisor.gossip.messages import Announcement, Claim, Health, MemberId, Record
from supervisor.gossip.parcels import Parcels
from supervisor.gossip.records import Entry, Records


class Known(Protocol):
    """What a conversation needs of one member."""

    @property
    def id(self) -> MemberId: ...
    @property
    def announcement(self) -> Announcement: ...
    @property
    def health(self) -> Health: ...


class Table(Protocol):
    """What it needs of all members (members.py)."""

    @property
    def me(self) -> Known: ...
    @property
    def digest(self) -> bytes: ...
    def bucket_sums(self) -> list[bytes]: ...
    def entries(self, bucket: int) -> list[MemberEntry]: ...
    def get(self, member_id: MemberId, /) -> Known | None: ...


class Fault(StrEnum):
    """Why a conversation was ended."""

    SHAPE = "shape"
    TURN = "turn"  # not what comes now
    BUCKET = "bucket"  # entries that do not belong there, or there again
    SIZE = "size"  # more than the limits allow


class Turn(NamedTuple):
    """What to do after a frame: write, take in, and close the stream when it is done. `fault` says why it ended early."""

    write: tuple[list[object], ...] = ()
    announcements: tuple[Announcement, ...] = ()
    claims: tuple[Claim, ...] = ()
    records: tuple[Record, ...] = ()
    member: MemberId = b""  # who has answered a ping
    done: bool = False
    fault: str = ""


class State(StrEnum):
    """What is waited for."""

    OPENING = auto()  # the first frame
    SUMS = auto()  # the answer to Sync
    GO_ASK = auto()  # to send the next entries
    ASK = auto()  # entries
    GO_GIVE = auto()  # to send the next things
    GIVE = auto()  # what we lack
    PONG = auto()
    OVER = auto()


Item = Announcement | Claim | Record


class Sync:
    """One side of one conversation. `want` makes the opener fetch the records of these keys (RING_FETCH_KEYS of them), `ping` makes
    it ask whether that member is there; else it syncs."""

    def __init__(
        self, members: Table, records: Records, *, opener: bool, want: Iterable[str] | None = None, ping: MemberId | None = None
    ) -> None:
        assert opener or (want is None and ping is None)
        self.opener = opener
        self.state = State.OPENING
        self._members = members
        self._records = records
        self._want = want
        self._ping = ping
        self._heard = 0  # bytes
        self._frames = 0
        self._asked: set[tuple[bool, int]] = set()  # buckets that are complete
        self._pieces: dict[tuple[bool, int], bytearray] = {}  # of the bucket that is not
        self._lacking: dict[MemberId, None] = {}  # members that the other lacks news of, in order
        self._giving: list[Record] = []
        self._wanted_members: dict[MemberId, None] = {}  # what the other lacks, as it says itself
        self._wanted_records: dict[bytes, Record] = {}  # by content hash
        self._then = State.OVER  # after the last piece of what we give
        self._members_wanted = bytearray()
        self._records_wanted = bytearray()
        self._asks: Parcels[Part] | None = None
        self._gifts: Parcels[Item] | None = None

    def begin(self) -> list[list[object]]:
        """The frames that the opener writes first."""
        assert self.opener
        assert self.state is State.OPENING
        if self._ping is not None:
            self.state = State.PONG
            return [frames.plain(Ping(self._ping))]
        if self._want is not None:
            self.state = State.GIVE
            return [frames.plain(Fetch(tuple(sorted(set(self._want))[:RING_FETCH_KEYS])))]
        self.state = State.SUMS
        return [frames.plain(frames.Sync(self._members.digest, self._records.digest))]

    def frame(self, value: object) -> Turn:
        """The other's next frame, decoded."""
        try:
            frame = frames.read(value)
        except Refused:
            return self._end(Fault.SHAPE)
        self._heard += frames.weigh(frame)
        self._frames += 1
        if self._heard > RING_SYNC_BYTES or self._frames > RING_SYNC_FRAMES:
            return self._end(Fault.SIZE)
        turn = TURNS.get((self.opener, self.state, type(frame)))
        if turn is None:
            return self._end(Fault.TURN)
        return turn(self, frame)

    def _end(self, fault: Fault) -> Turn:
        self.state = State.OVER
        return Turn(done=True, fault=fault)

    def _say(self, frame: Frame, then: State) -> Turn:
        self.state = then
        return Turn(write=(frames.plain(frame),), done=then is State.OVER)

    # --- the other opens

    def answer_ping(self, _: Ping) -> Turn:
        """Whoever it is for: the answer says who we are."""
        return self._say(Pong(self._members.me.id), State.OVER)

    def answer_fetch(self, frame: Fetch) -> Turn:
        found = (self._records.get(key) for key in sorted(set(frame.keys)))
        self._pack((), (record for record in found if record is not None), State.OVER)
        return self.give_next()

    def answer_sync(self, frame: frames.Sync) -> Turn:
        members, records = frame.members == self._members.digest, frame.records == self._records.digest
        if members and records:
            return self._say(Same(), State.OVER)
        sums = Sums(
            b"" if members else b"".join(self._members.bucket_sums()),
            b"" if records else b"".join(self._records.bucket_sums()),
        )
        return self._say(sums, State.ASK)

    # --- the opener's side of a ping and of equal states

    def take_pong(self, frame: Pong) -> Turn:
        self.state = State.OVER
        return Turn(member=frame.member, done=True)

    def take_same(self, _: Same) -> Turn:
        self.state = State.OVER
        return Turn(done=True)

    # --- asking

    def take_sums(self, frame: Sums) -> Turn:
        """Ask for the buckets that differ; also for none, since what has come meanwhile by gossip may have made us equal."""
        buckets = [(False, bucket) for bucket in differing(self._members.bucket_sums(), frame.members)]
        buckets += [(True, bucket) for bucket in differing(self._records.bucket_sums(), frame.records)]
        self._asks = Parcels(self._parts(buckets), frames.size_of, RING_SYNC_BYTES)
        return self.ask_next()

    def ask_next(self, _: object = None) -> Turn:
        assert self._asks is not None
        parts = tuple(self._asks.take(frames.ROOM))
        return self._say(Ask(parts, self._asks.more), State.GO_ASK if self._asks.more else State.GIVE)

    def _parts(self, buckets: list[tuple[bool, int]]) -> Iterator[Part]:
        for of_records, bucket in buckets:
            if of_records:
                joined, size = frames.join_records(self._records.entries(bucket)), frames.RECORD.size
            else:
                joined, size = frames.join_members(self._members.entries(bucket)), frames.MEMBER.size
            step = frames.ROOM // 2 // size * size
            for at in range(0, max(len(joined), 1), step):
                yield Part(of_records, bucket, joined[at : at + step], at + step >= len(joined))

    def take_ask(self, frame: Ask) -> Turn:
        """Compare the buckets that are complete; answer when all have come."""
        for part in frame.parts:
            if (fault := self._take_part(part)) is not None:
                return self._end(fault)
        if frame.more:
            return self._say(Go(), State.ASK)
        if self._pieces:
            return self._end(Fault.BUCKET)
        self._pack(self._lacking, self._giving, State.GIVE)
        return self.give_next()

    def _take_part(self, part: Part) -> Fault | None:
        at = (part.records, part.bucket)
        if at in self._asked or (self._pieces and at not in self._pieces):
            return Fault.BUCKET
        joined = self._pieces.setdefault(at, bytearray())
        joined += part.entries
        size = frames.RECORD.size if part.records else frames.MEMBER.size
        if len(joined) > RING_SYNC_BUCKET * size:
            return Fault.SIZE
        if not part.last:
            return None
        self._asked.add(at)
        del self._pieces[at]
        return self._compare(part.bucket, bytes(joined), of_records=part.records)

    def _compare(self, bucket: int, joined: bytes, *, of_records: bool) -> Fault | None:
        """What they lack and what we want of one bucket."""
        theirs: list[Entry] | list[MemberEntry]
        if of_records:
            theirs = list(frames.split_records(joined))
            if any(bucket_of(entry.key) != bucket for entry in theirs):
                return Fault.BUCKET
            giving, wanted = self._records.missing(bucket, theirs)
            self._giving += giving
            room = RING_SYNC_WANTS - len(self._records_wanted) // frames.WANT.size
            self._records_wanted += b"".join(frames.WANT.pack(entry.key, entry.digest) for entry in wanted[:room])
            return None
        theirs = list(frames.split_members(joined))
        if any(bucket_of(entry[0]) != bucket for entry in theirs):
            return Fault.BUCKET
        lacking, wanted_ids = compare(self._members.entries(bucket), theirs)
        self._lacking.update(dict.fromkeys(lacking))
        self._members_wanted += b"".join(wanted_ids[: RING_SYNC_WANTS - len(self._members_wanted) // HASH])
        return None

    # --- giving

    def _pack(self, members: Iterable[MemberId], records: Iterable[Record], then: State) -> None:
        """Make ready what is given: all announcements, then all claims, then all records."""
        self._then = then
        told = [known for known in map(self._members.get, members) if known is not None]
        items: Iterator[Item] = chain(
            (known.announcement for known in told),
            (self._claim(known) for known in told if known.health is Health.DEAD),
            (word for known in told if known.health is Health.DEPARTED and (word := self._records.get(departed_key(known.id)))),
            records,
        )
        self._gifts = Parcels(items, frames.size_of, RING_SYNC_BYTES)

    def _claim(self, known: Known) -> Claim:
        """What we hold against a member, as its accuser."""
        about = known.announcement
        return Claim(int(Health.DEAD), known.id, about.generation, about.incarnation, self._members.me.id)

    def give_next(self, _: object = None) -> Turn:
        """The next piece of what the other lacks, and in what is left of the frame the next piece of what we ask for."""
        assert self._gifts is not None
        items = self._gifts.take(frames.ROOM)
        room = frames.ROOM - sum(frames.size_of(each) for each in items)
        ids = cut(self._members_wanted, room, HASH)
        wanted = cut(self._records_wanted, room - len(ids), frames.WANT.size)
        more = self._gifts.more or bool(self._members_wanted) or bool(self._records_wanted)
        announcements, claims, records = sort(items)
        return self._say(Give(announcements, claims, records, ids, wanted, more), State.GO_GIVE if more else self._then)

    def take_wanted_and_given(self, frame: Give) -> Turn:
        """The opener of a sync: take in what came, remember what is asked for, and give it when all has come."""
        if self._want is not None:
            return self.take_given(frame)
        self._wanted_members.update(dict.fromkeys(frames.split_ids(frame.members_wanted)))
        for key, digest in frames.WANT.iter_unpack(frame.records_wanted):
            if (record := self._records.find(key, digest)) is not None:
                self._wanted_records[digest] = record
        if len(self._wanted_members) > RING_SYNC_WANTS:
            return self._end(Fault.SIZE)
        if frame.more:
            turn = self._say(Go(), State.GIVE)
        else:
            self._pack(self._wanted_members, self._wanted_records.values(), State.OVER)
            turn = self.give_next()
        return turn._replace(announcements=frame.announcements, claims=frame.claims, records=frame.records)

    def take_given(self, frame: Give) -> Turn:
        """Who is asked for nothing any more."""
        if frame.members_wanted or frame.records_wanted:
            return self._end(Fault.TURN)
        turn = self._say(Go(), State.GIVE) if frame.more else Turn(done=True)
        if turn.done:
            self.state = State.OVER
        return turn._replace(announcements=frame.announcements, claims=frame.claims, records=frame.records)


def differing(ours: list[bytes], theirs: bytes) -> list[int]:
    """The buckets whose sums differ; none where the other has sent no sums, since its digest was ours."""
    return [bucket for bucket, mine in enumerate(ours) if theirs and theirs[bucket * HASH : (bucket + 1) * HASH] != mine]


def compare(ours: Iterable[MemberEntry], theirs: Iterable[MemberEntry]) -> tuple[list[MemberId], list[MemberId]]:
    """Ids of the members that the other lacks news of, and of those that we lack news of.

    The greater standing is news. A departure is told whatever the incarnations, since it is final for its generation.
    """
    held = {member: standing for member, *standing in ours}
    told = {member: standing for member, *standing in theirs}
    lacking = [member for member, mine in held.items() if member not in told or _is_news(mine, told[member])]
    wanted = [member for member, yours in told.items() if member not in held or _is_news(yours, held[member])]
    return lacking, wanted


def _is_news(standing: list[int], known: list[int]) -> bool:
    departed = standing[2] == Health.DEPARTED != known[2] and standing[0] == known[0]
    return standing > known or departed


def sort(items: Iterable[Item]) -> tuple[tuple[Announcement, ...], tuple[Claim, ...], tuple[Record, ...]]:
    announcements, claims, records = list[Announcement](), list[Claim](), list[Record]()
    for item in items:
        if isinstance(item, Announcement):
            announcements.append(item)
        elif isinstance(item, Claim):
            claims.append(item)
        else:
            records.append(item)
    return tuple(announcements), tuple(claims), tuple(records)


def cut(joined: bytearray, room: int, size: int) -> bytes:
    """Take off what fits, in whole items of `size` bytes."""
    count = max(room, 0) // size * size
    piece = bytes(joined[:count])
    del joined[:count]
    return piece


# (opener, what is waited for, what came) → what is done; all else is out of turn
TURNS: Final[dict[tuple[bool, State, type[Frame]], Callable[[Sync, Any], Turn]]] = {
    (False, State.OPENING, Ping): Sync.answer_ping,
    (False, State.OPENING, Fetch): Sync.answer_fetch,
    (False, State.OPENING, frames.Sync): Sync.answer_sync,
    (False, State.ASK, Ask): Sync.take_ask,
    (False, State.GO_GIVE, Go): Sync.give_next,
    (False, State.GIVE, Give): Sync.take_given,
    (True, State.PONG, Pong): Sync.take_pong,
    (True, State.SUMS, Same): Sync.take_same,
    (True, State.SUMS, Sums): Sync.take_sums,
    (True, State.GO_ASK, Go): Sync.ask_next,
    (True, State.GIVE, Give): Sync.take_wanted_and_given,
    (True, State.GO_GIVE, Go): Sync.give_next,
}
