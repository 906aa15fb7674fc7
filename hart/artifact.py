"""The signed file, HART-1: a signature over a payload's digest, then the payload (reference: packages 1.1).

    1  HART-1
    2  <key name>-<14 digits>
    3  BLAKE2b
    4  base64 of Ed25519 signature (64 bytes) || message (64 bytes): the payload's BLAKE2b-256 as lowercase hex
    5  (empty)
       payload to the end of the file

Rules: the payload is anything; in a package it is one xz stream of a tar (`hart/archive.py`), in the metafile FILES a list of checksums.
Writing is deterministic, so signing the same payload with the same key gives the same bytes. Reading trims white space around each
header line, as Habitat does, and takes nothing else that a writer would not write. The whole payload is hashed before anybody may
decompress any of it; memory is constant at every size.

The signature does not cover the header. What a changed header can do: name another key, which then did not sign this message; carry another
message, which then has another signature. White space around a line is the only freedom.

Not here: which keys are trusted (a `Trust` is given), what is inside (`hart/package.py`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from hart.errors import ConflictError, FormatError, LimitError, TrustError
from hart.files import open_regular, storage, writing
from hart.ident import Ident
from hart.keyfile import KeyName, PublicSigningKey, SecretSigningKey, decode_base64
from hart.limits import CHUNK, HEADER_LINE_MAX, PAYLOAD_MAX

FORMAT: Final = "HART-1"
HASH_TYPE: Final = "BLAKE2b"
SIGNED_SIZE: Final = 128  # bytes: signature and message
_DIGEST = re.compile(rb"[0-9A-Fa-f]{64}")

Trust: TypeAlias = Callable[[KeyName], PublicSigningKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first five lines say; nothing of it is verified. `signature` is signature || message, `payload_offset` in bytes."""

    format: str
    key: KeyName
    hash_type: str
    signature: bytes
    payload_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A file whose payload is what a trusted key signed. `payload_blake2b` is lowercase hex, `size` the payload's bytes."""

    header: Header
    payload_blake2b: str
    size: int


def read_header(stream: BinaryIO, *, thing: str = "artifact") -> Header:
    """Read the header from where the stream stands and leave it at the payload; FormatError names the line that is wrong."""
    offset = 0

    def line(number: int) -> bytes:
        nonlocal offset
        raw = stream.readline(HEADER_LINE_MAX + 1)
        offset += len(raw)
        if len(raw) > HEADER_LINE_MAX:
            raise FormatError(thing, f"line {number}: is longer than {HEADER_LINE_MAX} bytes", next="this is not a signed file")
        if not raw.endswith(b"\n"):
            raise FormatError(thing, f"line {number}: the file ends here")
        return raw.strip()

    def expect(number: int, wanted: bytes) -> str:
        found = line(number)
        if found != wanted:
            raise FormatError(thing, f"line {number}: {_shown(found)} is not {_shown(wanted)}")
        return wanted.decode()

    format_ = expect(1, FORMAT.encode())
    key = _key_name(line(2), thing)
    hash_type = expect(3, HASH_TYPE.encode())
    signature = decode_base64(line(4), thing=thing, where="line 4")
    if len(signature) != SIGNED_SIZE:
        raise FormatError(thing, f"line 4: is a signature of {len(signature)} bytes, not {SIGNED_SIZE}")
    expect(5, b"")
    return Header(format=format_, key=key, hash_type=hash_type, signature=signature, payload_offset=offset)


def _key_name(line: bytes, thing: str) -> KeyName:
    try:
        return KeyName.parse(line.decode("ascii"))
    except (FormatError, UnicodeDecodeError):
        raise FormatError(thing, f"line 2: {_shown(line)} is not the name of a key: <name>-<14 digits>") from None


def _shown(line: bytes) -> str:
    return ascii(line[:64].decode("ascii", "backslashreplace")) if line else "an empty line"


def header_bytes(digest_hex: str, key: SecretSigningKey) -> bytes:
    """The five lines for a payload with this digest."""
    signed = key.sign(digest_hex.encode("ascii"))
    return b"\n".join([FORMAT.encode(), str(key.key).encode(), HASH_TYPE.encode(), base64.b64encode(signed), b"", b""])


def sign_bytes(payload: bytes, key: SecretSigningKey) -> bytes:
    """A small payload, signed: the whole document."""
    return header_bytes(hashlib.blake2b(payload, digest_size=32).hexdigest(), key) + payload


def sign_payload(payload: Path, out: Path, key: SecretSigningKey) -> None:
    """Sign a file of any size into another, which appears whole or not at all; ConflictError when the payload changes meanwhile."""
    with open_regular(payload) as source:
        digest, size = _digest(source, thing=str(payload))
        source.seek(0)
        with writing(out) as sink:
            sink.write(header_bytes(digest, key))
            copied = _digest(source, thing=str(payload), sink=sink)
            if copied != (digest, size):
                raise ConflictError(str(payload), "changed while it was being signed", next="sign it again when nobody writes to it")


def verify(stream: BinaryIO, trust: Trust, *, thing: str) -> Verified:
    """Check signature and digest of a whole file and leave the stream at the payload.

    FormatError for a bad header, what `trust` raises for an unknown key, TrustError when the key did not sign this payload.
    """
    stream.seek(0)
    header = read_header(stream, thing=thing)
    signer = trust(header.key)
    if signer.key != header.key:
        raise TrustError(thing, f"is signed by {header.key}, but {signer.key} was offered for it")
    try:
        message = signer.open(header.signature)
    except TrustError as error:
        raise TrustError(
            thing,
            f"the signature is not by the key {header.key} that this host trusts ({signer.fingerprint})",
            next="do not use this file; get it again from a source that you trust",
        ) from error
    if not _DIGEST.fullmatch(message):
        raise TrustError(thing, "the signed message is not a digest")
    digest, size = _digest(stream, thing=thing)
    if not hmac.compare_digest(message.lower(), digest.encode()):
        raise TrustError(
            thing,
            f"its content is not what {header.key} signed: it was damaged or exchanged",
            next="do not use this file; get it again from a source that you trust",
            signed=message.decode().lower(),
            found=digest,
        )
    stream.seek(header.payload_offset)
    return Verified(header=header, payload_blake2b=digest, size=size)


def authorise_key(key: KeyName, ident: Ident) -> None:
    """A key signs only for the origin that it is named for: TrustError otherwise."""
    if key.name != ident.origin:
        raise TrustError(
            f"package {ident}",
            f"is signed by a key of {key.name}, which may not sign for {ident.origin}",
            next="do not install it; ask the owner of the origin for a package that is signed with the origin's own key",
        )


def checksum(path: Path) -> str:
    """BLAKE2b-256 of a whole file, lowercase hex: of an artifact, what depots call its checksum."""
    with storage(path), path.open("rb") as source:
        return _digest(source, thing=str(path))[0]


def _digest(source: BinaryIO, *, thing: str, sink: BinaryIO | None = None) -> tuple[str, int]:
    """BLAKE2b-256 (hex) and number of the bytes to the end, copied to `sink` on the way."""
    blake, size = hashlib.blake2b(digest_size=32), 0
    while block := source.read(CHUNK):
        size += len(block)
        if size > PAYLOAD_MAX:
            raise LimitError(thing, f"is larger than {PAYLOAD_MAX} bytes")
        blake.update(block)
        if sink is not None:
            sink.write(block)
    return blake.hexdigest(), size
