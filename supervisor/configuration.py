"""`config apply` and `config revert`: change the configuration of a service group, everywhere.

Rules: what is given is merged into the document that counts, unless it is to replace it. It is refused, and nothing has changed, unless it
is TOML of a bounded size, fits the schema of every member of its group on this host, and every template of those members renders with it
and the real binds. The ring assigns the next version by compare-and-set; a race is met by merging once more. It is answered when every
member that is alive has said what it made of it. A group that nobody runs takes any document; members look at it when they start.
What is not new changes nothing. What a member that cannot take it does is in service/fallback.py; showing is in config_view.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hart.config import key_path, merge
from hart.errors import ConflictError, FormatError, NotFoundError, ServiceError, UnavailableError
from hart.limits import COMMAND_WAIT_S
from hart.toml import dumps
from supervisor import acks, clock
from supervisor.groups import Document, key_of, parse_document
from supervisor.host import Host
from supervisor.plain import flat, plain
from supervisor.request import Request
from supervisor.service import change
from supervisor.service.binds import NotFedError, feed
from supervisor.service.change import Act
from supervisor.service.driver import Service
from supervisor.service.events import PAUSED, UP
from supervisor.service.kit import Kit, Rendering, configure, configure_newest, open_kit, render_kit, shown
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for. `version`: the number that was chosen for it; `expect`: the one that must count now."""

    group: Group
    raw: bytes
    whole: bool = False  # it replaces what is there
    unset: tuple[str, ...] = ()
    version: int | None = None
    expect: int | None = None
    by: str = ""
    why: str = ""


async def apply(host: Host, request: Request, say: Say) -> dict[str, Any]:
    raw, unset = request.fields.get("body"), request.fields.get("unset", [])
    if not isinstance(raw, bytes) or not isinstance(unset, list) or not all(isinstance(key, str) for key in unset):
        raise FormatError("request", "body is not bytes, or unset is not a list of keys")
    order = Order(
        group=Group.parse(request.text("group")),
        raw=raw,
        whole=request.flag("replace"),
        unset=tuple(unset),
        version=request.revision("version"),
        expect=request.revision("expect"),
        by=signed(host, request),
        why=request.text("why") if "why" in request.fields else "",
    )
    return await carry_out(host, order, request, say)


