"""`stead ring key list | add | use | remove` on the supervisor's side: refused before anything changes, told who has not followed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hart import wire
from hart.errors import ConflictError, FormatError, LimitError, NotFoundError
from hart.keys import KeyCache, KeyName, RingKey
from hart.wire import encode
from supervisor import clock, ring_keys
from supervisor.gossip import rotation
from supervisor.gossip.identity import MemberKey, announce, sign_record
from supervisor.gossip.keyring import Keyring, key_id
from supervisor.gossip.kinds import fact_prefix
from supervisor.gossip.messages import Health, Learned, Record, Version
from supervisor.gossip.rotation import DOCUMENT, Issued, begin
from supervisor.request import Request
from tests.supervisor.gatehouse import KEYS, RING, House, house

FIRST, OTHER = (key_id(raw) for raw in KEYS)
BROUGHT = RingKey(KeyName(RING, "20990101000000"), b"b" * 32)


@pytest_asyncio.fixture
async def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        adopt_as_ring_does(made, monkeypatch)
        yield made


def adopt_as_ring_does(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document is drafted and counted by the real node; what supervisor/ring.py does with what was learned."""
    ring = made.ring

    async def put(key: str, body: bytes | None, *, expect: int | None) -> Record:
        record = ring.node.draft(key, body, expect=expect, now=clock.now())
        for effect in ring.node.adopt(record, clock.now()):
            if isinstance(effect, Learned):
                ring.keyring = rotation.adopt(ring.keyring, effect.record)
        made.announce()
        return record

    monkeypatch.setattr(ring, "put", put, raising=False)


async def told(found: House, command: str, **fields: Any) -> tuple[Any, list[str]]:
    """The result as it comes over the control socket, and what was said; no key is ever in either."""
    said: list[str] = []
    result = await ring_keys.COMMANDS[f"ring key {command}"](found.host, Request({"wait_s": 0} | fields), said.append)
    sent = wire.encode([result, said])
    document = found.ring.node.records.get(DOCUMENT)
    raws = [each.raw for each in rotation.read(document.body).keys] if document and document.body else []
    assert not any(raw in sent or raw.hex().encode() in sent for raw in (*KEYS, *raws))
    return wire.decode(sent, thing="result")[0], said


def meet(found: House, number: int, name: str, keyring: Keyring | None, health: Health = Health.ALIVE) -> None:
    """A member that tells of these keys."""
    member = found.ring.meet(number, name, health=health)
    key = MemberKey(bytes([number]) * 31 + b"\0")
    if keyring is not None:
        tell(found, key, keyring, 1)
    assert member.id == key.id


def tell(found: House, key: MemberKey, keyring: Keyring, counter: int) -> None:
    record = sign_record(
        key,
        ring=found.ring.keyring.ring_id,
        record_key=f"{fact_prefix(key.id)}{rotation.FACT}",
        version=Version(1, counter),
        body=rotation.fact(keyring)[rotation.FACT],
    )
    found.ring.node.adopt(record, clock.now())
    found.announce()


@pytest.mark.asyncio
async def test_a_ring_that_never_changed_its_keys_shows_those_of_this_member(found: House) -> None:
    meet(found, 2, "h2", None)
    shown, _ = await told(found, "list")
    assert (shown["ring"], shown["members"], shown["removed"]) == (RING, 2, [])
    rows = {row["id"]: row for row in shown["keys"]}
    assert set(rows) == {FIRST.hex(), OTHER.hex()}
    assert rows[FIRST.hex()]["in_use"]
    assert [each.split()[0] for each in rows[FIRST.hex()]["used_by"]] == ["h1"]
    assert [each.split()[0] for each in rows[FIRST.hex()]["lacking"]] == ["h2"]


@pytest.mark.asyncio
async def test_add_makes_a_key_that_opens_and_says_who_has_not_got_it_yet(found: House) -> None:
    meet(found, 2, "h2", found.ring.keyring)
    result, said = await told(found, "add")
    assert bytes.fromhex(result["key"]) in found.ring.keyring.key_ids
    assert found.ring.keyring.primary_id == FIRST
    assert [each.split()[0] for each in result["waiting_for"]] == ["h2"]
    assert "1 of 2 members have it; not yet: h2" in said[-2]
    assert said[-1] == f"to seal with it: stead ring key use {result['key']}"


@pytest.mark.asyncio
async def test_add_is_done_when_the_living_members_have_it(found: House) -> None:
    """It waits for their facts, and not for those who are dead."""
    meet(found, 2, "h2", found.ring.keyring)
    meet(found, 3, "h3", found.ring.keyring, Health.DEAD)
    found.tasks.create_task(follow(found, found.ring.keyring, MemberKey(bytes([2]) * 31 + b"\0")))
    result, _ = await told(found, "add", wait_s=30)
    assert (result["waiting_for"], result["members"]) == ([], 2)


async def follow(found: House, before: Keyring, key: MemberKey) -> None:
    """A member that does as this one does, a moment later; `before` is from when nothing was asked yet, which this task may be late for."""
    while found.ring.keyring is before:
        await found.changed.wait()
    tell(found, key, found.ring.keyring, 2)


