"""What the supervisor can be told through its control socket: one table of commands.

Rules: a command is refused before anything has changed, or it is carried out and answered when the thing is done; with `wait_s` 0 it is
answered when it is durable. What is wanted is always in a spec file or a group document first. A request's fields are checked here: they
come from another process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from hart.errors import NotFoundError, ServiceError, StorageError
from hart.ident import Ident
from hart.limits import COMMAND_WAIT_S
from supervisor import (
    bundles,
    clock,
    config_view,
    configuration,
    declared,
    file_commands,
    job_commands,
    loading,
    ring_commands,
    upkeep,
    view,
)
from supervisor.control import Say
from supervisor.host import Host
from supervisor.plain import plain
from supervisor.request import Request
from supervisor.service.driver import Service
from supervisor.service.events import Event, State
from supervisor.service.spec import Desired, ServiceSpec
from supervisor.service.update import Choice
from supervisor.services import are_down, attach_again, reconcile_all, refuse_while_stopping

HEARD_S = 1.0  # for a service to hear what it was told; it does nothing slow while it reads its mail
HOPELESS = 3  # failed starts in a row after which nobody goes on waiting


async def sup_status(host: Host, _: Request, __: Say) -> dict[str, Any]:
    info = await host.holder.hello()
    return {
        "root": str(host.root.path),
        "version": host.sys.version,
        "member_id": host.sys.member_id,
        "pid": os.getpid(),
        "holder_pid": info.pid,
        "holder_version": info.program or "unknown",
        "containment": info.containment or "session only: the holder is an older one",
        "user": "switches users" if host.switch else "runs everything as its own user",
        "services": len(host.services),
        "ready": sum(service.life.state is State.READY for service in host.services.values()),
        "stopping": host.stopping or None,
        "journal": str(host.journal.path),
        "complaints": [f"{name}: {text}" for name, text in sorted(host.complaints.items())],
    }


async def status(host: Host, request: Request, _: Say) -> list[dict[str, Any]]:
    offset = clock.wall() - clock.now()
    names = sorted(host.services)
    if "name" in request.fields:
        name = request.name()
        names = [name] if name in host.services else bundles.members(host, name)[::-1] or [name]
    chosen = [need(host, name) for name in names]
    if wait_s := request.number("wait_s", 0):
        async with asyncio.TaskGroup() as waiting:
            for service in chosen:
                waiting.create_task(ready(host, service.spec.name, wait_s))
    rows = [plain(view.row(service, lambda at: at + offset)) for service in chosen]
    for row in rows:
        if complaint := host.complaints.get(row["service"]):
            row["because"] = f"{row['because']}; its spec file is ignored: {complaint}"
    return rows


async def load(host: Host, request: Request, say: Say) -> dict[str, Any]:
    whole = "spec" in request.fields  # from a document: the release that it runs stays, also while it is on trial
    if not whole and (admitted := await bundles.admit(host, request, say)) is not None:
        return await load_bundle(host, request, say, *admitted)
    if whole:
        spec = loading.declared(host, request)
        package = await loading.admit(host, spec, declared.kept_release(host, spec), say)
    else:
        spec, package = await loading.accept(host, request, say)
    refuse_while_stopping(host)
    host.specs.write(spec)
    choose(host, spec, package.ident, whole=whole)
    reconcile_all(host)
    say(f"{package.ident} is loaded as {spec.service_group}")
    return await ready(host, spec.name, request.number("wait_s", 0))


def choose(host: Host, spec: ServiceSpec, release: Ident, *, whole: bool) -> None:
    """What was loaded is what runs next."""
    service = host.services.get(spec.name)
    choice = service.memory.record.choice if service is not None else None
    kept = whole and choice is not None and choice.release == release
    if service is not None and not kept and choice != Choice(release=release):
        service.memory.save(choice=Choice(release=release))
        if service.release != release:
            service.tell(Event.RESTART, f"loaded again, as {release}")


async def load_bundle(host: Host, request: Request, say: Say, family: Ident, admitted: bundles.Admitted) -> dict[str, Any]:
    refuse_while_stopping(host)
    bundles.write(host, family, admitted)
    for spec, package in admitted.values():
        choose(host, spec, package.ident, whole=False)
    reconcile_all(host)
    for spec, package in admitted.values():
        say(f"{package.ident} is loaded as {spec.service_group}")
    wait_s = request.number("wait_s", 0)
    rows = await asyncio.gather(*(ready(host, name, wait_s) for name in admitted), return_exceptions=True)
    for found in rows:
        if isinstance(found, BaseException):
            raise found
    return bundles.row(family.name, {name: row_of(host.services[name]) for name in admitted})


async def start(host: Host, request: Request, _: Say) -> dict[str, Any]:
    spec = host.specs.need(request.name())
    refuse_while_stopping(host)
    host.specs.write(replace(spec, desired=Desired.UP))
    await attach_again(host)
    reconcile_all(host)
    return await ready(host, spec.name, request.number("wait_s", COMMAND_WAIT_S))


async def stop(host: Host, request: Request, _: Say) -> dict[str, Any]:
    spec = host.specs.need(request.name())
    try:
        host.specs.write(replace(spec, desired=Desired.DOWN))
    except StorageError as error:  # it may be this very service that fills the disk
        raise StorageError(error.thing, error.cause, next=f"stead svc unload {spec.name}, which writes nothing; or {error.next}") from None
    await attach_again(host)
    with_timeout(host, spec.name, request)
    reconcile_all(host)
    return await down(host, spec.name, request.number("wait_s", COMMAND_WAIT_S))


async def unload(host: Host, request: Request, _: Say) -> dict[str, Any]:
    name = request.name()
    if name not in host.complaints:  # a spec that cannot be read can still be unloaded
        host.specs.need(name)
    host.specs.remove(name)
    await attach_again(host)
    with_timeout(host, name, request)
    reconcile_all(host)
    return await down(host, name, request.number("wait_s", COMMAND_WAIT_S))


def with_timeout(host: Host, name: str, request: Request) -> None:
    """A stop timeout for this one stop."""
    service = host.services.get(name)
    if service is not None and "shutdown_timeout_s" in request.fields:
        timeout_s = request.number("shutdown_timeout_s", 0)
        service.life.plan = replace(service.life.plan, stop_timeout_s=float(timeout_s))


async def term(host: Host, _: Request, say: Say) -> dict[str, Any]:
    """Everything down, then the supervisor and its holder end."""
    say("stopping all services")
    host.request_stop("stead sup term")
    await host.changed.until(lambda: are_down(host.services.values()), COMMAND_WAIT_S)
    return {"stopped": sorted(host.services)}


def need(host: Host, name: str) -> Service:
    service = host.services.get(name)
    if service is None:
        complaint = host.complaints.get(name)
        raise NotFoundError(f"service {name}", complaint or "is not loaded", next=f"stead svc load ORIGIN/{name}, or see stead svc status")
    return service


async def ready(host: Host, name: str, wait_s: float) -> dict[str, Any]:
    """The service's row when it is ready; ServiceError when it is not, in that time, or when there is no hope."""
    service = need(host, name)
    await host.changed.until(lambda: service.settled, HEARD_S)
    if wait_s > 0 and service.job is None:  # a job is ready when it is loaded
        life = service.life
        await host.changed.until(lambda: service.settled and (life.state is State.READY or life.failures >= HOPELESS), wait_s)
        if service.life.state is not State.READY:
            raise ServiceError(
                f"service {name}",
                f"is not ready, but {service.life.state}: {view.why(service)}",
                next=f"stead svc logs {name}",
                state=str(service.life.state),
            )
    return row_of(service)


