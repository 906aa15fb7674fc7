"""A process takes the ring's keys as they come, and says that it has them when a restart would have them too."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.keys import KeyCache
from hart.wire import encode
from supervisor.gossip import rotation
from supervisor.gossip.codec import Codec
from supervisor.gossip.keyring import Keyring, key_id
from supervisor.gossip.messages import Record
from supervisor.gossip.rotation import DOCUMENT, Issued, RingKeys
from supervisor.ring_keychain import Keychain
from supervisor.ring_keyfiles import issued
from tests.supervisor.ringside import put, shelf

OLD, NEW = Issued("20260101000000", b"o" * 32), Issued("20260201000000", b"n" * 32)
BOTH = RingKeys(OLD.id, (NEW, OLD))


class Bearer:
    """A keychain, and what it has said."""

    def __init__(self, cache: Path, keyring: Keyring | None = None) -> None:
        self.said: list[str] = []
        self.records = shelf()
        self.codec = Codec(Keyring("prod", OLD.raw) if keyring is None else keyring, bytes)
        self.chain = Keychain(self.codec, KeyCache(cache), lambda _, because: self.said.append(because))

    def learn(self, document: RingKeys | bytes | None) -> Record:
        body = rotation.write(document) if isinstance(document, RingKeys) else document
        record = put(self.records, DOCUMENT, body)
        self.chain.adopt(record, "h2")
        return record

    @property
    def held(self) -> tuple[bytes, ...]:
        """What others are told."""
        return rotation.who_uses([(bytes(16), self.chain.told.get(rotation.FACT))])[bytes(16)].held


@pytest.mark.asyncio
async def test_a_new_key_opens_at_once_and_is_told_of_when_it_is_on_disk(tmp_path: Path) -> None:
    one = Bearer(tmp_path / "keys")
    record = one.learn(BOTH)
    assert one.codec.keyring.keys == (OLD.raw, NEW.raw)
    assert one.held == (OLD.id,)
    assert await one.chain.keep(record, stored=True)
    assert one.held == (OLD.id, NEW.id)
    assert issued(one.chain.cache, "prod") == [NEW, OLD]
    assert not await one.chain.keep(record, stored=True), "nothing new to tell"
    assert one.said == [f"{OLD.id.hex()} seals, {NEW.id.hex()} still open: so told by h2"]


@pytest.mark.asyncio
@pytest.mark.parametrize("stored", [True, False])
async def test_a_disk_that_takes_it_nowhere_is_told_and_nobody_counts_on_this_member(tmp_path: Path, stored: bool) -> None:
    """One of the two places is enough: a process begins with the keys of both."""
    (tmp_path / "keys").write_text("no directory")
    one = Bearer(tmp_path / "keys")
    record = one.learn(BOTH)
    assert await one.chain.keep(record, stored=stored) == stored
    assert (one.held, one.chain.untold) == (((OLD.id, NEW.id), None) if stored else ((OLD.id,), record))
    assert "keys are not kept in" in one.said[-1]
    (tmp_path / "keys").unlink()
    assert await one.chain.keep(record, stored=False) != stored
    assert (one.held, one.chain.untold) == ((OLD.id, NEW.id), None)


@pytest.mark.asyncio
async def test_what_is_no_document_changes_nothing_and_is_said_with_its_author(tmp_path: Path) -> None:
    one = Bearer(tmp_path / "keys")
    before = one.codec.keyring
    for body in (encode(["nonsense"]), None):
        assert not await one.chain.keep(one.learn(body), stored=True)
        assert one.codec.keyring is before
    (said,) = one.said
    assert said.startswith("what h2 wrote is left out: ")


@pytest.mark.asyncio
async def test_a_ring_without_keys_gets_none_and_tells_of_none(tmp_path: Path) -> None:
    one = Bearer(tmp_path / "keys", Keyring(""))
    assert not await one.chain.keep(one.learn(BOTH), stored=True)
    assert (one.chain.told, one.codec.keyring.keys, issued(one.chain.cache, "prod")) == ({}, (), [])


def test_packets_under_a_key_that_is_not_here_are_told_once_until_the_keys_change(tmp_path: Path) -> None:
    """With the command that helps; ids and no keys."""
    one = Bearer(tmp_path / "keys")
    for count in (0, 2, 2, 7):
        one.chain.wonder(count)
    (said,) = one.said
    assert said.startswith("somebody seals with a key that is not here")
    assert "here stead ring key import" in said
    assert key_id(OLD.raw).hex() in said
    one.learn(BOTH)
    one.chain.wonder(7)
    assert len(one.said) == 2, "those were before the change"
    one.chain.wonder(8)
    assert len(one.said) == 3
