"""One conversation of two members on a stream."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hart.limits import RING_FETCH_KEYS, RING_FILE_MAX, RING_FRAME_MAX, RING_SYNC_FRAMES
from hart.wire import decode, encode
from supervisor.gossip import frames
from supervisor.gossip import sync as module
from supervisor.gossip.digest import bucket_of
from supervisor.gossip.frames import Ask, Frame, Give, Go, Part, Ping, Pong, Same, Sums, plain
from supervisor.gossip.identity import MemberKey, announce, member_id, sign_record
from supervisor.gossip.kinds import departed_key, fact_prefix
from supervisor.gossip.members import Members
from supervisor.gossip.messages import Announcement, Claim, Health, MemberId, Record, Version
from supervisor.gossip.records import Records
from supervisor.gossip.sync import Fault, State, Sync, Turn, compare

RING = b"the ring"
KEYS = [MemberKey(bytes([number]) * 32) for number in range(1, 13)]
ID = b"i" * 16


def said(key: MemberKey, generation: int = 1, incarnation: int = 0) -> Announcement:
    return announce(
        key, ring=RING, generation=generation, incarnation=incarnation, session=b"session.", host="192.0.2.1", port=9638, name="web-1"
    )


SAID = [said(key, generation, incarnation) for key in KEYS[2:] for generation in (1, 2) for incarnation in (0, 1)]


def record(author: MemberKey, key: str, version: tuple[int, int], body: bytes | None = b"body") -> Record:
    return sign_record(author, ring=RING, record_key=key, version=Version(*version), body=body)


POOL = [
    record(key, fact_prefix(key.id) + name, version, body)
    for key in KEYS[:6]
    for name in ("service/redis", "service/web")
    for version in ((1, 1), (1, 2))
    for body in (b"a", None)
]
POOL += [record(KEYS[0], "group/redis.default/config", (revision, 0), b"%d" % revision) for revision in range(1, 15)]
POOL += [record(KEYS[1], f"group/web.default/file/{name}", (1, 0), bytes(RING_FILE_MAX)) for name in "abcde"]


@dataclass
class Side:
    """A member as far as a conversation needs one: the real table and the real records, and of what comes in it takes the newest."""

    key: MemberKey
    dead: set[MemberId] = field(default_factory=set)
    heard: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.members = Members(self.key.id, said(self.key), 0.0)
        self.records = Records(RING, known=lambda member: self.members.get(member) is not None)

    def hear(self, announcement: Announcement) -> None:
        member = self.members.get(member_id(announcement.public))
        if member is None:
            self.members.admit(member_id(announcement.public), announcement, Health.ALIVE, 0.0)
        elif announcement[1:3] > member.announcement[1:3]:
            self.members.renew(member, announcement, Health.ALIVE, 0.0)

    def doubt(self, claim: Claim) -> None:
        member = self.members.get(claim.subject)
        if member is not None and (claim.generation, claim.incarnation) >= (member.generation, member.incarnation):
            self.members.judge(member, Health(claim.health), claim.incarnation, 0.0)

    def take(self, turn: Turn) -> Turn:
        self.heard.append(turn)
        for announcement in turn.announcements:
            self.hear(announcement)
        for claim in turn.claims:
            self.doubt(claim)
        for each in turn.records:
            self.records.merge(each)
        return turn

    def view(self) -> dict[MemberId, tuple[int, int, Health]]:
        return {each.id: (each.generation, each.incarnation, each.health) for each in self.members}


@dataclass
class Talk:
    """What went over the wire of one conversation."""

    frames: int = 0
    size: int = 0
    largest: int = 0

    def carry(self, value: object) -> Any:
        data = encode(value)
        self.frames += 1
        self.size += len(data)
        self.largest = max(self.largest, len(data))
        return decode(data, thing="frame", limit=RING_FRAME_MAX)


def converse(one: Side, two: Side, **purpose: Any) -> Talk:
    """To the end, through real bytes; each side takes in what comes as it comes."""
    talk = Talk()
    opener, other = Sync(one.members, one.records, opener=True, **purpose), Sync(two.members, two.records, opener=False)
    waiting = [(two, other, each) for each in opener.begin()]
    while waiting:
        side, sync, value = waiting.pop(0)
        turn = side.take(sync.frame(talk.carry(value)))
        assert not turn.fault
        to = (one, opener) if side is two else (two, other)
        waiting += [(*to, each) for each in turn.write]
    assert opener.state is other.state is State.OVER
    assert one.heard[-1].done
    assert two.heard[-1].done
    return talk


def filled(key: MemberKey, announcements: list[Announcement], records: list[Record], dead: list[MemberKey]) -> Side:
    side = Side(key)
    for announcement in announcements:
        side.hear(announcement)
    for each in dead:
        if (member := side.members.get(each.id)) is not None and member is not side.members.me:
            side.members.judge(member, Health.DEAD, member.incarnation, 0.0)
    for each_record in records:
        side.records.merge(each_record)
    side.records.refused.clear()
    return side


SIDES = st.tuples(
    st.lists(st.sampled_from(SAID), max_size=20),
    st.lists(st.sampled_from(POOL), max_size=30),
    st.lists(st.sampled_from(KEYS[2:]), max_size=4),
)


@given(SIDES, SIDES)
@settings(deadline=None)
def test_after_a_sync_both_hold_the_union(mine: Any, yours: Any) -> None:
    """Whatever the two held before: the same members, the same records, equal digests; and a second sync has nothing to say."""
    one, two = filled(KEYS[0], *mine), filled(KEYS[1], *yours)
    every = [*one.records.each(), *two.records.each()]
    expected = {
        member: max(held) for member in {*one.view(), *two.view()} if (held := [s.view()[member] for s in (one, two) if member in s.view()])
    }
    converse(one, two)
    assert one.view() == two.view() == expected
    union = Records(RING)
    for each in every:
        union.merge(each)
    assert one.records.digest == two.records.digest == union.digest
    assert not one.records.refused
    assert not two.records.refused
    talk = converse(one, two)
    assert (talk.frames, one.heard[-1], two.heard[-1].write) == (2, Turn(done=True), ([2],))


def test_equal_states_cost_two_small_frames() -> None:
    """Below 300 bytes with the codec's envelopes of some 90 bytes each."""
    one, two = filled(KEYS[0], SAID, POOL, []), filled(KEYS[1], SAID, POOL, [])
    converse(one, two)
    assert converse(one, two).size < 60


