"""Accept a service: everything that can be found wrong with it before its spec is written.

Rules: with `force` the given options change the spec that is there, and what was not given stays (Habitat resets it: weakness W7).
A package that is not installed is installed from the channel. It must be a service, its binds must fit, and its configuration its schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from hart.errors import ConflictError, FormatError
from hart.ident import Ident
from hart.installed import InstalledPackage
from supervisor.depots import Depots
from supervisor.groups import Groups
from supervisor.request import Request
from supervisor.service.kit import Surroundings, configure_newest, open_kit
from supervisor.service.spec import Bind, BindingMode, Condition, Desired, Group, ServiceSpec, Strategy, check_binds
from supervisor.service.specdir import SpecDir


class Place(Surroundings, Protocol):
    """Where a service is to be loaded."""

    @property
    def depots(self) -> Depots: ...
    @property
    def specs(self) -> SpecDir: ...
    @property
    def groups(self) -> Groups: ...


async def accept(place: Place, request: Request, say: Callable[[str], None]) -> tuple[ServiceSpec, InstalledPackage]:
    """The spec to write and the installed package that it starts with; nothing has been written but the package."""
    ident = Ident.parse(request.text("ident"))
    before = place.specs.get(ident.name)
    if before is not None and not request.flag("force"):
        raise ConflictError(
            f"service {ident.name}", f"is loaded already, as {before.ident}", next="change it with --force, or `stead svc unload` first"
        )
    spec = replace(with_options(replace(before, ident=ident) if before else ServiceSpec(ident=ident), request), desired=Desired.UP)
    package = place.tree.find(ident)
    if package is None:
        say(f"{ident} is not installed: looking in channel {spec.channel}")
        package = await place.depots.install(spec.url, ident, channel=spec.channel, say=say)
    kit = open_kit(place, spec, package)
    check_binds(spec, package.metadata.binds, package.metadata.binds_optional)
    if refused := configure_newest(place, spec, kit, place.groups).refused:
        say(refused)
    return spec, package


def with_options(spec: ServiceSpec, request: Request) -> ServiceSpec:
    """The spec with what was given; what was not given stays as it was."""
    given = request.fields.get("options", {})
    if not isinstance(given, Mapping):
        raise FormatError("request", "options is not a map")
    options, changes = Request(given), dict[str, Any]()
    for key in ("channel", "url", "config_from"):
        if key in given:
            changes[key] = options.text(key)
    if "group" in given:
        changes["group"] = Group.parse(f"{spec.name}.{options.text('group')}").group
    kinds = {"strategy": Strategy, "condition": Condition, "binding_mode": BindingMode}
    for key, kind in kinds.items():
        if key in given:
            try:
                changes[key] = kind(options.text(key))
            except ValueError:
                raise FormatError(f"{key} {options.text(key)!r}", f"is not one of {', '.join(kind)}") from None
    if "binds" in given:
        binds = given["binds"]
        if not isinstance(binds, list):
            raise FormatError("request", "binds is not a list")
        changes["binds"] = tuple(sorted(Bind.parse(str(bind)) for bind in binds))
    for key in ("shutdown_timeout_s", "health_check_interval_s"):
        if key in given:
            changes[key] = float(options.number(key, 0))
    return replace(spec, **changes)
