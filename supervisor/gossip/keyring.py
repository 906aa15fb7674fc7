"""The ring's keys, and how bytes are sealed with them. Pure; values that never change.

    datagram or frame   "SR" | version 1 | purpose 1 | ring id 8 | key id 8 | nonce 24 | XChaCha20-Poly1305(plain)

Rules: one key seals, up to four more still open, so that keys can be changed while everybody talks. All that stands before the nonce is
associated data: bytes of one ring, key or purpose are nothing in another. A keyring without keys writes a key id of zeros and plain text,
which only other keyrings without keys read; whether that may be on a network is the driver's rule (loopback only). What is refused says why
in one word, for counters, and never more.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as _open,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt as _seal,
)
from nacl.exceptions import CryptoError

from hart.errors import ConflictError, LimitError, NotFoundError
from hart.limits import RING_KEYS_MAX

MAGIC = b"SR\x01"
UDP, TCP = 1, 2  # purposes
NONCE = 24
HEAD = len(MAGIC) + 1 + 8 + 8
TAG = 16
OVERHEAD = HEAD + NONCE + TAG
PLAIN = bytes(8)  # the key id of no key
KEY = 32


class Reason(StrEnum):
    """Why bytes are refused."""

    SIZE = "size"  # too short or too long to be anything of ours
    MAGIC = "magic"  # not this protocol, or another version of it
    PURPOSE = "purpose"  # a datagram's bytes on a stream, or the reverse
    RING = "ring"  # another ring
    PLAIN = "plain"  # plain text to a ring with keys, or sealed to one without
    KEY = "key"  # a key that is not in the keyring
    TAG = "tag"  # altered, or not sealed with the key that it names
    SHAPE = "shape"  # not a message
    REPLAY = "replay"
    RECEIVER = "receiver"  # meant for another member


class Refused(Exception):  # noqa: N818  it is an answer, and never leaves the ring
    """Bytes that are not for us, or not what they should be."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def key_id(raw: bytes) -> bytes:
    """8 bytes that name a key and tell nothing of it."""
    return blake2b(raw, digest_size=8, person=b"stead ring key").digest()


def ring_id(name: str) -> bytes:
    """8 bytes that name a ring."""
    return blake2b(name.encode(), digest_size=8, person=b"stead ring").digest()


class Keyring:
    """`primary` seals; all of `keys` open. Without a primary: plain text."""

    __slots__ = ("_heads", "_keys", "primary", "primary_id", "ring", "ring_id")

    def __init__(self, ring: str, primary: bytes | None = None, secondaries: tuple[bytes, ...] = ()) -> None:
        every = () if primary is None else tuple(dict.fromkeys((primary, *secondaries)))
        assert all(len(raw) == KEY for raw in every)
        if len(every) > RING_KEYS_MAX:
            raise LimitError(f"keys of ring {ring}", f"are more than {RING_KEYS_MAX}", next="stead ring key remove one that nobody uses")
        self.ring, self.primary = ring, primary
        self.ring_id = ring_id(ring)
        self.primary_id = PLAIN if primary is None else key_id(primary)
        self._keys = {key_id(raw): raw for raw in every}
        self._heads = {purpose: MAGIC + bytes([purpose]) + self.ring_id + self.primary_id for purpose in (UDP, TCP)}

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The primary's first."""
        return tuple(self._keys)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The raw keys, the primary first."""
        return tuple(self._keys.values())

    def seal(self, plain: bytes, *, purpose: int, nonce: bytes) -> bytes:
        """OVERHEAD bytes longer than `plain`, where there is a key. A nonce is never used twice: 24 random bytes."""
        head = self._heads[purpose]
        if self.primary is None:
            return head + plain
        sealed: bytes = _seal(plain, head, nonce, self.primary)
        return head + nonce + sealed

    def open(self, data: bytes, *, purpose: int) -> bytes:
        """What was sealed; Refused, and nothing else."""
        if len(data) < HEAD:
            raise Refused(Reason.SIZE)
        head = data[:HEAD]
        raw = self.primary if head == self._heads[purpose] else self._key_of(head, purpose)
        if raw is None:
            return data[HEAD:]
        if len(data) < OVERHEAD:
            raise Refused(Reason.SIZE)
        try:
            plain: bytes = _open(data[HEAD + NONCE :], head, data[HEAD : HEAD + NONCE], raw)
        except CryptoError:
            raise Refused(Reason.TAG) from None
        return plain

    def _key_of(self, head: bytes, purpose: int) -> bytes:
        """A secondary's key, or why there is none."""
        if head[:3] != MAGIC:
            raise Refused(Reason.MAGIC)
        if head[3] != purpose:
            raise Refused(Reason.PURPOSE)
        if head[4:12] != self.ring_id:
            raise Refused(Reason.RING)
        named = head[12:]
        if (named == PLAIN) != (self.primary is None):
            raise Refused(Reason.PLAIN)
        raw = self._keys.get(named)
        if raw is None:
            raise Refused(Reason.KEY)
        return raw

    # --- changes

    def with_key(self, raw: bytes) -> Keyring:
        """One more that opens."""
        if self.primary is None:
            raise ConflictError("ring", "has no key, and cannot get one while it runs", next="stead ring key generate NAME, then restart")
        return Keyring(self.ring, self.primary, (*self.keys, raw))

    def using(self, named: bytes) -> Keyring:
        """Another of its keys seals."""
        return Keyring(self.ring, self._need(named), self.keys)

    def without(self, named: bytes) -> Keyring:
        """A key that no longer opens; ConflictError for the one that seals."""
        raw = self._need(named)
        if raw == self.primary:
            raise ConflictError(f"key {named.hex()}", "is the one in use", next="stead ring key use ANOTHER first")
        return Keyring(self.ring, self.primary, tuple(each for each in self.keys if each != raw))

    def _need(self, named: bytes) -> bytes:
        raw = self._keys.get(named)
        if raw is None:
            raise NotFoundError(f"key {named.hex()}", f"is not in the keyring of {self.ring or 'this ring'}", next="stead ring key list")
        return raw