def test_a_ring_that_is_larger_than_a_frame_goes_over_in_pieces() -> None:
    """More members than an array may have, more facts than a frame, and the other way files: every frame within its limit."""
    one, two = Side(KEYS[0]), Side(KEYS[1])
    chance = random.Random(1)
    for number in range(9000):
        public = chance.randbytes(32)
        announcement = Announcement(public, 1, 0, b"session.", "192.0.2.1", 1 + number, "é" * 253, False, bytes(64))
        one.members.admit(member_id(public), announcement, Health.DEAD if number % 3 == 0 else Health.ALIVE, 0.0)
    for number in range(250):
        one.records.merge(record(KEYS[0], f"{fact_prefix(KEYS[0].id)}service/{number}", (1, number), bytes(1500)))
    for each in POOL[-5:]:
        two.records.merge(each)
    talk = converse(one, two)
    assert one.view() == two.view()
    assert len(two.members) == 9002
    assert one.records.digest == two.records.digest
    assert len(one.records) == 255
    assert talk.largest < RING_FRAME_MAX - 2000
    assert talk.frames > 20


def test_what_is_beyond_the_bytes_of_one_conversation_comes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress every time; the end is the same."""
    monkeypatch.setattr(module, "RING_SYNC_BYTES", 300_000)
    one, two = Side(KEYS[0]), Side(KEYS[1])
    for each in POOL[-5:]:
        one.records.merge(each)
    counts = [len(two.records)]
    while one.records.digest != two.records.digest:
        assert converse(one, two).size < 400_000
        counts.append(len(two.records))
    assert counts == [0, 2, 4, 5]


def test_a_bucket_that_is_larger_than_a_frame_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared when its last piece has come: half a bucket would look as if the rest were missing."""
    one, two = filled(KEYS[0], SAID, POOL[:40], []), filled(KEYS[1], SAID, POOL[14:-5], [])
    frames_before = converse(filled(KEYS[0], SAID, POOL[:40], []), filled(KEYS[1], SAID, POOL[14:-5], [])).frames
    both = set(one.records.each()) & set(two.records.each())
    monkeypatch.setattr(frames, "ROOM", 2 * frames.RECORD.size)
    talk = converse(one, two)
    assert one.records.digest == two.records.digest
    assert talk.frames > 2 * frames_before
    sent = [record for turn in (*one.heard, *two.heard) for record in turn.records]
    assert len(sent) == len(set(sent))
    assert both
    assert not both & set(sent)


