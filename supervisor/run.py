"""The supervisor process: puts everything together in one task group (started by the holder, see cli.py for `stead sup run`).

Rules: processes that the holder has are taken over before anything is started. When the holder is lost this process ends at once: services
go on, and the next holder adopts them. Any exception that nobody met ends it too, with 1, and the holder starts it again. Told to stop, it
stops all services, then the holder, then ends with 0.

`python -P -m supervisor.run --root ROOT …` (settings.py)
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from hart.account import may_switch
from hart.errors import SteadError
from hart.files import make_dirs
from hart.installed import InstalledTree
from hart.keys import KeyCache
from hart.limits import WATCH_S
from hart.root import Root
from supervisor import commands, facts, packer, services, updates
from supervisor.attach import Exited, HolderClient, Lost, SaidReady, SaidStatus, StopRequested
from supervisor.census import Sys
from supervisor.control import Control
from supervisor.depots import Depots
from supervisor.gateway import Gateway, gateway_of
from supervisor.gossip.keyring import ring_id
from supervisor.gossip.records import Records
from supervisor.gossip.store import RingStore, Saved
from supervisor.groups import Groups
from supervisor.host import Host
from supervisor.journal import Journal
from supervisor.journald import Journald
from supervisor.ring import Ring, own_ip
from supervisor.ring_keyfiles import first_keyring
from supervisor.ringfiles import RingFiles
from supervisor.service.specdir import SpecDir
from supervisor.settings import Settings, own_version, parse
from supervisor.terminal import speak_json
from supervisor.upkeep import Upkeep

REPLIES_S = 2.0  # for the last answers to get out
HEARD_S = 1.0  # for services that were found running to say so


class EndError(Exception):
    """Leave the task group, with this exit code."""

    def __init__(self, code: int, because: str) -> None:
        super().__init__(because)
        self.code, self.because = code, because


def main() -> int:
    settings = parse(sys.argv[1:])
    try:
        asyncio.run(supervise(settings))
    except BaseExceptionGroup as group:
        ends, bugs = group.split(EndError)
        if ends is None or bugs is not None:
            raise
        end = one_of(ends)
        tell(end.because)
        return end.code
    except SteadError as error:  # before anything was begun: the holder is not there, or the disk refuses
        tell(str(error))
    return 1


def tell(because: str) -> None:
    with suppress(OSError):  # a full disk behind the terminal does not change how we end
        print(f"supervisor: {because}", file=sys.stderr, flush=True)


def one_of(group: BaseExceptionGroup[EndError]) -> EndError:
    """The first of the ends, at whatever depth."""
    found = group.exceptions[0]
    return one_of(found) if isinstance(found, BaseExceptionGroup) else found


async def supervise(settings: Settings) -> None:
    """Run until told to end, which comes as EndError in a group."""
    if settings.json_logs:
        speak_json()
    make_dirs(settings.root.sup)
    holder = await HolderClient.connect(settings.holder)
    await holder.hello()
    async with asyncio.TaskGroup() as tasks:
        host = begin(settings, holder, tasks)
        gateway = await open_gateway(host)
        control = Control(settings.control, lambda request, say: commands.answer(host, request, say))
        await services.take_over(host, await holder.list())
        tasks.create_task(hear(host), name="holder")
        services.reconcile_all(host)
        await holder.attached()  # before anybody is answered: whoever was answered and kills us meets one that did its work
        await control.start()
        await services.heard(host, HEARD_S)  # else the ring is told that nothing serves
        await host.ring.start(stir=host.announce, end=lambda because: end_process(host, because), facts=facts.OwnFacts(host))
        host.journal.write("supervisor", "supervisor", f"up; services: {len(host.services)}; process {os.getpid()}")
        tasks.create_task(host.get_acquainted(), name="acquaintance")
        tasks.create_task(watch_files(host), name="files")
        tasks.create_task(updates.follow(host), name="updates")
        tasks.create_task(host.upkeep.keep(), name="upkeep")
        tasks.create_task(packer.keep(host), name="packer")
        if settings.journald:
            tasks.create_task(Journald(host).keep(), name="journald")
        tasks.create_task(end(host, control, gateway), name="end")


def begin(settings: Settings, holder: HolderClient, tasks: asyncio.TaskGroup) -> Host:
    """What the disk or the network refuses is told in its own words, not as a bug."""
    try:
        return make_host(settings, holder, tasks)
    except SteadError as error:
        raise EndError(1, str(error)) from error


def end_process(host: Host, because: str) -> None:
    """The holder starts another supervisor; services go on."""

    async def leave() -> None:
        raise EndError(1, because)

    host.journal.write("supervisor", "supervisor", because)
    host.tasks.create_task(leave(), name="leave")


async def open_gateway(host: Host) -> Gateway | None:
    """The read-only gateway, and its address for templates."""
    gateway = gateway_of(host)
    if gateway is not None:
        await gateway.start()
        where, port = gateway.address
        host.sys = replace(host.sys, http_gateway_ip=seen_from_outside(where, host.sys.ip), http_gateway_port=port)
    return gateway


def seen_from_outside(listening: str, own: str) -> str:
    """Where others reach what listens everywhere."""
    return own if listening in ("0.0.0.0", "::") else listening  # noqa: S104  compared, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class BarePlace:
    """What it takes to accept a service where no supervisor runs yet."""

    root: Root
    tree: InstalledTree
    depots: Depots
    specs: SpecDir
    groups: Groups
    sys: Sys
    switch: bool
    environ: Mapping[str, str]


def bare_place(settings: Settings, environ: Mapping[str, str], records: Records | None = None) -> BarePlace:
    """What is on disk, or in these records of the ring; a supervisor's own identity is not touched."""
    tree = InstalledTree(settings.root)
    switch = may_switch() and not settings.own_user
    cache = KeyCache.choose(settings.root, environ)
    if records is None:
        records, _ = restore(RingStore(settings.ring_state), ring_id(settings.ring.name))
    return BarePlace(
        root=settings.root,
        tree=tree,
        depots=Depots(tree, cache, environ, switch=switch),
        specs=SpecDir(settings.specs),
        groups=Groups(records),
        sys=Sys(version=own_version(), member_id=bytes(16).hex(), ip=own_ip(settings), hostname=socket.gethostname()),
        switch=switch,
        environ=environ,
    )


