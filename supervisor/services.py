"""All services of this host: made from spec files, found at the holder, stopped in order (service/order.py).

Rules: the directory of specs is the desired state; what to do about a difference is in spec.py. A service ends here only when its spec
is gone and it is down. Found processes are taken over before anything is started.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from hart.errors import ConflictError, InputError, SteadError
from hart.ident import Ident
from hart.limits import STOP_ALL_S
from supervisor import clock
from supervisor.attach import Exited, SaidReady, SaidStatus
from supervisor.holder.protocol import Held
from supervisor.host import Host
from supervisor.service import running
from supervisor.service.driver import Service
from supervisor.service.events import Event, State
from supervisor.service.order import stop_order
from supervisor.service.process import KILL
from supervisor.service.spec import Action, ServiceSpec, Step, reconcile


async def take_over(host: Host, held: Iterable[Held]) -> None:
    """Attach to what the holder has; what nobody wants any more is stopped the usual way, and what nobody knows is killed.

    Where a spec file cannot be read the last one that could is carried on."""
    seen = host.specs.look()
    for each in held:
        spec = seen.specs.get(each.service) or carried_before(host, each.service)
        if spec is None and each.service in seen.complaints:
            spec = ServiceSpec(ident=Ident("unknown", each.service))
        if spec is None:
            await end_stray(host, each, "nothing is known of it")
            continue
        add(host, spec).process.adopt(each)
        host.unread[each.service] = each
    for name in sorted(seen.complaints.keys() - host.services.keys()):
        if (spec := carried_before(host, name)) is not None:
            service = add(host, spec)
            if spec.wanted:
                service.want_up("its spec file cannot be read, and it was up before")
    await attach_again(host)


def carried_before(host: Host, name: str) -> ServiceSpec | None:
    """The spec that an earlier supervisor carried out, as far as it is recorded."""
    record = running.read(host.settings.running, name)
    with suppress(InputError):
        return ServiceSpec.parse(record.spec, thing=f"record of {name}")
    family = record.release.family if record.release is not None else None
    return ServiceSpec(ident=family, instance=name if name != family.name else None) if family is not None else None


async def attach_again(host: Host) -> None:
    """Take over what could not be read before. A package that the disk does not give is no reason to touch what runs; but it is stopped
    when somebody wants that."""
    if not host.unread:
        return
    seen = host.specs.look()
    for name, held in list(host.unread.items()):
        service = host.services[name]
        if name in seen.specs:
            service.carry(seen.specs[name])
        service.gone = name not in seen.specs and name not in seen.complaints
        unwanted = "its spec file is gone" if service.gone else "its spec says down" if not service.spec.wanted else ""
        try:
            await service.attach(held)
        except (SteadError, OSError) as error:
            because = f"process {held.pid} runs and is left alone, for it cannot be taken over: {error}"
            if not unwanted:
                if service.life.because != because:
                    service.life.because = because
                    host.journal.write("service", name, because)
                continue
            service.attach_unread(held, because)
        host.unread.pop(name, None)  # it may have ended meanwhile
        if unwanted:
            service.tell(Event.WANTED_DOWN, unwanted)


async def heard(host: Host, timeout_s: float) -> None:
    """Wait until every service has heard what it was told."""
    await host.changed.until(lambda: all(service.settled for service in host.services.values()), timeout_s)


async def end_stray(host: Host, held: Held, because: str) -> None:
    """Kill a process that nothing can be done with; when its end is heard it is forgotten (`on_exit`)."""
    host.journal.write("service", held.service, f"process {held.pid} is killed: {because}")
    if held.running:
        await host.holder.signal(held.service, held.start_id, KILL)
    else:
        await host.holder.forget(held.service, held.start_id)


def add(host: Host, spec: ServiceSpec) -> Service:
    service = Service(host, spec)
    service.carry(spec)
    host.services[spec.name] = service

    async def live() -> None:
        await service.live()
        if host.services.get(service.name) is service:
            del host.services[service.name]
            try:
                running.forget(host.settings.running, service.name)
            except SteadError as error:
                host.journal.write("service", service.name, f"its record could not be removed: {error}")
        host.announce()

    host.tasks.create_task(live(), name=spec.name)
    return service


def reconcile_all(host: Host) -> None:
    """Look at the spec files and do what the differences ask for."""
    if host.stopping:
        return
    seen = host.specs.look()
    for name, complaint in seen.complaints.items():
        if host.complaints.get(name) != complaint:
            host.journal.write("spec", name, complaint)
    if host.complaints != seen.complaints:
        host.complaints = seen.complaints
        host.changed.beat()
    changed = False
    for name in sorted({*host.services, *seen.specs} - {*seen.complaints, *host.unread}):
        service, spec = host.services.get(name), seen.specs.get(name)
        if service is not None and spec is service.spec and not service.gone and not service.memory.trouble:
            continue  # nothing has changed: that is nearly every time
        carried = service.spec if service is not None and not service.gone else None
        step = reconcile(carried, spec)
        carry_out(host, service, spec, step)
        changed |= step.action is not Action.KEEP
    if changed:
        host.announce()  # what is wanted of a service may be what another one waits for


def carry_out(host: Host, service: Service | None, spec: ServiceSpec | None, step: Step) -> None:
    """One service's step."""
    if spec is None:
        if service is not None and not service.gone:
            service.gone = True
            service.tell(Event.WANTED_DOWN, "its spec file is gone")
        return
    if service is None:
        service = add(host, spec)
        if step.action is not Action.START:
            return
    if service.gone:  # it was loaded again before it was down
        service.gone = False
    service.carry(spec)
    match step.action:
        case Action.KEEP:
            pass
        case Action.START:
            service.want_up(step.because)
        case Action.STOP:
            service.tell(Event.WANTED_DOWN, step.because)
        case Action.SWAP:
            if spec.shutdown_timeout_s is not None:
                service.life.plan = replace(service.life.plan, stop_timeout_s=spec.shutdown_timeout_s)
            host.journal.write("spec", spec.name, step.because)
            host.changed.beat()
        case Action.REPLACE:
            service.begin_anew(step.because)


