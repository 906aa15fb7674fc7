"""The metadata of a finished package: from plan, dependencies and the tree that the steps have made.

Rules: paths are absolute under the prefix that was built for; lists keep the plan's order; directories that the plan names must be there,
those of the usual names are found when it names none. Reads the tree, writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.checks import is_port, look_up
from builder.context import Folder
from builder.deps import Resolved
from builder.layering import layer
from builder.manifest import Flags, manifest
from builder.plan import Plan, Probe, ProbeKind, Service
from hart.errors import BuildError
from hart.files import storage
from hart.ident import Ident
from hart.metafiles import Metadata, merge_tdeps, runtime_path
from hart.root import DEFAULT_ROOT, Root
from hart.target import Target
from hart.toml import dumps, loads

USUAL = {
    "bin_dirs": ("bin", "sbin"),
    "lib_dirs": ("lib",),
    "include_dirs": ("include",),
    "pconfig_dirs": ("lib/pkgconfig", "share/pkgconfig"),
}
OWN_PREFIX = re.compile(r"\$(?:prefix\b|\{prefix\})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A build's outcome before it is a package. `tree` holds what will be below the prefix; `strict` for plan.toml."""

    plan: Plan
    plan_text: str
    folder: Folder
    ident: Ident
    target: Target
    root: Root
    tree: Path
    resolved: Resolved
    environ: Mapping[str, str]
    strict: bool
    settings: Mapping[str, str]  # HAB_ENV_… variables of a plan.sh
    compression: int  # xz preset, 0 to 9


def metadata(made: Made) -> Metadata:
    """All but `relocatable`, which only a look into the files can tell."""
    plan, resolved = made.plan, made.resolved
    prefix = str(made.root.package(made.ident))
    dirs = {name: directories(made, name) for name in USUAL}
    absolute = {name: tuple(f"{prefix}/{entry}" if entry != "." else prefix for entry in found) for name, found in dirs.items()}
    includes = " ".join(f"-I{entry}" for entry in absolute["include_dirs"])
    default_text = default_config(made)
    config = loads(default_text, thing=f"default.toml of {made.ident}") if default_text else {}
    own = {name: OWN_PREFIX.sub(prefix, value) for name, value in plan.environment.items()}
    push = {name: OWN_PREFIX.sub(prefix, value) for name, value in plan.environment_push.items()}
    handed_on = [package.metadata.runtime_environment for package in resolved.run]
    tdeps = merge_tdeps((package.ident, package.metadata.tdeps) for package in resolved.run)
    by_ident = {package.ident: package for package in resolved.run_closure}
    service = plan.service if plan.service is not None or "run" not in made.folder.hooks else Service()
    build_idents = [package.ident for package in resolved.build]
    run_idents = [package.ident for package in resolved.run]
    flags = Flags(**{name.lower(): made.environ.get(name, "") for name in ("CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LD_RUN_PATH")})
    return Metadata(
        ident=made.ident,
        target=made.target,
        deps=tuple(run_idents),
        tdeps=tdeps,
        build_deps=tuple(build_idents),
        build_tdeps=merge_tdeps((package.ident, package.metadata.tdeps) for package in resolved.build),
        path=absolute["bin_dirs"],
        runtime_path=runtime_path(
            absolute["bin_dirs"], (package.metadata for package in resolved.run), (by_ident[ident].metadata for ident in tdeps)
        ),
        ld_run_path=absolute["lib_dirs"],
        pkg_config_path=absolute["pconfig_dirs"],
        interpreters=tuple(f"{prefix}/{entry}" for entry in plan.interpreters),
        cflags=includes,
        cppflags=includes,
        cxxflags=includes,
        ldflags=" ".join(f"-L{entry}" for entry in absolute["lib_dirs"]),
        runtime_environment=layer(handed_on, own, push, made.settings),
        runtime_environment_provenance=provenance(made, own | push),
        buildtime_environment=layer([package.metadata.runtime_environment for package in resolved.build], {}, {}, made.settings),
        exports=plan.exports,
        exposes=tuple(port_of(plan, config, name) for name in plan.exposes),
        binds=plan.binds,
        binds_optional=plan.binds_optional,
        svc_user=service.user if service else None,
        svc_group=service.group if service else None,
        shutdown_signal=service.stop_signal if service else None,
        shutdown_timeout_s=float(service.stop_timeout_s) if service and service.stop_timeout_s is not None else None,
        manifest=manifest(
            plan, made.ident, made.target, prefix, deps=run_idents, build_deps=build_idents, flags=flags, source=made.plan_text
        ),
        default_config=default_text or "",
        schema=made.folder.schema,
        service=service_toml(service) if service else None,
        bundle=dumps({"service": plan.bundle}) if plan.bundle else None,
        build_root=None if made.root.path == DEFAULT_ROOT else str(made.root.path),
        strict_templates=made.strict,
        is_service=service is not None,
    )


