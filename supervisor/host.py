"""The host: what all its services share. A record with two acts, no decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from hart.installed import InstalledTree
from hart.root import Root
from supervisor.attach import HolderClient
from supervisor.census import Census, Sys, take
from supervisor.depots import Depots
from supervisor.groups import Groups
from supervisor.holder.protocol import Held
from supervisor.journal import Journal
from supervisor.pulse import Pulse
from supervisor.service.specdir import SpecDir
from supervisor.settings import Settings

if TYPE_CHECKING:
    from supervisor.service.driver import Service


@dataclass(slots=True, kw_only=True)
class Host:
    """One supervisor's view of its host."""

    settings: Settings
    tree: InstalledTree
    holder: HolderClient
    depots: Depots
    specs: SpecDir
    groups: Groups
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

    @property
    def root(self) -> Root:
        return self.settings.root

    @property
    def census(self) -> Census:
        """Everybody who is known; the ring will add other hosts' members here."""
        return take(member for service in self.services.values() if (member := service.member) is not None)

    def announce(self) -> None:
        """Census or configuration changed: every service looks whether that concerns it."""
        for service in self.services.values():
            service.look_again()
        self.changed.beat()

    def request_stop(self, because: str) -> None:
        """Everything is to stop, and then the supervisor."""
        if not self.stop_asked.is_set():
            self.stop_because = because
            self.stop_asked.set()
