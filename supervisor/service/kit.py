"""A release made ready for this host: what it takes to run it, and what its configuration renders to.

Rules: reading and rendering only; nothing is written and nothing is started, so the same code looks at what runs, what would be started,
what an update would bring and what a new configuration would do. A kit is of one package; a rendering is a kit with configuration.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hart.account import Account, account_of, clean_environment
from hart.config import Schema, environment_layer, layered, redact
from hart.containment import Containment, containment_of
from hart.errors import ConfigError, FormatError, ServiceError
from hart.files import storage
from hart.installed import InstalledPackage, InstalledTree
from hart.limits import SHUTDOWN_TIMEOUT_S, TEMPLATES_MAX
from hart.placed import Placed
from hart.root import Root
from hart.toml import loads
from supervisor import context
from supervisor.census import NO_REPORT, Census, ConfigReport, Member, Sys
from supervisor.groups import NONE_YET, Document, Groups
from supervisor.service import render
from supervisor.service.events import Plan
from supervisor.service.fallback import Taken, newest_taken
from supervisor.service.health import Probes, probes_of
from supervisor.service.render import Templates
from supervisor.service.spec import ServiceSpec


class Surroundings(Protocol):
    """What a kit must know of the host."""

    @property
    def root(self) -> Root: ...
    @property
    def tree(self) -> InstalledTree: ...
    @property
    def sys(self) -> Sys: ...
    @property
    def switch(self) -> bool: ...
    @property
    def environ(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One release, ready to be configured and run."""

    package: InstalledPackage
    service_dir: Path
    account: Account
    env: Mapping[str, str]
    templates: Templates
    probes: Probes
    plan: Plan
    schema: Schema | None
    default_config: str
    stop_signal: int
    containment: Containment


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """A kit's configuration and what it renders to. `origins` has the layer of each dotted key."""

    cfg: Mapping[str, Any]
    origins: Mapping[str, str]
    context: Mapping[str, Any]
    files: Mapping[str, bytes]
    digests: Mapping[str, str]


def open_kit(host: Surroundings, spec: ServiceSpec, package: InstalledPackage) -> Kit:
    """Read everything of a package that does not depend on configuration; FormatError, TemplateError, ServiceError say what is wrong."""
    metadata = package.metadata
    if not metadata.is_service and metadata.bundle is not None:
        raise ServiceError(str(package.ident), "is a bundle, not a service", next=f"stead svc load {package.ident.family}")
    if not metadata.is_service:
        raise ServiceError(str(package.ident), "is not a service: it has no run hook", next="stead svc load takes packages with a run hook")
    config_from = Path(spec.config_from) if spec.config_from else None
    account = account_of(metadata.svc_user, metadata.svc_group, switch=host.switch)
    templates = render.load(package.path, config_from=config_from, strict=metadata.strict_templates)
    thing = f"service.toml of {package.ident}"
    said = loads(metadata.service, thing=thing) if metadata.service else {}
    probes = probes_of(said, templates.hooks, interval_s=spec.health_check_interval_s, thing=thing)
    default = metadata.default_config
    if config_from is not None and (config_from / "default.toml").is_file():
        with storage(config_from):
            default = (config_from / "default.toml").read_text(errors="replace")
    clean = clean_environment(host.environ, account)
    return Kit(
        package=package,
        service_dir=host.root.service(spec.name),
        account=account,
        env={**clean, **host.tree.environment(package, clean)},
        templates=templates,
        probes=probes,
        plan=plan_of(spec, metadata.shutdown_timeout_s, templates.hooks, probes),
        schema=Schema.load(metadata.schema, thing=f"config.schema.json of {package.ident}") if metadata.schema else None,
        default_config=default,
        stop_signal=signal_number(metadata.shutdown_signal, thing=f"SHUTDOWN_SIGNAL of {package.ident}"),
        containment=containment_of(said, spec.limits, new_privileges=spec.new_privileges, thing=thing),
    )