def directories(made: Made, name: str) -> tuple[str, ...]:
    """The plan's directories of one kind, all there; when it names none, those of the usual names."""
    named: Sequence[str] | None = getattr(made.plan, name)
    if named is None:
        return tuple(entry for entry in USUAL[name] if (made.tree / entry).is_dir())
    for entry in named:
        if made.strict and not (made.tree / entry).is_dir():
            raise BuildError(
                f"package {made.ident}", f"{name} names {entry!r}, but the steps made no such directory", next=f"see {made.tree}"
            )
    return tuple(named)


def default_config(made: Made) -> str | None:
    """default.toml: what the build left in the tree (a plan.sh may edit it there), else the plan's."""
    left = made.tree / "default.toml"
    if left.is_file() and (not made.strict or made.folder.default_toml is None):
        with storage(left):
            data = left.read_bytes()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise BuildError(f"package {made.ident}", f"the steps left a default.toml that is not UTF-8: byte {error.start}") from error
    return made.folder.default_toml


def port_of(plan: Plan, config: Mapping[str, Any], name: str) -> int:
    key = plan.exports[name]
    value = look_up(config, key)
    if not is_port(value):  # `checks` has seen the plan's own file: the steps wrote this one
        raise BuildError(f"package {plan.name}", f"{key} is exposed as {name}, so it must be a port (1 to 65535), not {value!r}")
    return int(value)


def provenance(made: Made, own: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Which packages said something about each variable of the run time."""
    said: dict[str, list[str]] = {}
    for package in made.resolved.run:
        for name in package.metadata.runtime_environment:
            said.setdefault(name, []).append(str(package.ident))
    for name in own:
        said.setdefault(name, []).append(str(made.ident))
    return {name: tuple(idents) for name, idents in said.items()}


def service_toml(service: Service) -> str | None:
    """The text of service.toml; None when the plan says nothing that belongs there."""
    tables: dict[str, Any] = {name: True for name in ("new_privileges", "private_tmp") if getattr(service, name)}
    tables |= {key: dict(given) for key, given in (("limits", service.limits), ("logs", service.logs)) if given}
    tables |= {key: probe_table(probe) for key, probe in (("ready", service.ready), ("health", service.health)) if probe is not None}
    return dumps(tables) if tables else None


def probe_table(probe: Probe) -> dict[str, Any]:
    numbers = {name: int(value) if name in ("failures", "successes") else value for name, value in probe.numbers.items()}
    target = True if probe.kind is ProbeKind.NOTIFY else int(probe.target) if probe.kind is ProbeKind.FD else probe.target
    return {probe.kind.value: target, **numbers}


def run_hook(run: str) -> str:
    """hooks/run for a `run` of the plan: a single command is exec'd, so that signals reach it; a script is taken as it is."""
    body = run.strip("\n")
    if body.startswith("#!"):
        return body + "\n"
    single = "\n" not in body and not any(mark in body for mark in (";", "&", "|", "<<")) and not body.startswith("exec ")
    return f"#!/bin/sh\nexec 2>&1\n{'exec ' if single else ''}{body}\n"
