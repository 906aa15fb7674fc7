"""A host as a document: which services it shall have, and the configuration of their groups. Pure: `plan` says what is to be done.

    [service.NAME]           what a spec file has: ident, group, channel, binds, …; what is not given has its default
    [config."NAME.GROUP"]    the whole configuration that is applied to the group
    [keep]                   "NAME.GROUP" = ["key", …]: keys that the document does not give, such as secrets: what counts now stays

Rules: a service that the document does not have is told, and unloaded only when that is asked for; a group that it does not have is left
alone. Each step is a command that people could type, in the order in which it is carried out: configuration first, so that a first start
has it, then services, those first that others wait for or are fed by; what is to go goes last. Nothing to do is an empty plan.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from hart.config import dotted, key_path, merge
from hart.errors import ConfigError, FormatError
from hart.schema import REDACTED, redact
from hart.toml import dumps, loads
from supervisor.plain import flat, plain
from supervisor.service.order import circle, start_order, stop_order, told
from supervisor.service.spec import KNOWN, Action, Group, ServiceSpec, reconcile, service_name

TABLES: Final = ("service", "config", "keep")


class Act(StrEnum):
    CONFIGURE = "configure"
    LOAD = "load"
    CHANGE = "change"
    START = "start"
    STOP = "stop"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What a document says."""

    services: Mapping[str, ServiceSpec] = field(default_factory=dict)
    config: Mapping[Group, Mapping[str, Any]] = field(default_factory=dict)
    keep: Mapping[Group, Sequence[Sequence[str]]] = field(default_factory=dict)  # paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A group's configuration as it counts now. `table` None: it cannot be read; `known`: a service of it is here, so it is known what of
    it is secret, as far as a schema says so."""

    version: int
    table: Mapping[str, Any] | None
    secrets: frozenset[str] = frozenset()
    known: bool = True
    schema: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What a host has."""

    services: Mapping[str, ServiceSpec] = field(default_factory=dict)
    config: Mapping[Group, Applied] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command. `spec` of LOAD and CHANGE; `table` and `expect` of CONFIGURE: the whole of it, and the version that is replaced."""

    act: Act
    subject: str
    because: str
    changes: tuple[Mapping[str, Any], ...] = ()
    spec: ServiceSpec | None = None
    table: Mapping[str, Any] | None = None
    expect: int = 0

    def row(self) -> dict[str, Any]:
        return {
            "act": str(self.act),
            "subject": self.subject,
            "because": self.because,
            "changes": [dict(change) for change in self.changes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`untouched`: services that are here and not in the document, and stay; `notes`: what people should know before they say yes."""

    steps: tuple[Step, ...] = ()
    untouched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# --- the document


def parse(text: str | bytes, *, thing: str) -> Desired:
    """FormatError or ConfigError name the table and the key."""
    document = loads(text, thing=thing)
    for name in document:
        if name not in TABLES:
            raise FormatError(thing, f"has no place for {name!r}{near(name, TABLES)}", next=f"its tables are {', '.join(TABLES)}")
    services = {name: service(name, table, thing=thing) for name, table in tables(document, "service", thing).items()}
    if found := next(filter(None, (circle(services, name) for name in services)), None):
        raise ConfigError(thing, f"{found[0]} would wait for {told(found)}")
    config = {group_of(name, thing): table for name, table in tables(document, "config", thing).items()}
    keep = kept(document, config, thing)
    return Desired(services=services, config=config, keep=keep)


def tables(document: Mapping[str, Any], name: str, thing: str) -> Mapping[str, Mapping[str, Any]]:
    found = document.get(name, {})
    if not isinstance(found, Mapping) or not all(isinstance(table, Mapping) for table in found.values()):
        example = "[service.web]" if name == "service" else '[config."web.default"]'
        raise FormatError(thing, f"{name} is not a table of tables", next=f"write it as {example}")
    return found


