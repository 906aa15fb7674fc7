"""`stead svc run-once`: run a job once, wait for it, and pass its exit code on."""

from __future__ import annotations

import secrets
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from hart.limits import JOB_AWAY_S, JOB_NO_RESULT
from hart.options import json_option, root_option
from supervisor.cli_options import ask, choose_root, given, seconds


class Passing(click.Command):
    """A command whose own failures have one exit code, so that the others are the job's."""

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise WrongUseError(error.format_message(), error.ctx) from None


class WrongUseError(click.UsageError):
    exit_code = JOB_NO_RESULT


@click.command("run-once", cls=Passing)
@click.argument("ident", metavar="ORIGIN/NAME")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
@click.option("--name", metavar="NAME", help="Name of the job [the package's].")
@seconds("--timeout", "timeout_s", "Stop it after this; also for what it waits for.", least=0.1)
@click.option("--channel", metavar="CHANNEL", help="Channel to install from [stable].")
@click.option("-u", "--url", metavar="URL", help="The depot (STEAD_DEPOT_URL).")
@click.option("--group", metavar="GROUP", help="Service group [default].")
@click.option("--bind", "binds", multiple=True, metavar="NAME:SERVICE.GROUP", help="Which group feeds a bind; may be repeated.")
@click.option("--requires-ready", multiple=True, metavar="SERVICE", help="Begin when this service of the host is ready; may be repeated.")
@root_option
@json_option
def run_once(ident: str, args: tuple[str, ...], root: str | None, timeout_s: float | None, *, as_json: bool, **options: Any) -> None:
    """Run a package's run hook once, wait for it, and end with its exit code.

    ARGS are the hook's "$@". It is installed, configured and run as a service is: init hook, own user, log (`stead svc logs NAME`). A
    job that is loaded with a schedule is run now, beside it; its NAME is enough. It goes on when this command is interrupted.

    \b
    Exit codes: the job's own; 128 and its number for a signal; else
      124  it was stopped at --timeout
      125  Stead failed, or nobody knows how it ended; also a wrong command line
      126  it was not run: its init hook failed, it could not be started, or it was stopped before

    \b
    Examples:
      stead svc run-once acme/migrate --timeout 600 -- up 42
      stead svc run-once acme/web --name web-check --bind db:postgres.default
    """
    from hart.console import say, show_error, show_json
    from hart.errors import SteadError

    try:
        answer = wait_for(root, ident=ident, args=list(args), options=given(options), timeout_s=timeout_s, id=secrets.token_hex(8))
    except SteadError as error:
        show_error(error)
        sys.exit(JOB_NO_RESULT)
    if as_json:
        show_json(answer)
    else:
        say(f"{answer['service']}: {answer['outcome']}: {answer['because']}; its output: stead svc logs {answer['service']}")
    sys.exit(answer["exit_code"])


def wait_for(root: str | None, **request: Any) -> Any:
    """Ask until there is an answer: a supervisor that dies meanwhile is started again, and asking for the same run again finds it."""
    from hart.console import say
    from hart.errors import UnavailableError
    from supervisor.settings import Settings

    path = Settings(root=choose_root(root)).holder
    name = request["options"].get("name") or request["ident"].split("/")[-1]
    until = None  # of the first outage: a supervisor that comes up again and again is no reason to wait for ever
    while True:
        try:
            return ask(root, "run once", **request)
        except KeyboardInterrupt:
            say(f"interrupted; the job goes on: stead svc status {name}; stop it: stead svc stop {name}")
            raise
        except UnavailableError as error:
            now = time.monotonic()
            there = until is not None or lives(path)  # the supervisor alone is away: the holder starts the next one
            if not error.data.get("lost") or not there or (until is not None and now > until):
                raise
            until = until or now + JOB_AWAY_S
            time.sleep(0.2)


def lives(path: Path) -> bool:
    """Whether somebody listens at this socket."""
    from supervisor.control import short_address

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, suppress(OSError), short_address(path) as address:
        connection.connect(address)
        return True
    return False
