"""The keyring: what one ring, key or purpose has sealed opens nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import ConflictError, LimitError, NotFoundError
from supervisor.gossip.keyring import OVERHEAD, TCP, UDP, Keyring, Reason, Refused, key_id

OLD, NEW = b"o" * 32, b"n" * 32
NONCE = b"x" * 24


def refused(keyring: Keyring, data: bytes, purpose: int = UDP) -> Reason:
    with pytest.raises(Refused) as caught:
        keyring.open(data, purpose=purpose)
    return caught.value.reason


def sealed(keyring: Keyring, purpose: int = UDP) -> bytes:
    return keyring.seal(b"text", purpose=purpose, nonce=NONCE)


def test_what_is_sealed_opens_and_tells_nothing() -> None:
    data = sealed(Keyring("ring", OLD))
    assert len(data) == OVERHEAD + 4
    assert b"text" not in data
    assert Keyring("ring", OLD).open(data, purpose=UDP) == b"text"


@given(st.integers(0, OVERHEAD + 3), st.integers(1, 255))
def test_any_flipped_byte_is_refused(place: int, by: int) -> None:
    data = bytearray(sealed(Keyring("ring", OLD)))
    data[place] ^= by
    refused(Keyring("ring", OLD, (NEW,)), bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    refused(Keyring("ring", OLD), data)


def test_each_refusal_says_why() -> None:
    """The reason is what an operator acts on: a key to import, a ring to name, a host to look at."""
    mine = Keyring("ring", OLD)
    assert refused(mine, sealed(mine)[:-1]) is Reason.TAG
    assert refused(mine, b"SR") is Reason.SIZE
    assert refused(mine, b"GET / HTTP/1.1" + bytes(60)) is Reason.MAGIC
    assert refused(mine, sealed(mine), TCP) is Reason.PURPOSE
    assert refused(mine, sealed(Keyring("other", OLD))) is Reason.RING
    assert refused(mine, sealed(Keyring("ring", NEW))) is Reason.KEY


def test_a_ring_with_keys_never_takes_plain_text_and_the_reverse() -> None:
    """No downgrade in either direction (Serf's rule)."""
    bare = Keyring("ring")
    assert bare.open(sealed(bare), purpose=UDP) == b"text"
    assert refused(Keyring("ring", OLD), sealed(bare)) is Reason.PLAIN
    assert refused(bare, sealed(Keyring("ring", OLD))) is Reason.PLAIN


def test_a_rotation_leaves_nobody_without_understanding() -> None:
    """add, use, remove: at each step members that are one step behind or ahead understand each other."""
    before = Keyring("ring", OLD)
    added = before.with_key(NEW)
    used = added.using(key_id(NEW))
    after = used.without(key_id(OLD))
    for one, other in ((before, added), (added, used), (used, after)):
        assert one.open(sealed(other), purpose=UDP) == b"text" if other is not used or one is not before else True
        assert other.open(sealed(one), purpose=UDP) == b"text"
    assert refused(after, sealed(before)) is Reason.KEY
    assert used.key_ids == (key_id(NEW), key_id(OLD))


def test_changes_that_would_leave_the_ring_without_its_key_are_refused() -> None:
    keyring = Keyring("ring", OLD, (NEW,))
    with pytest.raises(ConflictError, match="in use"):
        keyring.without(key_id(OLD))
    with pytest.raises(NotFoundError):
        keyring.using(b"12345678")
    with pytest.raises(ConflictError, match="no key"):
        Keyring("ring").with_key(OLD)


def test_a_keyring_is_bounded() -> None:
    keyring = Keyring("ring", OLD, tuple(bytes([number]) * 32 for number in range(4)))
    with pytest.raises(LimitError):
        keyring.with_key(NEW)