def kept(document: Mapping[str, Any], config: Mapping[Group, object], thing: str) -> dict[Group, list[list[str]]]:
    found = document.get("keep", {})
    if not isinstance(found, Mapping):
        raise FormatError(thing, "keep is not a table", next='write it as [keep], and below it "web.default" = ["db.password"]')
    keep = {}
    for name, keys in found.items():
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise FormatError(thing, f'keep of {name} is not a list of keys, such as ["db.password"]')
        group = group_of(name, thing)
        if group not in config:
            raise FormatError(thing, f"keep has {name}, and config has not", next=f'add [config."{name}"], which may be empty')
        keep[group] = [key_path(key) for key in keys]
    return keep


def service(name: str, table: Mapping[str, Any], *, thing: str) -> ServiceSpec:
    here = f"service {name} of {thing}"
    service_name(name)
    if "name" in table:
        raise FormatError(here, "name is given by its table", next=f"[service.{table['name']}]")
    for key in table:
        if key not in KNOWN:
            raise FormatError(
                here, f"there is no {key!r}{near(key, KNOWN)}", next="the fields are those of a spec file: stead export shows them"
            )
    spec = ServiceSpec.parse(dumps({**table, "name": name}), thing=here)
    if spec.run_once:
        raise FormatError(here, "a run that was asked for is not a state to keep", next="stead svc run-once")
    if spec.config_from is not None and not spec.config_from.startswith("/"):
        raise FormatError(here, f"config_from {spec.config_from} is not an absolute path")
    return spec


def group_of(name: str, thing: str) -> Group:
    try:
        return Group.parse(name)
    except FormatError as error:
        raise FormatError(thing, f"{error.thing} {error.cause}", next='[config."web.default"]') from None


