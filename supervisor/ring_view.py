"""What people and programs are shown of the ring. Pure: from the node's parts to plain values.

Rules: a member has its id of 32 digits and its name; times are stamps, with the seconds since then beside them for people. Bodies of
records are shown to those who ask for them on this host, never over HTTP. Every list is bounded, and says what it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from hart.errors import InputError
from hart.limits import RING_SHOWN, RING_SHOWN_BYTES
from hart.wire import decode
from supervisor import clock
from supervisor.gossip.identity import member_id
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.kinds import place
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import Address, Announcement, Health, MemberId, Record
from supervisor.gossip.news import News
from supervisor.gossip.records import Records, content_hash
from supervisor.gossip.rotation import DOCUMENT, MISSED
from supervisor.plain import plain
from supervisor.settings import show_address

At = Callable[[float], float]  # the drivers' clock to wall time

MEMBER_COLUMNS: Final = ("name", "member", "health", "since", "address", "because")
RECORD_COLUMNS: Final = ("key", "version", "author", "size", "digest")

OUTWARD: Final = frozenset({"send", "receive", "connect"})  # the driver's counts of what the network refused us

# Why packets are refused: what it usually means, and what to do. By the words of codec, node, driver.
CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "magic": ("something that is no member of a ring, or of another version of Stead, sends to this port", "which hosts do? see its logs"),
    "purpose": ("bytes of a stream came as a packet, or the reverse: somebody plays with recorded ones", "a few are harmless"),
    "ring": ("members of a ring with another name reach this port", "stead ring status there: is it the ring that you meant?"),
    "key": MISSED,
    "tag": ("packets were altered on their way, or forged", "a few are harmless; many are an attack or a broken network"),
    "plain": ("one side has a ring key and the other has none", "stead ring key list, here and there"),
    "size": ("packets are cut or too long: a path that breaks large ones", "is the MTU between the hosts below 1,500?"),
    "shape": ("a member says what this release does not understand", "stead sup status there: is it another release?"),
    "replay": ("packets came twice: by the network, or by somebody who recorded them", "a few are harmless"),
    "receiver": ("packets for another member, which had this address before", "harmless: they end when the sender has forgotten it"),
    "sender": ("packets of an earlier life of a member, or of one that is not known", "a few are harmless"),
    "gone": ("a member that departed, or was forgotten, still speaks", "stead ring join ADDRESS on that host brings it back"),
    "announcement": ("a member's own words bear a wrong signature", "that member is broken or hostile: the journal names it"),
    "incarnation": ("somebody makes claims about this member with absurd numbers", "a member is broken or hostile"),
    "budget": (
        "more packets came than are looked at: a flood from outside, or a member gone wild",
        "which hosts send? tcpdump -n udp port PORT",
    ),
    "record": ("a record was not taken: a member breaks the rules, or a cap is reached", "stead ring records shows what is held"),
    "send": ("the network or a firewall of this host did not take packets", "ip route, and the firewall's rules for the ring's port"),
    "receive": ("the network answered packets with an error", "is a firewall rejecting the ring's port on other hosts?"),
    "full": ("there are more members than this one holds", "stead ring depart MEMBER for those that are gone"),
}

# Where nobody answers, and somebody should. With keys they may well be there: members drop what they cannot open, and do not answer it.
ALONE: Final = ("nobody who should be there has answered yet: they are down, or the network is in between", "stead ring status, there")
ALONE_SEALED: Final = (
    "nobody who should be there has answered yet: they are down, the network is in between, or their key was changed without this host",
    MISSED[1],
)


class NodeSeen(Protocol):
    """The parts of a node that are shown."""

    @property
    def me(self) -> Announcement: ...

    @property
    def members(self) -> Members: ...

    @property
    def records(self) -> Records: ...

    @property
    def news(self) -> News: ...

    @property
    def score(self) -> int: ...

    @property
    def counters(self) -> Mapping[str, int]: ...


class RingSeen(Protocol):
    """The parts of the ring that are shown."""

    name: str
    encrypted: bool
    departed: str  # why this host takes no part; empty: it does
    alone: bool  # somebody should be there, and nobody has answered

    @property
    def address(self) -> Address: ...

    @property
    def drops(self) -> Mapping[str, int]: ...

    @property
    def discovery(self) -> Sequence[Mapping[str, Any]]: ...  # source, trouble, addresses

    @property
    def because(self) -> Mapping[MemberId, str]: ...  # the last reason of each member's health

    @property
    def node(self) -> NodeSeen: ...

    @property
    def keyring(self) -> Keyring: ...


def ring(seen: RingSeen, now: float, at: At) -> dict[str, Any]:
    """Everything that `/v1/ring` answers."""
    facts = status(seen, now, at)
    facts["members"] = members(seen, now, at)
    facts["records"]["rows"], facts["records"]["left_out"] = records(seen)
    return facts


def status(seen: RingSeen, now: float, at: At) -> dict[str, Any]:
    """This member, the ring, and what is not as it should be."""
    node, me = seen.node, seen.node.me
    away = [each for each in node.members if each.health is not Health.ALIVE]
    worst = sorted(away, key=lambda each: (each.health is Health.DEPARTED, each.health is Health.DEAD, each.id))
    return {
        "member": member_id(me.public).hex(),
        "name": me.name,
        "address": show_address(seen.address),
        "advertised": show_address((me.host, me.port)),
        "generation": me.generation,
        "incarnation": me.incarnation,
        "ring": seen.name or None,
        "ring_id": node.records.ring.hex(),
        "encrypted": seen.encrypted,
        "key": seen.keyring.primary_id.hex() if seen.encrypted else None,
        "other_keys": [each.hex() for each in seen.keyring.key_ids if each != seen.keyring.primary_id],
        "departed": seen.departed or None,
        "alone": "; next: ".join(why_alone(seen.encrypted)) if seen.alone else None,
        "score": node.score,
        "counts": health_counts(node.members),
        "away": [member_row(seen, each, now, at) for each in worst[:RING_SHOWN]],
        "discovery": [{**source, "addresses": [show_address(each) for each in source["addresses"]]} for source in seen.discovery],
        "refused": refused_rows(refused(seen)),
        "network": refused_rows(network(seen)),
        "up_s": round(max(0.0, now - node.members.me.since), 1),
        "records": record_counts(node.records),
        "counters": dict(sorted(node.counters.items())),
    }


def why_alone(encrypted: bool) -> tuple[str, str]:
    """The cause, and what to do."""
    return ALONE_SEALED if encrypted else ALONE


def health_counts(found: Iterable[Member]) -> dict[str, int]:
    """How many members are held to be what; every word is there. A departure in public counts this member among the departed."""
    counted = Counter(word(each.health) for each in found)
    return {word(health): counted[word(health)] for health in Health}


def word(health: Health) -> str:
    return health.name.lower()


def members(seen: RingSeen, now: float, at: At) -> list[dict[str, Any]]:
    """All members by name, this one too."""
    found = sorted(seen.node.members, key=lambda each: (each.announcement.name, each.id))
    return [member_row(seen, each, now, at) for each in found[:RING_SHOWN]]


def member_row(seen: RingSeen, member: Member, now: float, at: At) -> dict[str, Any]:
    said = member.announcement
    accusers = member.suspicion.accusers if member.suspicion is not None else ()
    return {
        "name": said.name,
        "member": member.id.hex(),
        "health": word(member.health),
        "since": clock.stamp(at(member.since)),
        "for_s": round(max(0.0, now - member.since), 1),
        "address": show_address((said.host, said.port)),
        "because": seen.because.get(member.id, ""),
        "accused_by": sorted("this member" if each == seen.node.members.me.id else name_of(seen.node.members, each) for each in accusers),
        "generation": member.generation,
        "incarnation": member.incarnation,
        "me": member is seen.node.members.me,
    }


def name_of(found: Members, identity: MemberId) -> str:
    """A member for people: `name (first digits)`."""
    member = found.get(identity)
    return member.text if member is not None else identity.hex()[:8]


def refused(seen: RingSeen) -> dict[str, int]:
    """What came and was dropped, by reason: by the node, and by the driver before it."""
    found = Counter({reason: count for reason, count in seen.drops.items() if reason.split()[0] not in OUTWARD})
    for name, count in seen.node.counters.items():
        if name.startswith("refused "):
            found[name.removeprefix("refused ")] += count
    return {reason: count for reason, count in sorted(found.items()) if count}


def network(seen: RingSeen) -> dict[str, int]:
    """What this member could not send or reach, by the system's word. Some of it is what a dead member looks like."""
    return {reason: count for reason, count in sorted(seen.drops.items()) if count and reason.split()[0] in OUTWARD}


