"""A member's streams: which conversation runs on which, how many at once, and when one has lasted too long.

Rules: at most RING_STREAMS each way, of the outgoing ones some are kept for pings; one that makes no progress for RING_STREAM_S is closed.
Frames are numbered and carry a nonce of each side: `[our nonce, the other's, number, value]`. The first frame of a stream may be a replayed
one, and gets an answer; what follows it can only come from somebody who has read that answer (threats S38).

Not here: what is said (sync.py), what is done with what was heard (node.py), bytes (codec.py, driver.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from random import Random
from typing import Any, Final

from hart.limits import RING_STREAM_S, RING_STREAMS
from supervisor.gossip.codec import Codec
from supervisor.gossip.keyring import Refused
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import Address, Close, MemberId, Open, Write
from supervisor.gossip.records import Records
from supervisor.gossip.speaker import Speaker
from supervisor.gossip.suspicion import NEVER
from supervisor.gossip.sync import Sync, Turn

NONCE: Final = 8
PINGS_KEPT: Final = 2  # of the outgoing streams: a probe must not wait for a sync


class Purpose(StrEnum):
    """Of a stream that we open."""

    SYNC = "sync"
    FETCH = "fetch"
    PING = "ping"
    ANSWER = "answer"  # it is the other who opened


class Stream:
    """One of them."""

    __slots__ = ("by", "counted", "keys", "learned", "member", "number", "ours", "purpose", "seen", "seq", "sync", "theirs", "until")

    def __init__(self, number: int, purpose: Purpose, sync: Sync, ours: bytes, member: Member | None, by: str, until: float) -> None:
        self.number = number
        self.purpose = purpose
        self.sync = sync
        self.ours = ours
        self.theirs = b""
        self.counted = 0  # frames that we have written
        self.seen = 0  # frames that have come
        self.member = member  # whom we have called
        self.by = by  # for people
        self.until = until
        self.seq = 0  # of the probe that a ping is for
        self.keys: tuple[str, ...] = ()  # that a fetch is for
        self.learned: set[MemberId] = set()  # members that we know from this conversation


class Streams:
    """Those that are open, by number. `next` is when the first of them may have lasted too long."""

    __slots__ = ("_chance", "_codec", "_counters", "_fetching", "_incoming", "_members", "_number", "_open", "_records", "_speaker", "next")

    def __init__(
        self, members: Members, records: Records, codec: Codec, speaker: Speaker, chance: Random, counters: defaultdict[str, int]
    ) -> None:
        self._members = members
        self._records = records
        self._codec = codec
        self._speaker = speaker
        self._chance = chance
        self._counters = counters
        self._open: dict[int, Stream] = {}
        self._fetching: set[str] = set()
        self._incoming = 0
        self._number = 0
        self.next = NEVER

    # --- opening

    def sync(self, member: Member, now: float) -> bool:
        """Compare everything with a member; False where too much is open already, or with it."""
        if any(stream.member is member and stream.purpose is Purpose.SYNC for stream in self._open.values()):
            return False
        return self._call(Purpose.SYNC, member, Sync(self._members, self._records, opener=True), now) is not None

    def fetch(self, member: Member, keys: Iterable[str], now: float) -> bool:
        """Get records that a member has; those that are being fetched are not fetched twice."""
        wanted = tuple(key for key in keys if key not in self._fetching)
        if not wanted:
            return False
        stream = self._call(Purpose.FETCH, member, Sync(self._members, self._records, opener=True, want=wanted), now)
        if stream is None:
            return False
        stream.keys = wanted
        self._fetching.update(wanted)
        return True

    def ping(self, member: Member, seq: int, now: float) -> bool:
        """Ask over TCP whether a member is there, for the probe `seq`."""
        stream = self._call(Purpose.PING, member, Sync(self._members, self._records, opener=True, ping=member.id), now)
        if stream is None:
            return False
        stream.seq = seq
        return True

    def _call(self, purpose: Purpose, member: Member, sync: Sync, now: float) -> Stream | None:
        outgoing = len(self._open) - self._incoming
        if outgoing >= RING_STREAMS - (0 if purpose is Purpose.PING else PINGS_KEPT):
            self._counters["streams not opened"] += 1
            return None
        stream = self._add(purpose, sync, member, member.text, now)
        self._speaker.out.append(Open(stream.number, member.address))
        return stream

    def accepted(self, source: Address, now: float) -> int:
        """Somebody has opened a stream to us: our number for it, -1 where there are too many."""
        if self._incoming >= RING_STREAMS:
            self._counters["refused streams"] += 1
            return -1
        self._incoming += 1
        sync = Sync(self._members, self._records, opener=False)
        return self._add(Purpose.ANSWER, sync, None, f"a stream from {source[0]}", now).number

    def _add(self, purpose: Purpose, sync: Sync, member: Member | None, by: str, now: float) -> Stream:
        self._number += 1
        until = now + RING_STREAM_S
        ours = self._chance.randbytes(NONCE)
        self._open[self._number] = stream = Stream(self._number, purpose, sync, ours, member, by, until)
        self.next = min(self.next, until)
        self._counters[f"streams {purpose}"] += 1
        return stream

    # --- what happens on them

    def opened(self, number: int, now: float) -> None:
        stream = self._open.get(number)
        if stream is not None and stream.sync.opener and not stream.counted:
            stream.until = now + RING_STREAM_S
            for value in stream.sync.begin():
                self._write(stream, value)

    def frame(self, number: int, data: Any, now: float) -> tuple[Stream, Turn] | None:
        """The other's next frame: what is to be taken in. What is to be written is written; None where the frame counts for nothing."""
        stream = self._open.get(number)
        if stream is None:
            return None
        try:
            value = self._codec.decode_frame(data)
        except Refused as refused:
            self._refuse(stream, refused.reason)
            return None
        match value:
            case [bytes(theirs), bytes(ours), int(count), said] if self._continues(stream, theirs, ours, count):
                pass
            case _:
                self._refuse(stream, "replay")
                return None
        stream.theirs = theirs
        stream.seen += 1
        stream.until = now + RING_STREAM_S
        turn = stream.sync.frame(said)
        for frame in turn.write:
            self._write(stream, frame)
        if turn.fault:
            self._counters[f"refused {turn.fault}"] += 1
        if turn.done:
            self.close(number)
        return stream, turn

    @staticmethod
    def _continues(stream: Stream, theirs: bytes, ours: bytes, count: int) -> bool:
        """Whether a frame is the next of this stream. Only an opener's first frame cannot know our nonce."""
        if len(theirs) != NONCE or count != stream.seen or (stream.theirs and theirs != stream.theirs):
            return False
        return ours == (b"" if not stream.sync.opener and not stream.seen else stream.ours)

    def _write(self, stream: Stream, value: object) -> None:
        envelope = [stream.ours, stream.theirs, stream.counted, value]
        stream.counted += 1
        self._speaker.out.append(Write(stream.number, self._codec.encode_frame(envelope)))

    def _refuse(self, stream: Stream, reason: str) -> None:
        self._counters[f"refused {reason}"] += 1
        self.close(stream.number)

    def close(self, number: int) -> None:
        """We have said and heard all."""
        if self.closed(number) is not None:
            self._speaker.out.append(Close(number))

    def closed(self, number: int) -> Stream | None:
        """It is no more; None where it was not."""
        stream = self._open.pop(number, None)
        if stream is None:
            return None
        self._fetching.difference_update(stream.keys)
        self._incoming -= not stream.sync.opener
        return stream

    # --- time

    def overdue(self, now: float) -> None:
        """Close those that make no progress."""
        for stream in [each for each in self._open.values() if each.until <= now]:
            self._counters["streams given up"] += 1
            self.close(stream.number)
        self.next = min((each.until for each in self._open.values()), default=NEVER)

    def push(self, by_s: float) -> None:
        """We have slept."""
        for stream in self._open.values():
            stream.until += by_s
        self.next += by_s
