"""A host as the gateway and the ring's commands see it: real services of real packages, real members and records; no process, no packet.

The ring's driver is left out: what is heard is put into the table of members with real, signed announcements.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from hart.installed import InstalledTree
from hart.root import Root
from supervisor import clock
from supervisor.attach import HolderClient
from supervisor.census import Census, Member, Sys, take
from supervisor.gossip.codec import Codec
from supervisor.gossip.identity import MemberKey, announce
from supervisor.gossip.keyring import UDP, Keyring
from supervisor.gossip.members import Member as RingMember
from supervisor.gossip.messages import Address, Health, MemberId
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LOCAL
from supervisor.gossip.records import Records
from supervisor.host import Host
from supervisor.journal import Journal
from supervisor.pulse import Pulse
from supervisor.service.driver import Service
from supervisor.service.events import Check, Event, Happened, State
from supervisor.service.kit import configure, open_kit
from supervisor.service.spec import Group, ServiceSpec
from supervisor.settings import Settings
from tests.supervisor.workshop import lay_package

SCHEMA = """{"type": "object", "additionalProperties": true, "properties": {
  "password": {"type": "string", "secret": true}, "word": {"type": "string"}}}"""
HEALTH = """
[ready]
exec = 'true'
interval_s = 0.05
[health]
exec = 'true'
interval_s = 60
"""
RING = "prod"
KEYS = (b"k" * 32, b"o" * 32)


@dataclass
class House:
    """The parts of a Host that the gateway and the ring's commands read."""

    settings: Settings
    tree: InstalledTree
    journal: Journal
    sys: Sys
    tasks: asyncio.TaskGroup
    ring: HouseRing
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    chance: Random = field(default_factory=lambda: Random(1))
    switch: bool = False
    holder: HolderClient | None = None  # no process, so nobody asks it
    services: dict[str, Service] = field(default_factory=dict)
    complaints: dict[str, str] = field(default_factory=dict)
    untold: dict[str, str] = field(default_factory=dict)
    unread: dict[str, Any] = field(default_factory=dict)
    others: list[Member] = field(default_factory=list)
    changed: Pulse = field(default_factory=Pulse)

    @property
    def root(self) -> Root:
        return self.settings.root

    @property
    def host(self) -> Host:
        return cast(Host, self)

    @property
    def census(self) -> Census:
        own = [member for each in self.services.values() if (member := each.member) is not None]
        return take([*own, *self.others])

    def announce(self) -> None:
        self.changed.beat()

    def load(self, ident: str, *, health: bool = False, secret: str = "", default: str = "", exports: str = "") -> Service:
        """A service that is down, with its real kit and configuration."""
        files = {"config.schema.json": SCHEMA} if secret else {}
        if health:
            files["service.toml"] = HEALTH
        lay_package(self.root, ident, files=files, metafiles={"EXPORTS": exports} if exports else None)
        spec = ServiceSpec.parse(f'ident = "{ident.rsplit("/", 2)[0]}"\n', thing="spec")
        service = Service(self.host, spec)
        kit = open_kit(self.host, spec, self.tree.get(spec.ident))
        if secret:
            user = self.root.user_config(spec.name)
            user.parent.mkdir(parents=True)
            user.write_text(f'password = "{secret}"\n')
        service.kit, service.cfg = kit, configure(self.host, spec, kit, None)[0]
        self.services[spec.name] = service
        return service

    def other(self, group: str, member_id: str, *, serving: bool = True, **exports: object) -> None:
        """A member of a group on another host."""
        sys = Sys(version="1", member_id=member_id, ip="192.0.2.9", hostname="other")
        some = next(iter(self.services.values()))
        assert some.kit is not None
        self.others.append(Member(group=Group.parse(group), pkg=some.kit.package.ident, sys=sys, exports=exports, serving=serving))


