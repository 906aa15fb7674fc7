"""What must hold in a simulated ring: safety after every event, liveness once the faults are over.

Safety looks only at what the event's node has changed, as its effects say, so it is cheap enough for every event; a change that no effect
tells is found by `sweep`, which compares everything with what was told. A broken rule raises Broken with the rule's name.

Safety: no member's (generation, incarnation) goes back, neither its own nor anybody's view of it · no member believes itself dead, or
leaves a claim about itself standing, without refuting · an announcement and a record are signed by whom they are about · a fact is its
author's · no two different bodies of one author at one version · what is held of a key is the greatest that has come, and never goes back
· histories are bounded · whoever has departed, or was forgotten, stays so in that generation · packets, frames and queues are in bounds.
Liveness: every running member holds every running member alive, with the words that it speaks itself, and nobody else; records are equal.

The checkers read nodes and effects; they change nothing, and share no code with the rules that they check but the signature itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from math import ceil, log10
from typing import Any, Final

from msgpack import packb

from supervisor.gossip.codec import size_of
from supervisor.gossip.identity import announcement_ok, record_ok
from supervisor.gossip.members import Member
from supervisor.gossip.messages import Effect, Expired, Health, Learned, MemberId, Packet, Record, Seen, Send, Write
from supervisor.gossip.node import Node
from tests.sim.host import Host, Life
from tests.sim.ring import Ring

DATAGRAM_MAX: Final = 1_400  # fits one frame of every common network; the limit, not the codec's
FRAME_MAX: Final = 256 * 1024
NEWS_MAX: Final = 20_000  # waiting items: two of each member and record of the largest ring, whatever the node calls its cap
STREAMS_MAX: Final = 16  # eight each way
HISTORY_MAX: Final = 11
HEADER: Final = 130  # bytes of a packet that carries nothing: its fields and the seal

Order = tuple[int, int]  # (generation, incarnation)
Place = tuple[int, int, bytes]  # (version major, minor, digest of the body)


class Broken(AssertionError):  # noqa: N818 - a rule is broken, not an error of ours
    """A rule does not hold; `rule` is its name."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class Seat:
    """What one process has told so far."""

    __slots__ = ("departed", "forgotten", "heads", "mine", "node", "read", "told", "views")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.mine: Order = (0, -1)
        self.views: dict[MemberId, Order] = {}
        self.departed: dict[MemberId, int] = {}  # id -> generation
        self.forgotten: dict[MemberId, int] = {}
        self.heads: dict[str, Place] = {}
        self.read: set[tuple[MemberId, int, int]] = set()  # packets that counted
        self.told: Counter[tuple[str, int, int, bytes]] = Counter()  # records in datagrams


def digest(record: Record) -> bytes:
    """Of what a record says; None and empty differ."""
    return blake2b(b"\0" if record.body is None else b"\1" + record.body, digest_size=16).digest()


def weight(frame: Any) -> int:
    """Bytes of a frame on the wire; where encoding is off, as they would be without its seal."""
    return len(frame if isinstance(frame, bytes) else packb(frame))


def answered(packet: Packet, effects: list[Effect]) -> bool:
    """Whether something was said to whoever asked, under the number of the question."""
    return any(type(effect) is Send and effect.data.seq == packet.seq != 0 for effect in effects)


