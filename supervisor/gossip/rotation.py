"""The ring's keys as a document that all members share, so that they can be changed while everybody talks. Pure.

    ring/keys           {"primary": id, "keys": {id: raw}, "revisions": {id: 14 digits}, "removed": [id, …]}
    member/<id>/keys    {"primary": id, "held": [id, …]}: which key that member seals with, and which ones open for it

Rules: a key is added (everybody can open with it), then used (everybody seals with it), then the old one is removed; each step waits until
the members that live are seen to have taken the one before, unless it is forced, and who is away is named. A new key has a later revision
than all before it, so that "the latest" of a key cache never leads back. A member takes the document as it is; keys of its own that the
document does not know still open for it, removed ones never again.
Who was away while a key was added and used does not understand the others, and after the removal they do not understand it either: it needs
the key by hand (MISSED).

The document travels sealed like everything else: whoever has an old key and the traffic of those days also has the new one. Against them
keys are changed by hand, on all hosts, and then the old one is removed (SECURITY.md).
Not here: what is kept on disk (ring_keyfiles.py), the commands (ring_keys.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from hart.errors import ConflictError, FormatError, InputError, LimitError, NotFoundError
from hart.limits import RING_CONFIG_MAX, RING_FACT_MAX, RING_KEYS_MAX, RING_KEYS_REMOVED
from hart.wire import decode, encode
from supervisor.gossip.keyring import KEY, Keyring, key_id
from supervisor.gossip.kinds import fact_prefix
from supervisor.gossip.messages import MemberId, Record

DOCUMENT: Final = "ring/keys"
FACT: Final = "keys"  # of a member, without its prefix
MISSED: Final = (
    "somebody seals with a key that is not here: this host may have missed a change of the ring's key, or they have",
    "stead ring key list here and there; there stead ring key export NAME, here stead ring key import and kill the pid of stead sup status",
)
_REVISION: Final = re.compile(r"[0-9]{14}", re.ASCII)
_ID: Final = 8


class Issued(NamedTuple):
    """A key and the revision that it has in key caches."""

    revision: str
    raw: bytes

    @property
    def id(self) -> bytes:
        return key_id(self.raw)

    def __repr__(self) -> str:
        return f"Issued({self.revision}, {self.id.hex()})"


@dataclass(frozen=True, slots=True)
class RingKeys:
    """What the document says. `keys` by revision, the latest first; `removed` are ids, the latest first."""

    primary: bytes
    keys: tuple[Issued, ...]
    removed: tuple[bytes, ...] = ()

    def get(self, named: bytes) -> Issued | None:
        return next((each for each in self.keys if each.id == named), None)


class Uses(NamedTuple):
    """What a member says of itself."""

    primary: bytes
    held: tuple[bytes, ...]


# --- bytes


def read(body: bytes) -> RingKeys:
    """FormatError or LimitError for what no member of ours writes."""
    found = _map(decode(body, thing=DOCUMENT, limit=RING_CONFIG_MAX), DOCUMENT)
    keys, revisions = _map(found.get("keys"), DOCUMENT), _map(found.get("revisions"), DOCUMENT)
    if not 0 < len(keys) <= RING_KEYS_MAX:
        raise LimitError(DOCUMENT, f"has {len(keys)} keys, not 1 to {RING_KEYS_MAX}")
    issued = []
    for named, raw in keys.items():
        revision = revisions.get(named)
        if not isinstance(raw, bytes) or len(raw) != KEY or named != key_id(raw):
            raise FormatError(DOCUMENT, "has a key that is none, or under another's id")
        if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
            raise FormatError(DOCUMENT, "has a key without a revision")
        issued.append(Issued(revision, raw))
    removed = tuple(each for each in _ids(found.get("removed"), RING_KEYS_REMOVED, DOCUMENT) if each not in keys)
    primary = found.get("primary")
    if not isinstance(primary, bytes) or primary not in keys:
        raise FormatError(DOCUMENT, "uses a key that it has not")
    return RingKeys(primary, _sorted(issued), removed)


def write(keys: RingKeys) -> bytes:
    """The document's body."""
    return encode(
        {
            "primary": keys.primary,
            "keys": {each.id: each.raw for each in keys.keys},
            "revisions": {each.id: each.revision for each in keys.keys},
            "removed": list(keys.removed),
        }
    )


