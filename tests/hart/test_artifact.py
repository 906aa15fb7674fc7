"""HART-1: signing, verifying, and every way to tamper (hart/artifact.py)."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart import artifact
from hart.artifact import authorise_key, checksum, read_header, sign_bytes, sign_payload, verify
from hart.errors import ConflictError, FormatError, LimitError, NotFoundError, SteadError, TrustError
from hart.ident import Ident
from hart.keys import KeyName, PublicSigningKey, SecretSigningKey, generate_signing_pair

KEY = generate_signing_pair("acme", "20240102030405", bytes(32))
OTHER = generate_signing_pair("acme", "20250102030405", bytes([1] * 32))
FOREIGN = generate_signing_pair("evil", "20240102030405", bytes([2] * 32))
TRUSTED = {key.key: key.public for key in (KEY, OTHER, FOREIGN)}


def trust(key: KeyName) -> PublicSigningKey:
    if key not in TRUSTED:
        raise NotFoundError(f"public key {key}", "is not known")
    return TRUSTED[key]


def open_signed(data: bytes) -> bytes:
    """The payload of a signed file, if it verifies."""
    stream = io.BytesIO(data)
    verified = verify(stream, trust, thing="file")
    payload = stream.read()
    assert (verified.size, verified.payload_blake2b) == (len(payload), hashlib.blake2b(payload, digest_size=32).hexdigest())
    return payload


def with_line(number: int, line: bytes, data: bytes | None = None) -> bytes:
    """A signed file with one header line exchanged; `line` without its newline."""
    lines = (data or sign_bytes(b"payload", KEY)).split(b"\n", 5)
    lines[number - 1] = line
    return b"\n".join(lines)


# --- writing


def test_the_layout_is_habitats() -> None:
    """Five lines, then the payload; the signed message is the digest as lowercase hex."""
    lines = sign_bytes(b"pay\nload", KEY).split(b"\n", 5)
    digest = hashlib.blake2b(b"pay\nload", digest_size=32).hexdigest().encode()
    assert lines[:3] == [b"HART-1", b"acme-20240102030405", b"BLAKE2b"]
    assert base64.b64decode(lines[3]) == KEY.sign(digest)
    assert lines[4:] == [b"", b"pay\nload"]
    assert read_header(io.BytesIO(sign_bytes(b"", KEY))).payload_offset == 190 + len("acme-20240102030405")


@given(st.binary(max_size=300))
def test_opening_what_was_signed_gives_the_payload(payload: bytes) -> None:
    """Any payload: empty, with newlines, itself a signed file."""
    assert open_signed(sign_bytes(payload, KEY)) == payload
    assert open_signed(open_signed(sign_bytes(sign_bytes(payload, KEY), OTHER))) == payload


def test_a_file_is_signed_as_bytes_are(tmp_path: Path) -> None:
    """Streaming gives the same document, readable by everybody; nothing else is left behind."""
    payload = os.urandom(700_000)
    (tmp_path / "payload").write_bytes(payload)
    sign_payload(tmp_path / "payload", tmp_path / "out.hart", KEY)
    assert (tmp_path / "out.hart").read_bytes() == sign_bytes(payload, KEY)
    assert (tmp_path / "out.hart").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.hart", "payload"]


def test_a_file_may_be_signed_in_place(tmp_path: Path) -> None:
    """The source stays readable until the result takes its name."""
    path = tmp_path / "file"
    path.write_bytes(b"payload")
    sign_payload(path, path, KEY)
    assert path.read_bytes() == sign_bytes(b"payload", KEY)


def test_a_payload_that_changes_while_it_is_signed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature over bytes that are not in the file would be found only by whoever installs it."""
    payload, out = tmp_path / "payload", tmp_path / "out.hart"
    payload.write_bytes(b"before")
    honest = artifact.header_bytes

    def meanwhile(digest: str, key: SecretSigningKey) -> bytes:
        payload.write_bytes(b"after!")
        return honest(digest, key)

    monkeypatch.setattr(artifact, "header_bytes", meanwhile)
    with pytest.raises(ConflictError, match="changed while"):
        sign_payload(payload, out, KEY)
    assert [path.name for path in tmp_path.iterdir()] == ["payload"]


