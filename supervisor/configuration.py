"""`config apply` and `config show`: change the configuration of a service group, and see where each value comes from.

Rules: a document is refused, and nothing has changed, unless it is TOML of a bounded size with a newer version, fits the schema of every
member of its group on this host, and every template of those members renders with it and the real binds. It is answered when the members
act on it: reconfigured, or restarted and ready. A group without members takes any document; it is checked when a service is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hart.errors import FormatError, NotFoundError, ServiceError
from hart.ident import Ident
from hart.limits import COMMAND_WAIT_S
from supervisor import view
from supervisor.groups import Document, parse_document
from supervisor.host import Host
from supervisor.request import Request
from supervisor.service import change
from supervisor.service.binds import NotFedError, feed
from supervisor.service.change import Act
from supervisor.service.driver import Service
from supervisor.service.events import UP, Event, State
from supervisor.service.kit import Kit, Rendering, configure, open_kit, render_kit, shown
from supervisor.service.spec import Group, ServiceSpec

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a document does to one member. `rendering` None: its binds are not there, so only the schema was checked."""

    service: Service
    act: Act | None
    because: str
    keys: list[dict[str, Any]]
    rendering: Rendering | None

    def row(self) -> dict[str, Any]:
        return {
            "service": self.service.name,
            "effect": str(self.act) if self.act is not None else "at its next start",
            "because": self.because,
            "changed": self.keys,
        }


async def apply(host: Host, request: Request, say: Say) -> dict[str, Any]:
    group = Group.parse(request.text("group"))
    version, raw = request.fields.get("version"), request.fields.get("body")
    if isinstance(version, bool) or not isinstance(version, int) or not isinstance(raw, bytes):
        raise FormatError("request", "version is not a number, or body is not bytes")
    document = parse_document(group, version, raw)
    host.groups.check_next(group, version)
    effects = [effect_on(host, service, document) for service in members(host, group)]
    result = {"group": str(group), "version": version, "effects": [effect.row() for effect in effects]}
    if request.flag("dry_run"):
        return {**result, "applied": False}
    host.groups.store(group, document)
    host.journal.write("config", str(group), f"version {version} is applied", effects=[effect.row()["effect"] for effect in effects])
    host.announce()
    for effect in effects:
        if effect.act is Act.RESTART and effect.service.life.state is State.BACKOFF:
            effect.service.tell(Event.RESTART, f"version {version} of {group} is applied")
    if not effects:
        say(f"no service of {group} is loaded here: it is checked when one is")
    wait_s = request.number("wait_s", COMMAND_WAIT_S)
    for effect in effects:
        say(f"{effect.service.name}: {effect.row()['effect']}: {effect.because}")
        await settle(host, effect, wait_s)
    return {**result, "applied": True}


def members(host: Host, group: Group) -> list[Service]:
    """The services of this group on this host."""
    return [service for service in host.services.values() if service.spec.service_group == group and not service.gone]


def effect_on(host: Host, service: Service, document: Document) -> Effect:
    """Check a document against one member and see what it would do; it raises what is wrong with it."""
    kit = service.kit or kit_of(host, service.spec)
    before = service.cfg if service.cfg is not None else configure_now(host, service.spec, kit)
    cfg, _ = configure(host, service.spec, kit, document)
    keys = differences(shown(kit, before, reveal=False), shown(kit, cfg, reveal=False), before, cfg)
    try:
        feeders, _ = feed(service.spec, kit.package.metadata, host.census, service.fed, waiting=False)
    except NotFedError as error:
        return Effect(service=service, act=None, because=error.cause, keys=keys, rendering=None)
    rendering = render_kit(host, service.spec, kit, document=document, census=host.census, binds=feeders)
    if service.life.state is State.BACKOFF:
        return Effect(
            service=service, act=Act.RESTART, because="it waits after a failure: it is tried at once", keys=keys, rendering=rendering
        )
    if service.life.state not in UP:
        return Effect(service=service, act=None, because=f"it is {service.life.state}", keys=keys, rendering=rendering)
    verdict = change.decide(service.memory.record.applied, rendering.digests)
    return Effect(service=service, act=verdict.act, because=verdict.because, keys=keys, rendering=rendering)


def kit_of(host: Host, spec: ServiceSpec) -> Kit:
    return open_kit(host, spec, host.tree.get(spec.ident))


def configure_now(host: Host, spec: ServiceSpec, kit: Kit) -> dict[str, Any]:
    return configure(host, spec, kit, host.groups.current(spec.service_group))[0]


def differences(before: dict[str, Any], after: dict[str, Any], real_before: object, real_after: object) -> list[dict[str, Any]]:
    """Changed keys with their values as they may be shown; a secret that changed is named though both look alike."""
    assert isinstance(real_before, dict)
    assert isinstance(real_after, dict)
    old, new = view.flat(before), view.flat(after)
    old_real, new_real = view.flat(real_before), view.flat(real_after)
    changed = sorted(key for key in {*old_real, *new_real} if old_real.get(key) != new_real.get(key))
    return [{"key": key, "before": view.plain(old.get(key)), "after": view.plain(new.get(key))} for key in changed]


async def settle(host: Host, effect: Effect, wait_s: float) -> None:
    """Wait until the member acts on the document; ServiceError when it does not get there in time."""
    if wait_s <= 0 or effect.act in (None, Act.NOTHING) or effect.rendering is None:
        return
    service, digests = effect.service, effect.rendering.digests
    await host.changed.until(lambda: service.settled, wait_s)
    failures = service.life.failures

    def settled() -> bool:
        applied = dict(service.memory.record.applied) == dict(digests)
        return (applied and service.life.state is State.READY) or service.life.failures > failures or bool(view.troubles(service))

    await host.changed.until(settled, wait_s)
    if view.troubles(service) or service.life.state is not State.READY:
        raise ServiceError(
            f"service {service.name}",
            f"did not take the new configuration: it is {service.life.state}: {view.why(service)}",
            next=f"stead svc logs {service.name}, then apply a better one as the next version",
        )


async def show(host: Host, request: Request, _: Say) -> dict[str, Any]:
    """The merged configuration of a service or group, each value's layer, and the versions that are kept."""
    target = request.text("target")
    spec, kit = find(host, target)
    document = host.groups.current(spec.service_group)
    cfg, origins = configure(host, spec, kit, document)
    return {
        "group": str(spec.service_group),
        "release": str(kit.package.ident),
        "version": document.version if document is not None else None,
        "versions": host.groups.versions(spec.service_group),
        "config": view.plain(shown(kit, cfg, reveal=request.flag("reveal"))),
        "origins": dict(origins),
        "hidden": [] if request.flag("reveal") or kit.schema is None else sorted(kit.schema.secrets()),
    }


def find(host: Host, target: str) -> tuple[ServiceSpec, Kit]:
    """By group, by service name, or by the ident of an installed package."""
    name = Ident.parse(target).name if "/" in target else target.partition(".")[0]
    service = host.services.get(name)
    if service is not None and ("." not in target or "/" in target or target == str(service.spec.service_group)):
        return service.spec, service.kit or kit_of(host, service.spec)
    if "/" in target:
        spec = ServiceSpec(ident=Ident.parse(target).family)
        return spec, open_kit(host, spec, host.tree.get(Ident.parse(target)))
    raise NotFoundError(f"service group {target}", "has no service here", next="stead svc status shows the loaded ones")