class Safety:
    """A listener of the ring: call it after every event."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.checked = 0
        self._seats: dict[str, Seat] = {}
        self._bodies: dict[tuple[str, int, int, bytes], bytes] = {}  # (key, version, author) -> digest
        self._words: dict[tuple[bytes, int, int, bytes], bytes] = {}  # (public, generation, incarnation, session) -> signature
        self._copied: set[bytes] = set()  # public keys that two processes have had: they may contradict themselves

    def copied(self, public: bytes) -> None:
        """Two processes have this key from now on, until one of them hears of it."""
        self._copied.add(public)

    def __call__(self, host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        self.checked += 1
        seat = self._seats.get(host.name)
        if seat is None or seat.node is not host.node:
            seat = self._seats[host.name] = Seat(host.node)
        if verb == "crash":
            return
        for effect in effects:
            match effect:
                case Seen():
                    self._seen(host, seat, effect)
                case Learned(record):
                    self._learned(host, seat, record)
                case Expired(member):
                    self._expired(seat, member)
                case Send(_, data):
                    self._sent(host, seat, data)
                case Write(_, data) if weight(data) > FRAME_MAX:
                    raise Broken("frames within limits", f"{host.name} wrote {weight(data)} bytes")
                case _:
                    pass
        self._myself(host, seat, what if verb == "receive" else None, effects)
        node = host.node
        if node.news.count > NEWS_MAX:
            raise Broken("queues within limits", f"{host.name} has {node.news.count} news to tell")
        if len(host.stream_ends) > STREAMS_MAX:
            raise Broken("queues within limits", f"{host.name} has {len(host.stream_ends)} streams")

    # --- of itself

    def _myself(self, host: Host, seat: Seat, data: Any, effects: list[Effect]) -> None:
        node = host.node
        me = node.me
        order = (me.generation, me.incarnation)
        if order < seat.mine:
            raise Broken("incarnations never go back", f"{host.name} was at {seat.mine} and is at {order}")
        if order != seat.mine:
            seat.mine = order
            self._spoken(host, me)
        myself = node.members.get(host.id)
        if myself is None or (myself.health is not Health.ALIVE and not me.departing):
            held = "nothing" if myself is None else myself.health.name
            raise Broken("no member believes itself dead", f"{host.name} holds {held} of itself")
        if type(data) is Packet and data.to == host.id:
            self._read(host, seat, data, effects)
        elif type(data) is Packet and data.to and answered(data, effects):
            raise Broken("a packet for another is nobody's", f"{host.name} answered what was for {data.to.hex()[:8]}")

    def _read(self, host: Host, seat: Seat, packet: Packet, effects: list[Effect]) -> None:
        """A packet that counts: no copy of an earlier one, of a sender that is known. No claim about us in it stands."""
        number = (packet.sender, packet.generation, packet.counter)
        if number in seat.read:
            if answered(packet, effects):
                raise Broken("a packet counts once", f"{host.name} answered packet {packet.counter} of {packet.sender.hex()[:8]} again")
            return
        sender = host.node.members.get(packet.sender)
        if sender is None or sender.generation != packet.generation:
            return
        seat.read.add(number)
        order = (host.node.me.generation, host.node.me.incarnation)
        if host.node.me.departing:
            return
        for claim in packet.claims:
            doubted = (claim.generation, claim.incarnation)
            if claim.subject == host.id and claim.generation == order[0] and doubted >= order:
                raise Broken("a claim about oneself is refuted", f"{host.name} at {order} leaves {claim} standing")

    def _spoken(self, host: Host, words: Any) -> None:
        """One process never says two things at one place."""
        key = (words.public, words.generation, words.incarnation, words.session)
        if self._words.setdefault(key, words.signature) != words.signature:
            raise Broken("one announcement at one incarnation", f"{host.name} says two things at {key[1:3]}")

    # --- of others

    def _seen(self, host: Host, seat: Seat, seen: Seen) -> None:
        member = host.node.members.get(seen.member)
        if seen.health is None:
            view = seat.views.pop(seen.member, None)
            if view is not None:
                seat.forgotten[seen.member] = view[0]
            return
        if member is None:
            return  # told, and forgotten later in the same event
        words = member.announcement
        order = (words.generation, words.incarnation)
        if order < seat.views.get(seen.member, (0, -1)):
            raise Broken("incarnations never go back", f"{host.name} held {seat.views[seen.member]} of {words.name} and holds {order}")
        if order != seat.views.get(seen.member):
            if blake2b(words.public, digest_size=16).digest() != seen.member:
                raise Broken("an id is a key's fingerprint", f"{host.name} takes {words.name} for somebody else")
            if not announcement_ok(words, self.ring.id, self.ring.verify):
                raise Broken("announcements are their member's", f"{host.name} holds words of {words.name} that it did not sign")
        seat.views[seen.member] = order
        if member.health is Health.DEPARTED:
            seat.departed[seen.member] = max(words.generation, seat.departed.get(seen.member, 0))
        elif words.generation <= seat.departed.get(seen.member, 0):
            raise Broken("the departed stay away", f"{host.name} holds {words.name} {member.health.name} again")
        if words.generation <= seat.forgotten.get(seen.member, 0):
            raise Broken("the forgotten stay away", f"{host.name} holds {words.name} {member.health.name} again")

    # --- records

    def _learned(self, host: Host, seat: Seat, record: Record) -> None:
        key, version = record.key, record.version
        seat.told[key, *version, record.author] = 0  # learned anew, after its member was forgotten for a while
        where = f"{host.name} holds {key} at {version.major}.{version.minor}"
        if not record_ok(record, self.ring.id, self.ring.verify):
            raise Broken("records are their author's", f"{where}, which nobody has signed")
        author = blake2b(record.author, digest_size=16).digest()
        if key.startswith("member/") and key.split("/")[1] != author.hex():
            raise Broken("records are their author's", f"{where}, which {author.hex()[:8]} has written")
        place = (version.major, version.minor, digest(record))
        told = self._bodies.setdefault((key, *version, record.author), place[2])
        if told != place[2] and record.author not in self._copied:
            raise Broken("one body at one version", f"{where}, and its author has another body there")
        current = host.node.records.get(key)
        if current is None:
            if key.startswith("member/"):
                return  # its member was forgotten, or its floor raised, in the same event
            raise Broken("records are not lost", f"{host.name} learned {key} and does not hold it")
        head = (current.version.major, current.version.minor, digest(current))
        if head[:2] < max(place, seat.heads.get(key, place))[:2]:
            raise Broken("records do not go back", f"{host.name} had {key} at {max(place, seat.heads.get(key, place))[:2]}, has {head[:2]}")
        seat.heads[key] = head
        if len(host.node.records.history(key)) > HISTORY_MAX:
            raise Broken("histories are bounded", f"{host.name} holds {len(host.node.records.history(key))} of {key}")

    def _expired(self, seat: Seat, member: MemberId) -> None:
        prefix = f"member/{member.hex()}/"
        for key in [key for key in seat.heads if key.startswith(prefix)]:
            del seat.heads[key]

    # --- limits

    def _sent(self, host: Host, seat: Seat, data: Any) -> None:
        if type(data) is not Packet:
            size = len(data)
        elif not (data.announcements or data.claims or data.records or data.notices):
            return
        else:
            self._counted(host, seat, data)
            size = HEADER + sum(size_of(item) for items in data[9:] for item in items)
        if size > DATAGRAM_MAX:
            raise Broken("packets within limits", f"{host.name} sent {size} bytes")

    def _counted(self, host: Host, seat: Seat, packet: Packet) -> None:
        """One member tells one record so often: SWIM's bound, for the largest ring that it can have been."""
        for record in packet.records:
            place = (record.key, *record.version, record.author)
            seat.told[place] += 1
            if seat.told[place] > self.ring.preset.retransmit * ceil(log10(len(self._seats) + 1)):
                raise Broken("news is told so often", f"{host.name} told {record.key} {seat.told[place]} times")

    def sweep(self) -> None:
        """Everything that is held was told."""
        for host in self.ring.up:
            seat = self._seats.get(host.name)
            if seat is None or seat.node is not host.node:
                continue
            for member in host.node.members:
                order = (member.announcement.generation, member.announcement.incarnation)
                if member.id != host.id and member.id in seat.views and order < seat.views[member.id]:
                    raise Broken("incarnations never go back", f"{host.name} silently holds {order} of {member.announcement.name}")


