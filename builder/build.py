"""One build from a plan to an artifact: the driver that joins the other files.

Rules: everything that can be refused is refused before the first step (plan, folder, key, dependencies); a step that fails leaves its log
and an untouched artifact cache; nothing is ever installed. The recipe (plan.toml or plan.sh) differs only in who runs the steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder import buildcache, checks, recipe, shellrecipe
from builder.assemble import Artifact
from builder.builddir import claimed
from builder.context import Folder, PlanPlace, digest, locate, read_folder, read_text
from builder.deps import Provider, Resolved, resolve
from builder.environment import epoch_release, release_epoch
from builder.plan import BUILDER_FORMAT, Plan, cross_check
from builder.planfile import read_plan
from builder.plansh import plan_of
from builder.process import interruptible
from builder.reporter import Reporter
from builder.session import Session
from hart.errors import ConflictError, LimitError, PlanError, UsageError
from hart.ident import ORIGIN, RELEASE, Ident
from hart.installed import InstalledTree
from hart.keys import KeyCache
from hart.root import Root
from hart.target import Target, host_target

COMPRESSION = 6  # xz preset, as Habitat


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line and the environment say. `now_s` is wall time, used for the release when nothing else gives one."""

    root: Root
    keys: KeyCache
    results: Path
    environ: Mapping[str, str]
    now_s: float
    jobs: int
    channel: str
    origin: str | None = None
    release: str | None = None
    depot_url: str | None = None
    token: str | None = None
    if_changed: bool = False
    allow_private: bool = False
    compression: int = COMPRESSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The outcome. `artifact` and `logs` are None when an earlier artifact was found to be still right (`reused`)."""

    ident: Ident
    target: Target
    path: Path
    result: Path
    artifact: Artifact
    reused: bool
    logs: Path | None


def build(context: Path, options: Options, reporter: Reporter) -> Built:
    """Build the plan of a folder. PlanError, NotFoundError (key, dependency), TrustError (a source), BuildError (a step), ..."""
    target = host_target()
    place = locate(context, target)
    with interruptible():
        return build_place(place, options, target, reporter)


def load(place: PlanPlace, *, origin: str | None, release: str, target: Target, options: Options) -> tuple[Plan, Folder, str]:
    """A plan of either kind, the folder around it and its text. A plan.sh is run for its variables."""
    text = read_text(place.file)
    if not place.is_shell:
        plan = read_plan(text, thing=str(place.file))
        return plan, read_folder(place.directory, schema_file=plan.schema_file), text
    folder = read_folder(place.directory, schema_file="config.schema.json")
    variables = shellrecipe.evaluate(place, origin=origin, release=release, target=target, root=options.root, environ=options.environ)
    return plan_of(variables, has_run_hook="run" in folder.hooks, thing=str(place.file)), folder, text


def build_place(place: PlanPlace, options: Options, target: Target, reporter: Reporter) -> Built:
    """Everything that can be refused, then the steps, then the build cache's entry."""
    release = choose_release(options)
    asked = options.origin or options.environ.get("STEAD_ORIGIN") or options.environ.get("HAB_ORIGIN")
    plan, folder, text = load(place, origin=asked, release=release, target=target, options=options)
    plan = replace(plan, origin=choose_origin(asked or plan.origin, place))
    assert plan.origin is not None
    if problems := cross_check(plan):  # again: the origin may have come from outside of the plan
        raise PlanError(str(place.file), problems[0].message)
    refuse(plan, folder, place, reporter)
    key = options.keys.latest_secret(plan.origin)
    resolved = resolve_deps(plan, options, target, reporter)
    cache_key = key_of(place, plan, resolved, options, target)
    if options.if_changed and cache_key is not None and (found := reuse(cache_key, options, target, reporter)):
        return found
    ident = Ident(plan.origin, plan.name, plan.version, release)
    refuse_installed(ident, options.root)
    with claimed(options.root, ident) as directory:
        recipe.clear_prefix(options.root.package(ident))
        session = Session(
            plan=plan,
            plan_text=text,
            folder=folder,
            place=place,
            ident=ident,
            target=target,
            root=options.root,
            directory=directory,
            resolved=resolved,
            key=key,
            results=options.results,
            environ=options.environ,
            jobs=options.jobs,
            allow_private=options.allow_private,
            compression=options.compression,
            reporter=reporter,
        )
        if place.is_shell:
            ident, artifact = shellrecipe.run(session, lambda known: resolve_deps(known, options, target, reporter))
        else:
            artifact = recipe.run(session)
        directory.empty()
    if cache_key is not None:
        buildcache.remember(options.root, cache_key, ident, artifact)
    return Built(
        ident=ident, target=target, path=artifact.path, result=artifact.result, artifact=artifact, reused=False, logs=directory.logs
    )


