"""A few members in one test, without a simulator: effects are carried by hand, packets are values, time moves when the test says so."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from supervisor.gossip.codec import PlainCodec
from supervisor.gossip.identity import MemberKey, announce
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import Address, Announcement, Close, Effect, Open, Packet, Send, Write
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LAN, Preset
from supervisor.gossip.records import Records

KEYRING = Keyring("test")
RING = KEYRING.ring_id


def key_of(name: str) -> MemberKey:
    return MemberKey(name.encode().ljust(32, b"."))


def address_of(name: str) -> Address:
    return (f"10.0.0.{sum(name.encode()) % 250 + 1}", 9638)


def words_of(
    name: str, *, generation: int = 1, incarnation: int = 0, departing: bool = False, session: bytes = b"sessions"
) -> Announcement:
    host, port = address_of(name)
    return announce(
        key_of(name),
        ring=RING,
        generation=generation,
        incarnation=incarnation,
        session=session,
        host=host,
        port=port,
        name=name,
        departing=departing,
    )


def node_of(
    name: str, *, generation: int = 1, preset: Preset = LAN, session: bytes = b"sessions", known: Iterable[Announcement] = (), seed: int = 1
) -> Node:
    return Node(
        key=key_of(name),
        generation=generation,
        session=session,
        address=address_of(name),
        name=name,
        ring=RING,
        preset=preset,
        codec=PlainCodec(KEYRING),
        chance=random.Random(f"{name} {seed}"),
        records=Records(RING),
        known=known,
    )


class Company:
    """Nodes by name on one wire. `cut` drops datagrams and streams by (from, to) addresses; `told` is every effect with its node's name."""

    def __init__(self, *names: str, preset: Preset = LAN) -> None:
        self.now = 0.0
        self.preset = preset
        self.nodes: dict[str, Node] = {}
        self.told: list[tuple[str, Effect]] = []
        self.cut: Callable[[Address, Address], bool] = lambda _from, _to: False
        self._queue: deque[Callable[[], None]] = deque()
        self._ends: dict[tuple[str, int], tuple[str, int]] = {}
        for name in names:
            self.add(name)
        for node in self.nodes.values():
            self.act(node, node.join([address_of(name) for name in names], self.now))

    def add(self, name: str, node: Node | None = None) -> Node:
        self.nodes[name] = node or node_of(name, preset=self.preset)
        self.act(self.nodes[name], self.nodes[name].start(self.now))
        return self.nodes[name]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def name_of(self, node: Node) -> str:
        return next(name for name, each in self.nodes.items() if each is node)

    def at(self, address: Address) -> str | None:
        return next((name for name, node in self.nodes.items() if node.members.me.address == address), None)

    def act(self, node: Node, effects: list[Effect]) -> list[Effect]:
        """Carry out what a node asks for, and all that follows from it at this moment."""
        name = self.name_of(node)
        for effect in effects:
            self.told.append((name, effect))
            match effect:
                case Send(to, data):
                    self._later(node.members.me.address, to, lambda there, data=data, name=name: self._receive(there, data, name))
                case Open(stream, to):
                    self._open(name, stream, to)
                case Write(stream, data):
                    self._to_the_other(name, stream, lambda there, number, data=data: there.frame(number, data, self.now))
                case Close(stream):
                    self._to_the_other(name, stream, lambda there, number: there.closed(number, self.now))
        while self._queue:
            self._queue.popleft()()
        return effects

    def _later(self, source: Address, to: Address, call: Callable[[str], None]) -> None:
        name = self.at(to)
        if name is not None and not self.cut(source, to):
            self._queue.append(lambda: call(name))

    def _receive(self, name: str, data: Any, sender: str) -> None:
        if name in self.nodes:
            source = self.nodes[sender].members.me.address if sender in self.nodes else address_of(sender)
            self.act(self.nodes[name], self.nodes[name].receive(data, source, self.now))

    def _open(self, name: str, stream: int, to: Address) -> None:
        there = self.at(to)
        node = self.nodes[name]
        if there is None or self.cut(node.members.me.address, to) or self.cut(to, node.members.me.address):
            self._queue.append(lambda: self.act(node, node.closed(stream, self.now)) and None)
            return
        number, effects = self.nodes[there].accepted(node.members.me.address, self.now)
        if number < 0:
            self._queue.append(lambda: self.act(node, node.closed(stream, self.now)) and None)
        else:
            self._ends[name, stream], self._ends[there, number] = (there, number), (name, stream)
            self._queue.append(lambda: self.act(node, node.opened(stream, self.now)) and None)
        self.act(self.nodes[there], effects)

    def _to_the_other(self, name: str, stream: int, call: Callable[[Node, int], list[Effect]]) -> None:
        end = self._ends.get((name, stream))
        if end is not None and end[0] in self.nodes:
            self._queue.append(lambda: self.act(self.nodes[end[0]], call(self.nodes[end[0]], end[1])) and None)

    def run(self, seconds: float) -> None:
        """Let time pass, a deadline at a time."""
        until = self.now + seconds
        while self.nodes:
            node = min(self.nodes.values(), key=lambda each: each.deadline())
            if node.deadline() > until:
                break
            self.now = max(self.now, node.deadline())
            self.act(node, node.tick(self.now))
        self.now = until

    def views(self) -> dict[str, str]:
        """Of each member, how it holds the others: `b+ c? d!` for alive, suspect, dead, departed as `x`."""
        signs = "+?!x"
        return {
            name: " ".join(
                sorted(f"{member.announcement.name}{signs[member.health]}" for member in node.members if member is not node.members.me)
            )
            for name, node in self.nodes.items()
        }

    def effects(self, name: str, kind: type[Any]) -> list[Any]:
        return [effect for by, effect in self.told if by == name and isinstance(effect, kind)]

    def packets(self, name: str) -> list[Packet]:
        return [effect.data for effect in self.effects(name, Send)]  # type: ignore[misc]  # PlainCodec
