"""`stead why`: the chain of decisions with their reasons, from the journal on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask, choose_root

if TYPE_CHECKING:
    from supervisor.chronicle import Entry, Line

LINES = 30


@click.command("why")
@click.argument("service", required=False)
@root_option
@click.option("--since", metavar="SPAN|TIME", help="Only what is newer: 10m, 2h, 3d, or 2026-01-31T03:00 (UTC).")
@click.option("-n", "--lines", type=click.IntRange(min=1), default=LINES, metavar="N", help=f"How many of the last lines [{LINES}].")
@json_option
def why(service: str | None, root: str | None, since: str | None, lines: int, as_json: bool) -> None:
    """Show what was decided about a service, and why; without SERVICE, about all of them.

    The oldest line is first, so what counts now stands above the prompt. A crash loop is shown once, with how often it came. Times are UTC.
    The journal on disk is read, so this works while the supervisor is down.

    \b
    Examples:
      stead why web
      stead why web --since 2h
    """
    from hart.console import show_json, show_lines, warn
    from hart.errors import NotFoundError
    from hart.limits import LOG_LINES_MAX
    from supervisor import chronicle, clock
    from supervisor.settings import Settings

    path = Settings(root=choose_root(root)).journal
    after = chronicle.since(since, clock.wall()) if since is not None else ""
    entries, broken = chronicle.parse(read(path))
    chosen = chronicle.concerning(entries, service, since=after)
    if broken:
        warn(f"{path}: lines that cannot be read: {broken}")
    if not chosen:
        what = "the journal" if service is None else f"decisions about {service}"
        there = "there are none" + (f" since {after}" if after else "") if entries else f"there is nothing in {path}"
        raise NotFoundError(what, there, next="see what is loaded: stead svc status; or ask for a longer time with --since")
    most = min(lines, LOG_LINES_MAX)
    if as_json:
        show_json([shown(entry) for entry in chosen[-most:]])
        return
    show_lines(row for line in chronicle.fold(chosen)[-most:] for row in rows(line, service))
    if service is not None:
        show_now(root, service)


def read(path: Path) -> Iterator[bytes]:
    """The lines of the older journal and of the current one; what is not there has none."""
    from hart.errors import NotFoundError
    from hart.files import open_regular
    from hart.limits import JOURNAL_MAX

    for file in (path.with_name(f"{path.name}.1"), path):
        try:
            with open_regular(file) as stream:
                yield from stream.read(2 * JOURNAL_MAX).splitlines()
        except NotFoundError:
            continue


def rows(line: Line, service: str | None) -> Iterator[str]:
    from hart.console import text

    entry = line.entry
    if line.turns > 1:
        what = "this" if line.length == 1 else f"these {line.length} lines"
        yield f"{entry.at}  {line.turns} times since {line.since}, {what}; the last time:"
    who = "" if entry.subject == service else f"{entry.subject}: "
    yield f"{entry.at}  {who}{f'{entry.state}: ' if entry.state else ''}{text(entry.because)}"


def shown(entry: Entry) -> dict[str, object]:
    return {"at": entry.at, "kind": entry.kind, "subject": entry.subject, "because": entry.because, **entry.data}


def show_now(root: str | None, service: str) -> None:
    """What a line of the journal cannot say: what it is now. For people only, so whoever cannot answer is no error."""
    from hart.console import say
    from hart.errors import SteadError

    try:
        (row,) = ask(root, "status", name=service)
    except SteadError as error:
        say(f"now: {error}")
    else:
        say(f"now: {row['state']}: {row['because']}")
