"""One key: its name, its kinds, its text, and what it can do (reference: packages 2.1, Habitat's key files byte for byte).

    <tag>\\n  <name>-<14 digits>\\n  \\n  <base64 of the raw key>            no newline at the end

| kind                     | tag       | file name            | raw bytes                           |
|--------------------------|-----------|----------------------|-------------------------------------|
| signing, public          | SIG-PUB-1 | <name>-<rev>.pub     | 32, Ed25519                         |
| signing, secret          | SIG-SEC-1 | <name>-<rev>.sig.key | 64, seed then public key            |
| box, public              | BOX-PUB-1 | <name>-<rev>.pub     | 32, Curve25519                      |
| box, secret              | BOX-SEC-1 | <name>-<rev>.box.key | 32                                  |
| ring, secret             | SYM-SEC-1 | <name>-<rev>.sym.key | 32, XSalsa20-Poly1305               |

Box keys belong to origins, users (`jane`) and services (`redis.default@acme`); only their names tell which.
Reading accepts CRLF and lines after the fourth, and takes the third for granted; the tag and the name must match exactly, base64 must be
canonical, and a secret signing key must contain its own public key (signing with a wrong one would give the secret away).

**Fingerprint**: `SHA256:` and unpadded base64 of SHA-256 over the raw public key; `tail -n 1 FILE | base64 -d | openssl dgst -sha256
-binary | base64` gives the same. A secret key has its public key's. A ring key has no public part: its fingerprint is taken over
`stead ring key` and the raw key, and tells only whether two hosts hold the same one.

Not here: where keys are kept (`hart/keys.py`), encrypted messages (`hart/sealed.py`). Nothing here touches the disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, TypeAlias, assert_never

from nacl import bindings
from nacl.exceptions import BadSignatureError

from hart.errors import FormatError, LimitError, TrustError
from hart.limits import KEY_NAME_MAX, KEY_TEXT_MAX

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.@+-]*)-(?P<revision>[0-9]{14})")


class KeyKind(StrEnum):
    """What a key is for; the value is the first line of its file."""

    SIGNING_PUBLIC = "SIG-PUB-1"
    SIGNING_SECRET = "SIG-SEC-1"  # noqa: S105  the tag, not a secret
    BOX_PUBLIC = "BOX-PUB-1"
    BOX_SECRET = "BOX-SEC-1"  # noqa: S105  the tag, not a secret
    RING = "SYM-SEC-1"

    @property
    def suffix(self) -> str:
        """The end of the file name. Both public kinds share one, which is why the tag decides and not the name."""
        match self:
            case KeyKind.SIGNING_PUBLIC | KeyKind.BOX_PUBLIC:
                return "pub"
            case KeyKind.SIGNING_SECRET:
                return "sig.key"
            case KeyKind.BOX_SECRET:
                return "box.key"
            case KeyKind.RING:
                return "sym.key"
            case _:
                assert_never(self)

    @property
    def is_secret(self) -> bool:
        return self.suffix != "pub"


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """`<name>-<revision>`: the only identity that a key has in Habitat's formats. The revision is 14 digits, UTC."""

    name: str
    revision: str

    def __post_init__(self) -> None:
        if len(self.name) > KEY_NAME_MAX:
            raise FormatError(f"key name {self.name[:32]}…", f"is longer than {KEY_NAME_MAX} characters")
        match = _NAMED.fullmatch(str(self))
        if match is None or match["name"] != self.name:
            raise FormatError(f"key name {str(self)!r}", "is not <name>-<14 digits>")

    @classmethod
    def parse(cls, text: str) -> KeyName:
        """From `name-14digits`, the name being all before the last dash; raises FormatError."""
        name, _, revision = text.rpartition("-")
        if len(text) > KEY_NAME_MAX + 15:
            raise FormatError(f"key name {text[:32]!r}…", f"is longer than {KEY_NAME_MAX + 15} characters")
        if not _NAMED.fullmatch(text):
            raise FormatError(f"key name {text!r}", "is not <name>-<14 digits>")
        return cls(name, revision)

    def file_name(self, kind: KeyKind) -> str:
        return f"{self}.{kind.suffix}"

    def __str__(self) -> str:
        return f"{self.name}-{self.revision}"


