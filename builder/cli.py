"""`stead pkg build` and `stead plan init | check | render` (arguments after packages 4.8 and Habitat's)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from hart.options import json_option, keys_option, root_option

DEFAULT_CHANNEL = "stable"


@click.command()
@click.argument("context", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@root_option
@click.option("--origin", metavar="ORIGIN", help="Build for this origin; default STEAD_ORIGIN, HAB_ORIGIN, else the plan's.")
@keys_option
@click.option("--release", metavar="DIGITS", help="14 digits instead of the time now (or of SOURCE_DATE_EPOCH).")
@click.option("--if-changed", is_flag=True, help="Build nothing when plan, dependencies and target are those of an earlier build.")
@click.option("-u", "--url", metavar="URL", help="Depot for dependencies that are not installed; default STEAD_DEPOT_URL, HAB_BLDR_URL.")
@click.option("-c", "--channel", metavar="CHANNEL", help="The depot's channel; default STEAD_CHANNEL, HAB_BLDR_CHANNEL, else stable.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="The steps' $jobs; default: the number of processors.")
@click.option(
    "--compression",
    type=click.IntRange(0, 9),
    envvar=["STEAD_COMPRESSION", "HAB_HART_COMPRESSION_LEVEL"],
    metavar="0-9",
    help="How hard to compress: 0 is seven times as fast as 6 (the default), and a fourth larger.",
)
@click.option("--allow-private-sources", is_flag=True, help="Fetch sources also from private addresses.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Where the artifact goes too.")
@click.option("-v", "--verbose", is_flag=True, help="Show what the steps print.")
@json_option
def build(context: Path, root: str | None, cache_key_path: str | None, as_json: bool, verbose: bool, **given: Any) -> None:
    """Build a signed package from the plan in DIR (plan.toml or plan.sh; default: here).

    The artifact goes to the root's cache/artifacts and to ./results, with results/last_build.env. Nothing is installed.
    """
    import time

    from builder.build import Options
    from builder.build import build as build_package
    from builder.reporter import Reporter
    from hart.console import show_json
    from hart.keys import KeyCache
    from hart.root import Root

    chosen = Root.choose(root, os.environ)
    options = Options(
        root=chosen,
        keys=KeyCache.choose(chosen, os.environ, cache_key_path),
        results=given["results"].absolute(),
        environ=dict(os.environ),
        now_s=time.time(),  # noqa: TID251  the release is wall time
        jobs=given["jobs"] or len(os.sched_getaffinity(0)),
        channel=given["channel"] or first("STEAD_CHANNEL", "HAB_BLDR_CHANNEL") or DEFAULT_CHANNEL,
        origin=given["origin"],
        release=given["release"],
        depot_url=given["url"] or first("STEAD_DEPOT_URL", "HAB_BLDR_URL"),
        token=first("STEAD_TOKEN", "HAB_AUTH_TOKEN"),
        if_changed=given["if_changed"],
        allow_private=given["allow_private_sources"],
        **({} if given["compression"] is None else {"compression": given["compression"]}),
    )
    reporter = Reporter(verbose=verbose)
    built = build_package(context, options, reporter)
    artifact = built.artifact
    if as_json:
        show_json(
            {
                "ident": str(built.ident),
                "target": str(built.target),
                "artifact": str(artifact.path),
                "result": str(artifact.result),
                "artifact_size": artifact.size,
                "sha256": artifact.sha256,
                "blake2b": artifact.blake2b,
                "relocatable": artifact.relocatable,
                "built": not built.reused,
                "logs": str(built.logs) if built.logs else None,
            }
        )
        return
    reporter.note(f"{built.ident}: {artifact.size} bytes, {'for any root' if artifact.relocatable else f'for the root {chosen.path}'}")
    print(shown(artifact.result))


def first(*names: str) -> str | None:
    """The first of some environment variables that is not empty."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def shown(path: Path) -> str:
    """A path as a person would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@click.command("init")
@click.argument("name", required=False)
@click.option("-o", "--origin", metavar="ORIGIN", help="Write this origin into the plan; default: leave it to --origin or STEAD_ORIGIN.")
@click.option("-m", "--minimal", is_flag=True, help="Only what is needed, without explanations.")
@click.option("--sh", "shell", is_flag=True, help="A plan.sh instead of a plan.toml.")
@json_option
def plan_init(name: str | None, origin: str | None, minimal: bool, shell: bool, as_json: bool) -> None:
    """Start a plan in the new folder NAME, or, without NAME, in ./habitat named after this folder.

    It builds as it is. Nothing that exists is overwritten.
    """
    from builder.starter import starter
    from hart.console import say, show_json
    from hart.errors import ConflictError, UsageError
    from hart.files import make_dirs, write_atomic
    from hart.ident import NAME, ORIGIN

    folder = Path(name) if name else Path("habitat")
    package = folder.name if name else Path.cwd().name
    if not NAME.fullmatch(package):
        raise UsageError(f"package name {package!r}", "may hold letters, digits, _ and - only", next="stead plan init NAME")
    if origin is not None and not ORIGIN.fullmatch(origin):
        raise UsageError(f"origin {origin!r}", "is not valid ([a-z0-9][a-z0-9_-]*)")
    files = starter(package, origin, minimal=minimal, shell=shell, folder=str(folder))
    there = [path for path in (folder / "plan.toml", folder / "plan.sh") if path.exists()]
    if there:
        raise ConflictError(str(there[0]), "exists already, and is not overwritten", next=f"stead plan check {folder}")
    written, kept = [], []
    for path, text in files.items():
        place = folder / path
        if place.exists():
            kept.append(str(place))
            continue
        make_dirs(place.parent.absolute())
        write_atomic(place, text.encode(), mode=0o755 if path.endswith(".sh") and path != "plan.sh" else 0o644, replace=False)
        written.append(str(place))
    if as_json:
        show_json({"plan": str(folder), "written": written, "kept": kept})
        return
    for line in [*(f"wrote {path}" for path in written), *(f"kept {path}, which was there" for path in kept)]:
        say(line)
    say(f"next: stead plan check {folder}, then stead pkg build {folder}")


@click.command("check")
@click.argument("context", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@root_option
@json_option
def plan_check(context: Path, root: str | None, as_json: bool) -> int:
    """Check the plan in DIR without building it: keys, values, default.toml against the schema, templates, hooks.

    All problems are shown. A plan.sh is sourced for its variables: this runs its top-level code. Exit code 3 when there are errors.
    """
    from builder.check import check_plan
    from hart.console import RED, YELLOW, paint, say, show_json, show_lines
    from hart.root import Root

    outcome = check_plan(context, root=Root.choose(root, os.environ), environ=os.environ)
    if as_json:
        show_json(outcome.as_json())
        return 3 if outcome.errors else 0
    for finding in outcome.findings:
        colour = RED if finding in outcome.errors else YELLOW
        show_lines([f"{paint(finding.severity, colour, sys.stdout)}: {finding}"])
    errors, warnings = len(outcome.errors), len(outcome.findings) - len(outcome.errors)
    counted = [f"{errors} error{'s' * (errors != 1)}"] * (errors > 0) + [f"{warnings} warning{'s' * (warnings != 1)}"] * (warnings > 0)
    say(f"{outcome.file}: {', '.join(counted) or 'ok'}")
    return 3 if errors else 0


@click.command("render")
@click.argument("template", type=click.Path(path_type=Path))
@click.option("-d", "--default-toml", type=click.Path(path_type=Path), help="default.toml; default: the one beside or above the template.")
@click.option("-u", "--user-toml", type=click.Path(path_type=Path), help="user.toml, laid over the defaults.")
@click.option("-m", "--mock-data", type=click.Path(path_type=Path), help="JSON, merged over everything: pkg, svc, sys, bind, cfg.")
@click.option("-p", "--print", "shall_print", is_flag=True, help="Print the result.")
@click.option(
    "-r", "--render-dir", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Where the result goes."
)
@click.option("-n", "--no-render", is_flag=True, help="Write no file.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
@click.option("--lenient", is_flag=True, help="As packages of Habitat and plan.sh: what is undefined is empty.")
def plan_render(template: Path, shall_print: bool, render_dir: Path, no_render: bool, quiet: bool, lenient: bool, **files: Any) -> None:
    """Render one TEMPLATE of a plan with its configuration, as the supervisor would."""
    from builder.context import read_text
    from builder.mock import read_mock, render
    from hart.console import say, standard_output
    from hart.errors import NotFoundError
    from hart.files import make_dirs, write_atomic
    from hart.toml import loads

    def toml(path: Path | None) -> dict[str, Any]:
        return loads(needed(path), thing=str(path)) if path is not None else {}

    def needed(path: Path) -> str:
        if not path.is_file():
            raise NotFoundError(str(path), "is no file")
        return read_text(path)

    text = needed(template)
    default = files["default_toml"] or beside(template, "default.toml")
    result = render(
        text,
        name=str(template),
        default=toml(default),
        user=toml(files["user_toml"]),
        mock=read_mock(needed(files["mock_data"]), thing=str(files["mock_data"])) if files["mock_data"] else {},
        strict=not lenient and beside(template, "plan.sh") is None,
        hook=template.absolute().parent.name == "hooks",
    )
    if shall_print:
        with standard_output() as out:
            out.write(result)
    if not no_render:
        place = render_dir / template.name
        make_dirs(render_dir.absolute())
        write_atomic(place, result.encode())
        if not quiet:
            say(f"rendered {place}")


def beside(template: Path, name: str) -> Path | None:
    """A file of the plan's folder that a template is in: beside it, or above its config or hooks folder."""
    folder = template.absolute().parent
    for candidate in [folder, *list(folder.parents)[:3]]:
        if (candidate / name).is_file():
            return candidate / name
    return None
