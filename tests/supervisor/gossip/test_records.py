"""The records that a member holds: one merge rule, whatever comes in whatever order."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hart import limits
from hart.errors import ConflictError, FormatError, LimitError
from supervisor.gossip import records as module
from supervisor.gossip.identity import MemberKey, sign_record
from supervisor.gossip.kinds import departed_key, fact_prefix, place
from supervisor.gossip.messages import Record, Version
from supervisor.gossip.records import Entry, Records, Refusal, Use, content_hash

RING = b"the ring"
KEYS = [MemberKey(bytes([number]) * 32) for number in range(3)]
CONFIG = "group/redis.default/config"
FILE = "group/redis.default/file/users.acl"


def fact(author: MemberKey, name: str, version: tuple[int, int], body: bytes | None = b"x") -> Record:
    return sign_record(author, ring=RING, record_key=fact_prefix(author.id) + name, version=Version(*version), body=body)


def document(author: MemberKey, key: str, revision: int, body: bytes | None = b"x") -> Record:
    return sign_record(author, ring=RING, record_key=key, version=Version(revision, 0), body=body)


def pool() -> list[Record]:
    """Signed once: facts of two members with tombstones and floors, and documents with more versions than are kept."""
    made = [
        fact(author, name, (generation, counter), body)
        for author in KEYS[:2]
        for name in ("service/redis", "service/web")
        for generation in (1, 2)
        for counter in (1, 2, 3)
        for body in (b"a", None)
    ]
    made += [fact(author, "floor", (generation, 2), b"") for author in KEYS[:2] for generation in (1, 2)]
    made += [document(author, CONFIG, revision, b"%d" % revision) for author in KEYS[:2] for revision in range(1, 15)]
    made += [document(KEYS[0], CONFIG, revision, None) for revision in (3, 9)]
    made += [document(author, FILE, revision, body) for author in KEYS for revision in (1, 2) for body in (b"acl", None)]
    made += [document(KEYS[2], departed_key(KEYS[0].id), 1, b"gone")]
    return made


POOL = pool()
SOME = st.lists(st.sampled_from(POOL), max_size=40)


class Twin:
    """Obviously right and slow: remember every record that ever came, and work out at the end what is held."""

    def __init__(self) -> None:
        self.seen: set[Record] = set()

    def merge(self, record: Record) -> None:
        self.seen.add(record)

    def held(self) -> dict[str, list[Record]]:
        found = {}
        for key in {record.key for record in self.seen}:
            where = place(key)
            assert where is not None
            floors = [each.version for each in self.seen if where.kind.fact and each.key == f"{key[:40]}floor"]
            valid = [each for each in self.seen if each.key == key]
            if floors and not key.endswith("/floor"):
                valid = [each for each in valid if each.version >= max(floors)]
            valid.sort(key=lambda each: (each.version, content_hash(each)), reverse=True)
            withdrawn = [index for index, each in enumerate(valid) if each.body is None]
            until = min([where.kind.kept, *(index + 1 for index in withdrawn)])
            if valid:
                found[key] = valid[:until]
        return found


def merged(*streams: Iterable[Record]) -> Records:
    made = Records(RING)
    for stream in streams:
        for record in stream:
            made.merge(record)
    assert not made.refused
    return made


def held(records: Records) -> dict[str, list[Record]]:
    return {record.key: records.history(record.key) for record in records.each()}


def from_scratch(records: Records) -> Records:
    return merged(records.each())


@given(SOME)
@example(POOL)
@example([fact(KEYS[0], "a", (1, 1)), fact(KEYS[0], "floor", (1, 2), b""), fact(KEYS[0], "a", (1, 1)), fact(KEYS[0], "a", (1, 2))])
def test_what_is_held_is_what_the_slow_twin_holds(came: list[Record]) -> None:
    twin, records = Twin(), Records(RING)
    for record in came:
        twin.merge(record)
        records.merge(record)
        assert held(records) == twin.held()
    assert not records.refused


@given(SOME, st.data())
def test_neither_order_nor_repetition_matters(came: list[Record], data: st.DataObject) -> None:
    """Any order and duplication of the same records gives equal stores and equal digests."""
    other = data.draw(st.permutations(came + (data.draw(st.lists(st.sampled_from(came), max_size=10)) if came else [])))
    one, two = merged(came), merged(other)
    assert held(one) == held(two)
    assert (one.digest, one.bucket_sums()) == (two.digest, two.bucket_sums())


@given(SOME, SOME, SOME)
def test_merging_is_commutative_associative_and_idempotent(a: list[Record], b: list[Record], c: list[Record]) -> None:
    """Of whole stores, as two members do who exchange what they hold."""
    left = merged(merged(a, merged(b).each()).each(), merged(c).each())
    right = merged(a, merged(b, merged(c).each()).each())
    assert held(left) == held(right)
    assert left.digest == right.digest
    assert merged(merged(a).each(), merged(b).each()).digest == merged(merged(b).each(), merged(a).each()).digest
    assert merged(merged(a).each(), merged(a).each()).digest == merged(a).digest


@given(SOME)
def test_versions_never_go_back(came: list[Record]) -> None:
    """What counts of a key is only ever replaced by something greater; a fact may go, but only under a floor, for good."""
    records, best, floored = Records(RING), dict[str, tuple[Version, bytes]](), dict[str, Version]()
    for record in came:
        news = records.merge(record)
        now = records.get(record.key)
        if now is not None:
            assert (now.version, content_hash(now)) >= best.get(record.key, (Version(0, 0), b""))
            best[record.key] = (now.version, content_hash(now))
            assert now.version >= floored.get(record.key[:40], Version(0, 0)) or now.key.endswith("/floor")
        if record.key.endswith("/floor"):
            floored[record.key[:40]] = max(record.version, floored.get(record.key[:40], Version(0, 0)))
        assert not (news and record not in records.history(record.key))


@given(SOME, st.sets(st.sampled_from(KEYS[:2])))
def test_digests_and_caps_are_kept_up_to_what_is_held(came: list[Record], gone: set[MemberKey]) -> None:
    """After any merging and forgetting they are those of a store that was filled with the rest at once."""
    records = merged(came)
    for key in gone:
        records.drop_member(key.id)
        assert not records.facts_of(key.id, withdrawn=True)
        assert records.get(departed_key(key.id)) is None
    fresh = from_scratch(records)
    assert (fresh.digest, fresh.bucket_sums()) == (records.digest, records.bucket_sums())
    assert fresh._document_use == records._document_use
    assert fresh._facts_size == records._facts_size
    assert {member: bound.facts for member, bound in fresh._bound.items()} == {m: bound.facts for m, bound in records._bound.items()}
    assert [sorted(fresh.entries(bucket)) for bucket in range(64)] == [sorted(records.entries(bucket)) for bucket in range(64)]


@given(SOME, SOME)
def test_what_two_members_tell_each_other_makes_them_equal(mine: list[Record], yours: list[Record]) -> None:
    """Bucket by bucket, from one side's entries: what to send, and what to ask for; each of it is news to the other."""
    one, two = merged(mine), merged(yours)
    together = merged(mine, yours)
    for bucket in range(64):
        sending, lacking = two.missing(bucket, one.entries(bucket))
        wanted = [one.find(entry.key, entry.digest) for entry in lacking]
        assert None not in wanted
        for record in [each for each in wanted if each is not None]:
            two.merge(record)
        for record in sending:
            one.merge(record)
    assert held(one) == held(two) == held(together)
    assert one.digest == two.digest


