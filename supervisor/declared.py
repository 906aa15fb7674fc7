"""`stead apply` and `export` at the supervisor: what this host has, and whether it can take a service that a document wants.

Rules: nothing is changed here but that a missing package is installed, where that is asked for: changing is done by the commands that
people type too. What is to be done is decided in desired.py, by whoever asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from hart.errors import FormatError, InputError
from hart.ident import Ident
from supervisor import loading
from supervisor.configuration import kit_of, members
from supervisor.groups import parse_document
from supervisor.host import Host
from supervisor.request import Request
from supervisor.service import update
from supervisor.service.spec import Group, ServiceSpec

Say = Callable[[str], None]


async def present(host: Host, _: Request, __: Say) -> dict[str, Any]:
    """Every spec, but not of a job that is there for one run, and every group's configuration with what of it is secret. It holds the
    secrets: the socket is its owner's."""
    seen = host.specs.look()
    return {
        "services": {name: spec.render() for name, spec in seen.specs.items() if not spec.run_once},
        "complaints": seen.complaints,
        "config": {name: group_state(host, Group.parse(name)) for name in host.groups.names()},
    }


def group_state(host: Host, group: Group) -> dict[str, Any]:
    document = host.groups.current(group)
    secrets: set[str] = set()
    known = has_schema = False
    for service in members(host, group):
        try:
            kit = service.kit or kit_of(host, service.spec)
        except InputError:
            continue  # a package that cannot be read: nothing is known of it
        known = True
        if kit.schema is not None:
            has_schema = True
            secrets |= kit.schema.secrets()
    return {
        "version": host.groups.version(group),
        "text": document.text if document is not None and not document.trouble else None if document is not None else "",
        "secrets": sorted(secrets),
        "known": known,
        "schema": has_schema,
    }


async def check(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """Everything that can be found wrong with one service of a document, with the configuration that its group shall have. A package that
    is not here is installed, or with `dry_run` only named."""
    spec = loading.declared(host, request)
    raw = request.fields.get("config")
    if raw is not None and not isinstance(raw, bytes):
        raise FormatError("request", "config is not bytes")
    group = spec.service_group
    document = parse_document(group, host.groups.version(group) + 1, raw) if raw is not None else None
    wanted = kept_release(host, spec)
    if request.flag("dry_run") and host.tree.find(wanted) is None:
        return {"service": spec.name, "release": None}
    package = await loading.admit(host, spec, wanted, say, document=document)
    return {"service": spec.name, "release": str(package.ident)}


def kept_release(host: Host, spec: ServiceSpec) -> Ident:
    """What it runs stays, while the document's ident names it: a document that says nothing new of a release changes none."""
    service = host.services.get(spec.name)
    choice = update.still_wanted(spec, service.memory.record.choice) if service is not None else None
    return choice.release if choice is not None else spec.ident


Command = Callable[[Host, Request, Say], Awaitable[Any]]
COMMANDS: Final[dict[str, Command]] = {"present": present, "load check": check}