def near(word: str, words: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def render(present: Present, *, secrets: bool) -> tuple[str, list[str]]:
    """The document that `plan` has nothing to do for, and the keys that were left out because they are secret. Fields that have their
    default are left out too. The groups are those of the host's own services."""
    document: dict[str, Any] = {"service": {}, "config": {}, "keep": {}}
    left_out = []
    for name in sorted(present.services):
        spec = present.services[name]
        document["service"][name] = fields_of(spec)
        applied = present.config.get(spec.service_group)
        if applied is None or applied.table is None or not applied.version:
            continue
        group, table = str(spec.service_group), dict(applied.table)
        if not secrets:
            table, taken = without_secrets(table, applied.secrets)
            if taken:
                document["keep"][group] = [dotted(path) for path in taken]
                left_out += [f"{group}: {dotted(path)}" for path in taken]
        document["config"][group] = table
    return dumps({name: table for name, table in document.items() if table}), left_out


def fields_of(spec: ServiceSpec) -> dict[str, Any]:
    """A spec's own fields that differ from the defaults, as its file has them; what other programs put there is theirs."""
    table = loads(replace(spec, other={}).render(), thing="spec")
    usual = loads(ServiceSpec(ident=spec.ident).render(), thing="spec")
    return {key: value for key, value in table.items() if key == "ident" or (key != "name" and value != usual.get(key))}


def without_secrets(table: Mapping[str, Any], secrets: frozenset[str]) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """The table without what is secret, and the paths that were taken out; of a list that holds a secret the whole list."""
    hidden = redact(table, secrets)
    taken: list[tuple[str, ...]] = []

    def walk(here: Mapping[str, Any], shown: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        left = {}
        for key, value in here.items():
            other = shown[key]
            if isinstance(value, Mapping) and isinstance(other, Mapping):
                left[key] = walk(value, other, (*path, key))
            elif other != value or other == REDACTED:
                taken.append((*path, key))
            else:
                left[key] = value
        return left

    return walk(table, hidden, ()), taken


# --- what is to be done


def plan(desired: Desired, present: Present, *, prune: bool = False) -> Plan:
    """The steps from what is to what shall be."""
    missing = [name for name in present.services if name not in desired.services]
    notes: list[str] = []
    steps = [
        *configuration(desired, present, notes),
        *(step for name in start_order(desired.services) for step in of_service(present.services.get(name), desired.services[name])),
    ]
    if prune:
        going = {name: present.services[name] for name in missing}
        steps += [unload(name) for wave in stop_order(going) for name in wave]
    here = {*desired.services, *(() if prune else missing)}
    for spec in desired.services.values():
        notes += [
            f"{spec.name} requires {name}, which is not loaded and not in the file" for name in spec.requires_ready if name not in here
        ]
    return Plan(steps=tuple(steps), untouched=() if prune else tuple(sorted(missing)), notes=tuple(notes))


def configuration(desired: Desired, present: Present, notes: list[str]) -> Iterator[Step]:
    for group, given in sorted(desired.config.items()):
        applied = present.config.get(group, Applied(version=0, table={}, known=False))
        now = applied.table if applied.table is not None else {}
        wanted = merge(given)
        for path in desired.keep.get(group, ()):
            value = value_at(now, path)
            if value is None:
                notes.append(f"{group} has no {dotted(path)} to keep: give it with stead config apply {group}")
            else:
                put_at(wanted, path, value)
        if applied.table is not None and same(now, wanted) and (applied.version or not wanted):
            continue
        because = f"version {applied.version} differs" if applied.version else "nothing is applied yet"
        if applied.table is None:
            because = f"version {applied.version} cannot be read"
        yield Step(
            act=Act.CONFIGURE,
            subject=str(group),
            because=because,
            changes=tuple(differences(now, wanted, applied)),
            table=wanted,
            expect=applied.version,
        )


def of_service(before: ServiceSpec | None, wanted: ServiceSpec) -> Iterator[Step]:
    if before is None:
        because = "is not loaded" if wanted.wanted else "is not loaded, and stays down"
        yield Step(act=Act.LOAD, subject=wanted.name, because=because, changes=tuple(rows({}, fields_of(wanted))), spec=wanted)
        return
    wanted = replace(wanted, other=before.other)
    if before == wanted:
        return
    step = reconcile(before, wanted)
    if replace(before, desired=wanted.desired) == wanted:
        yield Step(act=Act.START if wanted.wanted else Act.STOP, subject=wanted.name, because=f"it is to be {wanted.desired}")
        return
    effects = {
        Action.KEEP: "it is down, and stays so",
        Action.START: "and it is started",
        Action.STOP: "and it is stopped",
        Action.SWAP: "its process goes on",
        Action.REPLACE: "and it is restarted",
    }
    changes = tuple(rows(fields_of(before), fields_of(wanted)))
    because = f"{', '.join(str(row['key']) for row in changes)} differs; {effects[step.action]}"
    yield Step(act=Act.CHANGE, subject=wanted.name, because=because, changes=changes, spec=wanted)


def unload(name: str) -> Step:
    return Step(act=Act.UNLOAD, subject=name, because="is not in the file; its data and logs stay")


def differences(before: Mapping[str, Any], after: Mapping[str, Any], applied: Applied) -> Iterator[dict[str, Any]]:
    """What changes of a configuration, as it may be shown. Of a group that nobody knows here only the keys."""
    if applied.known:
        old, new = flat(redact(before, applied.secrets)), flat(redact(after, applied.secrets))
    else:
        old, new = (dict.fromkeys(flat(table), REDACTED) for table in (before, after))
    old_real, new_real = flat(before), flat(after)
    for key in sorted({*old_real, *new_real}):
        if not same(old_real.get(key), new_real.get(key)):
            hide = REDACTED  # below a hidden table there is no key of its own
            yield {
                "key": key,
                "before": plain(old.get(key, hide)) if key in old_real else None,
                "after": plain(new.get(key, hide)) if key in new_real else None,
            }


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield {"key": key, "before": plain(before.get(key)), "after": plain(after.get(key))}


def same(one: Any, other: Any) -> bool:
    """Whether two values are one to templates and schemas, in whatever order their keys stand: 1, 1.0 and true are three."""
    return canonical(one) == canonical(other)


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda other: f"{type(other).__name__} {other}")


def value_at(table: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = table
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def put_at(table: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value where the document gives none; what it gives counts."""
    *above, name = path
    here: Any = table
    for part in above:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            return
    here.setdefault(name, value)
