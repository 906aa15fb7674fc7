"""Identity: nobody speaks for another, and what is out of bounds is no announcement."""

from __future__ import annotations

import pytest

from supervisor.gossip.identity import MemberKey, announce, announcement_ok, member_id, record_ok, sign_record, verify
from supervisor.gossip.messages import Announcement, Version

RING = b"ringring"
ME, OTHER = MemberKey(b"1" * 32), MemberKey(b"2" * 32)


def said(key: MemberKey = ME, **changes: object) -> Announcement:
    fields = {"generation": 1, "incarnation": 0, "session": b"sessionA", "host": "192.0.2.7", "port": 9638, "name": "web-1"} | changes
    return announce(key, ring=RING, **fields)  # type: ignore[arg-type]


def test_an_id_is_the_fingerprint_of_the_key() -> None:
    """16 bytes, the same for the same key, another for another."""
    assert ME.id == member_id(ME.public) == MemberKey(b"1" * 32).id
    assert len(ME.id) == 16
    assert ME.id != OTHER.id


def test_what_a_member_signs_verifies_with_its_key_only() -> None:
    """Any change of key, message or signature is refused, and so is rubbish."""
    signature = ME.sign(b"text")
    assert verify(ME.public, b"text", signature)
    assert not verify(OTHER.public, b"text", signature)
    assert not verify(ME.public, b"test", signature)
    assert not verify(b"short", b"text", signature)
    assert not verify(ME.public, b"text", b"short")


@pytest.mark.parametrize("field", Announcement._fields)
def test_each_field_of_an_announcement_is_signed(field: str) -> None:
    """Whatever is changed, the signature no longer fits."""
    good = said()
    value = getattr(good, field)
    changed = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value[1:] + value[:1]
    assert announcement_ok(good, RING)
    assert not announcement_ok(good._replace(**{field: changed}), RING)


def test_an_announcement_for_one_ring_says_nothing_in_another() -> None:
    assert not announcement_ok(said(), b"another!")


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0},
        {"port": 65536},
        {"host": "example.org"},
        {"host": "0.0.0.0"},
        {"host": "224.0.0.1"},
        {"host": "fe80::1%eth0"},
        {"host": ""},
        {"generation": 0},
        {"generation": 1 << 63},
        {"incarnation": 1 << 63},
        {"session": b"short"},
        {"name": "x" * 254},
        {"name": "a\nb"},
    ],
)
def test_an_announcement_out_of_bounds_is_refused_though_it_is_signed(changes: dict[str, object]) -> None:
    """A key holder can sign anything: an address that leads elsewhere, a number that nobody can pass, a name that breaks a terminal."""
    assert not announcement_ok(said(**changes), RING)


def test_an_address_may_be_of_either_kind() -> None:
    assert announcement_ok(said(host="2001:db8::7"), RING)


@pytest.mark.parametrize(
    "changes", [{"key": "ring/b"}, {"version": Version(2, 3)}, {"body": b"other"}, {"body": None}, {"author": OTHER.public}]
)
def test_each_field_of_a_record_is_signed(changes: dict[str, object]) -> None:
    record = sign_record(ME, ring=RING, record_key="ring/a", version=Version(1, 3), body=b"text")
    assert record_ok(record, RING)
    assert not record_ok(record, b"another!")
    assert not record_ok(record._replace(**changes), RING)


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    """An announcement's signature is no record's, whatever the bytes."""
    good = said()
    record = sign_record(ME, ring=RING, record_key="ring/a", version=Version(1, 0), body=None)
    assert not record_ok(record._replace(signature=good.signature), RING)
