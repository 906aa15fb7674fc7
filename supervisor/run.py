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
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hart.account import may_switch
from hart.errors import SteadError
from hart.files import make_dirs, storage, write_atomic
from hart.installed import InstalledTree
from hart.keys import KeyCache
from hart.limits import WATCH_S
from hart.root import Root
from supervisor import commands, services, updates
from supervisor.attach import Exited, HolderClient, Lost, StopRequested
from supervisor.census import Sys
from supervisor.control import Control
from supervisor.depots import Depots
from supervisor.groups import Groups
from supervisor.host import Host
from supervisor.journal import Journal
from supervisor.service.specdir import SpecDir
from supervisor.settings import Settings, parse

REPLIES_S = 2.0  # for the last answers to get out


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
        print(f"supervisor: {end.because}", file=sys.stderr, flush=True)
        return end.code
    except SteadError as error:  # before anything was begun: the holder is not there, or the disk refuses
        print(f"supervisor: {error}", file=sys.stderr, flush=True)
    return 1


def one_of(group: BaseExceptionGroup[EndError]) -> EndError:
    """The first of the ends, at whatever depth."""
    found = group.exceptions[0]
    return one_of(found) if isinstance(found, BaseExceptionGroup) else found


async def supervise(settings: Settings) -> None:
    """Run until told to end, which comes as EndError in a group."""
    make_dirs(settings.root.sup)
    holder = await HolderClient.connect(settings.holder)
    await holder.hello()
    async with asyncio.TaskGroup() as tasks:
        host = make_host(settings, holder, tasks)
        control = Control(settings.control, lambda request, say: commands.answer(host, request, say))
        await services.take_over(host, await holder.list())
        tasks.create_task(hear(host), name="holder")
        services.reconcile_all(host)
        await control.start()
        host.journal.write("supervisor", "supervisor", f"up; services: {len(host.services)}; process {os.getpid()}")
        tasks.create_task(watch_files(host), name="files")
        tasks.create_task(updates.follow(host), name="updates")
        tasks.create_task(end(host, control), name="end")


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


def bare_place(settings: Settings, environ: Mapping[str, str]) -> BarePlace:
    tree = InstalledTree(settings.root)
    switch = may_switch() and not settings.own_user
    keys = KeyCache(Path(environ.get("STEAD_KEYS") or environ.get("HAB_CACHE_KEY_PATH") or settings.root.keys))
    return BarePlace(
        root=settings.root,
        tree=tree,
        depots=Depots(tree, keys, environ, switch=switch),
        specs=SpecDir(settings.specs),
        groups=Groups(settings.groups),
        sys=Sys(version=own_version(), member_id=member_id(settings), ip=settings.ip, hostname=socket.gethostname()),
        switch=switch,
        environ=environ,
    )


def make_host(settings: Settings, holder: HolderClient, tasks: asyncio.TaskGroup) -> Host:
    place = bare_place(settings, dict(os.environ))
    return Host(
        settings=settings,
        tree=place.tree,
        holder=holder,
        depots=place.depots,
        specs=place.specs,
        groups=place.groups,
        journal=Journal(settings.journal, echo=sys.stderr),
        sys=place.sys,
        switch=place.switch,
        environ=place.environ,
        chance=random.Random(secrets.randbits(64)),  # noqa: S311  jitter, not secrets
        tasks=tasks,
    )


def own_version() -> str:
    try:
        return version("stead")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


def member_id(settings: Settings) -> str:
    """This host's id, made once."""
    path = settings.member_id
    with storage(path):
        if path.is_file() and (known := path.read_text().strip()):
            return known
        made = secrets.token_hex(16)
        write_atomic(path, f"{made}\n".encode())
        return made


async def hear(host: Host) -> None:
    """What the holder says."""
    async for event in host.holder.events():
        match event:
            case Exited():
                await services.on_exit(host, event)
            case StopRequested(reason=reason):
                host.request_stop(reason)
            case Lost(cause=cause):
                raise EndError(1, f"the holder is lost ({cause}); services go on, the next holder finds them")


async def watch_files(host: Host) -> None:
    """Look at spec files, user.toml and group documents, again and again."""
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
            mark = (stat_mark(str(host.root.user_config(name))), stat_mark(str(host.settings.groups / str(service.spec.service_group))))
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


async def end(host: Host, control: Control) -> None:
    """Wait until everything is to stop, stop it, and end."""
    await host.stop_asked.wait()
    host.journal.write("supervisor", "supervisor", f"stopping all services: {host.stop_because}")
    down = await services.stop_all(host, host.stop_because)
    host.journal.write("supervisor", "supervisor", "all services are down" if down else "not all services are down: the holder ends them")
    await control.close(REPLIES_S)
    await host.holder.shutdown()
    raise EndError(0, host.stop_because)


if __name__ == "__main__":
    sys.exit(main())