class HouseRing:
    """A real node; what a driver would tell it is called by hand."""

    def __init__(self, *, encrypted: bool = True) -> None:
        self.name = RING if encrypted else ""
        self.encrypted = encrypted
        self.keyring = Keyring(self.name, *((KEYS[0], (KEYS[1],)) if encrypted else ()))
        self.address: Address = ("192.0.2.1", 9638)
        self.departed, self.alone = "", False
        self.drops: dict[str, int] = {}
        self.discovery: list[dict[str, Any]] = []
        self.because: dict[MemberId, str] = {}
        self.key = MemberKey(b"m" * 32)
        self.asked: list[tuple[Any, ...]] = []
        self.met: list[tuple[int, str]] = []  # who answers when somebody joins
        self.node = Node(
            key=self.key,
            generation=4,
            session=bytes(8),
            address=self.address,
            name="h1",
            ring=self.keyring.ring_id,
            preset=LOCAL,
            codec=Codec(self.keyring, bytes),
            chance=Random(1),
            records=Records(self.keyring.ring_id),
        )

    def meet(self, number: int, name: str, *, health: Health = Health.ALIVE, because: str = "") -> RingMember:
        """Another member, by its own signed announcement, and what is held of it."""
        key = MemberKey(bytes([number]) * 31 + b"\0")
        said = announce(
            key, ring=self.keyring.ring_id, generation=1, incarnation=0, session=b"12345678", host=f"192.0.2.{number}", port=9638, name=name
        )
        now = clock.now()
        member = self.node.members.admit(key.id, said, Health.ALIVE, now)
        assert member is not None
        if health is not Health.ALIVE:
            self.node.members.judge(member, health, 0, now - 125)
        self.because[key.id] = because
        return member

    def refuse(self, reason: str, times: int) -> None:
        """Let the node drop packets for this reason."""
        sealed = {
            "magic": b"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n",
            "tag": self.keyring.seal(b"x", purpose=UDP, nonce=bytes(24))[:-1] + b"?",
            "key": Keyring(RING, b"x" * 32).seal(b"x", purpose=UDP, nonce=bytes(24)),
            "plain": Keyring(RING).seal(b"x" * 60, purpose=UDP, nonce=bytes(24)),
            "ring": Keyring("other", KEYS[0]).seal(b"x", purpose=UDP, nonce=bytes(24)),
        }
        for _ in range(times):
            self.node.receive(sealed[reason], ("192.0.2.66", 9638), clock.now())

    def join(self, addresses: Iterable[Address]) -> None:
        self.asked.append(("join", *addresses))
        for number, name in self.met:
            if all(each.announcement.name != name for each in self.node.members):
                self.meet(number, name)

    async def come_back(self) -> None:
        if self.departed:
            self.asked.append(("come back",))
        self.departed = ""

    async def depart(self, because: str) -> None:
        self.asked.append(("depart", because))
        self.departed = because

    async def dismiss(self, member: MemberId, why: str) -> None:
        self.asked.append(("dismiss", member.hex(), why))


class Over(Exception):  # noqa: N818  no error: ends the tasks of a house
    """The test is done."""


@asynccontextmanager
async def house(path: Path, *, encrypted: bool = True) -> AsyncIterator[House]:
    settings = Settings(root=Root(path / "root"))
    settings.root.sup.mkdir(parents=True)
    tree = InstalledTree(settings.root)
    try:
        async with asyncio.TaskGroup() as tasks:
            yield House(
                settings=settings,
                tree=tree,
                journal=Journal(settings.journal),
                sys=Sys(version="9.9", member_id="m" * 32, ip="192.0.2.1", hostname="h1"),
                tasks=tasks,
                ring=HouseRing(encrypted=encrypted),
            )
            raise Over  # what a failed test left running must not be waited for
    except BaseExceptionGroup as group:  # a failed assertion is shown as itself
        if not isinstance(group.exceptions[0], Over):
            raise group.exceptions[0] from None


def become_ready(service: Service) -> None:
    """Through the states that a start goes through."""
    kit = service.kit
    assert kit is not None
    for happened in (
        Happened(event=Event.WANTED_UP, because="loaded"),
        Happened(event=Event.PREPARED, plan=kit.plan),
        Happened(event=Event.STARTED, because="process 7"),
        Happened(event=Event.READY_OK, because="the probe passed"),
    ):
        service.life.handle(happened, clock.now())
    service.life.plan = kit.plan
    assert service.life.state is State.READY


def check(service: Service, result: Check, times: int = 1) -> None:
    """Results of its health check."""
    for _ in range(times):
        service.life.handle(Happened(event=Event.HEALTH, check=result, because=f"the check said {result}"), clock.now())