@dataclass(frozen=True, slots=True)
class PublicSigningKey:
    """Verifies what its secret half signed. `raw` is the 32 bytes of an Ed25519 public key."""

    key: KeyName
    raw: bytes
    kind: ClassVar[KeyKind] = KeyKind.SIGNING_PUBLIC

    def __post_init__(self) -> None:
        _demand_length(self.key, self.raw, 32)

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.raw)

    def open(self, signed: bytes) -> bytes:
        """The message inside signature || message; TrustError unless this key's secret half signed it."""
        try:
            return bindings.crypto_sign_open(signed, self.raw)
        except BadSignatureError:
            raise TrustError(f"signature by {self.key}", "is not valid") from None

    def text(self) -> str:
        return _text(self.kind, self.key, self.raw)


@dataclass(frozen=True, slots=True)
class SecretSigningKey:
    """Signs. `raw64` is libsodium's form: the 32 bytes of the seed, then the public key."""

    key: KeyName
    raw64: bytes = field(repr=False)
    kind: ClassVar[KeyKind] = KeyKind.SIGNING_SECRET

    def __post_init__(self) -> None:
        _demand_length(self.key, self.raw64, 64)
        public, _ = bindings.crypto_sign_seed_keypair(self.raw64[:32])
        if public != self.raw64[32:]:
            raise FormatError(f"key {self.key}", "its secret and public halves do not belong together")

    @property
    def public(self) -> PublicSigningKey:
        return PublicSigningKey(self.key, self.raw64[32:])

    @property
    def fingerprint(self) -> str:
        return self.public.fingerprint

    def sign(self, message: bytes) -> bytes:
        """signature (64 bytes) || message. The same message gives the same bytes."""
        return bindings.crypto_sign(message, self.raw64)

    def text(self) -> str:
        return _text(self.kind, self.key, self.raw64)


@dataclass(frozen=True, slots=True)
class PublicBoxKey:
    """Receives encrypted messages (`hart/sealed.py`). `raw` is the 32 bytes of a Curve25519 public key."""

    key: KeyName
    raw: bytes
    kind: ClassVar[KeyKind] = KeyKind.BOX_PUBLIC

    def __post_init__(self) -> None:
        _demand_length(self.key, self.raw, 32)

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.raw)

    def text(self) -> str:
        return _text(self.kind, self.key, self.raw)


@dataclass(frozen=True, slots=True)
class SecretBoxKey:
    """Opens encrypted messages, and makes them out to others. `raw` is 32 bytes; the public half is computed."""

    key: KeyName
    raw: bytes = field(repr=False)
    kind: ClassVar[KeyKind] = KeyKind.BOX_SECRET

    def __post_init__(self) -> None:
        _demand_length(self.key, self.raw, 32)

    @property
    def public(self) -> PublicBoxKey:
        return PublicBoxKey(self.key, bindings.crypto_scalarmult_base(self.raw))

    @property
    def fingerprint(self) -> str:
        return self.public.fingerprint

    def text(self) -> str:
        return _text(self.kind, self.key, self.raw)


@dataclass(frozen=True, slots=True)
class RingKey:
    """The secret that all members of a ring share. `raw` is 32 bytes."""

    key: KeyName
    raw: bytes = field(repr=False)
    kind: ClassVar[KeyKind] = KeyKind.RING

    def __post_init__(self) -> None:
        _demand_length(self.key, self.raw, 32)

    @property
    def fingerprint(self) -> str:
        return _fingerprint(b"stead ring key" + self.raw)

    def text(self) -> str:
        return _text(self.kind, self.key, self.raw)