async def on_exit(host: Host, event: Exited) -> None:
    service = host.services.get(event.service)
    if service is not None:
        await service.on_exit(event)
        if host.unread.pop(event.service, None) is not None and service.spec.wanted and not service.gone:
            service.want_up("the process that could not be taken over has ended")
        return
    try:
        await host.holder.forget(event.service, event.start_id)
    except SteadError as error:
        host.journal.write("service", event.service, error.cause)


def on_said(host: Host, event: SaidReady | SaidStatus) -> None:
    """A process says something of its readiness."""
    service = host.services.get(event.service)
    if service is None:
        return
    if isinstance(event, SaidReady):
        service.on_ready(event.start_id)
    else:
        service.on_status(event.start_id, event.text)


async def stop_all(host: Host, because: str) -> bool:
    """Stop every service, those first that depend on others; whether all were down in time. Specs stay as they are."""
    host.stopping = because
    deadline = clock.now() + STOP_ALL_S
    for wave in stop_order({name: service.spec for name, service in host.services.items()}):
        stopping = [host.services[name] for name in wave if name in host.services]
        for service in stopping:
            service.tell(Event.WANTED_DOWN, because)
        await host.changed.until(lambda: are_down(stopping), deadline - clock.now())  # noqa: B023  awaited before the next wave
    return are_down(host.services.values())


def are_down(services: Iterable[Service]) -> bool:
    return all(service.life.state is State.DOWN for service in services)


def refuse_while_stopping(host: Host) -> None:
    if host.stopping:
        raise ConflictError("supervisor", f"is stopping all services: {host.stopping}")
