"""Encrypted messages (hart/sealed.py)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError, InputError, LimitError, SteadError, TrustError
from hart.keys import generate_box_pair
from hart.sealed import Sealed, seal

JANE = generate_box_pair("jane", "20240102030405", bytes(range(32)))
REDIS = generate_box_pair("redis.default@acme", "20240102030405", bytes(range(32, 64)))


@given(st.binary(max_size=200))
def test_only_the_receiver_opens_a_message_and_knows_its_sender(message: bytes) -> None:
    """Through the text form and back."""
    text = seal(message, REDIS.public, JANE).text()
    assert text.split("\n")[:3] == ["BOX-1", str(JANE.key), str(REDIS.key)]
    assert not text.endswith("\n")
    for variant in (text, text + "\n", text.replace("\n", "\r\n"), text.encode()):
        assert Sealed.parse(variant).open(REDIS, JANE.public) == message


@given(st.binary(max_size=200))
def test_an_anonymous_message_names_its_receiver_only(message: bytes) -> None:
    """Three lines."""
    text = seal(message, REDIS.public).text()
    assert text.split("\n")[:2] == ["ANONYMOUS-BOX-1", str(REDIS.key)]
    assert Sealed.parse(text).open(REDIS) == message


def test_the_same_nonce_gives_the_same_text_and_none_a_new_one() -> None:
    """Ciphertext does not repeat by itself."""
    assert seal(b"x", REDIS.public, JANE, nonce=bytes(24)) == seal(b"x", REDIS.public, JANE, nonce=bytes(24))
    assert seal(b"x", REDIS.public, JANE) != seal(b"x", REDIS.public, JANE)


@pytest.mark.parametrize("sender", [None, JANE], ids=["anonymous", "signed"])
def test_open_refuses_every_flipped_byte(sender: object) -> None:
    """Of the whole text: names, nonce and box."""
    text = seal(b"secret", REDIS.public, JANE if sender else None, nonce=bytes(24) if sender else None).text().encode()
    for at in range(len(text)):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        with pytest.raises(SteadError):
            Sealed.parse(changed).open(REDIS, JANE.public if sender else None)


def test_open_refuses_other_keys_than_the_message_names() -> None:
    """Wrong receiver, wrong sender, no sender, a sender too many; and a key that has only the name."""
    signed, anonymous = seal(b"x", REDIS.public, JANE), seal(b"x", REDIS.public)
    impostor = generate_box_pair("jane", "20240102030405", bytes(32))
    for refused in (
        lambda: signed.open(JANE, JANE.public),
        lambda: signed.open(REDIS, REDIS.public),
        lambda: signed.open(REDIS),
        lambda: signed.open(REDIS, impostor.public),
        lambda: anonymous.open(REDIS, JANE.public),
        lambda: Sealed(sender=None, receiver=REDIS.key, nonce=None, box=b"short").open(REDIS),
    ):
        with pytest.raises(TrustError):
            refused()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1"),
        ("BOX-2\na\nb\nc\nd", "line 1"),
        ("BOX-1\na\nb\nc", "4 lines, not 5"),
        ("ANONYMOUS-BOX-1\n\nacme-20240102030405\nAAAA", "4 lines, not 3"),
        ("ANONYMOUS-BOX-1\nacme-20240102030405\n!", "line 3"),
        ("ANONYMOUS-BOX-1\nacme\nAAAA", "key name"),
        ("BOX-1\na-20240102030405\nb-20240102030405\nAAAA\nAAAA", "nonce of 3 bytes"),
        (b"\xff", "not text"),
    ],
)
def test_a_malformed_message_is_refused(text: str | bytes, says: str) -> None:
    """With its line."""
    with pytest.raises(FormatError, match=says):
        Sealed.parse(text)


def test_a_message_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is decoded."""
    monkeypatch.setattr("hart.sealed.SEALED_TEXT_MAX", 10)
    with pytest.raises(LimitError):
        Sealed.parse("BOX-1\n" + "A" * 10)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    """Never another exception."""
    with pytest.raises(InputError):
        Sealed.parse(b"BOX-1\n" + base64.b64encode(data))
