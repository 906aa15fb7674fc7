"""A service's spec: what is wanted of it, as a TOML file. Pure (reference: supervisor 2.1, 2.2).

Rules: the directory of spec files *is* the desired state. A missing field has its default, a field that we do not know is kept as it is.
`reconcile` says what the difference between two states asks for; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from hart.containment import limits_of
from hart.errors import ConfigError, FormatError
from hart.ident import Ident
from hart.toml import dumps, loads
from supervisor.service import schedule as times
from supervisor.service.schedule import Schedule

T = TypeVar("T", bound=StrEnum)


class Strategy(StrEnum):
    NONE = "none"
    AT_ONCE = "at-once"


class Condition(StrEnum):
    LATEST = "latest"  # the newest of channel and host
    TRACK_CHANNEL = "track-channel"  # the channel's head, also when it goes back


class BindingMode(StrEnum):
    STRICT = "strict"  # wait for the binds before the first start
    RELAXED = "relaxed"  # start without


class Desired(StrEnum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, order=True)
class Bind:
    """`name:service.group`: the bind `name` of the package is fed by that service group."""

    name: str
    group: str

    @classmethod
    def parse(cls, text: str) -> Bind:
        name, _, group = text.partition(":")
        try:
            return cls(Ident("o", name).name, str(Group.parse(group)))
        except FormatError:
            raise FormatError(f"bind {text!r}", "is not NAME:SERVICE.GROUP", next="for example --bind redis:redis.default") from None

    def __str__(self) -> str:
        return f"{self.name}:{self.group}"


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """A service group, `service.group`."""

    service: str
    group: str

    @classmethod
    def parse(cls, text: str) -> Group:
        service, dot, group = text.partition(".")
        try:
            return cls(Ident("o", service).name, Ident("o", group if dot else "").name)
        except FormatError:
            raise FormatError(f"service group {text!r}", "is not SERVICE.GROUP", next="for example redis.default") from None

    def __str__(self) -> str:
        return f"{self.service}.{self.group}"


def bundle_name(text: str) -> str:
    return str(Ident.parse(text).family) if text else ""


def service_name(text: str) -> str:
    """A service's own name, which is a directory's name too: FormatError for what could not be a package's."""
    try:
        return Ident("o", text).name
    except FormatError:
        raise FormatError(f"service name {text!r}", "is not a name", next="letters, digits, - and _, for example web-a") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """What is wanted of one service. Durations in seconds. `instance` is its name where that is not the package's: several services of a
    host may run one package. `after` and `requires_ready` name services of this host (order.py). With a `schedule`, or `run_once`, the id
    of its one run, it is a job (jobs.py)."""

    ident: Ident
    instance: str | None = None
    group: str = "default"
    url: str | None = None
    channel: str = "stable"
    strategy: Strategy = Strategy.NONE
    condition: Condition = Condition.LATEST
    binds: tuple[Bind, ...] = ()
    binding_mode: BindingMode = BindingMode.STRICT
    config_from: str | None = None
    after: tuple[str, ...] = ()
    requires_ready: tuple[str, ...] = ()
    schedule: Schedule | None = None
    run_once: str = ""
    bundle: str = ""  # ident of the bundle that it was loaded with
    run_timeout_s: float | None = None
    desired: Desired = Desired.UP
    shutdown_timeout_s: float | None = None
    health_check_interval_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)  # above the package's own (hart/containment.py)
    new_privileges: bool | None = None  # None: as the package says
    other: Mapping[str, Any] = field(default_factory=dict)  # fields of other programs or of a later version

    @property
    def name(self) -> str:
        return self.instance or self.ident.name

    @property
    def service_group(self) -> Group:
        return Group(self.name, self.group)

    @property
    def job(self) -> bool:
        return self.schedule is not None or bool(self.run_once)

    @property
    def wanted(self) -> bool:
        return self.desired is Desired.UP

    @classmethod
    def parse(cls, text: str, *, thing: str) -> ServiceSpec:
        """From a spec file's text; FormatError names the field."""
        table = loads(text, thing=thing)
        reader = _Reader(table, thing)
        topology = reader.text("topology", "standalone")
        if topology != "standalone":
            raise FormatError(thing, f"topology {topology!r} needs the ring, which is not here yet", next='topology = "standalone"')
        interval = table.get("health_check_interval")
        if isinstance(interval, Mapping):  # Habitat's form
            interval = reader.number("secs", interval) + reader.number("nanos", interval) / 1e9
        table = dict(table) | ({"health_check_interval": interval} if interval is not None else {})
        reader = _Reader(table, thing)
        try:
            ident = Ident.parse(reader.text("ident", ""))
            binds = tuple(sorted(Bind.parse(text) for text in reader.texts("binds")))
            name = service_name(reader.text("name", ident.name))
            group = Group.parse(f"{name}.{reader.text('group', 'default')}").group
            after, requires_ready = (tuple(sorted(map(service_name, reader.texts(key)))) for key in ("after", "requires_ready"))
        except FormatError as error:
            raise FormatError(thing, f"{error.thing} {error.cause}", next=error.next) from None
        return cls(
            ident=ident,
            instance=name if name != ident.name else None,
            group=group,
            url=reader.text("bldr_url", "") or None,
            channel=reader.text("channel", "stable"),
            strategy=reader.choice("update_strategy", Strategy, Strategy.NONE),
            condition=reader.choice("update_condition", Condition, Condition.LATEST),
            binds=binds,
            binding_mode=reader.choice("binding_mode", BindingMode, BindingMode.STRICT),
            config_from=reader.text("config_from", "") or None,
            after=after,
            requires_ready=requires_ready,
            schedule=times.read(table, thing),
            run_once=reader.text("run_once", ""),
            run_timeout_s=reader.seconds("run_timeout"),
            bundle=bundle_name(reader.text("bundle", "")),
            desired=reader.choice("desired_state", Desired, Desired.UP),
            shutdown_timeout_s=reader.seconds("shutdown_timeout"),
            health_check_interval_s=reader.seconds("health_check_interval"),
            limits=limits_of(table.get("limits", {}), thing=thing),
            new_privileges=reader.flag("new_privileges"),
            other={key: value for key, value in table.items() if key not in KNOWN},
        )

    def render(self) -> str:
        """The spec file's text; `parse` gives this spec back."""
        table: dict[str, Any] = {
            "ident": str(self.ident),
            "name": self.instance,
            "group": self.group,
            "bldr_url": self.url,
            "channel": self.channel,
            "topology": "standalone",
            "update_strategy": str(self.strategy),
            "update_condition": str(self.condition),
            "binds": [str(bind) for bind in self.binds],
            "binding_mode": str(self.binding_mode),
            "config_from": self.config_from,
            "after": list(self.after) or None,
            "requires_ready": list(self.requires_ready) or None,
            **times.table(self.schedule),
            "run_once": self.run_once or None,
            "run_timeout": self.run_timeout_s,
            "bundle": self.bundle or None,
            "desired_state": str(self.desired),
            "shutdown_timeout": self.shutdown_timeout_s,
            "health_check_interval": self.health_check_interval_s,
            "limits": dict(self.limits) or None,
            "new_privileges": self.new_privileges,
            **self.other,
        }
        return dumps({key: value for key, value in table.items() if value is not None})