async def revert(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """The text of an earlier version, as a new one."""
    group, version = Group.parse(request.text("group")), request.revision("version")
    if version is None:
        raise FormatError("request", "version is not a number")
    before = host.groups.at(group, version)
    before.table(group)
    order = Order(
        group=group,
        raw=before.text.encode(),
        whole=True,
        expect=request.revision("expect"),
        by=signed(host, request),
        why=f"back to version {version}" + (f": {request.text('why')}" if "why" in request.fields else ""),
    )
    return await carry_out(host, order, request, say)


def signed(host: Host, request: Request) -> str:
    """Who asks, as far as the command says; for people who read the history."""
    return f"{request.text('by') if 'by' in request.fields else 'somebody'}@{host.sys.hostname}"


async def carry_out(host: Host, order: Order, request: Request, say: Say) -> dict[str, Any]:
    group, dry_run = order.group, request.flag("dry_run")
    document, effects, is_new = await store(host, order, say, dry_run=dry_run)
    result = {
        "group": str(group),
        "version": document.version,
        "effects": [effect.row() for effect in effects],
        "applied": not dry_run,
        "changed": is_new,
    }
    if dry_run:
        return result
    if is_new:
        did = [effect.row()["effect"] for effect in effects]
        host.journal.write("config", str(group), f"version {document.version} is applied", by=order.by, why=order.why, effects=did)
        host.announce()
    for effect in effects:
        say(f"{effect.service.name}: {effect.row()['effect']}: {effect.because}")
    wait_s = request.number("wait_s", COMMAND_WAIT_S)
    return result if wait_s <= 0 else {**result, **await acknowledged(host, group, document.version, wait_s, say)}


async def store(host: Host, order: Order, say: Say, *, dry_run: bool) -> tuple[Document, list[Effect], bool]:
    """Compose, check and put into the ring; once more when somebody was faster and nobody said what is to be there."""
    group = order.group
    for last in (False, True):
        current = host.groups.version(group)
        document = compose(order, host.groups.current(group), current)
        effects = [effect_on(host, service, document) for service in members(host, group)]
        is_new = document.version != current
        if dry_run or not is_new:
            break
        try:
            await host.ring.put(key_of(group), document.body(), expect=current, revision=order.version)
        except ConflictError as error:
            if last or order.expect is not None or order.version is not None:
                raise conflict(group, error.data.get("current")) from None
            say(f"somebody else has changed {group} meanwhile: looking again")
        else:
            break
    return document, effects, is_new


def compose(order: Order, before: Document | None, current: int) -> Document:
    """The document to store; the one that counts when that would be no other. Pure but for the clock.

    ConflictError when another version counts than was expected, or the chosen one is not newer; NotFoundError for a key to unset.
    """
    group = order.group
    if order.expect is not None and order.expect != current:
        raise conflict(group, current)
    if order.version is not None and order.version <= current:
        raise ConflictError(
            f"configuration {order.version} of {group}",
            f"is not newer than version {current}, which counts now",
            next=f"apply it as version {current + 1}, or without a version",
            current=current,
        )
    version = order.version if order.version is not None else current + 1
    given = parse_document(group, version, order.raw)
    made = replace(given, by=order.by, why=order.why, at=clock.wall())
    if before is None and not order.unset:
        return made
    base = base_table(before, group, whole=order.whole)
    wanted = given.table(group) if order.whole else without(merge(base, given.table(group)), order.unset, group)
    if before is not None and order.version is None and not before.trouble and dumps(wanted) == dumps(before.table(group)):
        return before
    if order.whole or (not base and not order.unset):
        return made
    return replace(made, text=parse_document(group, version, dumps(wanted).encode()).text)


def base_table(before: Document | None, group: Group, *, whole: bool) -> dict[str, Any]:
    """What is merged into."""
    if before is None or whole:
        return {}
    try:
        return before.table(group)
    except FormatError as error:
        raise FormatError(error.thing, f"{error.cause}; nothing can be merged into it", next="give the whole of it: --replace") from None


def without(table: dict[str, Any], keys: tuple[str, ...], group: Group) -> dict[str, Any]:
    """The table without these dotted keys, and without tables that are empty then."""
    for key in keys:
        *above, name = path = key_path(key)
        tables = [table]
        for part in above:
            below = tables[-1].get(part)
            tables.append(below if isinstance(below, dict) else {})
        if name not in tables[-1]:
            raise NotFoundError(f"key {key}", f"is not in the configuration of {group}", next=f"stead config show {group} --why {key}")
        del tables[-1][name]
        for parent, part, child in zip(reversed(tables[:-1]), reversed(path[:-1]), reversed(tables[1:]), strict=True):
            if not child:
                del parent[part]
    return table


def conflict(group: Group, current: object) -> ConflictError:
    return ConflictError(
        f"configuration of {group}",
        f"version {current} counts now",
        next=f"look at it, stead config diff {group}, and apply again",
        current=current,
    )


def members(host: Host, group: Group) -> list[Service]:
    """The services of this group on this host."""
    return [service for service in host.services.values() if service.spec.service_group == group and not service.gone]


def effect_on(host: Host, service: Service, document: Document) -> Effect:
    """Check a document against one member and see what it would do; it raises what is wrong with it."""
    kit = service.kit or kit_of(host, service.spec)
    before = service.cfg if service.cfg is not None else configure_newest(host, service.spec, kit, host.groups).result[0]
    cfg, _ = configure(host, service.spec, kit, document)
    keys = differences(shown(kit, before, reveal=False), shown(kit, cfg, reveal=False), before, cfg)
    try:
        feeders, _ = feed(service.spec, kit.package.metadata, host.census, service.fed, waiting=False)
    except NotFedError as error:
        return Effect(service=service, act=None, because=error.cause, keys=keys, rendering=None)
    rendering = render_kit(host, service.spec, kit, document=document, census=host.census, binds=feeders)
    if service.life.state in PAUSED:
        return Effect(
            service=service, act=Act.RESTART, because="it waits after a failure: it is tried at once", keys=keys, rendering=rendering
        )
    if service.life.state not in UP:
        return Effect(service=service, act=None, because=f"it is {service.life.state}", keys=keys, rendering=rendering)
    verdict = change.decide(service.memory.record.applied, rendering.digests)
    return Effect(service=service, act=verdict.act, because=verdict.because, keys=keys, rendering=rendering)


def kit_of(host: Host, spec: ServiceSpec) -> Kit:
    return open_kit(host, spec, host.tree.get(spec.ident))


def differences(before: dict[str, Any], after: dict[str, Any], real_before: object, real_after: object) -> list[dict[str, Any]]:
    """Changed keys with their values as they may be shown; a secret that changed is named though both look alike."""
    assert isinstance(real_before, dict)
    assert isinstance(real_after, dict)
    old, new = flat(before), flat(after)
    old_real, new_real = flat(real_before), flat(real_after)
    changed = sorted(key for key in {*old_real, *new_real} if old_real.get(key) != new_real.get(key))
    return [{"key": key, "before": plain(old.get(key)), "after": plain(new.get(key))} for key in changed]


async def acknowledged(host: Host, group: Group, version: int, wait_s: float, say: Say) -> dict[str, Any]:
    """What the members made of it, when all that are alive have said so. ServiceError: somebody cannot take it; UnavailableError: somebody
    has not answered in that time. The version stands in either case."""

    def tally() -> acks.Tally:
        return acks.count(host.census.present(group), version)

    if not host.census.present(group):
        say(f"nobody runs {group}: it is checked when somebody does")
    await host.changed.until(lambda: tally().complete, wait_s)
    found = tally()
    thing = f"configuration {version} of {group}"
    data = {"version": version, "accepted": len(found.accepted), "rendered": len(found.rendered)}
    if found.failed:
        back = host.groups.versions(group)[-2:-1]
        undo = f"stead config revert {group} {back[0]}, or " if back else ""
        raise ServiceError(thing, str(found), next=f"{undo}apply a better one; stead svc logs {group.service} on that host", **data)
    if not found.complete:
        raise UnavailableError(thing, f"{found}, after {wait_s:g} s", next=f"stead config history {group} shows who runs with it", **data)
    return found.row()
