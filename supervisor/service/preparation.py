"""Everything in place before a start: the release, its install hooks, its configuration, its files.

Rules: what is missing is told with its reason and tried again, after a wait that grows, or at once when something has changed. A release
on trial that cannot be prepared is given up, unless only another service is missing. Rendering and writing are the service's (driver.py),
which does the same for a service that runs.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from hart.errors import SteadError
from hart.installed import InstalledPackage
from hart.limits import ACQUAINTANCE_S
from hart.servicedir import make_directories
from supervisor.service import order, update
from supervisor.service.backoff import wait_s
from supervisor.service.binds import NotFedError
from supervisor.service.events import Event
from supervisor.service.kit import Kit, mark_of, open_kit
from supervisor.service.order import NotYetError

if TYPE_CHECKING:
    from supervisor.service.driver import Service


class Preparation:
    """The preparing of one service; it answers PREPARED or BLOCKED."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._again = asyncio.Event()  # something that a waiting start may have waited for
        self.blocked = ""  # what a start waits for now
        self._mark: object = None  # of what the service's kit was opened from

    def look_again(self) -> None:
        self._again.set()

    async def run(self) -> None:
        """Until everything is in place: choose, install, configure, render, write."""
        service, host = self._service, self._service.host
        number, failures, self.blocked = service.work.number, 0, ""
        while True:
            self._again.clear()
            try:
                kit = await self._make_ready()
            except (SteadError, OSError) as error:
                if not isinstance(error, (NotFedError, NotYetError)) and service.memory.give_up_trial(str(error)):
                    continue
                failures += 1
                hint = f" ({error.next})" if isinstance(error, SteadError) and error.next else ""
                self.blocked = str(error)
                service.cannot_render(error)
                service.answer(number, Event.BLOCKED, f"{error}{hint}")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._again.wait(), wait_s(host.settings.backoff, failures, host.chance.random()))
            else:
                self.blocked = ""
                service.answer(number, Event.PREPARED, f"{kit.package.ident}: package, binds and configuration are in place", kit)
                return

    async def _make_ready(self) -> Kit:
        service = self._service
        package = await self._package()
        await service.host.depots.run_install_hooks(package)
        await service.host.changed.until(lambda: service.host.acquainted, ACQUAINTANCE_S)
        if missing := order.missing(service.spec, service.others):
            circle = order.circle({name: each.spec for name, each in service.host.services.items()}, service.name)
            raise NotYetError(f"service {service.name}", f"waits for {order.told(circle) if circle else missing}")
        kit = self._open(package)
        rendering = service.render(kit, waiting=True)
        make_directories(kit.service_dir, kit.account)
        service.put(kit, rendering)
        service.files.put(kit, all_of_them=True)
        service.kit, service.rendering, service.cfg = kit, rendering, rendering.cfg
        return kit

    def _open(self, package: InstalledPackage) -> Kit:
        """The kit that it has, while neither its package nor its spec is another one: a crash is to be short."""
        service, mark = self._service, mark_of(package, self._service.spec)
        if service.kit is None or mark is None or mark != self._mark or service.kit.package.ident != package.ident:
            kit = open_kit(service.host, service.spec, package)
            self._mark = mark
            return kit
        return service.kit

    async def _package(self) -> InstalledPackage:
        """The package of the release to run: the recorded one, else the newest that is installed, else from the depot."""
        spec, memory, host = self._service.spec, self._service.memory, self._service.host
        choice = update.still_wanted(spec, memory.record.choice)
        if choice is None:
            installed = [package.ident for package in host.tree.list(spec.ident)]
            wanted = update.first_choice(spec, installed) or spec.ident
        else:
            wanted = choice.release
        package = host.tree.find(wanted) or await host.depots.install(spec.url, wanted, channel=spec.channel)
        if choice is None:
            memory.save(choice=update.Choice(release=package.ident))
        return package
