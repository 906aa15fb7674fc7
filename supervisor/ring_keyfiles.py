"""The ring's keys on this host's disk: with which ones a process begins, and what the key cache keeps of a change.

Rules: a key that the ring got is stored under the revision that it has everywhere, so that a restart, or `stead ring key export`, has it.
One that was removed is set aside (`….removed`), never deleted: whoever removed it may have been wrong. A cache that cannot be written costs
nothing now: the ring's documents are on disk too, and say the same; only what is wrong is told.
"""

from __future__ import annotations

from hart.errors import InputError, SteadError
from hart.files import storage
from hart.keys import KeyCache, KeyKind, KeyName, RingKey
from supervisor.gossip.keyring import Keyring, key_id
from supervisor.gossip.records import Records
from supervisor.gossip.rotation import DOCUMENT, Issued, RingKeys, begin, read


def issued(cache: KeyCache, ring: str) -> list[Issued]:
    """All keys of a ring in the cache, the latest first. Files that are no keys are left out: `stead ring key list` shows why."""
    found = []
    for entry in cache.list():
        if entry.kind is KeyKind.RING and entry.key.name == ring:
            key = cache.load(entry.key, KeyKind.RING)
            assert isinstance(key, RingKey)
            found.append(Issued(entry.key.revision, key.raw))
    return sorted(found, reverse=True)


def document_of(records: Records) -> RingKeys | None:
    """The ring's keys as the ring has them; None where it has never changed them. FormatError or LimitError."""
    record = records.get(DOCUMENT)
    return None if record is None or record.body is None else read(record.body)


def first_keyring(cache: KeyCache, ring: str, records: Records) -> tuple[Keyring, str]:
    """The keyring of a process that starts, and what is wrong with the document on disk."""
    document, complaint = None, ""
    try:
        document = document_of(records)
    except InputError as error:
        complaint = f"the ring's keys on disk are left out: {error}"
    return begin(ring, issued(cache, ring) if ring else (), document if ring else None), complaint


def keep(cache: KeyCache, ring: str, document: RingKeys) -> list[str]:
    """Bring the key cache up to a document; what could not be done, in words."""
    troubles = []
    try:
        cached = {each.raw: each for each in issued(cache, ring)}
    except SteadError as error:
        return [f"keys are not kept in {cache.path}: {error}"]
    for each in document.keys:
        if each.raw not in cached:
            try:
                cache.store(RingKey(KeyName(ring, each.revision), each.raw))
            except SteadError as error:
                troubles.append(f"key {each.id.hex()} is not kept in the key cache: {error}")
    for each in cached.values():
        if key_id(each.raw) in document.removed:
            path = cache.path / KeyName(ring, each.revision).file_name(KeyKind.RING)
            try:
                with storage(path):
                    path.replace(path.with_name(f"{path.name}.removed"))
            except SteadError as error:
                troubles.append(f"key {each.id.hex()} was removed from the ring and is still in the key cache: {error}")
    return troubles
