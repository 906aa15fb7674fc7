"""`stead doctor`: look at this host, and say what helps."""

from __future__ import annotations

import os

import click

from hart.options import json_option, root_option
from supervisor.cli_options import choose_root


@click.command("doctor")
@root_option
@click.option("-q", "--quiet", is_flag=True, help="Show only what is not as it should be.")
@json_option
def doctor(root: str | None, quiet: bool, as_json: bool) -> int:
    """Check this host: clock, disk, limits, kernel, ports, keys, depot, supervisor. Each finding has its fix. Nothing is changed.

    Exit code 12 when something is bad, else 0; what is only a warning leaves it 0.
    """
    from dataclasses import asdict

    from hart.console import GREEN, RED, YELLOW, paint, say, show_json, show_lines, text
    from hart.errors import EXIT_DIFFERS
    from supervisor.checkup import gather
    from supervisor.doctor import Level, examine

    found = [finding for finding in examine(gather(choose_root(root), os.environ)) if not quiet or finding.level is not Level.OK]
    bad = sum(finding.level is Level.BAD for finding in found)
    if as_json:
        show_json([asdict(finding) for finding in found])
        return EXIT_DIFFERS if bad else 0
    import sys

    colours = {Level.OK: GREEN, Level.WARN: YELLOW, Level.BAD: RED}
    for finding in found:
        level = paint(f"{finding.level:<4}", colours[finding.level], sys.stdout)
        below = [f"      {word}: {text(part)}" for word, part in (("why", finding.why), ("fix", finding.fix)) if part]
        show_lines([f"{level}  {finding.check}: {text(finding.what)}", *below])
    warnings = sum(finding.level is Level.WARN for finding in found)
    say(f"{bad} bad, {warnings} to be looked at" if bad or warnings else "nothing is wrong")
    return EXIT_DIFFERS if bad else 0