def test_equal_members_lack_nothing() -> None:
    records = merged(POOL)
    assert all(records.missing(bucket, records.entries(bucket)) == ([], []) for bucket in range(64))


def test_an_entry_of_a_key_that_is_not_held_is_asked_for() -> None:
    entry = Entry(b"k" * 16, Version(1, 0), b"d" * 16)
    assert Records(RING).missing(entry.key[0] % 64, [entry]) == ([], [entry])
    assert merged(POOL).find(entry.key, entry.digest) is None


# --- what does not count


def broken(record: Record, **change: object) -> Record:
    return record._replace(**change)


GOOD = fact(KEYS[0], "service/redis", (1, 1))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (broken(GOOD, body=b"y"), Refusal.SIGNATURE),
        (broken(GOOD, signature=b""), Refusal.SIGNATURE),
        (broken(GOOD, version=Version(1, 2)), Refusal.SIGNATURE),
        (sign_record(KEYS[0], ring=b"another!", record_key=GOOD.key, version=GOOD.version, body=GOOD.body), Refusal.SIGNATURE),
        (sign_record(KEYS[1], ring=RING, record_key=GOOD.key, version=GOOD.version, body=GOOD.body), Refusal.AUTHOR),
        (fact(KEYS[0], "service/redis", (0, 1)), Refusal.VERSION),
        (fact(KEYS[0], "service/redis", (1, -1)), Refusal.VERSION),
        (fact(KEYS[0], "service/redis", (limits.RING_GENERATION_MAX + 1, 0)), Refusal.VERSION),
        (broken(GOOD, version=Version(1, 1 << 80)), Refusal.VERSION),
        (sign_record(KEYS[0], ring=RING, record_key=CONFIG, version=Version(1, 1), body=b""), Refusal.VERSION),
        (document(KEYS[0], CONFIG, 0), Refusal.VERSION),
        (document(KEYS[0], CONFIG, limits.RING_GENERATION_MAX), Refusal.STEP),
        (fact(KEYS[0], "service/redis", (1, 1), bytes(limits.RING_FACT_MAX + 1)), Refusal.SIZE),
        (document(KEYS[0], CONFIG, 1, bytes(limits.RING_CONFIG_MAX + 1)), Refusal.SIZE),
        (document(KEYS[0], FILE, 1, bytes(limits.RING_FILE_MAX + 1)), Refusal.SIZE),
        (fact(KEYS[0], "floor", (1, 1), b"x"), Refusal.SIZE),
        (document(KEYS[0], "group/redis.default/file/../../etc/passwd", 1), Refusal.KEY),
        (document(KEYS[0], "group/redis.default/file/.ssh", 1), Refusal.KEY),
        (document(KEYS[0], "group/redis.default/file/a\n", 1), Refusal.KEY),
        (document(KEYS[0], "group/redis/config", 1), Refusal.KEY),
        (document(KEYS[0], "ring/departed/me", 1), Refusal.KEY),
        (document(KEYS[0], "x" * 100_000, 1), Refusal.KEY),
        (document(KEYS[0], "", 1), Refusal.KEY),
        (fact(KEYS[0], "", (1, 1)), Refusal.KEY),
        (broken(GOOD, key=None), Refusal.SHAPE),
        (broken(GOOD, key="group/\ud800.x/config"), Refusal.SHAPE),
        (broken(GOOD, version=(1, 1)), Refusal.SHAPE),
        (broken(GOOD, version=Version(True, 1)), Refusal.SHAPE),
        (broken(GOOD, author="a"), Refusal.SHAPE),
        (broken(GOOD, author=[]), Refusal.SHAPE),
        (broken(GOOD, body="text"), Refusal.SHAPE),
        (broken(GOOD, signature=None), Refusal.SHAPE),
    ],
)
def test_a_record_that_does_not_count_is_refused_by_one_word(record: Record, why: Refusal) -> None:
    """It is counted, nothing is raised, and nothing has changed (threats S41)."""
    records = Records(RING)
    assert not records.merge(record)
    assert records.refused == {why: 1}
    assert (len(records), records.digest) == (0, bytes(16))


