"""Accept a service: everything that can be found wrong with it before its spec is written.

Rules: with `force` the given options change the spec that is there, and what was not given stays (Habitat resets it: weakness W7). Its name
is the package's where none is given. A package that is not installed is installed from the channel. It must be a service, its binds must
fit, its configuration its schema, and it must not wait for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from hart.containment import LIMITS, amount
from hart.errors import ConflictError, FormatError
from hart.ident import Ident
from hart.installed import InstalledPackage
from supervisor.depots import Depots
from supervisor.groups import Document, Groups
from supervisor.request import Request
from supervisor.service import schedule as times
from supervisor.service.kit import Surroundings, configure, configure_newest, open_kit
from supervisor.service.order import refuse_circle
from supervisor.service.schedule import Schedule
from supervisor.service.spec import Bind, BindingMode, Condition, Desired, Group, ServiceSpec, Strategy, check_binds, service_name
from supervisor.service.specdir import SpecDir

SCHEDULE = frozenset({"every", "cron", "time_zone", "overlap", "jitter"})


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
    ident, options = Ident.parse(request.text("ident")), options_of(request)
    name = service_name(options.text("name")) if "name" in options.fields else ident.name
    instance = name if name != ident.name else None
    before = place.specs.get(name)
    if before is not None and not request.flag("force"):
        raise ConflictError(
            f"service {name}",
            f"is loaded already, as {before.ident}",
            next="change it with --force, `stead svc unload` it first, or load another instance with --name",
        )
    base = replace(before, ident=ident, instance=instance) if before else ServiceSpec(ident=ident, instance=instance)
    spec = replace(with_options(base, options), desired=Desired.UP)
    refuse_circle({**place.specs.look().specs, name: spec}, name)
    return spec, await admit(place, spec, ident, say)


def declared(place: Place, request: Request) -> ServiceSpec:
    """The spec that a document gives whole; what other programs put into its file stays. Circles were looked for in the whole document."""
    spec = ServiceSpec.parse(request.text("spec"), thing="request")
    before = place.specs.get(spec.name)
    return replace(spec, other=before.other if before is not None else {})


async def admit(
    place: Place, spec: ServiceSpec, wanted: Ident, say: Callable[[str], None], *, document: Document | None = None
) -> InstalledPackage:
    """The package to start with, installed if it was not there; it can run this spec, with `document` or else what counts."""
    package = place.tree.find(wanted)
    if package is None:
        say(f"{wanted} is not installed: looking in channel {spec.channel}")
        package = await place.depots.install(spec.url, wanted, channel=spec.channel, say=say)
    kit = open_kit(place, spec, package)
    check_binds(spec, package.metadata.binds, package.metadata.binds_optional)
    if document is not None:
        configure(place, spec, kit, document)
    elif refused := configure_newest(place, spec, kit, place.groups).refused:
        say(refused)
    return package


def options_of(request: Request) -> Request:
    given = request.fields.get("options", {})
    if not isinstance(given, Mapping):
        raise FormatError("request", "options is not a map")
    return Request(given)


def schedule_of(before: Schedule | None, options: Request) -> Schedule | None:
    """The schedule with what was given; `every` and `cron` take each other's place, and an empty one takes the schedule out."""
    given = {key: options.text(key) for key in SCHEDULE & set(options.fields)}
    told = {**times.table(before), **given}
    for one, others in (("every", ("cron", "time_zone")), ("cron", ("every",))):
        if given.get(one):
            told = {key: value for key, value in told.items() if key not in others or key in given}
    if given.get("every") == "" or given.get("cron") == "":
        told = {}
    return times.read(told, "schedule")


def with_options(spec: ServiceSpec, options: Request) -> ServiceSpec:
    """The spec with what was given; what was not given stays as it was."""
    given, changes = options.fields, dict[str, Any]()
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
    lists: dict[str, Callable[[str], Any]] = {"binds": Bind.parse, "after": service_name, "requires_ready": service_name}
    for key, parse in lists.items():
        if key in given:  # an empty text takes out what was there
            changes[key] = tuple(sorted({parse(text) for text in options.texts(key) if text}))
    if SCHEDULE & set(given):
        changes["schedule"] = schedule_of(spec.schedule, options)
    for key in ("shutdown_timeout_s", "health_check_interval_s", "run_timeout_s"):
        if key in given:
            changes[key] = float(options.number(key, 0))
    return replace(spec, **changes, **containment_changes(spec, options))


def containment_changes(spec: ServiceSpec, options: Request) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "limits" in options.fields:
        changes["limits"] = limits_with(spec.limits, options.texts("limits"))
    if "new_privileges" in options.fields:
        changes["new_privileges"] = options.flag("new_privileges")
    return changes


def limits_with(before: Mapping[str, float], given: Sequence[str]) -> dict[str, float]:
    """The limits with `NAME=AMOUNT`, or without one for `NAME=`; FormatError."""
    limits = dict(before)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise FormatError(f"limit {text!r}", "is not NAME=AMOUNT", next="for example --limit memory=512MiB")
        if value:
            limits[name] = amount(name, value, thing=f"limit {text!r}")
        elif name in LIMITS:
            limits.pop(name, None)
        else:
            raise FormatError(f"limit {text!r}", f"{name!r} is not a limit", next=f"one of {', '.join(LIMITS)}")
    return limits