def test_signing_what_is_not_there_is_told(tmp_path: Path) -> None:
    """And a directory in its place, or a missing one for the result."""
    with pytest.raises(NotFoundError):
        sign_payload(tmp_path / "missing", tmp_path / "out", KEY)
    with pytest.raises(SteadError, match="is no regular file"):
        sign_payload(tmp_path, tmp_path / "out", KEY)
    (tmp_path / "payload").write_bytes(b"x")
    with pytest.raises(NotFoundError):
        sign_payload(tmp_path / "payload", tmp_path / "missing" / "out", KEY)


# --- reading headers


def test_white_space_around_header_lines_is_tolerated() -> None:
    """As Habitat trims it; nothing of it is signed, nothing of it means anything."""
    lines = sign_bytes(b"payload", KEY).split(b"\n", 5)
    for around in (b"%s\r", b" %s", b"%s \t"):
        assert open_signed(b"\n".join([*(around % line for line in lines[:5]), lines[5]])) == b"payload"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "line 1: the file ends"),
        (b"HART-1", "line 1: the file ends"),
        (with_line(1, b"HART-2"), "line 1: 'HART-2' is not 'HART-1'"),
        (with_line(1, b"hart-1"), "line 1"),
        (with_line(1, b""), "line 1: an empty line"),
        (b"\x7fELF\x02" + bytes(2000), "line 1: is longer"),
        (with_line(2, b"acme"), "line 2"),
        (with_line(2, b"../acme-20240102030405"), "line 2"),
        (with_line(2, b"acme-20240102030405 x"), "line 2"),
        (with_line(2, "ac\u00e9-20240102030405".encode()), "line 2"),
        (with_line(2, b"a" * 490 + b"-20240102030405"), "line 2"),
        (with_line(3, b"SHA256"), "line 3: 'SHA256' is not 'BLAKE2b'"),
        (with_line(4, b""), "line 4: is a signature of 0 bytes"),
        (with_line(4, b"AAAA"), "line 4: is a signature of 3 bytes"),
        (with_line(4, b"!" * 172), "line 4: is not base64"),
        (with_line(4, base64.b64encode(bytes(128)).rstrip(b"=")), "line 4: is not base64"),
        (with_line(4, base64.b64encode(bytes(128))[:-2] + b"B="), "line 4: is not canonical"),
        (with_line(4, base64.b64encode(bytes(129))), "line 4: is a signature of 129 bytes"),
        (with_line(4, base64.b64encode(bytes(127)) + b" ="), "line 4"),
        (with_line(5, b"x"), "line 5: 'x' is not an empty line"),
        (b"\n".join(sign_bytes(b"", KEY).split(b"\n")[:4]), "line 4: the file ends"),
        (b"\n".join(sign_bytes(b"", KEY).split(b"\n")[:4]) + b"\n", "line 5: the file ends"),
    ],
)
def test_a_malformed_header_is_refused_with_its_line(data: bytes, says: str) -> None:
    """Whoever made the file can find the fault; the message is short whatever is in it."""
    with pytest.raises(FormatError, match=says) as caught:
        read_header(io.BytesIO(data), thing="x.hart")
    assert caught.value.thing == "x.hart"
    assert len(str(caught.value)) < 300
    assert str(caught.value).isascii()


class EndlessLine(io.RawIOBase):
    """A stream that never has a newline, and counts what it gave."""

    given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        self.given += len(buffer)
        buffer[:] = b"A" * len(buffer)
        return len(buffer)


def test_a_line_without_end_is_not_read() -> None:
    """The cap of a header line bounds what is read of it."""
    stream = EndlessLine()
    with pytest.raises(FormatError, match="line 1: is longer than 512 bytes"):
        read_header(io.BufferedReader(stream))
    assert stream.given <= 64 * 1024


# --- verifying


def test_verify_refuses_every_flipped_byte() -> None:
    """S01: header, signature and payload; each byte to each of eight neighbours, to white space and to a newline."""
    signed = sign_bytes(b"\n payload\n", KEY)
    for at, byte in enumerate(signed):
        for other in {byte ^ 1 << bit for bit in range(8)} | {0, 0x20, 0x0A, 0x0D, 0xFF}:
            if other != byte:
                with pytest.raises(SteadError) as caught:
                    open_signed(signed[:at] + bytes([other]) + signed[at + 1 :])
                assert isinstance(caught.value, FormatError | TrustError | NotFoundError)


def test_verify_refuses_every_cut_and_every_addition() -> None:
    """The payload goes to the end of the file."""
    signed = sign_bytes(b"payload", KEY)
    for length in range(len(signed)):
        with pytest.raises(SteadError):
            open_signed(signed[:length])
    with pytest.raises(TrustError):
        open_signed(signed + b"\n")