def test_what_is_bound_to_a_stranger_does_not_count() -> None:
    """Announcement first: facts of a member that nobody knows, or that was forgotten, would be ghosts (demands 9)."""
    known = {KEYS[0].id}
    records = Records(RING, known=known.__contains__)
    assert records.merge(GOOD)
    for record in (fact(KEYS[1], "service/redis", (1, 1)), document(KEYS[0], departed_key(KEYS[1].id), 1, b"gone")):
        assert not records.merge(record)
    assert records.refused == {Refusal.UNKNOWN: 2}
    known.clear()
    records.drop_member(KEYS[0].id)
    assert not records.merge(GOOD)
    assert len(records) == 0


def test_a_document_outlives_its_author() -> None:
    records = merged([document(KEYS[0], CONFIG, 1), GOOD])
    records.drop_member(KEYS[0].id)
    assert records.get(CONFIG) is not None
    assert records.get(GOOD.key) is None


def test_a_fact_of_an_earlier_start_never_replaces_one_of_a_later_start() -> None:
    """However far the earlier start has counted."""
    records = merged([fact(KEYS[0], "service/redis", (2, 0), b"new"), fact(KEYS[0], "service/redis", (1, 1 << 40), b"old")])
    assert [each.body for each in records.facts_of(KEYS[0].id)] == [b"new"]


def test_a_withdrawn_fact_stays_withdrawn_when_a_laggard_repeats_it() -> None:
    records = merged([fact(KEYS[0], "service/redis", (1, 2), None), GOOD])
    assert records.facts_of(KEYS[0].id) == []
    assert records.keys("member/") == []
    below_floor = merged([fact(KEYS[0], "service/redis", (1, 2), None), fact(KEYS[0], "floor", (1, 3), b""), GOOD])
    assert below_floor.facts_of(KEYS[0].id) == []
    assert [each.key for each in below_floor.facts_of(KEYS[0].id, withdrawn=True)] == [fact_prefix(KEYS[0].id) + "floor"]


