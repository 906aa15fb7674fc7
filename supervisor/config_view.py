"""`config show | history | diff`: what a group's configuration is, where each value comes from, and how it came to be so.

Rules: secrets are hidden wherever a schema of the group is known on this host, and where none is, that is said: without one nobody knows
what is secret. A version that is not in force here is named with the reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from hart.config import key_path
from hart.errors import FormatError, InputError, NotFoundError
from hart.ident import Ident
from hart.limits import CONFIG_SHOWN
from hart.schema import REDACTED, redact
from supervisor import clock
from supervisor.configuration import differences, kit_of, members
from supervisor.groups import NONE_YET, Document
from supervisor.host import Host
from supervisor.plain import flat, plain
from supervisor.request import Request
from supervisor.service.configured import Standing
from supervisor.service.kit import Kit, configure, configure_newest, layers_of, open_kit, shown
from supervisor.service.spec import Group, ServiceSpec

Say = Callable[[str], None]


async def show(host: Host, request: Request, _: Say) -> dict[str, Any]:
    """The merged configuration of a service or group, each value's layer, and the versions that are kept; with `why` one key's layers."""
    target, reveal = request.text("target"), request.flag("reveal")
    found = find(host, target)
    if found is None:
        return show_document(host, Group.parse(target), request)
    spec, kit, standing = found
    group = spec.service_group
    layers = layers_of(host, spec, kit, standing.document)
    cfg, origins = configure(host, spec, kit, standing.document)
    secrets = kit.schema.secrets() if kit.schema is not None and not reveal else set[str]()
    result = {
        "group": str(group),
        "release": str(kit.package.ident),
        "version": standing.in_force or None,
        "newest": host.groups.version(group) or None,
        "refused": standing.refused or None,
        "versions": host.groups.versions(group),
        "config": plain(shown(kit, cfg, reveal=reveal)),
        "origins": dict(origins),
        "hidden": sorted(secrets),
        "schema": kit.schema is not None,
    }
    return {**result, "why": why(request.text("why"), layers, cfg, secrets)} if "why" in request.fields else result


def show_document(host: Host, group: Group, request: Request) -> dict[str, Any]:
    """Of a group that has no service here: what the ring has for it."""
    document = host.groups.current(group)
    if document is None:
        raise NotFoundError(f"service group {group}", "has no service here and no configuration", next="stead svc status shows services")
    name = f"version {document.version} of {group}"
    table = document.table(group)
    result = {
        "group": str(group),
        "release": None,
        "version": document.version,
        "newest": document.version,
        "refused": None,
        "versions": host.groups.versions(group),
        "config": plain(table),
        "origins": dict.fromkeys(flat(table), name),
        "hidden": [],
        "schema": False,
    }
    return {**result, "why": why(request.text("why"), [(name, table)], table, set())} if "why" in request.fields else result


def find(host: Host, target: str) -> tuple[ServiceSpec, Kit, Standing] | None:
    """By group, by service name, or by the ident of an installed package; None for a group without a service here."""
    name = Ident.parse(target).name if "/" in target else target.partition(".")[0]
    service = host.services.get(name)
    if service is not None and ("." not in target or "/" in target or target == str(service.spec.service_group)):
        if service.kit is not None and service.cfg is not None:
            return service.spec, service.kit, service.standing
        spec, kit = service.spec, service.kit or kit_of(host, service.spec)
    elif "/" in target:
        spec = ServiceSpec(ident=Ident.parse(target).family)
        kit = open_kit(host, spec, host.tree.get(Ident.parse(target)))
    elif "." in target:
        return None
    else:
        raise NotFoundError(f"service {target}", "is not loaded here", next="stead svc status shows services; a group is SERVICE.GROUP")
    taken = configure_newest(host, spec, kit, host.groups)
    return spec, kit, Standing(newest=taken.newest, document=taken.document, refused=taken.refused)


def why(key: str, layers: list[tuple[str, Mapping[str, Any]]], cfg: Mapping[str, Any], secrets: set[str]) -> list[dict[str, Any]]:
    """What each layer says of a key, the winner first. A table is merged of all that have it; any other value is the last one's."""
    path = key_path(key)
    effective = value_at(cfg, path)
    if effective is None:
        near = difflib.get_close_matches(key, flat(cfg), n=1)
        raise NotFoundError(f"key {key}", "has no value in any layer", next=f"did you mean {near[0]}?" if near else "")
    rows = []
    for name, table in reversed(layers):
        value = value_at(table, path)
        if value is None:
            rows.append({"layer": name, "value": None, "wins": False})
            continue
        wins = not any(row["wins"] for row in rows) or isinstance(effective, Mapping)
        hidden = value_at(redact(table, secrets), path)
        rows.append({"layer": name, "value": plain(hidden), "wins": wins})
    return sorted(rows, key=lambda row: not row["wins"])