Key: TypeAlias = PublicSigningKey | SecretSigningKey | PublicBoxKey | SecretBoxKey | RingKey


def generate_signing_pair(name: str, revision: str, seed: bytes | None = None) -> SecretSigningKey:
    """A new signing key; `seed` (32 bytes) makes it repeatable. The public half is `.public`."""
    public, secret = bindings.crypto_sign_seed_keypair(seed if seed is not None else secrets.token_bytes(32))
    assert secret[32:] == public
    return SecretSigningKey(KeyName(name, revision), secret)


def generate_box_pair(name: str, revision: str, seed: bytes | None = None) -> SecretBoxKey:
    """A new encryption key of an origin, a user or a service; `seed` is the 32 bytes of the secret key."""
    return SecretBoxKey(KeyName(name, revision), seed if seed is not None else secrets.token_bytes(32))


def generate_ring_key(name: str, revision: str, seed: bytes | None = None) -> RingKey:
    """A new shared key of a ring; `seed` is its 32 bytes."""
    return RingKey(KeyName(name, revision), seed if seed is not None else secrets.token_bytes(32))


def service_key_name(service: str, group: str, organisation: str) -> str:
    """How the box key of a service group is named."""
    return f"{service}.{group}@{organisation}"


def revision_at(epoch_s: float) -> str:
    """The revision of a key that is made at a time: 14 digits, UTC."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%d%H%M%S")


def parse_key(text: str | bytes, *, thing: str = "key") -> Key:
    """Any kind of key from its text; FormatError names the line that is wrong, LimitError when it is no key by its size."""
    if len(text) > KEY_TEXT_MAX:
        raise LimitError(thing, f"is larger than {KEY_TEXT_MAX} bytes: this is not a key file")
    try:
        lines = (text if isinstance(text, str) else text.decode()).split("\n")
    except UnicodeDecodeError:
        raise FormatError(thing, "is not text: this is not a key file") from None
    tag = lines[0].rstrip("\r")
    if tag not in frozenset(KeyKind):
        raise FormatError(thing, f"line 1: {tag[:32]!r} is not a kind of key", next=f"one of {', '.join(KeyKind)}")
    if len(lines) < 4:
        raise FormatError(thing, "has fewer than four lines")
    try:
        key = KeyName.parse(lines[1].rstrip("\r"))
    except FormatError as error:
        raise FormatError(thing, f"line 2: {error.thing} {error.cause}") from error
    raw = decode_base64(lines[3].strip(), thing=thing, where="line 4")
    try:
        return _MAKE[KeyKind(tag)](key, raw)
    except FormatError as error:
        raise FormatError(thing, f"line 4: {error.cause}") from error


_MAKE: dict[KeyKind, type[Key]] = {
    KeyKind.SIGNING_PUBLIC: PublicSigningKey,
    KeyKind.SIGNING_SECRET: SecretSigningKey,
    KeyKind.BOX_PUBLIC: PublicBoxKey,
    KeyKind.BOX_SECRET: SecretBoxKey,
    KeyKind.RING: RingKey,
}


def decode_base64(text: str | bytes, *, thing: str, where: str) -> bytes:
    """Canonical, padded, unwrapped base64 only: every value has exactly one text, so no byte of it can be flipped unseen."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(thing, f"{where}: is not base64") from None
    if base64.b64encode(raw) != (text.encode() if isinstance(text, str) else text):
        raise FormatError(thing, f"{where}: is not canonical base64")
    return raw


def _text(kind: KeyKind, key: KeyName, raw: bytes) -> str:
    return f"{kind}\n{key}\n\n{base64.b64encode(raw).decode()}"


def _fingerprint(data: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _demand_length(key: KeyName, raw: bytes, length: int) -> None:
    if len(raw) != length:
        raise FormatError(f"key {key}", f"has {len(raw)} bytes, not {length}")