def test_a_withdrawn_document_gives_up_its_history() -> None:
    """Else nothing could make room in a ring that is full."""
    records = merged([document(KEYS[0], CONFIG, revision) for revision in range(1, 6)])
    assert [each.version.major for each in records.history(CONFIG)] == [5, 4, 3, 2, 1]
    records.merge(document(KEYS[0], CONFIG, 6, None))
    assert [each.version.major for each in records.history(CONFIG)] == [6]
    records.merge(document(KEYS[0], CONFIG, 7))
    assert [each.version.major for each in records.history(CONFIG)] == [7, 6]


def test_two_bodies_of_one_revision_are_both_kept_and_everybody_picks_the_same() -> None:
    """W23: equal versions must not diverge; the one that lost can still be looked at."""
    one, two = document(KEYS[0], CONFIG, 1, b"one"), document(KEYS[1], CONFIG, 1, b"two")
    winner = max(one, two, key=content_hash)
    assert merged([one, two]).get(CONFIG) == merged([two, one]).get(CONFIG) == winner
    assert len(merged([one, two]).history(CONFIG)) == 2


def test_a_huge_revision_cannot_wedge_a_document() -> None:
    """W23, S41: one record with the last number would freeze a group's configuration for ever."""
    records = merged([document(KEYS[0], CONFIG, 7)])
    for revision in (limits.RING_GENERATION_MAX, 8 + limits.RING_REVISION_STEP):
        assert not records.merge(document(KEYS[1], CONFIG, revision))
    assert records.refused == {Refusal.STEP: 2}
    assert records.merge(document(KEYS[1], CONFIG, 7 + limits.RING_REVISION_STEP))


def test_a_newcomer_takes_a_revision_that_others_have_come_to() -> None:
    assert merged([document(KEYS[0], CONFIG, 1 << 50)]).get(CONFIG) is not None


def test_keys_are_those_with_a_body_sorted() -> None:
    one, two = document(KEYS[0], CONFIG, 1), document(KEYS[0], FILE, 1)
    gone, noted = document(KEYS[0], "group/web.default/config", 1, None), document(KEYS[0], departed_key(KEYS[0].id), 1, b"")
    records = merged([two, one, gone, noted, GOOD])
    assert records.keys("group/") == [CONFIG, FILE]
    assert records.keys("ring/") == [noted.key]
    assert records.keys(fact_prefix(KEYS[0].id) + "service/") == [GOOD.key]
    assert records.keys(fact_prefix(KEYS[1].id)) == []
    assert records.keys("") == sorted([CONFIG, FILE, GOOD.key, noted.key])


# --- caps


def test_no_member_may_have_more_facts_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows is refused; what replaces, shrinks or withdraws is taken, so that its author can get below the cap again."""
    monkeypatch.setattr(module, "MOST_OF_MEMBER", Use(live=2, keys=3, size=4000))
    records = Records(RING)
    assert all(records.merge(fact(KEYS[0], name, (1, 1))) for name in "ab")
    assert not records.merge(fact(KEYS[0], "c", (1, 1)))
    assert records.merge(fact(KEYS[1], "c", (1, 1))), "another member has its own cap"
    assert records.merge(fact(KEYS[0], "a", (1, 2), b"other"))
    assert records.merge(fact(KEYS[0], "a", (1, 3), None))
    assert records.merge(fact(KEYS[0], "c", (1, 4)))
    assert not records.merge(fact(KEYS[0], "d", (1, 5), None)), "withdrawn ones count as keys"
    assert not records.merge(fact(KEYS[0], "c", (1, 5), bytes(4000)))
    assert records.refused == {Refusal.FULL: 3}
    assert records.merge(fact(KEYS[0], "floor", (1, 4), b"")) is False, "the floor is a key too"
    monkeypatch.setattr(module, "MOST_OF_MEMBER", Use(live=3, keys=4, size=4000))
    assert records.merge(fact(KEYS[0], "floor", (1, 4), b""))
    assert [each.key[40:] for each in records.facts_of(KEYS[0].id, withdrawn=True)] == ["floor", "c"][::-1]


def test_all_facts_together_have_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING_FACTS_BYTES", 1000)
    records = Records(RING)
    assert records.merge(GOOD)
    assert not records.merge(fact(KEYS[1], "a", (1, 1), bytes(700)))
    assert records.merge(fact(KEYS[0], "service/redis", (1, 2), None))
    assert records.refused == {Refusal.FULL: 1}


def test_documents_have_a_cap_that_a_withdrawal_gets_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DOCUMENTS", Use(live=1, keys=2, size=100_000))
    records = merged([document(KEYS[0], CONFIG, 1)])
    with pytest.raises(LimitError):
        records.draft(FILE, b"", expect=None, author=KEYS[0])
    assert not records.merge(document(KEYS[0], FILE, 1))
    assert records.merge(document(KEYS[0], departed_key(KEYS[1].id), 1, b"")), "bound to a member, so counted with the members"
    assert records.merge(records.draft(CONFIG, None, expect=1, author=KEYS[0]))
    assert records.merge(records.draft(FILE, b"", expect=0, author=KEYS[0]))


# --- drafts


def test_a_draft_is_the_next_revision_and_stores_nothing() -> None:
    records = Records(RING)
    first = records.draft(CONFIG, b"a = 1", expect=0, author=KEYS[0])
    assert first.version == Version(1, 0)
    assert len(records) == 0
    assert records.merge(first)
    assert records.draft(CONFIG, b"a = 2", expect=1, author=KEYS[1]).version == Version(2, 0)
    assert records.draft(CONFIG, b"a = 2", expect=None, author=KEYS[1]).version == Version(2, 0)


def test_a_draft_against_another_revision_is_a_conflict() -> None:
    """Compare-and-set: two people who change one document do not wipe each other's change (demands 6)."""
    records = merged([document(KEYS[0], CONFIG, 4)])
    for expect in (0, 3, 5):
        with pytest.raises(ConflictError, match="revision 4 is current") as error:
            records.draft(CONFIG, b"", expect=expect, author=KEYS[0])
        assert error.value.data == {"current": 4}
    with pytest.raises(ConflictError, match="does not exist"):
        records.draft(FILE, b"", expect=1, author=KEYS[0])


