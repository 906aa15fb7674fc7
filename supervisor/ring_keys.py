"""What the supervisor can be told about the ring's keys: its side of `stead ring key list | add | use | remove` (gossip/rotation.py).

Rules: as commands.py. A change is refused before anything has changed, else it is answered when the members that live are seen to have
taken it, or after RING_KEYS_WAIT_S with the names of those that are not. Keys themselves never come back: ids, revisions, fingerprints.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from hart.errors import ConflictError, InputError
from hart.keys import KeyCache, KeyKind, KeyName, RingKey, generate_ring_key
from hart.limits import RING_KEYS_WAIT_S
from supervisor import clock
from supervisor.control import Say
from supervisor.gossip import rotation
from supervisor.gossip.messages import Health, MemberId
from supervisor.gossip.records import NO_REVISION
from supervisor.gossip.rotation import DOCUMENT, Issued, RingKeys, Uses
from supervisor.host import Host
from supervisor.request import Request
from supervisor.ring_keyfiles import document_of, issued


async def show(host: Host, _: Request, __: Say) -> dict[str, Any]:
    """Each key of the ring: who uses it, and which living members are not seen to hold it."""
    ring = host.ring
    if ring.keyring.primary is None:
        return {"ring": None, "members": len(living(host)), "keys": [], "removed": []}
    keys, table = current(host), uses(host)
    rows = [
        {
            "id": each.id.hex(),
            "revision": each.revision,
            "fingerprint": RingKey(KeyName(ring.name, each.revision), each.raw).fingerprint,
            "in_use": each.id == keys.primary,
            "used_by": names(host, [member for member in living(host) if member in table and table[member].primary == each.id]),
            "lacking": names(host, rotation.without(each.id, table, living(host))),
        }
        for each in keys.keys
    ]
    return {"ring": ring.name, "members": len(living(host)), "keys": rows, "removed": [each.hex() for each in keys.removed]}


async def add(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """A new key, or one of this host's cache, that opens for everybody from now on."""
    keys = current(host, say)
    cache = cache_of(host)
    if "key" in request.fields:
        name = KeyName.parse(request.text("key"))
        if name.name != host.ring.name:
            raise ConflictError(f"key {name}", f"is not one of ring {host.ring.name}", next="stead ring key list")
        found = cache.load(name, KeyKind.RING)
        assert isinstance(found, RingKey)
        new = Issued(name.revision, found.raw)
    else:
        revision = rotation.next_revision(keys, cache.free_revision(host.ring.name, clock.wall()))
        new = Issued(revision, generate_ring_key(host.ring.name, revision).raw)
    await propose(host, rotation.add(keys, new))
    say(f"key {new.id.hex()} is on its way; nobody seals with it yet")
    done = await settled(host, request, say, new, lambda: rotation.without(new.id, uses(host), living(host)), "have it")
    say(f"to seal with it: stead ring key use {new.id.hex()}")
    return done


async def use(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """Everybody seals with this key from now on."""
    keys = current(host, say)
    chosen = rotation.find(keys, request.text("key"), ring=host.ring.name)
    table = uses(host)
    changed = rotation.use(
        keys, chosen.id, lacking=names(host, rotation.without(chosen.id, table, living(host))), force=request.flag("force")
    )
    if away := names(host, rotation.without(chosen.id, table, absent(host))):
        say(f"away, and without it: {', '.join(away)}; to come back they need it by hand: stead ring key import")
    await propose(host, changed)

    def others() -> list[MemberId]:
        now = uses(host)
        return [each for each in living(host) if each not in now or now[each].primary != chosen.id]

    done = await settled(host, request, say, chosen, others, "use it")
    for each in changed.keys:
        if each.id != chosen.id:
            say(f"when nobody needs the one before any more: stead ring key remove {each.id.hex()}")
    return done


async def remove(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """Nobody opens with this key from now on."""
    keys = current(host, say)
    chosen = rotation.find(keys, request.text("key"), ring=host.ring.name)
    table = uses(host)
    changed = rotation.remove(
        keys, chosen.id, using=names(host, rotation.sealing(chosen.id, table, living(host))), force=request.flag("force")
    )
    if away := names(host, rotation.sealing(chosen.id, table, absent(host))):
        say(f"away, and seen with it last: {', '.join(away)}; to come back they need the one in use by hand: stead ring key import")
    await propose(host, changed)

    def holders() -> list[MemberId]:
        now = uses(host)
        return [each for each in living(host) if each in now and chosen.id in now[each].held]

    return await settled(host, request, say, chosen, holders, "have dropped it")


# --- what is known


def current(host: Host, say: Say | None = None) -> RingKeys:
    """The ring's keys; of a ring that has never changed them, or has a document that nobody can read, this member's own. One that
    was brought by hand and is in use here belongs to them."""
    keyring = host.ring.keyring
    try:
        found = document_of(host.ring.node.records) if keyring.primary is not None else None
    except InputError as error:
        found = None
        if say is not None:
            say(f"the ring's document cannot be read and is replaced: {error}")
    revisions = {each.raw: each.revision for each in issued(cache_of(host), host.ring.name)}
    return rotation.as_used(found, keyring, revisions) if found is not None else rotation.as_document(keyring, revisions)


def cache_of(host: Host) -> KeyCache:
    return KeyCache.choose(host.root, host.environ)


def uses(host: Host) -> dict[MemberId, Uses]:
    """What each member says of its keys; of this one, what is so."""
    node, keyring = host.ring.node, host.ring.keyring
    told = ((each.id, node.records.get(rotation.fact_key(each.id))) for each in node.members)
    table = rotation.who_uses((member, None if record is None else record.body) for member, record in told)
    return table | {node.members.me.id: Uses(keyring.primary_id, keyring.key_ids)}


def living(host: Host) -> list[MemberId]:
    """Members that must understand a change, this one too; a suspect may well live."""
    return [each.id for each in host.ring.node.members if each.health in (Health.ALIVE, Health.SUSPECT)]


def absent(host: Host) -> list[MemberId]:
    """Members that may come back: the dead, and those that said goodbye, as every host does that is shut down. Not who was told to go."""
    return [
        each.id
        for each in host.ring.node.members
        if each.health is Health.DEAD or (each.health is Health.DEPARTED and each.announcement.departing)
    ]


def names(host: Host, members: Iterable[MemberId]) -> list[str]:
    found = [host.ring.node.members.get(each) for each in members]
    return sorted(each.text for each in found if each is not None)


# --- what is done


async def propose(host: Host, keys: RingKeys) -> None:
    """ConflictError when somebody else has changed them meanwhile."""
    record = host.ring.node.records.get(DOCUMENT)
    await host.ring.put(DOCUMENT, rotation.write(keys), expect=NO_REVISION if record is None else record.version.major)


async def settled(host: Host, request: Request, say: Say, key: Issued, missing: Callable[[], list[MemberId]], done: str) -> dict[str, Any]:
    """Wait until nobody that lives is missing."""
    await host.changed.until(lambda: not missing(), request.number("wait_s", RING_KEYS_WAIT_S))
    left, everybody = names(host, missing()), len(living(host))
    say(f"{everybody - len(left)} of {everybody} members {done}" + (f"; not yet: {', '.join(left[:5])}" if left else ""))
    return {"ring": host.ring.name, "key": key.id.hex(), "revision": key.revision, "members": everybody, "waiting_for": left}


Command = Callable[[Host, Request, Say], Awaitable[Any]]
COMMANDS: Final[dict[str, Command]] = {
    "ring key list": show,
    "ring key add": add,
    "ring key use": use,
    "ring key remove": remove,
}
