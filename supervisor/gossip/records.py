"""The records that a member holds: facts and documents under one merge rule. Pure.

Rules. Of one key the `kept` greatest bodies are held, by (version, content hash), and none behind a withdrawn one: withdrawing a document
gives up its history. Of one member no fact is held with a version below that of its record `floor`. So what is held depends on the set of
records that have come and never on their order or number, two members that have seen the same records hold the same, and nothing goes back.
A record counts only when its key is of a kind (kinds.py), its author may write there and has signed it, and the member that it is bound to
is known. What does not count is refused and counted by one word; nothing raises for what others have sent.

Why a floor: a withdrawn fact must be remembered, or a laggard brings it back. A member with many of those publishes its live facts anew
(facts.py) and then a floor below them: one record in place of all that it has withdrawn.

Two rules are not of the set, so that one member cannot fill or wedge a ring: the caps of hart/limits.py, and that the revision of a known
document advances at most RING_REVISION_STEP at once. Who only follows the protocol (`draft`, OwnFacts) never meets them.

Not here: spreading (news.py, sync.py), disk (store.py), what a body means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from hart.errors import ConflictError, FormatError, LimitError
from hart.limits import (
    RING_DOCUMENT_KEYS,
    RING_DOCUMENTS,
    RING_DOCUMENTS_BYTES,
    RING_FACT_KEYS,
    RING_FACTS,
    RING_FACTS_BYTES,
    RING_GENERATION_MAX,
    RING_MEMBER_BYTES,
    RING_RECORD_OVERHEAD,
    RING_REVISION_STEP,
)
from supervisor.gossip.digest import Sum, bucket_of, hash16
from supervisor.gossip.identity import MemberKey, Verify, member_id, record_ok, sign_record, verify
from supervisor.gossip.kinds import FLOOR, Kind, Place, fact_prefix, place
from supervisor.gossip.messages import MemberId, Record, Version

NO_REVISION = 0  # of a document that nobody has written


class Refusal(StrEnum):
    """Why a record does not count. One that is only old or known already is not refused."""

    SHAPE = "shape"  # a value of another type: the codec's or an author's fault
    KEY = "key"  # of no kind
    VERSION = "version"  # outside the numbers that this kind counts in
    SIZE = "size"  # of the body
    AUTHOR = "author"  # writes about somebody else
    UNKNOWN = "unknown"  # the member that it is bound to
    STEP = "step"  # too far beyond the current revision
    FULL = "full"  # a cap
    SIGNATURE = "signature"


class Entry(NamedTuple):
    """What two members compare of one body."""

    key: bytes  # 16 bytes, the key's hash
    version: Version
    digest: bytes  # 16 bytes, the record's content hash


class Held(NamedTuple):
    """One body; the order of two is that of (version, digest)."""

    version: Version
    digest: bytes
    record: Record


@dataclass(slots=True)
class Slot:
    """What is held of one key, greatest first and never empty."""

    place: Place
    hash: bytes
    held: tuple[Held, ...]

    @property
    def live(self) -> bool:
        return self.held[0].record.body is not None


@dataclass(slots=True)
class Use:
    """What a set of slots takes of its caps: keys with a body, all keys, bytes."""

    live: int = 0
    keys: int = 0
    size: int = 0

    def plus(self, slot: Slot | None, sign: int = 1) -> Use:
        if slot is None:
            return self
        size = sum(weight(each.record) for each in slot.held)
        return Use(self.live + sign * slot.live, self.keys + sign, self.size + sign * size)

    def within(self, before: Use, most: Use) -> bool:
        """Whether no cap is passed; what only shrinks is always taken."""
        return all(now <= max(was, cap) for now, was, cap in zip(self.parts(), before.parts(), most.parts(), strict=True))

    def parts(self) -> tuple[int, int, int]:
        return self.live, self.keys, self.size


MOST_OF_MEMBER = Use(RING_FACTS + 1, RING_FACT_KEYS, RING_MEMBER_BYTES)  # and its floor
MOST_DOCUMENTS = Use(RING_DOCUMENTS, RING_DOCUMENT_KEYS, RING_DOCUMENTS_BYTES)


@dataclass(slots=True)
class _Bound:
    """The records that go with one member."""

    keys: dict[str, None] = field(default_factory=dict)
    facts: Use = field(default_factory=Use)


def content_hash(record: Record) -> bytes:
    """16 bytes over all of a record. The signature counts: an author could make several for one body, and all must hold the same one.
    (It also tells a withdrawal from an empty body.)"""
    version = record.version.major.to_bytes(8, "big") + record.version.minor.to_bytes(8, "big")
    return hash16(record.key.encode(), version, record.author, record.signature, record.body or b"")


def weight(record: Record) -> int:
    """Bytes that a record is counted with."""
    return RING_RECORD_OVERHEAD + len(record.key) + len(record.body or b"")


def keep(candidates: Iterable[Held], kept: int) -> tuple[Held, ...]:
    """The merge rule of one key: the greatest ones, and none behind a withdrawn one."""
    held: list[Held] = []
    for each in sorted(set(candidates), key=lambda each: each[:2], reverse=True)[:kept]:
        held.append(each)
        if each.record.body is None:
            break
    return tuple(held)


class Records:
    """All records that one member holds. `ring` is the ring's id of 8 bytes; `known` says whether a member is known, so that facts of
    strangers and of forgotten members are not held: whoever keeps the members sets it."""

    def __init__(self, ring: bytes, verify: Verify = verify, *, known: Callable[[MemberId], bool] = lambda _: True) -> None:
        self.ring = ring
        self.known = known
        self.refused: Counter[str] = Counter()  # by the words of Refusal
        self._verify = verify
        self._slots: dict[str, Slot] = {}
        self._buckets: dict[int, dict[bytes, Slot]] = {}
        self._bound: dict[MemberId, _Bound] = {}
        self._documents: dict[str, None] = {}
        self._document_use = Use()
        self._facts_size = 0
        self._sum = Sum()

    def __len__(self) -> int:
        """Keys, withdrawn ones included."""
        return len(self._slots)

    # --- reading

    def get(self, key: str) -> Record | None:
        """The record that counts; its body is None when it was withdrawn."""
        slot = self._slots.get(key)
        return None if slot is None else slot.held[0].record

    def history(self, key: str) -> list[Record]:
        """All that is held of a key, newest first."""
        slot = self._slots.get(key)
        return [] if slot is None else [each.record for each in slot.held]

    def keys(self, prefix: str) -> list[str]:
        """The keys that have a body and begin so, sorted."""
        member = _member_of(prefix)
        among: Iterable[str] = self._documents if prefix.startswith("group/") else self._slots
        if member is not None:
            among = self._bound[member].keys if member in self._bound else ()
        return sorted(key for key in among if key.startswith(prefix) and self._slots[key].live)

    def facts_of(self, member: MemberId, *, withdrawn: bool = False) -> list[Record]:
        """The live facts of a member, by key; `withdrawn` also gives the tombstones and the floor."""
        bound = self._bound.get(member)
        slots = [] if bound is None else [self._slots[key] for key in sorted(bound.keys)]
        found = [slot for slot in slots if slot.place.kind.fact]
        return [slot.held[0].record for slot in found if withdrawn or (slot.live and slot.place.kind.name != FLOOR)]

    def each(self) -> Iterator[Record]:
        """Everything, history and tombstones included; oldest body of a key first, so that merging in this order loses nothing."""
        for slot in self._slots.values():
            for held in reversed(slot.held):
                yield held.record

    # --- merging

    def merge(self, record: Record) -> bool:
        """Take in a record; whether it is new here. Refused ones are counted. Learning a floor may drop facts below it."""
        if not _shaped(record):
            return self._refuse(Refusal.SHAPE)
        slot = self._slots.get(record.key)
        if slot is not None and any(each.record == record for each in slot.held):
            return False
        where = slot.place if slot is not None else place(record.key)
        if where is None:
            return self._refuse(Refusal.KEY)
        if (refusal := self._misfit(record, where)) is not None:
            return self._refuse(refusal)
        if where.kind.fact and self._below_floor(record, where):
            return False
        new = Held(record.version, content_hash(record), record)
        before = slot.held if slot is not None else ()
        held = keep((new, *before), where.kind.kept)
        if new not in held:
            return False
        if not where.kind.fact and record.version.major > _reach(before[0].version.major if before else None):
            return self._refuse(Refusal.STEP)
        made = Slot(where, slot.hash if slot is not None else hash16(record.key.encode()), held)
        if not self._fits(slot, made):
            return self._refuse(Refusal.FULL)
        if not record_ok(record, self.ring, self._verify):  # the dear one comes last
            return self._refuse(Refusal.SIGNATURE)
        self._replace(record.key, slot, made)
        if where.kind.name == FLOOR:
            self._raise_floor(where, record.version)
        return True

    def drop_member(self, member: MemberId) -> None:
        """Forget all that is bound to a member."""
        bound = self._bound.get(member)
        for key in [] if bound is None else list(bound.keys):
            self._remove(key)

    def _misfit(self, record: Record, where: Place) -> Refusal | None:
        """What is wrong with a record that its signature cannot make right."""
        kind = where.kind
        if not _counts(record.version, kind):
            return Refusal.VERSION
        if len(record.body or b"") > kind.body_max:
            return Refusal.SIZE
        if kind.fact and member_id(record.author) != where.member:
            return Refusal.AUTHOR
        if where.member is not None and not self.known(where.member):
            return Refusal.UNKNOWN
        return None

    def _below_floor(self, record: Record, where: Place) -> bool:
        assert where.member is not None
        floor = self.get(fact_prefix(where.member) + FLOOR)
        return floor is not None and where.kind.name != FLOOR and record.version < floor.version

    def _raise_floor(self, where: Place, floor: Version) -> None:
        assert where.member is not None
        for record in self.facts_of(where.member, withdrawn=True):
            if record.version < floor and not record.key.endswith(f"/{FLOOR}"):
                self._remove(record.key)

    def _refuse(self, why: Refusal) -> bool:
        self.refused[why] += 1
        return False

    # --- room

    def _fits(self, old: Slot | None, new: Slot) -> bool:
        if new.place.kind.fact:
            assert new.place.member is not None
            before = self._bound.get(new.place.member, _Bound()).facts
            after = before.plus(old, -1).plus(new)
            growth = after.size - before.size
            return after.within(before, MOST_OF_MEMBER) and (growth <= 0 or self._facts_size + growth <= RING_FACTS_BYTES)
        if new.place.member is not None:
            return True  # one small document for each known member
        return self._document_use.plus(old, -1).plus(new).within(self._document_use, MOST_DOCUMENTS)

    def _replace(self, key: str, old: Slot | None, new: Slot | None) -> None:
        """The only place where anything changes: slots, buckets, sums and use go together."""
        slot = new or old
        assert slot is not None
        bucket = bucket_of(slot.hash)
        for gone in () if old is None else old.held:
            self._sum.remove(bucket, gone.digest)
        for come in () if new is None else new.held:
            self._sum.add(bucket, come.digest)
        member = slot.place.member
        if member is None:
            self._document_use = self._document_use.plus(old, -1).plus(new)
            index = self._documents
        else:
            bound = self._bound.setdefault(member, _Bound())
            index = bound.keys
            if slot.place.kind.fact:
                size = bound.facts.size
                bound.facts = bound.facts.plus(old, -1).plus(new)
                self._facts_size += bound.facts.size - size
        if new is None:
            del self._slots[key], self._buckets[bucket][slot.hash], index[key]
        else:
            self._slots[key] = self._buckets.setdefault(bucket, {})[slot.hash] = new
            index[key] = None
        if member is not None and not index:
            del self._bound[member]

    def _remove(self, key: str) -> None:
        self._replace(key, self._slots[key], None)

    # --- writing documents

    def draft(self, key: str, body: bytes | None, *, expect: int | None, author: MemberKey, revision: int | None = None) -> Record:
        """The next revision of a document, signed; nothing is stored. `body` None withdraws it, with its history.

        ConflictError when `expect` is given and is not the current revision (NO_REVISION where there is none), or when `revision`, a number
        that somebody chose for it, is not beyond that one.
        """
        where = place(key)
        if where is None or where.kind.fact:
            raise FormatError(f"document {key!r}", "is not a name that a ring keeps documents under", next="group/SERVICE.GROUP/config")
        slot = self._slots.get(key)
        current = slot.held[0].version.major if slot is not None else NO_REVISION
        if expect is not None and expect != current:
            was = f"revision {current} is current" if current else "it does not exist"
            raise ConflictError(f"document {key}", f"{was}, not revision {expect}", next="look at it and apply again", current=current)
        if body is not None and len(body) > where.kind.body_max:
            raise LimitError(f"document {key}", f"has {len(body)} bytes, more than {where.kind.body_max}")
        following = current + 1 if revision is None else revision
        if following <= current:
            raise ConflictError(f"document {key}", f"revision {following} is not newer than {current}", next="choose none", current=current)
        if following > RING_GENERATION_MAX:
            raise LimitError(f"document {key}", f"has used up its revisions: {current}", next="use a group of another name")
        if current and following - current > RING_REVISION_STEP:
            raise LimitError(f"document {key}", f"revision {following} is too far beyond {current}", next="choose a smaller one, or none")
        if where.member is not None and not self.known(where.member):
            raise ConflictError(f"document {key}", "this member is not known here", next="stead ring members")
        record = sign_record(author, ring=self.ring, record_key=key, version=Version(following, 0), body=body)
        held = keep((Held(record.version, content_hash(record), record), *(slot.held if slot is not None else ())), where.kind.kept)
        if not self._fits(slot, Slot(where, b"", held)):
            raise LimitError(
                f"document {key}",
                f"the ring's documents would pass {RING_DOCUMENTS} or {RING_DOCUMENTS_BYTES} bytes",
                next="withdraw documents that nobody needs: a withdrawn one gives up its history",
            )
        return record

    # --- comparing with another member

    @property
    def digest(self) -> bytes:
        """16 bytes over all that is held."""
        return self._sum.digest

    def bucket_sums(self) -> list[bytes]:
        """BUCKETS digests of 16 bytes."""
        return self._sum.bucket_sums()

    def entries(self, bucket: int) -> list[Entry]:
        return [Entry(slot.hash, each.version, each.digest) for slot in self._buckets.get(bucket, {}).values() for each in slot.held]

    def missing(self, bucket: int, theirs: Iterable[Entry]) -> tuple[list[Record], list[Entry]]:
        """What another member lacks of a bucket, and which of its entries we lack: only what both would hold after merging."""
        lacking: list[Entry] = []
        by_key: dict[bytes, set[tuple[Version, bytes]]] = {}
        for entry in theirs:
            by_key.setdefault(entry.key, set()).add((entry.version, entry.digest))
        ours = self._buckets.get(bucket, {})
        sending: list[Record] = []
        for key, slot in ours.items():
            has = by_key.get(key, set())
            holds = {each[:2] for each in slot.held}
            best = sorted(holds | has, reverse=True)[: slot.place.kind.kept]
            sending.extend(each.record for each in slot.held if each[:2] not in has and each[:2] in best)
            lacking.extend(Entry(key, *each) for each in best if each not in holds)
        lacking.extend(Entry(key, *each) for key, has in by_key.items() if key not in ours for each in sorted(has, reverse=True))
        return sending, lacking

    def find(self, key_hash: bytes, digest: bytes) -> Record | None:
        """The body that an entry stands for, if it is still held."""
        slot = self._buckets.get(bucket_of(key_hash), {}).get(key_hash)
        return None if slot is None else next((each.record for each in slot.held if each.digest == digest), None)


def _counts(version: Version, kind: Kind) -> bool:
    if not 0 < version.major <= RING_GENERATION_MAX:
        return False
    return 0 <= version.minor <= RING_GENERATION_MAX if kind.fact else version.minor == 0


def _reach(current: int | None) -> int:
    """The greatest revision that is taken after the current one. Who knows none takes what others have come to, far from the end."""
    return RING_GENERATION_MAX // 2 if current is None else current + RING_REVISION_STEP


def _shaped(record: Record) -> bool:
    key, version, author, signature, body = record
    return (
        type(key) is str
        and key.isascii()
        and type(version) is Version
        and type(version.major) is type(version.minor) is int
        and type(author) is type(signature) is bytes
        and (body is None or type(body) is bytes)
    )


def _member_of(prefix: str) -> MemberId | None:
    """The member whose facts alone can begin so."""
    where = place(f"{prefix[:40]}x") if prefix.startswith("member/") and len(prefix) >= 40 else None
    return None if where is None else where.member
