"""`stead svc logs`: what a service and its hooks have written. Files are read directly: no supervisor has to run."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hart.options import json_option, root_option
from supervisor.cli_options import choose_root

if TYPE_CHECKING:
    from supervisor.logline import Line


@click.command("logs")
@click.argument("name")
@root_option
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=None, metavar="N", help="How many of the last lines [50; with --since: all]."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--hook", metavar="HOOK", help="The log of a hook instead of the service's own output.")
@click.option("--failed", is_flag=True, help="What the last start that failed has said, and how it ended.")
@click.option("--all", "every", is_flag=True, help="The service's own output and its hooks, in the order of time.")
@click.option("--since", metavar="TIME", help="From then on: 10m, 2h30m, 3d (ago), 2026-01-31 or 2026-01-31T23:00 (UTC).")
@click.option("--until", metavar="TIME", help="What is older than that time.")
@json_option
def logs(
    name: str,
    root: str | None,
    lines: int | None,
    follow: bool,
    hook: str | None,
    failed: bool,
    every: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Show what a service has written, rotated files included. Works while the supervisor is down.

    \b
    With --json one object for each line: at, service, stream (run or a hook), and text, or data where the line is a JSON object.
    Examples:
      stead svc logs web -f
      stead svc logs web --all --since 10m
      stead svc logs web --hook init -n 200
    """
    from hart.errors import UsageError
    from hart.ident import Ident
    from hart.limits import LOG_LINES, LOG_LINES_MAX
    from supervisor.logline import as_time

    if hook is not None and every:
        raise UsageError("--all", "has every hook already", next="leave --hook out")
    if failed and (hook is not None or every or follow):
        raise UsageError("--failed", "is one file that is complete", next="leave --hook, --all and --follow out")
    if follow and until is not None:
        raise UsageError("--until", "ends what --follow would go on with", next="leave one of them out")
    service = Ident.parse(name).name if "/" in name else Ident("o", name).name
    now = datetime.now().astimezone()  # noqa: TID251  the driver's clock
    begin, end = (as_time(text, now, option=option) if text else None for text, option in ((since, "--since"), (until, "--until")))
    most = min(LOG_LINES_MAX if since or until else LOG_LINES, LOG_LINES_MAX) if lines is None else min(lines, LOG_LINES_MAX)
    show = Show(
        service,
        find(choose_root(root).service(service) / "logs", service, "failed" if failed else hook, every=every),
        every=every,
        as_json=as_json,
    )
    show.what_is_there(most, begin, end, follow=follow)


def find(directory: Path, service: str, hook: str | None, *, every: bool) -> dict[str, Path]:
    """The logs that are asked for, by stream. NotFoundError says which there are."""
    from hart.errors import NotFoundError
    from hart.files import storage
    from supervisor.logfile import files
    from supervisor.service.failed_start import NAME as FAILED
    from supervisor.service.hooks import NAMES

    if hook is not None and hook not in NAMES | {"probe", FAILED}:
        raise NotFoundError(f"hook {hook}", "does not exist", next=f"one of {', '.join(sorted(NAMES))}")
    with storage(directory):
        streams = {name: directory / f"{name}.log" for name in ("run", *sorted(NAMES - {"run"}), "probe", FAILED)}
        there = {name: path for name, path in streams.items() if path.is_file() or files(path)}
    wanted = (
        {name: path for name, path in there.items() if name != FAILED}
        if every
        else {name: path for name, path in there.items() if name == (hook or "run")}
    )
    if wanted:
        return wanted
    if hook == FAILED:
        raise NotFoundError(f"failed start of {service}", "none is on record", next=f"stead svc logs {service}")
    raise NotFoundError(
        f"log of {service}" + (f", hook {hook}" if hook else ""),
        f"there is no {streams[hook or 'run']}",
        next=f"--hook {' | '.join(name for name in there if name not in ('run', FAILED))}"
        if there
        else "has it ever run? stead svc status",
    )


class Show:
    """Some logs of one service, on standard output."""

    def __init__(self, service: str, logs: dict[str, Path], *, every: bool, as_json: bool) -> None:
        self._service, self._logs, self._every, self._as_json = service, logs, every, as_json

    def what_is_there(self, most: int, since: datetime | None, until: datetime | None, *, follow: bool) -> None:
        """The last lines of the time; and, to follow, what comes after them."""
        from hart.files import storage
        from supervisor.logfile import Following

        path = next(iter(self._logs.values()))
        with storage(path):
            ends = {stream: Following(log) for stream, log in self._logs.items()} if follow else {}
            self._write(self._past(most, since, until, ends))
        if follow:
            self._follow(ends)

    def _past(self, most: int, since: datetime | None, until: datetime | None, ends: dict[str, Any]) -> list[Line]:
        from supervisor.logfile import all_lines, last_lines
        from supervisor.logline import as_stamp, lines_from, within

        found: list[Iterator[Line]] = []
        for stream, log in self._logs.items():
            if since is None and until is None:
                found.append(lines_from(last_lines(log, most, ends.get(stream)), stream))
            else:
                raws = all_lines(log, since_s=since.timestamp() if since is not None else 0.0)
                bounds = as_stamp(since) if since is not None else "", as_stamp(until) if until is not None else ""
                found.append(within(lines_from(raws, stream), *bounds))
        return list(deque(heapq.merge(*found, key=lambda line: line.at), most))

    def _follow(self, ends: dict[str, Any]) -> None:
        from hart.files import storage
        from hart.limits import LOG_LINE
        from supervisor.logfile import LOOK_S
        from supervisor.logline import Line, Lines, lines_from

        cut = {stream: Lines(2 * LOG_LINE) for stream in ends}
        while True:
            quiet = True
            for stream, following in ends.items():
                with storage(self._logs[stream]):
                    block = following.read()
                quiet = quiet and not block
                if not self._every and not self._as_json:
                    self._write([Line("", stream, block)] if block else [], whole=False)
                elif block:
                    self._write(list(lines_from(cut[stream].feed(block), stream)))
            if quiet:
                time.sleep(LOOK_S)

    def _write(self, lines: list[Line], *, whole: bool = True) -> None:
        from hart.console import standard_output
        from supervisor.logline import for_people, for_programs

        if not lines:
            return
        with standard_output() as out:
            for line in lines:
                if self._as_json:
                    out.write(for_programs(line, self._service) + "\n")
                else:
                    out.buffer.write(for_people(line, named=self._every) if whole else line.raw)