def restore(store: RingStore, ring: bytes) -> tuple[Records, Saved]:
    """The ring's documents as this host's disk has them."""
    saved, records = store.load(), Records(ring)
    for document in saved.documents:
        records.merge(document)
    return records, saved


def make_host(settings: Settings, holder: HolderClient, tasks: asyncio.TaskGroup) -> Host:
    environ = dict(os.environ)
    journal = Journal(settings.journal, echo=sys.stderr, json_lines=settings.json_logs)

    def say(subject: str, because: str) -> None:
        journal.write("ring", subject, because)

    cache, store = KeyCache.choose(settings.root, environ), RingStore(settings.ring_state)
    records, saved = restore(store, ring_id(settings.ring.name))
    keyring, complaint = first_keyring(cache, settings.ring.name, records)
    for trouble in [*saved.complaints, *([complaint] if complaint else [])]:
        say("ring", trouble)
    place = bare_place(settings, environ, records)
    ring = Ring(settings, keyring, store, saved, records, cache=cache, tasks=tasks, say=say)
    host = Host(
        settings=settings,
        tree=place.tree,
        holder=holder,
        depots=place.depots,
        specs=place.specs,
        groups=place.groups,
        files=RingFiles(records),
        journal=journal,
        sys=replace(place.sys, member_id=ring.identity.key.id.hex(), gossip_ip=ring.node.me.host, gossip_port=ring.address[1]),
        switch=place.switch,
        environ=place.environ,
        chance=random.Random(secrets.randbits(64)),  # noqa: S311  jitter, not secrets
        tasks=tasks,
    )
    host.ring, host.upkeep = ring, Upkeep(host)
    return host


async def hear(host: Host) -> None:
    """What the holder says."""
    async for event in host.holder.events():
        match event:
            case Exited():
                await services.on_exit(host, event)
            case SaidReady() | SaidStatus():
                services.on_said(host, event)
            case StopRequested(reason=reason):
                host.request_stop(reason)
            case Lost(cause=cause):
                raise EndError(1, f"the holder is lost ({cause}); services go on, the next holder finds them")


async def watch_files(host: Host) -> None:
    """Look at spec files and user.toml, again and again."""
    marks: dict[str, object] = {}
    trouble = ""
    while True:
        try:
            await services.attach_again(host)
            services.reconcile_all(host)
        except (SteadError, OSError) as error:
            if str(error) != trouble:
                host.journal.write("spec", "specs", str(error))
            trouble = str(error)
        for name, service in list(host.services.items()):
            mark = stat_mark(str(host.root.user_config(name)))
            if marks.get(name) != mark:  # also at first sight: it may have changed since it was rendered
                marks[name] = mark
                service.look_again()
        await asyncio.sleep(WATCH_S)


def stat_mark(path: str) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written, or a directory's names change."""
    try:
        found = os.stat(path)  # noqa: PTH116  a text is all there is
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


async def end(host: Host, control: Control, gateway: Gateway | None) -> None:
    """Wait until everything is to stop, stop it, and end."""
    await host.stop_asked.wait()
    host.journal.write("supervisor", "supervisor", f"stopping all services: {host.stop_because}")
    down = await services.stop_all(host, host.stop_because)
    host.journal.write("supervisor", "supervisor", "all services are down" if down else "not all services are down: the holder ends them")
    await control.close(REPLIES_S)
    if gateway is not None:
        await gateway.close()
    await host.ring.close()
    await host.holder.shutdown()
    raise EndError(0, host.stop_because)


if __name__ == "__main__":
    sys.exit(main())