def test_announcements_come_before_the_facts_that_need_them() -> None:
    """A fact of an unknown member does not count, so nothing is lost only when the order is kept, in both directions."""
    one = filled(KEYS[0], [said(KEYS[2])], [record(KEYS[2], fact_prefix(KEYS[2].id) + "a", (1, 1))], [])
    two = filled(KEYS[1], [said(KEYS[3])], [record(KEYS[3], fact_prefix(KEYS[3].id) + "a", (1, 1))], [])
    converse(one, two)
    assert len(one.records) == len(two.records) == 2


def test_a_death_and_a_departure_are_told() -> None:
    """The death as a claim by who tells it, the departure by its document, even where digests of records are equal."""
    note = record(KEYS[0], departed_key(KEYS[3].id), (1, 0))
    one = filled(KEYS[0], [said(KEYS[2], 2, 7), said(KEYS[3])], [note], [KEYS[2]])
    departed = one.members.get(KEYS[3].id)
    assert departed is not None
    one.members.judge(departed, Health.DEPARTED, 0, 0.0)
    two = filled(KEYS[1], [said(KEYS[2], 2, 7), said(KEYS[3])], [note], [])
    converse(one, two)
    claims = [claim for turn in two.heard for claim in turn.claims]
    assert claims == [Claim(Health.DEAD, KEYS[2].id, 2, 7, KEYS[0].id)]
    assert [each for turn in two.heard for each in turn.records] == [note]


@pytest.mark.parametrize(
    ("ours", "theirs", "lacking", "wanted"),
    [
        ([], [], 0, 0),
        ([(ID, 1, 0, 0)], [], 1, 0),
        ([], [(ID, 1, 0, 0)], 0, 1),
        ([(ID, 1, 0, 0)], [(ID, 1, 0, 0)], 0, 0),
        ([(ID, 2, 0, 0)], [(ID, 1, 9, 2)], 1, 0),
        ([(ID, 1, 0, 2)], [(ID, 1, 1, 0)], 0, 1),
        ([(ID, 1, 0, 2)], [(ID, 1, 0, 0)], 1, 0),
        ([(ID, 1, 0, 3)], [(ID, 1, 5, 0)], 1, 1),  # it has departed, and we lack its later words
        ([(ID, 1, 0, 3)], [(ID, 2, 0, 0)], 0, 1),  # it has come back
    ],
)
def test_the_greater_standing_is_news(ours: Any, theirs: Any, lacking: int, wanted: int) -> None:
    assert compare(ours, theirs) == ([ID] * lacking, [ID] * wanted)


# --- fetch and ping


def test_a_fetch_brings_what_counts_of_each_key() -> None:
    """Not the history: that is for a sync. What is not there is left out."""
    two = filled(KEYS[1], [], POOL, [])
    one = Side(KEYS[0])
    converse(
        one, two, want=["group/redis.default/config", "group/none.default/config", *(f"group/web.default/file/{name}" for name in "abcde")]
    )
    assert [each.version.major for each in one.records.history("group/redis.default/config")] == [14]
    assert len(one.records.keys("group/web.default/file/")) == 5
    assert len(one.records) == 6


def test_a_fetch_asks_for_as_many_keys_as_fit() -> None:
    opener = Sync(Side(KEYS[0]).members, Records(RING), opener=True, want=[f"{number:0512}" for number in range(RING_FETCH_KEYS + 1)])
    (frame,) = opener.begin()
    assert len(encode(frame)) < RING_FRAME_MAX
    assert isinstance(frames.read(frame), frames.Fetch)


def test_a_ping_is_answered_by_whoever_is_there() -> None:
    """With its own id: a stranger on a reused address is seen to be one (demands 9)."""
    one, two = Side(KEYS[0]), Side(KEYS[1])
    converse(one, two, ping=KEYS[5].id)
    assert one.heard[-1].member == KEYS[1].id
    assert one.heard[-1].done


# --- what others may send

BUCKET = bucket_of(ID)
MEMBERS = frames.join_members([(ID, 1, 0, 0)])
BODIES = frames.join_records([])
NOTHING = Give((), (), (), b"", b"", False)


@cache  # a conversation changes nothing
def who(opener: bool) -> Side:
    return filled(KEYS[0], SAID, POOL, []) if opener else filled(KEYS[1], [], [], [])


