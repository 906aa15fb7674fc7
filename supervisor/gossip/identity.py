"""Who a member is: an Ed25519 key, and what it has signed. Pure.

Rules: a member's id is the fingerprint of its public key, never an address or a name (demands 9). What is signed names the ring and its own
kind, so that no signature can be shown elsewhere. Bounds of an announcement are checked with its signature: whoever holds one may use it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from ipaddress import ip_address

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError

from hart.limits import RING_GENERATION_MAX, RING_NAME_MAX
from hart.wire import encode
from supervisor.gossip.messages import Announcement, MemberId, Record, Version

SIGNATURE = 64
Verify = Callable[[bytes, bytes, bytes], bool]  # public key, message, signature


def member_id(public: bytes) -> MemberId:
    """16 bytes."""
    return blake2b(public, digest_size=16).digest()


class MemberKey:
    """The key of one member; `seed` is its 32 secret bytes."""

    __slots__ = ("_secret", "id", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public, self._secret = crypto_sign_seed_keypair(seed)
        self.id = member_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        signed: bytes = crypto_sign(message, self._secret)
        return signed[:SIGNATURE]


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key's owner signed the message; about 60 us."""
    try:
        crypto_sign_open(signature + message, public)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


def announce(
    key: MemberKey,
    *,
    ring: bytes,
    generation: int,
    incarnation: int,
    session: bytes,
    host: str,
    port: int,
    name: str,
    departing: bool = False,
) -> Announcement:
    """What a member says of itself, signed."""
    bare = Announcement(key.public, generation, incarnation, session, host, port, name, departing, b"")
    return bare._replace(signature=key.sign(_announced(bare, ring)))


def announcement_ok(announcement: Announcement, ring: bytes, verify: Verify = verify) -> bool:
    """Whether it is within bounds and signed by the member that it is about. Types are the codec's to check."""
    each = announcement
    return (
        len(each.public) == 32
        and len(each.session) == 8
        and len(each.signature) == SIGNATURE
        and 0 < each.generation <= RING_GENERATION_MAX
        and 0 <= each.incarnation <= RING_GENERATION_MAX
        and 0 < each.port < 1 << 16
        and len(each.name) <= RING_NAME_MAX
        and each.name.isprintable()
        and _is_literal(each.host)
        and verify(each.public, _announced(each, ring), each.signature)
    )


def sign_record(key: MemberKey, *, ring: bytes, record_key: str, version: Version, body: bytes | None) -> Record:
    bare = Record(record_key, version, key.public, b"", body)
    return bare._replace(signature=key.sign(_recorded(bare, ring)))


def record_ok(record: Record, ring: bytes, verify: Verify = verify) -> bool:
    """Whether its author signed it; who may author what is in records.py."""
    return (
        len(record.author) == 32 and len(record.signature) == SIGNATURE and verify(record.author, _recorded(record, ring), record.signature)
    )


def _announced(each: Announcement, ring: bytes) -> bytes:
    return b"stead announcement" + encode([ring, *each[:-1]])


def _recorded(each: Record, ring: bytes) -> bytes:
    return b"stead record" + encode([ring, each.key, *each.version, each.author, each.body])


def _is_literal(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast) and "%" not in host
