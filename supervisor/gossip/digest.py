"""A digest of a set that is kept up as the set changes: the sum of its entries' hashes, in all and by bucket.

Rules: equal sets have equal digests, whatever way they came about, and adding or removing one entry costs two additions. An entry is
hashed with everything that two members must agree on; its bucket depends only on its key, so that two versions of one key meet in the
same bucket. Two members compare one digest, then BUCKETS sums, then only the entries of buckets that differ.

The sum is against accidents, not against a forger: somebody with the ring's key can construct sets with equal sums (Wagner's generalized
birthdays), and only keeps two members from seeing that they differ, until one of the entries changes.

Not here: what an entry is (members.py, records.py), the conversation (sync.py).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

BUCKETS: Final = 64  # 1 KiB of sums a side; at 1,024 members a bucket has 16 of them
HASH: Final = 16  # bytes
_MODULUS: Final = 1 << 8 * HASH


def hash16(*parts: bytes) -> bytes:
    """16 bytes over the parts and their lengths: no two lists of parts look alike."""
    made = blake2b(digest_size=HASH)
    for part in parts:
        made.update(len(part).to_bytes(4, "big"))
        made.update(part)
    return made.digest()


def bucket_of(key_hash: bytes) -> int:
    """The bucket of a key, from its hash or from an id that is a hash itself."""
    return key_hash[0] % BUCKETS


class Sum:
    """The digest of one set. The caller adds an entry once and removes only what it has added."""

    __slots__ = ("_buckets", "_total")

    def __init__(self) -> None:
        self._total = 0
        self._buckets = [0] * BUCKETS

    def add(self, bucket: int, entry_hash: bytes) -> None:
        """`entry_hash` has 16 bytes."""
        number = int.from_bytes(entry_hash, "big")
        self._total = (self._total + number) % _MODULUS
        self._buckets[bucket] = (self._buckets[bucket] + number) % _MODULUS

    def remove(self, bucket: int, entry_hash: bytes) -> None:
        number = int.from_bytes(entry_hash, "big")
        self._total = (self._total - number) % _MODULUS
        self._buckets[bucket] = (self._buckets[bucket] - number) % _MODULUS

    @property
    def digest(self) -> bytes:
        """16 bytes; those of the empty set are zeros."""
        return self._total.to_bytes(HASH, "big")

    def bucket_sums(self) -> list[bytes]:
        """BUCKETS digests of 16 bytes."""
        return [number.to_bytes(HASH, "big") for number in self._buckets]
