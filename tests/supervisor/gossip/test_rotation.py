"""Rotation: at every step those who talk understand each other, and nobody is left behind without being named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import ConflictError, FormatError, InputError, LimitError, NotFoundError
from hart.limits import RING_KEYS_MAX, RING_KEYS_REMOVED
from hart.wire import encode
from supervisor.gossip import rotation
from supervisor.gossip.identity import MemberKey, sign_record
from supervisor.gossip.keyring import UDP, Keyring, Reason, Refused, key_id
from supervisor.gossip.messages import Record, Version
from supervisor.gossip.rotation import DOCUMENT, Issued, RingKeys, Uses

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
OLD, NEW, OWN = (Issued(f"2026010{number}000000", bytes([number]) * 32) for number in (1, 2, 3))
BOTH = RingKeys(OLD.id, (NEW, OLD))


def issued(*numbers: int) -> tuple[Issued, ...]:
    return tuple(Issued(f"{number:014}", number.to_bytes(32, "big")) for number in sorted(numbers, reverse=True))


def record(keys: RingKeys | bytes | None) -> Record:
    body = rotation.write(keys) if isinstance(keys, RingKeys) else keys
    return sign_record(MemberKey(b"m" * 32), ring=b"ringring", record_key=DOCUMENT, version=Version(1, 0), body=body)


def raw_body(**changes: Any) -> bytes:
    whole = {
        "primary": OLD.id,
        "keys": {OLD.id: OLD.raw, NEW.id: NEW.raw},
        "revisions": {OLD.id: OLD.revision, NEW.id: NEW.revision},
        "removed": [],
    }
    return encode(whole | changes)


# --- the document and the facts


@given(st.sets(st.integers(1, 10**9), min_size=1, max_size=RING_KEYS_MAX), st.lists(st.binary(min_size=8, max_size=8), max_size=9))
def test_a_document_comes_back_as_it_was_written(numbers: set[int], removed: list[bytes]) -> None:
    every = issued(*numbers)
    keys = RingKeys(every[-1].id, every, tuple(removed))
    assert rotation.read(rotation.write(keys)) == keys


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xc1", encode([1]), encode({}), raw_body(keys={}), raw_body(keys=[]), raw_body(keys={OLD.id: b"short"}),
        raw_body(keys={OLD.id: NEW.raw}), raw_body(keys={"text": OLD.raw}), raw_body(primary=OWN.id), raw_body(primary=None),
        raw_body(primary=[1]), raw_body(revisions={}), raw_body(revisions={OLD.id: "2026", NEW.id: NEW.revision}),
        raw_body(revisions=None), raw_body(removed=None), raw_body(removed=[b"short"]), raw_body(removed=[b"12345678"] * 65),
        raw_body(keys={key_id(bytes([n]) * 32): bytes([n]) * 32 for n in range(6)}),
    ],
)  # fmt: skip
def test_a_document_that_is_none_is_refused_and_changes_no_keyring(body: bytes) -> None:
    """A member that holds the key can write anything there; the ring goes on with what it has."""
    with pytest.raises(InputError):
        rotation.read(body)
    with pytest.raises(InputError):
        rotation.adopt(Keyring("ring", OLD.raw), record(body))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_an_input_error(body: bytes) -> None:
    with pytest.raises(InputError):
        rotation.read(body)
    assert rotation.who_uses([(A, body)]) == {}


def test_who_uses_which_is_read_from_the_members_facts() -> None:
    """Who tells nothing, or nonsense, is not in the table: it is not seen to hold anything."""
    body = rotation.fact(Keyring("ring", OLD.raw, (NEW.raw,)))[rotation.FACT]
    nonsense = encode({"primary": NEW.id, "held": [OLD.id]})
    table = rotation.who_uses([(A, body), (B, None), (C, nonsense)])
    assert table == {A: Uses(OLD.id, (OLD.id, NEW.id))}
    assert rotation.without(NEW.id, table, [A, B, C]) == [B, C]
    assert rotation.sealing(NEW.id, table, [A, B]) == [B]
    assert rotation.sealing(OLD.id, table, [A]) == [A]
    assert rotation.fact(Keyring("ring")) == {}


# --- what members make of it


def test_adopting_each_step_leaves_members_one_step_apart_understanding_each_other() -> None:
    """Whoever is a step behind or ahead: both directions, as long as every step waited for the one before."""
    first = Keyring("ring", OLD.raw)
    added = rotation.add(rotation.as_document(first, {OLD.raw: OLD.revision}), NEW)
    used = rotation.use(added, NEW.id, lacking=[])
    removed = rotation.remove(used, OLD.id, using=[])
    second, third = rotation.adopt(first, record(added)), rotation.adopt(rotation.adopt(first, record(added)), record(used))
    fourth = rotation.adopt(third, record(removed))
    for one, other in ((first, second), (second, third), (third, fourth)):
        for sender, receiver in ((one, other), (other, one)):
            assert receiver.open(sender.seal(b"text", purpose=UDP, nonce=bytes(24)), purpose=UDP) == b"text"
    assert [each.primary_id for each in (first, second, third, fourth)] == [OLD.id, OLD.id, NEW.id, NEW.id]
    assert fourth.keys == (NEW.raw,)
    with pytest.raises(Refused) as caught:
        fourth.open(first.seal(b"text", purpose=UDP, nonce=bytes(24)), purpose=UDP)
    assert caught.value.reason is Reason.KEY


def test_a_member_that_missed_the_steps_between_takes_the_last_one() -> None:
    """Documents need not all arrive: each says everything."""
    last = RingKeys(NEW.id, (NEW,), (OLD.id,))
    assert rotation.adopt(Keyring("ring", OLD.raw), record(last)).keys == (NEW.raw,)


def test_keys_that_the_document_does_not_know_still_open_and_never_push_out_its_own() -> None:
    own = tuple(each.raw for each in issued(*range(1, RING_KEYS_MAX)))
    adopted = rotation.adopt(Keyring("ring", OWN.raw, own), record(BOTH))
    assert adopted.primary == OLD.raw
    assert adopted.keys[:3] == (OLD.raw, NEW.raw, OWN.raw)
    assert len(adopted.keys) == RING_KEYS_MAX


def test_a_ring_without_a_key_gets_none_and_a_withdrawn_document_changes_nothing() -> None:
    bare, sealed = Keyring("ring"), Keyring("ring", OLD.raw)
    assert rotation.adopt(bare, record(BOTH)) is bare
    assert rotation.adopt(sealed, record(None)) is sealed


@pytest.mark.parametrize(
    ("cached", "document", "expected"),
    [
        ((), None, ()),
        ((OLD, NEW), None, (NEW, OLD)),  # as Habitat: the latest
        ((OLD, NEW), BOTH, (OLD, NEW)),  # added, not used yet
        ((OLD,), BOTH, (OLD, NEW)),  # its cache could not be written
        ((OLD, NEW), RingKeys(NEW.id, (NEW,), (OLD.id,)), (NEW,)),  # a removed key stays removed, also when its file is there
        ((OLD, NEW), RingKeys(OLD.id, (OLD,), (NEW.id,)), (OLD,)),  # also the latest
        ((OLD, OWN), BOTH, (OWN, OLD, NEW)),  # brought by hand: the ring went on without this host
        ((Issued("2020" + "0" * 10, OWN.raw),), BOTH, (OLD, NEW, Issued("", OWN.raw))),  # an old one only opens
    ],
)  # fmt: skip
def test_a_process_begins_with_the_keys_that_its_host_knows_to_be_right(
    cached: tuple[Issued, ...], document: RingKeys | None, expected: tuple[Issued, ...]
) -> None:
    assert rotation.begin("ring", cached, document).keys == tuple(each.raw for each in expected)


@given(st.sets(st.integers(1, 30), max_size=9), st.sets(st.integers(1, 30), min_size=1, max_size=RING_KEYS_MAX))
def test_beginning_never_has_too_many_keys_and_always_the_one_that_the_ring_uses(cached: set[int], known: set[int]) -> None:
    every = issued(*known)
    document = RingKeys(every[-1].id, every)
    keyring = rotation.begin("ring", issued(*cached), document)
    assert len(keyring.keys) <= RING_KEYS_MAX
    assert every[-1].raw in keyring.keys


# --- what a person may do


def test_a_new_key_must_be_another_later_one_within_the_limit() -> None:
    keys = RingKeys(OLD.id, (OLD,), (OWN.id,))
    assert rotation.add(keys, NEW) == RingKeys(OLD.id, (NEW, OLD), (OWN.id,))
    with pytest.raises(ConflictError, match="already"):
        rotation.add(keys, Issued(NEW.revision, OLD.raw))
    with pytest.raises(ConflictError, match="was removed"):
        rotation.add(keys, OWN)
    with pytest.raises(ConflictError, match="is not later"):
        rotation.add(keys, Issued(OLD.revision, NEW.raw))
    full = issued(*range(1, RING_KEYS_MAX + 1))
    with pytest.raises(LimitError, match="more than 5"):
        rotation.add(RingKeys(full[0].id, full), NEW)


def test_a_key_is_used_only_when_all_who_live_hold_it_unless_forced() -> None:
    assert rotation.use(BOTH, NEW.id, lacking=[]).primary == NEW.id
    with pytest.raises(ConflictError, match=r"is not seen with h1, h2, h3, h4, h5 and 2 more: they would no longer"):
        rotation.use(BOTH, NEW.id, lacking=[f"h{number}" for number in range(1, 8)])
    assert rotation.use(BOTH, NEW.id, lacking=["h1"], force=True).primary == NEW.id
    with pytest.raises(NotFoundError):
        rotation.use(BOTH, OWN.id, lacking=[], force=True)


def test_a_key_is_removed_only_when_nobody_who_lives_uses_it_and_never_the_primary() -> None:
    used = RingKeys(NEW.id, BOTH.keys)
    assert rotation.remove(used, OLD.id, using=[]) == RingKeys(NEW.id, (NEW,), (OLD.id,))
    with pytest.raises(ConflictError, match="may still be used by h2"):
        rotation.remove(used, OLD.id, using=["h2"])
    assert rotation.remove(used, OLD.id, using=["h2"], force=True).keys == (NEW,)
    with pytest.raises(ConflictError, match="is the one in use"):
        rotation.remove(used, NEW.id, using=[], force=True)
    with pytest.raises(NotFoundError):
        rotation.remove(used, OWN.id, using=[])


def test_of_removed_keys_so_many_are_remembered() -> None:
    keys = RingKeys(NEW.id, BOTH.keys, tuple(bytes([number]) * 8 for number in range(RING_KEYS_REMOVED)))
    removed = rotation.remove(keys, OLD.id, using=[]).removed
    assert (len(removed), removed[:2]) == (RING_KEYS_REMOVED, (OLD.id, bytes(8)))


def test_a_person_names_a_key_by_its_name_its_revision_or_the_beginning_of_its_id() -> None:
    for text in (f"prod-{NEW.revision}", NEW.revision, NEW.id.hex(), NEW.id.hex()[:4].upper()):
        assert rotation.find(BOTH, text, ring="prod") == NEW
    with pytest.raises(NotFoundError, match="is not a key"):
        rotation.find(BOTH, NEW.id.hex()[:3], ring="prod")
    with pytest.raises(NotFoundError, match="was removed"):
        rotation.find(RingKeys(NEW.id, (NEW,), (OLD.id,)), OLD.id.hex()[:8], ring="prod")
    twins = RingKeys(OLD.id, (Issued(NEW.revision, OWN.raw), NEW, OLD))
    with pytest.raises(ConflictError, match="could be one of"):
        rotation.find(twins, NEW.revision, ring="prod")


@pytest.mark.parametrize(
    ("latest", "now", "expected"),
    [
        ("20260101000000", "20260401120000", "20260401120000"),
        ("20260101000000", "20260101000000", "20260101000001"),
        ("20300101000000", "20260401120000", "20300101000001"),  # made on a host whose clock was ahead
    ],
)
def test_a_new_revision_is_later_than_all_others(latest: str, now: str, expected: str) -> None:
    assert rotation.next_revision(RingKeys(OLD.id, (Issued(latest, OLD.raw),)), now) == expected


def test_the_end_of_the_revisions_is_an_error() -> None:
    with pytest.raises(LimitError):
        rotation.next_revision(RingKeys(OLD.id, (Issued("9" * 14, OLD.raw),)), "20260401120000")


def test_the_document_of_a_ring_that_has_none_is_made_of_a_members_keys() -> None:
    """A key whose file is gone is older than all that are there."""
    made = rotation.as_document(Keyring("ring", NEW.raw, (OLD.raw,)), {NEW.raw: NEW.revision})
    assert made == RingKeys(NEW.id, (NEW, Issued("0" * 14, OLD.raw)))
    with pytest.raises(ConflictError, match="has no key"):
        rotation.as_document(Keyring("ring"), {})


def test_a_key_brought_by_hand_joins_the_document_and_stays_the_one_in_use() -> None:
    """A process that began with it goes on from there, never back."""
    keyring = rotation.begin("ring", (OLD, NEW, OWN), BOTH)
    assert rotation.as_used(BOTH, keyring, {OWN.raw: OWN.revision}) == RingKeys(OWN.id, (OWN, NEW, OLD))
    assert rotation.as_used(BOTH, Keyring("ring", OLD.raw), {}) is BOTH
    assert rotation.as_used(BOTH, Keyring("ring"), {}) is BOTH
    full = RingKeys(issued(1)[0].id, issued(*range(1, RING_KEYS_MAX + 1)))
    assert len(rotation.as_used(full, Keyring("ring", OWN.raw), {}).keys) == RING_KEYS_MAX


def test_a_key_is_never_in_its_own_text() -> None:
    """What a traceback or log would show."""
    assert OLD.raw.hex() not in repr(BOTH)
    assert repr(OLD.raw) not in repr(BOTH)
    with pytest.raises(FormatError) as caught:
        rotation.read(raw_body(primary=OWN.id))
    assert repr(OLD.raw) not in str(caught.value)