def test_verify_refuses_a_header_that_names_another_key() -> None:
    """S02: another revision of the origin, and another origin's, both trusted for themselves."""
    for other in (OTHER, FOREIGN):
        with pytest.raises(TrustError, match=str(other.key)):
            open_signed(with_line(2, str(other.key).encode()))


def test_verify_refuses_a_signature_of_another_payload() -> None:
    """Moved from one good file to another, it is valid but not for this."""
    donor = sign_bytes(b"another payload", KEY).split(b"\n", 5)[3]
    with pytest.raises(TrustError, match="damaged or exchanged"):
        open_signed(with_line(4, donor))


def test_verify_refuses_a_signed_message_that_is_no_digest() -> None:
    """A key that signed 64 other bytes, for whatever protocol, has not signed a package."""
    for message in (b"x" * 64, b"0" * 63 + b"\n", b"0" * 63 + b"g"):
        with pytest.raises(TrustError, match="not a digest"):
            open_signed(with_line(4, base64.b64encode(KEY.sign(message))))


def test_a_digest_in_capitals_is_accepted() -> None:
    """Habitat reads the hex without regard to case."""
    digest = hashlib.blake2b(b"payload", digest_size=32).hexdigest().upper()
    assert open_signed(with_line(4, base64.b64encode(KEY.sign(digest.encode())))) == b"payload"


def test_verify_asks_trust_for_the_named_key_and_believes_no_other() -> None:
    """A trust that answers with another key than was asked for is not used."""
    asked = []

    def careless(key: KeyName) -> PublicSigningKey:
        asked.append(key)
        return OTHER.public

    with pytest.raises(TrustError, match="was offered"):
        verify(io.BytesIO(sign_bytes(b"payload", KEY)), careless, thing="file")
    assert asked == [KEY.key]


def test_an_unknown_key_is_told_as_trust_tells_it() -> None:
    """The caller's NotFoundError passes, with its next command; the payload is not even read."""
    stranger = generate_signing_pair("stranger", "20240102030405", bytes(32))
    stream = io.BytesIO(sign_bytes(b"payload" * 100, stranger))
    with pytest.raises(NotFoundError, match="stranger-20240102030405"):
        verify(stream, trust, thing="file")
    assert stream.tell() == 190 + len(str(stranger.key))


class Zeros(io.RawIOBase):
    """A signed file whose payload is `size` zeros that are never in memory at once."""

    def __init__(self, header: bytes, size: int) -> None:
        self.header, self.size, self.at = header, len(header) + size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self.at = offset
        return offset

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self.size - self.at)
        head = self.header[self.at : self.at + count]
        buffer[: len(head)] = head
        buffer[len(head) : count] = bytes(count - len(head))
        self.at += count
        return count


def test_verify_takes_constant_memory() -> None:
    """Performance: memory does not grow with the package."""
    size = 48 * 1024 * 1024
    blake = hashlib.blake2b(digest_size=32)
    for _ in range(48):
        blake.update(bytes(1024 * 1024))
    stream: BinaryIO = io.BufferedReader(Zeros(artifact.header_bytes(blake.hexdigest(), KEY), size))
    tracemalloc.start()
    try:
        assert verify(stream, trust, thing="large").size == size
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_payload_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that goes on and on is refused at the cap."""
    monkeypatch.setattr(artifact, "PAYLOAD_MAX", 1000)
    with pytest.raises(LimitError):
        open_signed(sign_bytes(bytes(1001), KEY))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_our_own_words(data: bytes) -> None:
    """Arbitrary input, alone and behind a good beginning."""
    for attempt in (data, b"HART-1\nacme-20240102030405\n" + data):
        with pytest.raises(FormatError):
            read_header(io.BytesIO(attempt))


# --- authority and checksum


def test_a_key_signs_only_for_its_own_origin() -> None:
    """S04: a valid signature by a trusted key of another origin is refused."""
    authorise_key(KEY.key, Ident.parse("acme/web/1.0/20240102030405"))
    for ident in ("evil/web", "acm/web", "acme2/web", "acme-2/web"):
        with pytest.raises(TrustError, match="may not sign for"):
            authorise_key(KEY.key, Ident.parse(ident))


def test_the_checksum_is_of_the_whole_file(tmp_path: Path) -> None:
    """Header included."""
    path = tmp_path / "file"
    path.write_bytes(sign_bytes(b"payload", KEY))
    assert checksum(path) == hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
    with pytest.raises(NotFoundError):
        checksum(tmp_path / "missing")