def test_a_withdrawn_document_goes_on_counting() -> None:
    records = merged([document(KEYS[0], CONFIG, 4, None)])
    assert records.draft(CONFIG, b"", expect=4, author=KEYS[0]).version == Version(5, 0)


@pytest.mark.parametrize("key", ["", "nonsense", GOOD.key, "group/redis.default/secrets", fact_prefix(KEYS[0].id) + "floor"])
def test_a_draft_of_something_that_is_no_document_is_refused(key: str) -> None:
    with pytest.raises(FormatError):
        Records(RING).draft(key, b"", expect=None, author=KEYS[0])


def test_a_draft_past_a_limit_is_refused() -> None:
    records = merged([document(KEYS[0], CONFIG, limits.RING_GENERATION_MAX // 2)])
    with pytest.raises(LimitError, match=f"more than {limits.RING_CONFIG_MAX}"):
        records.draft(CONFIG, bytes(limits.RING_CONFIG_MAX + 1), expect=None, author=KEYS[0])
    step, current = limits.RING_REVISION_STEP, limits.RING_GENERATION_MAX
    records = Records(RING)
    records._slots[CONFIG] = merged([document(KEYS[0], CONFIG, 1)])._slots[CONFIG]
    last = document(KEYS[0], CONFIG, current)
    records._slots[CONFIG].held = (module.Held(last.version, content_hash(last), last),)  # some billion steps later
    assert step > 0
    with pytest.raises(LimitError, match="used up"):
        records.draft(CONFIG, b"", expect=None, author=KEYS[0])


def test_a_revision_may_be_chosen_beyond_the_current_one_and_not_too_far() -> None:
    """Habitat's form: whoever applies names the number."""
    records = merged([document(KEYS[0], CONFIG, 5)])
    assert records.draft(CONFIG, b"", expect=5, author=KEYS[0], revision=9).version == Version(9, 0)
    for revision, error in (
        (5, ConflictError),
        (5 + limits.RING_REVISION_STEP + 1, LimitError),
        (limits.RING_GENERATION_MAX + 1, LimitError),
    ):
        with pytest.raises(error):
            records.draft(CONFIG, b"", expect=5, author=KEYS[0], revision=revision)


def test_nobody_dismisses_a_stranger() -> None:
    with pytest.raises(ConflictError, match="not known"):
        Records(RING, known=lambda _: False).draft(departed_key(KEYS[1].id), b"", expect=None, author=KEYS[0])


def test_shuffled_replay_of_everything_changes_nothing() -> None:
    """S38: an hour of captured traffic, again and in any order."""
    records, chance = merged(POOL), random.Random(1)
    before = held(records), records.digest
    for _ in range(3):
        again = POOL[:]
        chance.shuffle(again)
        assert not any(records.merge(record) for record in again)
    assert (held(records), records.digest) == before