def value_at(table: Mapping[str, Any], path: list[str]) -> Any:
    """The value below a path, or None; below a hidden table everything is hidden."""
    value: Any = table
    for part in path:
        if value == REDACTED:
            return REDACTED
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


# --- over time


async def history(host: Host, request: Request, _: Say) -> dict[str, Any]:
    """The kept versions, newest first: who wrote them, when and why, which keys changed, how many members run with each."""
    group = Group.parse(request.text("group"))
    documents = host.groups.documents(group)
    if not documents:
        raise NotFoundError(f"service group {group}", "has no configuration", next=f"stead config apply {group} FILE")
    running = [member.config.in_force for member in host.census.present(group)]
    rows = []
    for document, before in zip(documents, [*documents[1:], None], strict=True):
        rows.append(
            {
                "version": document.version,
                "at": clock.stamp(document.at) if document.at else None,
                "by": document.by,
                "why": document.why,
                "members": running.count(document.version),
                "changed": changed_keys(before, document, group),
                "trouble": document.trouble or None,
            }
        )
    return {"group": str(group), "members": len(running), "rows": rows}


def changed_keys(before: Document | None, after: Document, group: Group) -> list[str]:
    """Names only: they are no secret."""
    old, new = table_of(before, group), table_of(after, group)
    return [row["key"] for row in differences(old, new, old, new)][:CONFIG_SHOWN]


def table_of(document: Document | None, group: Group) -> dict[str, Any]:
    """Of a document that cannot be read: nothing."""
    try:
        return document.table(group) if document is not None else {}
    except InputError:
        return {}


async def diff(host: Host, request: Request, _: Say) -> dict[str, Any]:
    """Two versions, key by key. Without numbers the last two; with one, that and the current one. Before the first one there is nothing."""
    group = Group.parse(request.text("group"))
    asked = request.fields.get("versions", [])
    if not isinstance(asked, list) or len(asked) > 2 or not all(isinstance(number, int) for number in asked):
        raise FormatError("request", "versions are not at most two numbers")
    kept = host.groups.versions(group)
    if not kept:
        raise NotFoundError(f"service group {group}", "has no configuration", next=f"stead config apply {group} FILE")
    old, new = [*asked, kept[-1]][:2] if asked else [*[NONE_YET, *kept][-2:]]
    before = host.groups.at(group, old).table(group) if old != NONE_YET else {}
    after = host.groups.at(group, new).table(group) if new != NONE_YET else {}
    kits = [service.kit or kit_of(host, service.spec) for service in members(host, group)]
    schemas = [kit.schema for kit in kits if kit.schema is not None]
    secrets = {key for schema in schemas for key in schema.secrets()} if not request.flag("reveal") else set[str]()
    rows = differences(redact(before, secrets), redact(after, secrets), before, after)
    return {"group": str(group), "from": old, "to": new, "rows": rows[:CONFIG_SHOWN], "schema": bool(schemas)}