async def down(host: Host, name: str, wait_s: float) -> dict[str, Any]:
    """The service's row when it is down; ServiceError when it is not in that time."""
    service = host.services.get(name)
    if service is None:
        return {"service": name, "state": str(State.DOWN)}
    if wait_s > 0 and not await host.changed.until(lambda: service.settled and service.life.state is State.DOWN, wait_s):
        raise ServiceError(f"service {name}", f"is not down, but {service.life.state}: {view.why(service)}")
    return row_of(service)


def row_of(service: Service) -> dict[str, Any]:
    offset = clock.wall() - clock.now()
    row: dict[str, Any] = plain(view.row(service, lambda at: at + offset))
    return row


Command = Callable[[Host, Request, Say], Awaitable[Any]]
COMMANDS: dict[str, Command] = {
    "sup status": sup_status,
    "status": status,
    "load": load,
    "unload": bundles.as_one(unload),
    "start": bundles.as_one(start, starting=True),
    "stop": bundles.as_one(stop),
    "config apply": configuration.apply,
    "config revert": configuration.revert,
    "config show": config_view.show,
    "config history": config_view.history,
    "config diff": config_view.diff,
    "verify": upkeep.verify,
    "term": term,
    **declared.COMMANDS,
    **file_commands.COMMANDS,
    **job_commands.COMMANDS,
    **ring_commands.COMMANDS,
}


async def answer(host: Host, fields: Mapping[str, Any], say: Say) -> Any:
    """Carry out one request."""
    command = COMMANDS.get(str(fields.get("command")))
    if command is None:
        raise NotFoundError(f"command {fields.get('command')!r}", "is not known to this supervisor", next="is it older than the command?")
    return await command(host, Request(fields), say)