def conversation(opener: bool, state: State) -> Sync:
    """A side that waits in a state, as a real conversation would bring it there."""
    side = who(opener)
    sync = Sync(side.members, side.records, opener=opener, ping=ID if state is State.PONG else None)
    if opener:
        sync.begin()
    frames_to: dict[tuple[bool, State], list[Frame]] = {
        (True, State.GO_ASK): [Sums(bytes(1024), bytes(1024))],
        (True, State.GIVE): [Sums(bytes(1024), bytes(1024))],
        (True, State.GO_GIVE): [Sums(bytes(1024), bytes(1024)), everything()],
        (False, State.ASK): [frames.Sync(bytes(16), bytes(16))],
        (False, State.GO_GIVE): [frames.Sync(bytes(16), bytes(16)), Ask((Part(False, BUCKET, MEMBERS * 16_000, True),), False)],
        (False, State.GIVE): [frames.Sync(bytes(16), bytes(16)), Ask((), False)],
    }
    for frame in frames_to.get((opener, state), []):
        sync.frame(plain(frame))
    return sync


def everything() -> Give:
    """As somebody who wants all that there is."""
    side = who(True)
    wanted = [frames.WANT.pack(entry.key, entry.digest) for bucket in range(64) for entry in side.records.entries(bucket)]
    return Give((), (), (), b"".join(side.view()), b"".join(wanted), False)


STATES = [
    (True, State.SUMS),
    (True, State.GIVE),
    (True, State.GO_GIVE),
    (True, State.PONG),
    (True, State.OVER),
    (False, State.OPENING),
    (False, State.ASK),
    (False, State.GIVE),
    (False, State.OVER),
]
EACH: list[Frame] = [
    frames.Sync(bytes(16), bytes(16)),
    Same(),
    Sums(bytes(1024), b""),
    Ask((), False),
    NOTHING,
    Go(),
    frames.Fetch(()),
    Ping(ID),
    Pong(ID),
]


@pytest.mark.parametrize(("opener", "state"), STATES)
@pytest.mark.parametrize("frame", EACH, ids=lambda frame: type(frame).__name__)
def test_a_frame_out_of_turn_ends_the_conversation(opener: bool, state: State, frame: Frame) -> None:
    """Every frame in every state is either in the table or a counted end; a replayed one is the latter."""
    sync = conversation(opener, state)
    if state is State.OVER:
        sync.state = State.OVER
    assert sync.state is state
    turn = sync.frame(plain(frame))
    if (opener, state, type(frame)) in module.TURNS:
        assert not turn.fault
        assert turn.write or turn.done
    else:
        assert turn == Turn(done=True, fault=Fault.TURN)
        assert sync.state is State.OVER


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        7,
        [0],
        [10],
        [True, b"", b""],
        [1],
        [1, b"", b""],
        [1, bytes(16), bytes(16), 0],
        [1, "text", bytes(16)],
        [2, 0],
        [3, bytes(1023), b""],
        [4, [], 0],
        [4, [[False, 64, b"", True]], False],
        [4, [[False, -1, b"", True]], False],
        [4, [[False, 0, bytes(32), True]], False],
        [4, [[True, 0, bytes(41), True]], False],
        [4, [[False, 0, b"", True]] * 129, False],
        [4, [[False, 0]], False],
        [5, [], [], [], b"", b""],
        [5, [[]], [], [], b"", b"", False],
        [5, [], [[0, ID, 1, 0, ID]], [], b"", b"", False],
        [5, [], [[3, ID, 1, 0, ID]], [], b"", b"", False],
        [5, [], [[[], ID, 1, 0, ID]], [], b"", b"", False],
        [5, [], [], [["k", [1, 0], b"", b"", None]], b"", b"", False],
        [5, [], [], [["k", [1, 1 << 63], bytes(32), bytes(64), None]], b"", b"", False],
        [5, [], [], [], b"1", b"", False],
        [5, [], [], [], b"", bytes(31), False],
        [6, None],
        [7, ["k"] * (RING_FETCH_KEYS + 1)],
        [7, ["k" * 513]],
        [7, [b"k"]],
        [8, b"short"],
        [9, ID, ID],
    ],
)
def test_a_frame_of_a_wrong_shape_ends_the_conversation(value: object) -> None:
    for opener, state in STATES:
        assert conversation(opener, state).frame(value) == Turn(done=True, fault=Fault.SHAPE)


