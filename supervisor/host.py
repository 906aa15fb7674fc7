"""The host: what all its services share. A record with a few acts, no decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from hart.installed import InstalledTree
from hart.limits import ACQUAINTANCE_S
from hart.root import Root
from supervisor.acquaintance import acquainted
from supervisor.attach import HolderClient
from supervisor.census import Census, Member, Sys
from supervisor.depots import Depots
from supervisor.gossip.messages import Health, MemberId
from supervisor.groups import Groups
from supervisor.holder.protocol import Held
from supervisor.journal import Journal
from supervisor.pulse import Pulse
from supervisor.ringfiles import RingFiles
from supervisor.roll import Roll
from supervisor.service.specdir import SpecDir
from supervisor.settings import Settings

if TYPE_CHECKING:
    from supervisor.ring import Ring
    from supervisor.service.driver import Service
    from supervisor.upkeep import Upkeep


@dataclass(slots=True, kw_only=True)
class Host:
    """One supervisor's view of its host."""

    settings: Settings
    tree: InstalledTree
    holder: HolderClient
    depots: Depots
    specs: SpecDir
    groups: Groups
    files: RingFiles
    journal: Journal
    sys: Sys
    switch: bool  # run services as the users that their packages name
    environ: Mapping[str, str]
    chance: Random
    tasks: asyncio.TaskGroup
    services: dict[str, Service] = field(default_factory=dict)
    changed: Pulse = field(default_factory=Pulse)  # any state, for those who wait for a result
    unread: dict[str, Held] = field(default_factory=dict)  # processes of services that cannot be taken over yet
    complaints: dict[str, str] = field(default_factory=dict)  # spec files that cannot be read
    stopping: str = ""  # why everything is being stopped
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    stop_because: str = ""
    ring: Ring = field(init=False)
    upkeep: Upkeep = field(init=False)
    roll: Roll = field(default_factory=Roll)
    acquainted: bool = False  # the ring's other members have been heard of, or there are none
    untold: dict[str, str] = field(default_factory=dict)  # by group what of its service cannot be told to other hosts

    @property
    def root(self) -> Root:
        return self.settings.root

    @property
    def own_members(self) -> tuple[Member, ...]:
        """The services of this host, as others are told of them."""
        return tuple(service.told for service in self.services.values() if service.told is not None)

    @property
    def census(self) -> Census:
        """Everybody who is known; the same object while nothing has changed."""
        return self.roll.take(self.own_members, bytes.fromhex(self.sys.member_id), self.ring.records, self.health_of)

    def health_of(self, member: MemberId) -> Health | None:
        """What the ring believes of a host."""
        found = self.ring.node.members.get(member)
        return found.health if found is not None else None

    async def get_acquainted(self) -> None:
        """Wait until the other members have been heard of; then every service looks what that means for it."""

        def known() -> bool:
            others = [member.id for member in self.ring.node.members.alive() if member is not self.ring.node.members.me]
            return bool(self.ring.departed) or acquainted(self.ring.records, others, expected=self.ring.had_company)

        await self.changed.until(known, ACQUAINTANCE_S)
        self.acquainted = True
        for service in list(self.services.values()):
            service.look_again()
        self.changed.beat()

    def publish(self) -> None:
        """Tell the ring what has changed of this host's services."""
        self.ring.publish()

    def announce(self) -> None:
        """Census or documents may have changed: every service looks whether that concerns it."""
        for trouble in self.roll.news():
            self.journal.write("ring", "census", f"what another member tells is left out: {trouble}", level="warning")
        census = self.census
        for service in list(self.services.values()):
            service.look_around(census)
        self.changed.beat()

    def request_stop(self, because: str) -> None:
        """Everything is to stop, and then the supervisor."""
        if not self.stop_asked.is_set():
            self.stop_because = because
            self.stop_asked.set()
