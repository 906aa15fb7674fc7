"""`stead svc load | unload | start | stop | status`: services."""

from __future__ import annotations

from typing import Any

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask, given, load_options, seconds

no_wait_option = click.option("--no-wait", is_flag=True, help="Return when it is written down, not when it is done.")
wait_option = seconds("--wait", "wait_s", "How long to wait for the result [120].")
timeout_option = seconds("--shutdown-timeout", "shutdown_timeout_s", "Between signal and KILL, this time.")


@click.command("load")
@click.argument("ident")
@root_option
@click.option("-f", "--force", is_flag=True, help="Change a service that is loaded already; what is not given stays.")
@seconds("--wait", "wait_s", "Wait until it is ready, at most so long [0].")
@json_option
@load_options
def load(ident: str, root: str | None, force: bool, wait_s: float | None, as_json: bool, **options: Any) -> None:
    """Load a service: install it if it is not there, start it, keep it running.

    \b
    Examples:
      stead svc load core/redis
      stead svc load me/web --bind redis:redis.default --strategy at-once --wait 30
    """
    show_row(ask(root, "load", ident=ident, options=given(options), force=force, wait_s=wait_s), as_json=as_json)


@click.command("unload")
@click.argument("name")
@root_option
@timeout_option
@wait_option
@no_wait_option
@json_option
def unload(name: str, root: str | None, shutdown_timeout_s: float | None, wait_s: float | None, no_wait: bool, as_json: bool) -> None:
    """Stop a service and forget it; its data and logs stay."""
    show_row(ask(root, "unload", name=name, shutdown_timeout_s=shutdown_timeout_s, wait_s=0 if no_wait else wait_s), as_json=as_json)


@click.command("start")
@click.argument("name")
@root_option
@wait_option
@no_wait_option
@json_option
def start(name: str, root: str | None, wait_s: float | None, no_wait: bool, as_json: bool) -> None:
    """Start a loaded service, and wait until it is ready."""
    show_row(ask(root, "start", name=name, wait_s=0 if no_wait else wait_s), as_json=as_json)


@click.command("stop")
@click.argument("name")
@root_option
@timeout_option
@wait_option
@no_wait_option
@json_option
def stop(name: str, root: str | None, shutdown_timeout_s: float | None, wait_s: float | None, no_wait: bool, as_json: bool) -> None:
    """Stop a loaded service, and wait until it is down. It stays loaded, and down, also after a reboot."""
    show_row(ask(root, "stop", name=name, shutdown_timeout_s=shutdown_timeout_s, wait_s=0 if no_wait else wait_s), as_json=as_json)


@click.command("status")
@click.argument("name", required=False)
@root_option
@seconds("--wait", "wait_s", "Wait until they are ready, at most so long [0].")
@json_option
def status(name: str | None, root: str | None, wait_s: float | None, as_json: bool) -> None:
    """Show services and why they are as they are; with NAME also the last decisions."""
    from hart.console import show_facts, show_rows
    from supervisor.view import COLUMNS

    rows = ask(root, "status", name=name, wait_s=wait_s)
    if name is None or as_json or len(rows) != 1:  # of a bundle several
        show_rows(rows, COLUMNS, as_json=as_json, empty="no services are loaded; load one: stead svc load ORIGIN/NAME")
        return
    (row,) = rows
    row.pop("last_lines", None)  # they stand in the reason; an older supervisor has none
    why = [f"{line['at']}  {line['state']}: {line['because']}" for line in row["why"]]
    hooks = [f"{hook}: {because}" for hook, because in row["hooks"].items()]
    runs = {"runs": [f"{run['ended'] or run['began'] or 'now'}  {run['outcome']}: {run['because']}" for run in row.get("runs", [])]}
    show_facts({**row, "hooks": hooks, **(runs if "runs" in row else {}), "why": why}, as_json=False)


def show_row(row: dict[str, Any], *, as_json: bool) -> None:
    """What came of it: the state that the service is in now, and why."""
    from hart.console import say, show_json

    if as_json:
        show_json(row)
    else:
        say(": ".join(row[key] for key in ("service", "state", "because") if row.get(key)))
