"""Records on their way through a member: taken in, told on, written.

Rules: a record that is new here is told to the ring, whole if it fits a datagram, else as a notice, and whoever lacks it fetches it over a
stream from whom it had the notice. A document `ring/departed/…` ends a member's generation. A fact of our own that comes back from
before our start, and that we do not say any more, is withdrawn.

Not here: which record counts (records.py), our own facts' versions (facts.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hart.errors import FormatError, LimitError, NotFoundError, SteadError
from hart.limits import RING_FACTS
from hart.wire import decode, encode
from supervisor.gossip.beliefs import Beliefs
from supervisor.gossip.codec import PACKET_ROOM, size_of
from supervisor.gossip.digest import bucket_of, hash16
from supervisor.gossip.facts import upkeep
from supervisor.gossip.identity import MemberKey, sign_record
from supervisor.gossip.kinds import FLOOR, departed_key, fact_prefix, place
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import Dismissed, Learned, MemberId, Noted, Notice, Record, Version
from supervisor.gossip.news import News, Urgency
from supervisor.gossip.records import Entry, Records, content_hash
from supervisor.gossip.speaker import Speaker

DEPARTED: Final = departed_key(b"")  # what the keys of such documents begin with


class Holdings:
    """What one member does with records."""

    __slots__ = (
        "_beliefs",
        "_counter",
        "_facts",
        "_floor",
        "_generation",
        "_key",
        "_members",
        "_news",
        "_prefix",
        "_records",
        "_ring",
        "_speaker",
    )

    def __init__(
        self,
        key: MemberKey,
        ring: bytes,
        members: Members,
        records: Records,
        news: News,
        beliefs: Beliefs,
        speaker: Speaker,
        generation: int,
    ) -> None:
        self._key = key
        self._ring = ring
        self._members = members
        self._records = records
        self._news = news
        self._beliefs = beliefs
        self._speaker = speaker
        self._generation = generation
        self._counter = 0
        self._prefix = fact_prefix(key.id)
        self._floor = f"{self._prefix}{FLOOR}"
        self._facts: dict[str, bytes] = {}
        records.known = lambda member_id: members.get(member_id) is not None

    def begin(self, now: float) -> None:
        """Documents that were loaded from disk count from the first moment."""
        for key in self._records.keys(DEPARTED):
            record = self._records.get(key)
            if record is not None:
                self._hear_departed(record, now)

    # --- foreign records

    def hear(self, records: Iterable[Record], now: float, by: Member | None) -> None:
        """What came from another member."""
        for record in records:
            self.take(record, now, by)

    def take(self, record: Record, now: float, by: Member | None) -> None:
        """A record, if it counts and is new."""
        if not self._records.merge(record):
            return
        self._tell(record)
        self._speaker.out.append(Learned(record))
        if record.key.startswith(DEPARTED):
            self._hear_departed(record, now)
        elif record.key.startswith(self._prefix) and by is not self._members.me:
            self._review(record)

    def wanted(self, notices: Iterable[Notice]) -> list[str]:
        """The keys of records that we lack, of those that somebody has."""
        keys = []
        for notice in notices:
            key = hash16(notice.key.encode())
            if self._records.find(key, notice.digest) is None:
                _, lacking = self._records.missing(bucket_of(key), (Entry(key, notice.version, notice.digest),))
                if lacking:
                    keys.append(notice.key)
        return keys

    def _tell(self, record: Record) -> None:
        size = size_of(record)
        if size <= PACKET_ROOM:
            self._news.tell(Urgency.RECORD, record.key, record, size)
        else:
            notice = Notice(record.key, record.version, content_hash(record))
            self._news.tell(Urgency.RECORD, record.key, notice, size_of(notice))

    # --- departures

    def _hear_departed(self, record: Record, now: float) -> None:
        said = _departure(record)
        if said is None:
            return
        generation, by, why = said
        subject = bytes.fromhex(record.key[len(DEPARTED) :])
        because = f"told to go by {self._beliefs.text(by)}: {why}"
        if subject == self._key.id:
            if generation == self._generation:  # nobody can know of a later one
                self._speaker.out.append(Dismissed(because))
        else:
            self._beliefs.hear_departed(subject, generation, now, because)

    def dismiss(self, member_id: MemberId, why: str) -> Record:
        member = self._members.get(member_id)
        if member is None:
            raise NotFoundError(f"member {member_id.hex()}", "is not in this ring", next="stead ring members")
        body = encode({"generation": member.generation, "by": self._key.id, "why": why[:500]})
        return self._records.draft(departed_key(member_id), body, expect=None, author=self._key)

    # --- our own

    def draft(self, key: str, body: bytes | None, *, expect: int | None, revision: int | None) -> Record:
        return self._records.draft(key, body, expect=expect, author=self._key, revision=revision)

    def publish(self, facts: Mapping[str, bytes]) -> None:
        """The whole set of our facts. FormatError or LimitError for what no member would take; then nothing has changed."""
        self._check(facts)
        self._facts = dict(facts)
        for record in self._records.facts_of(self._key.id):
            if record.key[len(self._prefix) :] not in facts:
                self._write(record.key, None)
        for name, body in facts.items():
            held = self._records.get(self._prefix + name)
            if held is None or held.body != body or held.version.major != self._generation:
                self._write(self._prefix + name, body)
        renew, floor = upkeep(self._records, self._key.id)
        for record in renew:
            self._write(record.key, record.body)
        if floor is not None:
            self._write(self._floor, b"", floor)

    def count_on(self, generation: int) -> None:
        """We are a later generation now, and so are our facts."""
        self._generation = generation
        self.publish(self._facts)

    def _review(self, record: Record) -> None:
        """A fact of ours that we have heard from others and that is later than what we say: from before our start."""
        body = self._facts.get(record.key[len(self._prefix) :])
        if record.key != self._floor and record.body != body:
            self._write(record.key, body)

    def _write(self, key: str, body: bytes | None, version: Version | None = None) -> None:
        if version is None:
            self._counter = max(self._counter, self._counted(key)) + 1
            version = Version(self._generation, self._counter)
        record = sign_record(self._key, ring=self._ring, record_key=key, version=version, body=body)
        if self._records.merge(record):
            self._tell(record)
            self._speaker.out.append(Learned(record))
        else:
            self._speaker.out.append(Noted(key, "there is no room for it among this ring's facts: nobody will see it"))

    def _counted(self, key: str) -> int:
        """How far this generation had counted for a key before our start: a restored disk gives a generation twice."""
        held = self._records.get(key)
        return held.version.minor if held is not None and held.version.major == self._generation else 0

    def _check(self, facts: Mapping[str, bytes]) -> None:
        if len(facts) > RING_FACTS:
            raise LimitError("facts of this member", f"are {len(facts)}, more than {RING_FACTS}")
        for name, body in facts.items():
            where = place(self._prefix + name)
            if where is None or not where.kind.fact or name == FLOOR:
                raise FormatError(f"fact {name!r}", "is not a name of a fact", next="service/NAME.GROUP")
            if len(body) > where.kind.body_max:
                raise LimitError(f"fact {name}", f"has {len(body)} bytes, more than {where.kind.body_max}")


def _departure(record: Record) -> tuple[int, MemberId, str] | None:
    """What such a document says: generation, by whom, why."""
    if record.body is None:
        return None
    try:
        said = decode(record.body, thing="departure", limit=1024)
    except SteadError:
        return None
    match said:
        case {"generation": int(generation), "by": bytes(by), "why": str(why)}:
            return generation, by, why
        case _:
            return None