def fact(keyring: Keyring) -> dict[str, bytes]:
    """What this member tells of its keys, by key without prefix; nothing where there is none."""
    if keyring.primary is None:
        return {}
    return {FACT: encode({"primary": keyring.primary_id, "held": list(keyring.key_ids)})}


def who_uses(facts: Iterable[tuple[MemberId, bytes | None]]) -> dict[MemberId, Uses]:
    """By member, from the bodies of their facts. Who tells nothing, or what nobody can read, is left out."""
    table = {}
    for member, body in facts:
        if body is not None and (uses := _uses(body)) is not None:
            table[member] = uses
    return table


def fact_key(member: MemberId) -> str:
    """The key of its fact."""
    return f"{fact_prefix(member)}{FACT}"


def _uses(body: bytes) -> Uses | None:
    try:
        found = _map(decode(body, thing=FACT, limit=RING_FACT_MAX), FACT)
        held, primary = tuple(_ids(found.get("held"), 2 * RING_KEYS_MAX, FACT)), found.get("primary")
    except InputError:
        return None
    return Uses(primary, held) if isinstance(primary, bytes) and primary in held else None


def _map(value: Any, thing: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise FormatError(thing, "is not a map")
    return value


def _ids(value: Any, most: int, thing: str) -> Iterator[bytes]:
    if not isinstance(value, list) or len(value) > most:
        raise FormatError(thing, f"has no list of up to {most} keys")
    for each in value:
        if not isinstance(each, bytes) or len(each) != _ID:
            raise FormatError(thing, "has an id that is none")
        yield each


def _sorted(keys: Iterable[Issued]) -> tuple[Issued, ...]:
    return tuple(sorted(keys, reverse=True))


# --- what a member makes of it


def begin(ring: str, cached: Iterable[Issued], document: RingKeys | None) -> Keyring:
    """The keyring of a process that starts, from the key cache and the document as it was last seen here.

    The document says which key seals, but for one case: a key that it does not know and that is later than the one it uses was brought by
    hand, because the ring went on without this host. Without a document the latest key seals, as with Habitat."""
    known = document.keys if document is not None else ()
    gone = document.removed if document is not None else ()
    names = {each.id for each in known}
    own = [each for each in _sorted(cached) if each.id not in names and each.id not in gone]
    theirs = document.get(document.primary) if document is not None else None
    primary = own[0] if own and (theirs is None or own[0].revision > theirs.revision) else theirs
    if primary is None:
        return Keyring(ring)
    return Keyring(ring, primary.raw, _others(primary, [each.raw for each in (theirs or primary, *known, *own)]))


def adopt(keyring: Keyring, record: Record) -> Keyring:
    """The keyring as the document has it: its keys, its primary, and those of our own that it does not know, as far as there is room.
    FormatError or LimitError for a document that cannot be read. A ring without keys gets none this way."""
    if keyring.primary is None or record.body is None:
        return keyring
    document = read(record.body)
    issued = document.get(document.primary)
    assert issued is not None
    known = [each.raw for each in document.keys]
    own = [raw for raw in keyring.keys if key_id(raw) not in document.removed]
    return Keyring(keyring.ring, issued.raw, _others(issued, [*known, *own]))


def _others(primary: Issued, every: Iterable[bytes]) -> tuple[bytes, ...]:
    """All but the primary, as many as a keyring holds."""
    return tuple(dict.fromkeys(raw for raw in every if raw != primary.raw))[: RING_KEYS_MAX - 1]


# --- what a person may do


def as_document(keyring: Keyring, revisions: Mapping[bytes, str]) -> RingKeys:
    """The document of a ring that has none yet: the keys of this member. `revisions` by raw key; one that the cache no longer has is
    older than all."""
    if keyring.primary is None:
        raise ConflictError("ring", "has no key, and cannot get one while it runs", next="stead ring key generate NAME, then restart")
    return RingKeys(keyring.primary_id, _sorted(Issued(revisions.get(raw, "0" * 14), raw) for raw in keyring.keys))


def as_used(document: RingKeys, keyring: Keyring, revisions: Mapping[bytes, str]) -> RingKeys:
    """The document, or where this process began with a key that was brought by hand (see `begin`), how it goes on from there: never back to
    the key that was given up."""
    if keyring.primary is None or document.get(keyring.primary_id) is not None:
        return document
    own = Issued(revisions.get(keyring.primary, "0" * 14), keyring.primary)
    return replace(document, primary=own.id, keys=_sorted([own, *document.keys[: RING_KEYS_MAX - 1]]))


def add(keys: RingKeys, new: Issued) -> RingKeys:
    """One more key that opens for everybody."""
    if keys.get(new.id) is not None:
        raise ConflictError(f"key {new.id.hex()}", "is one of the ring's keys already", next="stead ring key list")
    if new.id in keys.removed:
        raise ConflictError(f"key {new.id.hex()}", "was removed from the ring", next="stead ring key add, which makes a new one")
    if len(keys.keys) >= RING_KEYS_MAX:
        raise LimitError("keys of the ring", f"would be more than {RING_KEYS_MAX}", next="stead ring key remove one that nobody uses")
    if new.revision <= keys.keys[0].revision:
        raise ConflictError(
            f"key {new.revision}",
            f"is not later than the ring's {keys.keys[0].revision}, and key caches go by the latest",
            next="stead ring key add, which makes a new one",
        )
    return replace(keys, keys=_sorted([*keys.keys, new]))


def use(keys: RingKeys, named: bytes, *, lacking: Sequence[str], force: bool = False) -> RingKeys:
    """Another key seals. `lacking` names the living members that are not seen to hold it."""
    _need(keys, named)
    if lacking and not force:
        raise ConflictError(
            f"key {named.hex()}",
            f"is not seen with {_named(lacking)}: they would no longer understand the others",
            next="wait and try again, or --force: they then need stead ring key import by hand",
        )
    return replace(keys, primary=named)


def remove(keys: RingKeys, named: bytes, *, using: Sequence[str], force: bool = False) -> RingKeys:
    """A key that nobody opens with any more. `using` names the living members that still seal with it, or do not say."""
    _need(keys, named)
    if named == keys.primary:
        raise ConflictError(f"key {named.hex()}", "is the one in use", next="stead ring key use ANOTHER first")
    if using and not force:
        raise ConflictError(
            f"key {named.hex()}",
            f"may still be used by {_named(using)}: nobody would understand them",
            next="wait and try again, or --force: they then need stead ring key import by hand",
        )
    removed = (named, *(each for each in keys.removed if each != named))[:RING_KEYS_REMOVED]
    return replace(keys, keys=tuple(each for each in keys.keys if each.id != named), removed=removed)


def without(named: bytes, table: Mapping[MemberId, Uses], members: Iterable[MemberId]) -> list[MemberId]:
    """Those of `members` that are not seen to hold a key."""
    return [each for each in members if each not in table or named not in table[each].held]


def sealing(named: bytes, table: Mapping[MemberId, Uses], members: Iterable[MemberId]) -> list[MemberId]:
    """Those of `members` that seal with a key, or do not say with which."""
    return [each for each in members if each not in table or table[each].primary == named]


def find(keys: RingKeys, text: str, *, ring: str) -> Issued:
    """The key that a person means: NAME-REVISION, REVISION, its id, or at least four digits of its beginning. NotFoundError,
    ConflictError."""
    wanted = text.removeprefix(f"{ring}-").lower()
    found = [each for each in keys.keys if wanted == each.revision or wanted == each.id.hex()]
    found = found or [each for each in keys.keys if len(wanted) >= 4 and each.id.hex().startswith(wanted)]
    if not found:
        gone = any(len(wanted) >= 4 and each.hex().startswith(wanted) for each in keys.removed)
        raise NotFoundError(f"key {text}", "was removed from the ring" if gone else "is not a key of the ring", next="stead ring key list")
    if len(found) > 1:
        shown = ", ".join(each.id.hex() for each in found)
        raise ConflictError(f"key {text}", f"could be one of {shown}", next="give more of its digits")
    return found[0]


def next_revision(keys: RingKeys, now: str) -> str:
    """For a new key: `now`, or the number after the latest one, which a clock that was wrong may have put ahead."""
    after = f"{int(keys.keys[0].revision) + 1:014}"
    if not _REVISION.fullmatch(after):
        raise LimitError("revision of the ring's keys", "cannot become any later", next="stead ring key remove the latest, by --force")
    return max(now, after)


def _need(keys: RingKeys, named: bytes) -> Issued:
    found = keys.get(named)
    if found is None:
        raise NotFoundError(f"key {named.hex()}", "is not a key of the ring", next="stead ring key list")
    return found


def _named(members: Sequence[str]) -> str:
    shown = ", ".join(members[:5])
    return shown if len(members) <= 5 else f"{shown} and {len(members) - 5} more"
