"""The ring's keys on disk: a restart and an export have what the ring has, and a removed key is out of the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.keys import KeyCache, KeyName, RingKey
from hart.wire import encode
from supervisor.gossip.keyring import key_id
from supervisor.gossip.rotation import DOCUMENT, Issued, RingKeys, write
from supervisor.ring_keyfiles import document_of, first_keyring, issued, keep
from tests.supervisor.ringside import put, shelf

OLD, NEW = Issued("20260101000000", b"o" * 32), Issued("20260201000000", b"n" * 32)
BOTH, LAST = RingKeys(OLD.id, (NEW, OLD)), RingKeys(NEW.id, (NEW,), (OLD.id,))


@pytest.fixture
def cache(tmp_path: Path) -> KeyCache:
    made = KeyCache(tmp_path / "keys")
    made.store(RingKey(KeyName("prod", OLD.revision), OLD.raw))
    made.store(RingKey(KeyName("test", NEW.revision), b"t" * 32))
    return made


def test_only_keys_of_this_ring_that_can_be_read_count(cache: KeyCache) -> None:
    (cache.path / "prod-20260301000000.sym.key").write_text("nonsense")
    assert issued(cache, "prod") == [OLD]


def test_a_key_that_the_ring_got_is_stored_under_its_revision_and_a_removed_one_set_aside(cache: KeyCache) -> None:
    """0400, as every secret; what was removed is there for a person, not for us."""
    assert keep(cache, "prod", BOTH) == []
    assert issued(cache, "prod") == [NEW, OLD]
    assert (cache.path / f"prod-{NEW.revision}.sym.key").stat().st_mode & 0o777 == 0o400
    assert keep(cache, "prod", LAST) == []
    assert issued(cache, "prod") == [NEW]
    assert (cache.path / f"prod-{OLD.revision}.sym.key.removed").stat().st_mode & 0o777 == 0o400
    assert keep(cache, "prod", LAST) == []


def test_a_key_that_is_there_under_another_revision_is_not_stored_twice(cache: KeyCache) -> None:
    renamed = RingKeys(OLD.id, (Issued("00000000000000", OLD.raw),))
    assert keep(cache, "prod", renamed) == []
    assert issued(cache, "prod") == [OLD]


def test_a_cache_that_has_another_key_under_the_name_is_told_and_left_alone(cache: KeyCache) -> None:
    cache.store(RingKey(KeyName("prod", NEW.revision), b"x" * 32))
    (trouble,) = keep(cache, "prod", BOTH)
    assert NEW.id.hex() in trouble
    assert "exists already" in trouble
    assert repr(NEW.raw) not in trouble


def test_a_process_begins_with_what_the_ring_had_when_it_was_last_seen(cache: KeyCache) -> None:
    """Also when the cache could not be written; a removed key does not open though its file is there."""
    records = shelf()
    assert first_keyring(cache, "prod", records)[0].keys == (OLD.raw,)
    put(records, DOCUMENT, write(LAST))
    assert document_of(records) == LAST
    keyring, complaint = first_keyring(cache, "prod", records)
    assert (keyring.keys, complaint) == ((NEW.raw,), "")
    assert keyring.key_ids == (key_id(NEW.raw),)


def test_a_document_that_cannot_be_read_is_told_and_the_cache_counts(cache: KeyCache) -> None:
    records = shelf()
    put(records, DOCUMENT, encode(["nonsense"]))
    keyring, complaint = first_keyring(cache, "prod", records)
    assert keyring.keys == (OLD.raw,)
    assert "are left out" in complaint


def test_a_ring_without_a_name_has_no_keys_whatever_is_on_disk(cache: KeyCache) -> None:
    records = shelf()
    put(records, DOCUMENT, write(BOTH))
    assert first_keyring(cache, "", records)[0].primary is None