def mark_of(package: InstalledPackage, spec: ServiceSpec) -> object:
    """What is another one when `open_kit` would give another kit; None: nobody can tell, as in development."""
    if spec.config_from:
        return None
    paths = [package.path, *(package.path / name for name in ("hooks", "config", "default.toml", "run"))]
    paths += [Path("/etc/passwd"), Path("/etc/group")]  # its user may be another number now
    paths += [file for folder in paths[1:3] if folder.is_dir() for file in sorted(folder.rglob("*"))]
    marks = []
    for path in paths[: TEMPLATES_MAX * 2]:
        with suppress(OSError):
            found = path.lstat()
            marks.append((str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return spec, package.metadata, marks


def plan_of(spec: ServiceSpec, package_timeout_s: float | None, hooks: frozenset[str], probes: Probes) -> Plan:
    """What the state machine must know. The stop timeout: the spec's, else the package's, else the default."""
    timeouts = (spec.shutdown_timeout_s, package_timeout_s, SHUTDOWN_TIMEOUT_S)
    return Plan(
        init="init" in hooks,
        post_run="post-run" in hooks,
        pre_stop="pre-stop" in hooks,
        post_stop="post-stop" in hooks,
        ready_probe=probes.ready is not None and not probes.ready_told,
        ready_told=probes.ready_told,
        health_check=probes.health is not None,
        ready_deadline_s=probes.ready_deadline_s,
        health_failures=probes.health_failures,
        health_successes=probes.health_successes,
        stop_timeout_s=next(timeout for timeout in timeouts if timeout is not None),
        job=spec.job,
        run_timeout_s=spec.run_timeout_s,
    )


def signal_number(name: str | None, *, thing: str) -> int:
    """`TERM`, `SIGTERM` or a number; TERM when there is none."""
    text = (name or "TERM").strip().upper()
    try:
        return signal.Signals(int(text)) if text.isdecimal() else signal.Signals[f"SIG{text.removeprefix('SIG')}"]
    except (KeyError, ValueError):
        raise FormatError(thing, f"{text[:32]!r} is not a signal") from None


def layers_of(host: Surroundings, spec: ServiceSpec, kit: Kit, document: Document | None) -> list[tuple[str, Mapping[str, Any]]]:
    """The layers of a configuration, the later wins, each with its name."""
    layers: list[tuple[str, Mapping[str, Any]]] = [("package", loads(kit.default_config, thing=f"default.toml of {kit.package.ident}"))]
    layers.append(("environment", environment_layer(spec.name, host.environ)))
    user_file = host.root.user_config(spec.name)
    with storage(user_file):
        if user_file.is_file():
            layers.append((str(user_file), loads(user_file.read_bytes(), thing=str(user_file))))
    if document is not None:
        layers.append((f"version {document.version} of {spec.service_group}", document.table(spec.service_group)))
    return layers


def configure(host: Surroundings, spec: ServiceSpec, kit: Kit, document: Document | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The merged configuration, and the layer of each dotted key; ConfigError when it does not fit the package's schema."""
    cfg, origins = layered(layers_of(host, spec, kit, document))
    if (key := no_number(cfg)) is not None:
        raise ConfigError(f"configuration of {spec.service_group}", f"{key}: is nan or inf, and neither JSON nor other hosts can have it")
    if kit.schema is not None and (problems := kit.schema.check(cfg)):
        shown = "; ".join(f"{problem.key}: {problem.message}" if problem.key else problem.message for problem in problems[:5])
        raise ConfigError(f"configuration of {spec.service_group}", shown, next=f"stead config show {spec.service_group}")
    return cfg, origins


def configure_newest(
    host: Surroundings, spec: ServiceSpec, kit: Kit, groups: Groups, *, least: int = NONE_YET
) -> Taken[tuple[dict[str, Any], dict[str, str]]]:
    """As `configure`, with the newest document that fits, but none before version `least`."""
    return newest_taken(groups.candidates(spec.service_group, least), lambda document: configure(host, spec, kit, document))


def no_number(value: Any, key: str = "") -> str | None:
    """The dotted key of a float that is no finite number, if there is one; TOML has such."""
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found = (no_number(item, f"{key}.{name}" if key else str(name)) for name, item in items)
    return next((bad for bad in found if bad is not None), None)


def render_kit(
    host: Surroundings,
    spec: ServiceSpec,
    kit: Kit,
    *,
    document: Document | None,
    census: Census,
    binds: Mapping[str, Sequence[Member]],
) -> Rendering:
    """Everything that the service's templates give, with these binds; ConfigError, TemplateError or LimitError: nothing has happened."""
    cfg, origins = configure(host, spec, kit, document)
    seen = view(host, spec, kit, cfg, census=census, binds=binds)
    files = kit.templates.render(seen)
    return Rendering(cfg=cfg, origins=origins, context=seen, files=files, digests=render.digests(files))


def view(
    host: Surroundings, spec: ServiceSpec, kit: Kit, cfg: Mapping[str, Any], *, census: Census, binds: Mapping[str, Sequence[Member]]
) -> dict[str, Any]:
    """The render context of a service on this host."""
    own = {name: value for name, value in kit.env.items() if host.environ.get(name) != value}
    place = Placed(
        metadata=kit.package.metadata,
        path=kit.package.path,
        svc_path=kit.service_dir,
        user=kit.account.user,
        group=kit.account.group,
        env=own,
    )
    return context.render_context(place, cfg, census, member_of(host, spec, kit, cfg, serving=False), binds)


def member_of(
    host: Surroundings,
    spec: ServiceSpec,
    kit: Kit,
    cfg: Mapping[str, Any],
    *,
    serving: bool,
    state: str = "",
    health: str = "",
    config: ConfigReport = NO_REPORT,
) -> Member:
    """This host's member of the service's group."""
    return Member(
        group=spec.service_group,
        pkg=kit.package.ident,
        sys=host.sys,
        exports=context.exports_of(kit.package.metadata, cfg),
        serving=serving,
        state=state,
        health=health,
        config=config,
    )


def shown(kit: Kit, cfg: Mapping[str, Any], *, reveal: bool) -> dict[str, Any]:
    """Configuration for people: secrets are hidden unless they are asked for."""
    return dict(cfg) if reveal or kit.schema is None else redact(cfg, kit.schema.secrets())


def hook_environment(kit: Kit) -> dict[str, str]:
    """A hook's environment: the service's, and the mark by which the holder finds hooks that a dead supervisor left behind."""
    mark = os.environ.get("STEAD_START_ID")
    return {**kit.env, **({"STEAD_START_ID": mark} if mark else {})}
