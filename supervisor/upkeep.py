"""Test and repair: compare what is on the disk with what was put there, put back what differs, and say so. At an interval, and when asked.

Rules: one look at a time, all of it beside the event loop: small files in a thread, packages in one of low priority that rests. A package
whose files look untouched since it was compared is not hashed again for a day. Writing is done on the loop, by the code that put the
files there first, and only while the service still is as it was looked at. What a look finds is in the journal; what it cannot mend once,
not again and again. What counts as drift is decided in drift.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hart import filelist, servicedir
from hart.errors import NotFoundError, SteadError
from hart.filelist import Problem
from hart.ident import Ident
from hart.installed import InstalledPackage
from hart.limits import UPDATE_SPREAD, VERIFY_BYTES, VERIFY_SHARE, VERIFY_SHOWN, VERIFY_WHOLE_S
from supervisor import clock
from supervisor.aside import aside
from supervisor.drift import AGAIN, Finding, Kind, Outcome, Tries, judge, told
from supervisor.journal import Level
from supervisor.request import Request
from supervisor.service.driver import Service
from supervisor.service.events import PAUSED, UP, State

if TYPE_CHECKING:
    from supervisor.host import Host

Say = Callable[[str], None]


class CalledOffError(Exception):
    """Whoever asked has gone."""


class Upkeep:
    """The looks of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._one = asyncio.Lock()
        self._tries = Tries()
        self._whole: dict[Ident, tuple[str, float, list[Problem]]] = {}  # their files' mark, when they were hashed, what was noted
        self._next = 0  # the package that a look begins with
        self._said: set[tuple[str, str]] = set()  # what the last look could not mend: not told again while it stays so

    async def keep(self) -> None:
        """A look at each interval, for ever."""
        period = self._host.settings.verify_period_s
        while period:
            await asyncio.sleep(period * (1 - UPDATE_SPREAD + 2 * UPDATE_SPREAD * self._host.chance.random()))
            try:
                await self.look(list(self._host.services.values()), repair=True, asked=False)
            except (SteadError, OSError) as error:
                self._host.journal.write("drift", "verify", f"looking for drift failed: {error}", level="warning")

    async def look(self, services: list[Service], *, repair: bool, asked: bool) -> list[Finding]:
        """`asked`: by a person: everything is hashed, nothing is left out, and a file that was given up is tried again."""
        async with self._one:
            found: list[Finding] = []
            for service in services:
                if asked:
                    self._tries.forget(service.name)
                found += self._directories(service, repair=repair)
                try:
                    found += await self._files(service, repair=repair)
                except (SteadError, OSError) as error:
                    found.append(Finding(kind=Kind.RENDERED, subject=service.name, path="", outcome=Outcome.LEFT, because=str(error)))
                found += self._asked_about(service) if asked else ()
            packages, looked = await self._packages(services, repair=repair, asked=asked)
            found += packages
            self._write_down(found, looked={service.name for service in services} | looked)
            return found

    def _write_down(self, found: list[Finding], *, looked: set[str]) -> None:
        still = set()
        for finding in found:
            key = (finding.subject, str(finding))
            if finding.outcome is not Outcome.REPAIRED:
                still.add(key)
                if key in self._said:
                    continue
            level: Level = "info" if finding.outcome is Outcome.NOTED else "warning"
            self._host.journal.write("drift", finding.subject, str(finding), level=level, outcome=str(finding.outcome))
        self._said = {said for said in self._said if said[0] not in looked} | still

    # --- one service

    def _directories(self, service: Service, *, repair: bool) -> Iterator[Finding]:
        if service.kit is None or service.life.state is State.DOWN:
            return  # its next start makes them
        missing = servicedir.missing_directories(service.kit.service_dir)
        outcome, because = Outcome.LEFT, "is missing"
        if missing and repair:
            try:
                servicedir.make_directories(service.kit.service_dir, service.kit.account)
            except (SteadError, OSError) as error:
                because = f"is missing, and cannot be made: {error}"
            else:
                outcome, because = Outcome.REPAIRED, "was missing, and is made again; what was in it is lost"
        yield from (Finding(kind=Kind.DIRECTORY, subject=service.name, path=path, outcome=outcome, because=because) for path in missing)

    async def _files(self, service: Service, *, repair: bool) -> list[Finding]:
        kit, rendering = service.kit, service.rendering

        def as_it_was() -> bool:
            return service.at_rest and service.rendering is rendering and service.kit is kit

        if kit is None or rendering is None or not as_it_was():
            return []  # it is about to be written anyway
        group, _ = self._host.files.files(service.spec.service_group)
        theirs = {f"files/{file.name}": file.data for file in group if file.name in service.memory.record.files}
        wanted = {**rendering.files, **theirs}
        differing = await asyncio.to_thread(servicedir.differing, kit.service_dir, wanted, kit.account)
        if not as_it_was():
            return []
        back = self._tries.allowed(service.name, differing) if repair else set[str]()
        error = self._put_back(service, {path: wanted[path] for path in back})
        if repair:
            self._tries.count(service.name, back, differing)
        findings = []
        for path, cause in differing.items():
            outcome, because = Outcome.LEFT, cause
            if path in back:
                outcome, because = (Outcome.LEFT, f"{cause}: {error}") if error else (Outcome.REPAIRED, f"{cause}: put back")
            elif repair:
                because = f"{cause}: {AGAIN}"
            kind = Kind.FILE if path in theirs else Kind.RENDERED
            findings.append(Finding(kind=kind, subject=service.name, path=path, outcome=outcome, because=because))
        return findings

    def _put_back(self, service: Service, content: Mapping[str, bytes]) -> str:
        """Why it failed, if it did."""
        assert service.kit is not None
        try:
            servicedir.put(service.kit.service_dir, content, service.kit.account, before=(), anew=content)
        except (SteadError, OSError) as error:
            return str(error)
        return ""

    def _asked_about(self, service: Service) -> Iterator[Finding]:
        """What only a person wants to know: a process that ended is heard of at once, and started again by its service's life."""
        if service.spec.wanted and not service.gone and service.life.state in PAUSED:
            because = f"it is {service.life.state}: {service.life.because}"
            yield Finding(kind=Kind.PROCESS, subject=service.name, path="", outcome=Outcome.LEFT, because=because)
        elif service.life.state in UP and not service.at_rest:
            because = "not looked at: they are being changed"
            yield Finding(kind=Kind.RENDERED, subject=service.name, path="", outcome=Outcome.NOTED, because=because)

    # --- packages

    async def _packages(self, services: list[Service], *, repair: bool, asked: bool) -> tuple[list[Finding], set[str]]:
        """What the services run, and all that it needs; and which of it was looked at."""
        urls: dict[Ident, str | None] = {}
        for service in services:
            if service.kit is not None:
                for ident in (service.kit.package.ident, *service.kit.package.metadata.tdeps):
                    urls.setdefault(ident, service.spec.url)
        order = list(urls)
        start = 0 if asked or not order else self._next % len(order)
        found, looked = list[Finding](), set[str]()
        budget = Budget(None if asked else VERIFY_BYTES, share=1.0 if asked else VERIFY_SHARE)
        try:
            for number, ident in enumerate([*order[start:], *order[:start]]):
                if budget.spent:
                    self._next = start + number
                    break
                looked.add(str(ident))
                found += await self._package(ident, urls[ident], budget, repair=repair, asked=asked)
        finally:
            budget.called_off = True
        return found, looked

    async def _package(self, ident: Ident, url: str | None, budget: Budget, *, repair: bool, asked: bool) -> list[Finding]:
        package = self._host.tree.find(ident) or self._remembered(ident)
        problems: list[Problem] | str = [Problem("", "is not there, or cannot be read")]
        if package is not None:
            problems = await aside(lambda: self._problems(package, budget, asked=asked), name="verify")
        if isinstance(problems, str):
            return [Finding(kind=Kind.PACKAGE, subject=str(ident), path="", outcome=Outcome.NOTED, because=problems)]
        verdict = judge(problems)
        subject = str(ident)
        noted = (
            [Finding(kind=Kind.PACKAGE, subject=subject, path="", outcome=Outcome.NOTED, because=told(verdict.noted))]
            if verdict.noted
            else []
        )
        if not verdict.again:
            return noted
        outcome, because = Outcome.LEFT, told(verdict.again)
        if repair:
            try:
                await self._host.depots.install_again(url, ident)
            except (SteadError, OSError) as error:
                because = f"{because}; it cannot be installed again: {error}"
            else:
                outcome, because = Outcome.REPAIRED, f"{because}: installed again; what runs takes it at its next start"
        return [*noted, Finding(kind=Kind.PACKAGE, subject=subject, path="", outcome=outcome, because=because)]

    def _remembered(self, ident: Ident) -> InstalledPackage | None:
        """A package that runs and whose metafiles cannot be read any more."""
        kits = (service.kit for service in self._host.services.values())
        return next((kit.package for kit in kits if kit is not None and kit.package.ident == ident), None)

    def _problems(self, package: InstalledPackage, budget: Budget, *, asked: bool) -> list[Problem] | str:
        """In a thread: what differs from the signed list, or why that cannot be said."""
        try:
            mark, now = filelist.mark_of(package.path), clock.now()
            known = self._whole.get(package.ident)
            if not asked and known is not None and known[0] == mark and now - known[1] < VERIFY_WHOLE_S:
                return known[2]
            problems = self._host.tree.verify(package, self._host.depots.keys.public, pause=budget.pause)
        except NotFoundError as error:
            if not package.path.is_dir():
                return [Problem("", "is not there")]
            return f"it cannot be checked: {error}"
        except (SteadError, OSError) as error:
            return f"it cannot be checked: {error}"
        if judge(problems).again:
            self._whole.pop(package.ident, None)
        else:
            self._whole[package.ident] = (mark, now, problems)
        return problems