KNOWN = frozenset(
    {
        "ident",
        "name",
        "group",
        "bldr_url",
        "channel",
        "topology",
        "update_strategy",
        "update_condition",
        "binds",
        "binding_mode",
        "config_from",
        "after",
        "requires_ready",
        "every",
        "cron",
        "time_zone",
        "overlap",
        "jitter",
        "run_once",
        "run_timeout",
        "bundle",
        "desired_state",
        "shutdown_timeout",
        "health_check_interval",
        "limits",
        "new_privileges",
    }
)
# Fields whose change leaves the process alone: they steer how updates are looked for, or what is done at its end or before its next start.
QUIET = frozenset({"url", "channel", "strategy", "condition", "shutdown_timeout_s", "after", "requires_ready", "bundle", "other"})


class _Reader:
    """Typed access to a table of foreign TOML."""

    def __init__(self, table: Mapping[str, Any], thing: str) -> None:
        self.table, self.thing = table, thing

    def text(self, key: str, default: str) -> str:
        value = self.table.get(key, default)
        if not isinstance(value, str):
            raise FormatError(self.thing, f"{key} is not text")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise FormatError(self.thing, f"{key} is not a list of texts")
        return value

    def number(self, key: str, table: Mapping[str, Any]) -> float:
        value = table.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
            raise FormatError(self.thing, f"{key} is not a number of seconds")
        return float(value)

    def seconds(self, key: str) -> float | None:
        return None if key not in self.table else self.number(key, self.table)

    def flag(self, key: str) -> bool | None:
        value = self.table.get(key)
        if value is not None and not isinstance(value, bool):
            raise FormatError(self.thing, f"{key} is not true or false")
        return value

    def choice(self, key: str, kind: type[T], default: T) -> T:
        value = self.text(key, default)
        try:
            return kind(value)
        except ValueError:
            raise FormatError(self.thing, f"{key} {value!r} is not one of {', '.join(kind)}") from None


# --- what a difference asks for


class Action(StrEnum):
    KEEP = "keep"
    START = "start"
    STOP = "stop"
    SWAP = "swap"  # take the new spec, leave the process alone
    REPLACE = "replace"  # stop, then start with the new spec


@dataclass(frozen=True, slots=True)
class Step:
    action: Action
    because: str


def reconcile(running: ServiceSpec | None, on_disk: ServiceSpec | None) -> Step:
    """What to do about one service: `running` is the spec that is being carried out (None: nothing), `on_disk` the one that is wanted."""
    up = running is not None and running.wanted
    if on_disk is None:
        return Step(Action.STOP, "its spec file is gone") if up else Step(Action.KEEP, "nothing is wanted")
    if not on_disk.wanted:
        return Step(Action.STOP, "its spec says down") if up else Step(Action.KEEP, "its spec says down")
    if running is None or not up:
        return Step(Action.START, "its spec says up")
    changed = [
        item.name for item in fields(ServiceSpec) if item.name != "desired" and getattr(running, item.name) != getattr(on_disk, item.name)
    ]
    if not changed:
        return Step(Action.KEEP, "as wanted")
    what = f"its spec has another {', '.join(changed)}"
    if running.job and on_disk.job:
        return Step(Action.SWAP, f"{what}, which its next run takes")
    return Step(Action.SWAP if QUIET.issuperset(changed) else Action.REPLACE, what)


def check_binds(spec: ServiceSpec, required: Mapping[str, object], optional: Mapping[str, object]) -> None:
    """ConfigError unless every required bind is given and no unknown one."""
    given = {bind.name for bind in spec.binds}
    if len(given) != len(spec.binds):
        raise ConfigError(str(spec.ident), "a bind is given twice")
    if missing := sorted(set(required) - given):
        raise ConfigError(str(spec.ident), f"needs the bind {', '.join(missing)}", next=f"--bind {missing[0]}:SERVICE.GROUP")
    if unknown := sorted(given - set(required) - set(optional)):
        known = ", ".join(sorted({*required, *optional})) or "none"
        raise ConfigError(str(spec.ident), f"has no bind {', '.join(unknown)} (it has: {known})")