def refused_rows(counted: Mapping[str, int]) -> list[dict[str, Any]]:
    """The most frequent first, with what it usually means."""
    rows = []
    for reason, count in sorted(counted.items(), key=lambda item: -item[1]):
        cause, advice = CAUSES.get(reason) or CAUSES.get(reason.split()[0], ("", ""))
        rows.append({"reason": reason, "count": count, "cause": cause or None, "next": advice or None})
    return rows


def record_counts(held: Records) -> dict[str, Any]:
    """Live ones by kind, withdrawn ones that are remembered, and the bytes of all bodies, history too."""
    live = held.keys("")
    facts = sum(key.startswith("member/") for key in live)
    return {
        "documents": len(live) - facts,
        "facts": facts,
        "withdrawn": len(held) - len(live),
        "bytes": sum(len(record.body or b"") for record in held.each()),
    }


def records(seen: RingSeen, prefix: str = "", *, reveal: bool = False) -> tuple[list[dict[str, Any]], int]:
    """Rows of the live records whose key begins so, and how many more there are."""
    held = seen.node.records
    keys = held.keys(prefix)
    rows, room = [], RING_SHOWN_BYTES
    for key in keys[:RING_SHOWN]:
        record = held.get(key)
        assert record is not None
        row = record_row(seen.node.members, record)
        if reveal:
            room -= len(record.body or b"")
            row["body"] = readable(record.body or b"") if room >= 0 else None
            if key == DOCUMENT:  # whoever looks at records is not thereby handed the ring
                row["body"] = "the ring's keys, which are not shown: stead ring key list"
        rows.append(row)
    return rows, len(keys) - len(rows)


def record_row(found: Members, record: Record) -> dict[str, Any]:
    """Without its body. `version` as (generation, counter) of a fact, as a number of a document."""
    where = place(record.key)
    fact = where is not None and where.kind.fact
    return {
        "key": record.key,
        "version": f"{record.version.major}.{record.version.minor}" if fact else str(record.version.major),
        "author": name_of(found, member_id(record.author)),
        "size": len(record.body or b""),
        "digest": content_hash(record).hex(),
    }


def readable(body: bytes) -> Any:
    """A body for people: a message as its value, text as text, anything else in hex."""
    with suppress(InputError):
        value = decode(body, thing="body")
        if isinstance(value, (dict, list)):
            return plain(hexed(value))
    with suppress(UnicodeDecodeError):
        return body.decode()
    return body.hex()


def hexed(value: Any) -> Any:
    """Bytes inside as hex, which JSON can carry."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key.hex() if isinstance(key, bytes) else key: hexed(item) for key, item in value.items()}
    return [hexed(item) for item in value] if isinstance(value, list) else value


def lasted(seconds: float) -> str:
    """A duration for people: one number and its unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def sized(size: int) -> str:
    """Bytes for people."""
    for unit, one in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} bytes"