def differences(ring: Ring) -> list[str]:
    """What keeps the running members from one view and equal records; empty: nothing. Sentences, at most a few."""
    up = [host for host in ring.up if host.life is Life.UP and not host.node.me.departing]
    return [*view_differences(up), *record_differences(up)][:5]


def view_differences(up: list[Host]) -> Iterable[str]:
    """Where the running hosts do not hold each other alive, with what each says itself, and nobody else."""
    ids = {host.id: host for host in up}
    if len(ids) < len(up):
        yield "two processes have one identity"
    for host in up:
        yield from _view_differences(host, ids)
    for host in up[1:]:
        if host.node.members.digest != up[0].node.members.digest:
            views = [{each.id: each for each in one.node.members} for one in (host, up[0])]
            whom = [views[0].get(each) or views[1][each] for each in views[0].keys() | views[1].keys() if _differ(views[0], views[1], each)]
            names = sorted(each.announcement.name for each in whom)
            yield f"{host.name} and {up[0].name} differ about {' '.join(names)}"


def _differ(one: dict[MemberId, Member], other: dict[MemberId, Member], whom: MemberId) -> bool:
    return whom not in one or whom not in other or one[whom].standing != other[whom].standing


def _view_differences(host: Host, ids: dict[MemberId, Host]) -> Iterable[str]:
    for member_id, other in ids.items():
        member = host.node.members.get(member_id)
        if member is None:
            yield f"{host.name} does not know {other.name}"
        elif member.health is not Health.ALIVE:
            yield f"{host.name} holds {other.name} {member.health.name}"
        elif member.announcement != other.node.me:
            yield f"{host.name} holds older words of {other.name}"
    for member in host.node.members:
        if member.id not in ids and member.health < Health.DEAD:
            yield f"{host.name} holds {member.announcement.name} {member.health.name}, which does not run"


def record_differences(up: list[Host]) -> Iterable[str]:
    """Records that are not the same everywhere, or of a running member and not what it says."""
    if not up:
        return
    held = [{record.key: record for record in host.node.records.each()} for host in up]  # the greatest of each key
    for host, its in zip(up, held, strict=True):
        if its != held[0]:
            keys = sorted(key for key in its.keys() | held[0].keys() if its.get(key) != held[0].get(key))
            yield f"{host.name} and {up[0].name} hold different records: {', '.join(keys[:3])}"
        elif host.node.records.digest != up[0].node.records.digest:
            yield f"{host.name} and {up[0].name} hold different histories"
        prefix = f"member/{host.id.hex()}/"
        said = {key.removeprefix(prefix): its[key].body for key in host.node.records.keys(prefix)}
        wanted = dict(host.disk.facts)
        if {key: said.get(key) for key in wanted} != wanted or any(key not in wanted for key in said if key != "floor"):
            yield f"{host.name} says {sorted(said)} and means {sorted(wanted)}"