def refuse(plan: Plan, folder: Folder, place: PlanPlace, reporter: Reporter) -> None:
    """Errors of the folder end here, warnings are shown."""
    findings = checks.check_folder(plan, folder, strict=not place.is_shell)
    for finding in checks.refuse_errors(findings, place.directory):
        reporter.warning(str(finding))


def choose_origin(origin: str | None, place: PlanPlace) -> str:
    """`--origin`, else STEAD_ORIGIN or HAB_ORIGIN, else the plan's (as Habitat: the environment is stronger than the plan)."""
    if origin is None:
        raise UsageError(str(place.file), "names no origin", next='give --origin, set STEAD_ORIGIN, or write origin = "…" below [package]')
    if not ORIGIN.fullmatch(origin):
        raise UsageError(f"origin {origin!r}", "is not valid ([a-z0-9][a-z0-9_-]*)")
    return origin


def choose_release(options: Options) -> str:
    """`--release`, else the time of SOURCE_DATE_EPOCH, else now."""
    if options.release is not None:
        if not is_release(options.release):
            raise UsageError(f"release {options.release!r}", "is not 14 digits of a time in UTC", next="--release YYYYmmddHHMMSS")
        return options.release
    epoch = options.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not epoch:
        return epoch_release(options.now_s)
    if not epoch.isascii() or not epoch.isdigit() or len(epoch) > 11:
        raise UsageError(f"SOURCE_DATE_EPOCH {epoch!r}", "is not a number of seconds")
    return epoch_release(int(epoch))


def is_release(text: str) -> bool:
    """Whether a text is 14 digits that are a time."""
    try:
        return RELEASE.fullmatch(text) is not None and release_epoch(text) >= 0
    except ValueError:
        return False


def refuse_installed(ident: Ident, root: Root) -> None:
    """A release that is installed. A directory without IDENT is none: a build was killed there, and the next one clears it."""
    if os.path.lexists(root.package(ident) / "IDENT"):
        raise ConflictError(
            f"package {ident}", f"is installed under {root.path}, and a release never changes", next="build with another --release"
        )


def resolve_deps(plan: Plan, options: Options, target: Target, reporter: Reporter) -> Resolved:
    provider = Provider(
        tree=InstalledTree(options.root),
        keys=options.keys,
        target=target,
        channel=options.channel,
        depot_url=options.depot_url,
        token=options.token,
    )
    return resolve(plan.build_deps, plan.deps, provider, reporter.note)


def key_of(place: PlanPlace, plan: Plan, resolved: Resolved, options: Options, target: Target) -> str | None:
    """The build cache's key: everything that a build's outcome depends on, except the host's own tools.

    None for a folder that cannot be compared: with links to directories outside, or too large (then LimitError, if it was asked for).
    """
    try:
        folder = digest(place.context, without=(options.root.path, options.results))
    except LimitError:
        if options.if_changed:
            raise
        return None
    if folder is None:
        return None
    return buildcache.key(
        [
            f"builder {BUILDER_FORMAT}",
            f"root {options.root.path}",
            f"target {target}",
            f"package {plan.origin}/{plan.name}/{plan.version}",
            *(f"dependency {ident}" for ident in resolved.idents),
            f"folder {folder}",
            f"compression {options.compression}",
        ]
    )


def reuse(key: str, options: Options, target: Target, reporter: Reporter) -> Built | None:
    """The artifact of an earlier build with the same key, put into the results again."""
    found = buildcache.find(options.root, key)
    if found is None:
        return None
    ident, artifact = buildcache.restore(found, options.results, target)
    reporter.note(f"{ident} is unchanged: nothing was built")
    return Built(ident=ident, target=target, path=artifact.path, result=artifact.result, artifact=artifact, reused=True, logs=None)
