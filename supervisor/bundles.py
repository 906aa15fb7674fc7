"""Bundles: packages that say which services a host shall have (hart/bundle.py), loaded, started, stopped and unloaded as one.

Rules: all services of a bundle are checked, and their packages installed, before the first spec is written; where the disk refuses one of
them, the others are put back as they were. A spec says which bundle it came with; beyond that each service is one like all others. Loading
a bundle again, with `force`, unloads what it does not have any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hart import bundle
from hart.errors import ConflictError, StorageError, UsageError
from hart.ident import Ident
from hart.installed import InstalledPackage
from hart.toml import dumps
from supervisor import loading
from supervisor.control import Say
from supervisor.host import Host
from supervisor.request import Request
from supervisor.service.order import refuse_circle, start_order, stop_order
from supervisor.service.spec import ServiceSpec

Admitted = dict[str, tuple[ServiceSpec, InstalledPackage]]
FOR_ALL = frozenset({"channel", "url", "group", "strategy", "condition"})  # options that every service takes which does not say it itself
KEYS = {"channel": "channel", "url": "bldr_url", "group": "group", "strategy": "update_strategy", "condition": "update_condition"}


async def admit(host: Host, request: Request, say: Say) -> tuple[Ident, Admitted] | None:
    """The specs of a bundle with their packages, in the order of their starts; None when the package is a service."""
    ident, options = Ident.parse(request.text("ident")), loading.options_of(request)
    if "name" in options.fields or (host.specs.get(ident.name) is not None and not members(host, ident.name)):
        return None  # an instance has a name; and what is loaded already as a service is said there
    package = await installed(host, ident, options, say)
    if package is None or package.metadata.bundle is None or package.metadata.is_service:
        return None
    if extra := sorted(set(options.fields) - FOR_ALL):
        raise UsageError(
            f"bundle {package.ident}",
            f"takes no {', '.join(key.replace('_', ' ') for key in extra)}: its services say that themselves",
            next=f"read {package.path}/bundle.toml",
        )
    family, here = package.ident.family, host.specs.look().specs
    for name in members(host, ident.name):
        if not request.flag("force"):
            raise ConflictError(
                f"bundle {family}", f"is loaded already, with {name}", next="change it with --force, or `stead svc unload` first"
            )
    specs = specs_of(package, options.fields)
    for name, spec in specs.items():
        before = here.get(name)
        if before is not None and before.bundle != spec.bundle:
            whose = f"with bundle {before.bundle}" if before.bundle else "by itself"
            raise ConflictError(f"service {name}", f"is loaded already, {whose}", next=f"stead svc unload {name}")
    for name in specs:
        refuse_circle({**here, **specs}, name)
    admitted: Admitted = {}
    for name in start_order(specs):
        admitted[name] = specs[name], await loading.admit(host, specs[name], specs[name].ident, say)
    return family, admitted


async def installed(host: Host, ident: Ident, options: Request, say: Say) -> InstalledPackage | None:
    package = host.tree.find(ident)
    if package is None:
        channel = options.text("channel") if "channel" in options.fields else ServiceSpec(ident=ident).channel
        say(f"{ident} is not installed: looking in channel {channel}")
        package = await host.depots.install(options.text("url") if "url" in options.fields else None, ident, channel=channel, say=say)
    return package


def specs_of(package: InstalledPackage, options: Mapping[str, Any]) -> dict[str, ServiceSpec]:
    """The specs that a bundle asks for; FormatError names the field. What it does not say is taken from the options."""
    thing = f"bundle.toml of {package.ident}"
    defaults = {KEYS[key]: value for key, value in options.items()}
    family = str(package.ident.family)
    return {
        name: ServiceSpec.parse(dumps({**defaults, **table, "name": name, "bundle": family}), thing=f"service {name} in {thing}")
        for name, table in bundle.parse(package.metadata.bundle or "", thing=thing).items()
    }


def write(host: Host, family: Ident, admitted: Admitted) -> None:
    """All specs, or none; and those go that the bundle had and has not."""
    here = host.specs.look().specs
    written = []
    try:
        for name, (spec, _) in admitted.items():
            host.specs.write(spec)
            written.append(name)
    except StorageError:
        for name in written:
            if (before := here.get(name)) is not None:
                host.specs.write(before)
            else:
                host.specs.remove(name)
        raise
    for name in members(host, family.name):
        if name not in admitted:
            host.specs.remove(name)


def members(host: Host, name: str) -> list[str]:
    """The services that came with the bundle of this name, in the order of their stops."""
    found = {each.name: each for each in host.specs.look().specs.values() if each.bundle and Ident.parse(each.bundle).name == name}
    return [each for wave in stop_order(found) for each in wave]


Command = Callable[[Host, Request, Say], Awaitable[Any]]


def as_one(command: Command, *, starting: bool = False) -> Command:
    """A command that takes a service's name, for the name of a bundle too: one service after the other, in order."""

    async def carry_out(host: Host, request: Request, say: Say) -> Any:
        name = request.name()
        if name in host.services or not (found := members(host, name)):
            return await command(host, request, say)
        done = {}
        for each in reversed(found) if starting else found:
            done[each] = await command(host, Request({**request.fields, "name": each}), say)
        return row(name, done)

    return carry_out


def row(name: str, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One row for a whole bundle."""
    states = {each: str(found["state"]) for each, found in rows.items()}
    alike = set(states.values())
    state = alike.pop() if len(alike) == 1 else "mixed"
    because = ", ".join(f"{each} is {found}" for each, found in states.items())
    return {"service": name, "bundle": True, "state": state, "because": because, "services": dict(rows)}