class Budget:
    """What one look may hash, and how fast. Used by one thread at a time."""

    def __init__(self, limit: int | None, *, share: float) -> None:
        self._left, self._share = limit, share
        self._worked_since = time.monotonic()
        self.called_off = False

    @property
    def spent(self) -> bool:
        return self._left is not None and self._left <= 0

    def pause(self, size: int) -> None:
        """After a block of this size: rest for the share of time that is not ours."""
        if self.called_off:
            raise CalledOffError
        if self._left is not None:
            self._left -= size
        worked = time.monotonic() - self._worked_since
        if self._share < 1.0:
            time.sleep(worked * (1 - self._share) / self._share)
        self._worked_since = time.monotonic()


async def verify(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """`stead verify`: of one service or all; `report_only` changes nothing."""
    chosen = chosen_services(host, request)
    say(f"looking at {len(chosen)} services and what they run")
    found = await host.upkeep.look(chosen, repair=not request.flag("report_only"), asked=True)
    return {"services": [service.name for service in chosen], "findings": [finding.row() for finding in found[:VERIFY_SHOWN]]}


def chosen_services(host: Host, request: Request) -> list[Service]:
    if "name" not in request.fields:
        return list(host.services.values())
    name = request.name()
    if name not in host.services:
        raise NotFoundError(f"service {name}", "is not loaded", next="see what is: stead svc status")
    return [host.services[name]]