@pytest.mark.asyncio
async def test_add_takes_a_key_of_the_cache_that_is_of_this_ring(found: House) -> None:
    cache = KeyCache(found.root.keys)
    cache.store(BROUGHT)
    cache.store(RingKey(KeyName("test", "20990101000000"), b"t" * 32))
    result, _ = await told(found, "add", key=str(BROUGHT.key))
    assert (result["key"], result["revision"]) == (key_id(BROUGHT.raw).hex(), BROUGHT.key.revision)
    for name, error in (("test-20990101000000", ConflictError), ("prod-20980101000000", NotFoundError), ("prod", FormatError)):
        with pytest.raises(error):
            await told(found, "add", key=name)
    with pytest.raises(ConflictError, match="already"):
        await told(found, "add", key=str(BROUGHT.key))


@pytest.mark.asyncio
async def test_nobody_who_lives_is_left_behind_unless_it_is_forced(found: House) -> None:
    """The others are named, and so are those who are away."""
    meet(found, 2, "h2", Keyring(RING, KEYS[0]))
    meet(found, 3, "h3", Keyring(RING, KEYS[0]), Health.DEAD)
    with pytest.raises(ConflictError, match=r"is not seen with h2 \("):
        await told(found, "use", key=OTHER.hex())
    assert found.ring.node.records.get(DOCUMENT) is None
    assert found.ring.keyring.primary_id == FIRST
    _, said = await told(found, "use", key=OTHER.hex(), force=True)
    assert said[0].startswith("away, and without it: h3 (")
    assert found.ring.keyring.primary_id == OTHER
    with pytest.raises(ConflictError, match=r"may still be used by h2 \("):
        await told(found, "remove", key=FIRST.hex())
    result, said = await told(found, "remove", key=FIRST.hex(), force=True)
    assert said[0].startswith("away, and seen with it last: h3 (")
    assert [each.split()[0] for each in result["waiting_for"]] == ["h2"]
    assert found.ring.keyring.key_ids == (OTHER,)
    assert (await told(found, "list"))[0]["removed"] == [FIRST.hex()]


@pytest.mark.asyncio
async def test_who_was_shut_down_is_named_too_and_who_was_told_to_go_is_not(found: House) -> None:
    """A host that is shut down says goodbye, and will be started again with the keys that it had."""
    gone = found.ring.meet(2, "h2")
    found.ring.node.members.judge(gone, Health.DEPARTED, 0, clock.now())
    key = MemberKey(bytes([3]) * 31 + b"\0")
    said = announce(
        key,
        ring=found.ring.keyring.ring_id,
        generation=1,
        incarnation=0,
        session=b"12345678",
        host="::1",
        port=1,
        name="h3",
        departing=True,
    )
    found.ring.node.members.admit(key.id, said, Health.DEPARTED, clock.now())
    _, lines = await told(found, "use", key=OTHER.hex())
    assert lines[0].startswith("away, and without it: h3 (")
    assert "h2" not in lines[0]


@pytest.mark.asyncio
async def test_a_key_that_was_brought_by_hand_stays_in_use_when_the_one_before_is_removed(found: House) -> None:
    """So a ring is closed to somebody who has its key: no document leads back to that key, and nothing is sealed with it."""
    await told(found, "use", key=OTHER.hex())
    KeyCache(found.root.keys).store(BROUGHT)
    document = found.ring.node.records.get(DOCUMENT)
    assert document is not None
    assert document.body is not None
    by_hand = begin(RING, [Issued(BROUGHT.key.revision, BROUGHT.raw)], rotation.read(document.body))
    found.ring.keyring = by_hand
    assert by_hand.primary == BROUGHT.raw
    await told(found, "remove", key=OTHER.hex())
    assert found.ring.keyring.keys == (BROUGHT.raw, KEYS[0])
    await told(found, "remove", key=FIRST.hex())
    assert found.ring.keyring.keys == (BROUGHT.raw,)


@pytest.mark.asyncio
async def test_the_one_in_use_is_not_removed_and_what_is_no_key_is_told(found: House) -> None:
    with pytest.raises(ConflictError, match="is the one in use"):
        await told(found, "remove", key=FIRST.hex(), force=True)
    with pytest.raises(NotFoundError, match="is not a key of the ring"):
        await told(found, "use", key="abcdef", force=True)


@pytest.mark.asyncio
async def test_a_ring_holds_five_keys(found: House) -> None:
    for _ in range(3):
        await told(found, "add")
    with pytest.raises(LimitError, match="more than 5") as caught:
        await told(found, "add")
    assert "stead ring key remove" in caught.value.next


@pytest.mark.asyncio
async def test_a_document_that_nobody_can_read_is_replaced_and_that_is_said(found: House) -> None:
    ring = found.ring
    ring.node.adopt(ring.node.draft(DOCUMENT, encode(["nonsense"]), expect=None, now=clock.now()), clock.now())
    _, said = await told(found, "add")
    assert "is replaced" in said[0]
    assert len(ring.keyring.keys) == 3


@pytest.mark.asyncio
async def test_a_ring_without_a_key_has_none_to_change(tmp_path: Path) -> None:
    async with house(tmp_path, encrypted=False) as made:
        assert (await told(made, "list"))[0] == {"ring": None, "members": 1, "keys": [], "removed": []}
        with pytest.raises(ConflictError, match="has no key") as caught:
            await told(made, "add")
        assert "stead ring key generate" in caught.value.next