@pytest.mark.parametrize(
    ("asks", "fault"),
    [
        ([Ask((Part(False, BUCKET, MEMBERS, True), Part(False, BUCKET, MEMBERS, True)), False)], Fault.BUCKET),
        ([Ask((Part(False, BUCKET, MEMBERS, True),), True), Ask((Part(False, BUCKET, MEMBERS, True),), True)], Fault.BUCKET),
        ([Ask((Part(False, BUCKET + 1, MEMBERS, True),), False)], Fault.BUCKET),
        ([Ask((Part(True, 1, frames.RECORD.pack(bytes(16), 1, 0, ID), True),), False)], Fault.BUCKET),
        ([Ask((Part(False, BUCKET, MEMBERS, False), Part(False, BUCKET + 1, b"", True)), False)], Fault.BUCKET),
        ([Ask((Part(False, BUCKET, MEMBERS, False),), False)], Fault.BUCKET),
        ([Ask((Part(False, BUCKET, MEMBERS * 6000, False),), True)] * 3, Fault.SIZE),
        ([Ask((), True)] * RING_SYNC_FRAMES, Fault.SIZE),
    ],
)
def test_entries_that_nobody_would_send_end_the_conversation(asks: list[Ask], fault: Fault) -> None:
    """Twice, elsewhere, without end, or no end at all."""
    sync = conversation(False, State.ASK)
    turn = Turn()
    for ask in asks:
        assert not turn.done
        turn = sync.frame(plain(ask))
    assert turn == Turn(done=True, fault=fault)


def test_who_sends_for_ever_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING_SYNC_BYTES", 1_000_000)
    sync = conversation(True, State.GIVE)
    gift = plain(Give((), (), (POOL[-1],), b"", b"", True))
    turns = 0
    while not (turn := sync.frame(gift)).done:
        turns += 1
    assert (turn.fault, turns) == (Fault.SIZE, 7)


def test_who_asks_for_the_same_thing_a_thousand_times_gets_it_once() -> None:
    """No frame is worth more than what there is: a stream is no amplifier."""
    one = filled(KEYS[0], SAID, POOL, [])
    sync = Sync(one.members, one.records, opener=True)
    sync.begin()
    sync.frame(plain(Sums(bytes(1024), bytes(1024))))
    entry = next(entry for bucket in range(64) for entry in one.records.entries(bucket))
    want = Give((), (), (), KEYS[0].id * 1000 + bytes(16), frames.WANT.pack(entry.key, entry.digest) * 1000 + bytes(32), False)
    turn = sync.frame(plain(want))
    gift = frames.read(turn.write[0])
    assert isinstance(gift, Give)
    assert (len(gift.announcements), len(gift.records), turn.done) == (1, 1, True)


def test_who_was_told_all_has_nothing_to_ask_for() -> None:
    sync = conversation(False, State.GIVE)
    assert sync.frame(plain(NOTHING._replace(members_wanted=ID))).fault == Fault.TURN


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=70)
    | st.text(max_size=5)
    | st.sampled_from([bytes(16), bytes(32)]),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


@given(
    st.sampled_from(STATES),
    st.lists(st.builds(lambda word, rest: [word, *rest], st.integers(0, 10), st.lists(VALUES, max_size=6)), max_size=5),
)
@settings(deadline=None)
def test_no_value_makes_an_exception(where: tuple[bool, State], values: list[Any]) -> None:
    """Anything that msgpack can carry, in every state: an answer or an end, and after the end only the end."""
    sync, ended = conversation(*where), False
    for value in values:
        turn = sync.frame(value)
        assert not (ended and not turn.fault)
        ended = ended or turn.done


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_a_real_conversation_with_one_changed_value_ends_or_goes_on(data: st.DataObject) -> None:
    """Frames that are nearly right, at every place of a real exchange: no exception, no endless exchange."""
    one, two = filled(KEYS[0], SAID[:10], POOL[:20], [KEYS[3]]), filled(KEYS[1], SAID[10:], POOL[20:], [])
    opener, other = Sync(one.members, one.records, opener=True), Sync(two.members, two.records, opener=False)
    at = data.draw(st.integers(0, 6))
    waiting: list[tuple[Side, Sync, Any]] = [(two, other, each) for each in opener.begin()]
    for count in range(40):
        if not waiting:
            break
        side, sync, value = waiting.pop(0)
        if count == at:
            value = decode(encode(value), thing="frame")
            where: Any = value
            while isinstance(where, list) and where:
                index = data.draw(st.integers(0, len(where) - 1))
                if not isinstance(where[index], list) or data.draw(st.booleans()):
                    where[index] = data.draw(VALUES)
                    break
                where = where[index]
        turn = side.take(sync.frame(value))
        to = (one, opener) if side is two else (two, other)
        waiting += [(*to, each) for each in turn.write]
    assert not waiting
