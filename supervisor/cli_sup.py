"""`stead sup run | status | upgrade | term | unit`: the supervisor itself."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask, choose_root, given, load_options, seconds
from supervisor.cli_ring_options import http_settings, ring_options, ring_settings, take_ring_options

TERM_S = 30.0  # from "all services are down" to the holder's end


@click.command("run")
@click.argument("ident", required=False)
@root_option
@click.option(
    "--update-period", "--service-update-period", type=float, metavar="SECONDS", help="Between questions to the depot; at least 1 [60]."
)
@click.option("--verify-period", type=float, metavar="SECONDS", help="Between looks for drift, which is repaired; 0: never [300].")
@click.option("--service-min-backoff-period", "backoff_min_s", type=float, metavar="SECONDS", help="First wait after a failure [1].")
@click.option("--service-max-backoff-period", "backoff_max_s", type=float, metavar="SECONDS", help="Longest wait after failures [60].")
@click.option(
    "--service-restart-cooldown-period", "cooldown_s", type=float, metavar="SECONDS", help="Up this long forgives failures [300]."
)
@click.option("--sys-ip-address", "ip", metavar="ADDRESS", help="This host's address for templates and other members [found out].")
@ring_options
@click.option("--own-user", is_flag=True, help="Run all services as your own user, whatever user their packages name.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--json-logs", is_flag=True, help="Every line on the terminal is one JSON object.")
@click.option("--journald", is_flag=True, help="What services write goes to systemd's journal too.")
@load_options
def run(
    ident: str | None,
    root: str | None,
    update_period: float | None,
    verify_period: float | None,
    backoff_min_s: float | None,
    backoff_max_s: float | None,
    cooldown_s: float | None,
    ip: str | None,
    own_user: bool,
    no_color: bool,
    json_logs: bool,
    journald: bool,
    **options: Any,
) -> None:
    """Run the supervisor in the foreground; with IDENT, load that service too.

    Services live on when this process is killed, and are taken over by the next one. Ctrl-C stops them all.
    """
    from hart.errors import ConflictError, UnavailableError
    from hart.files import make_dirs
    from supervisor.gate import check
    from supervisor.holder.succession import MEMO, Memo, command
    from supervisor.service.backoff import Backoff
    from supervisor.settings import Settings, own_version

    waits = {"min_s": backoff_min_s, "max_s": backoff_max_s, "cooldown_s": cooldown_s}
    known: dict[str, Any] = {
        "update_period_s": update_period,
        "verify_period_s": verify_period,
        "ip": ip,
        "own_user": own_user,
        "json_logs": json_logs,
        "journald": journald,
    }
    chosen_root, ring_given = choose_root(root), take_ring_options(options)
    settings = Settings(
        root=chosen_root,
        ring=ring_settings(chosen_root, os.environ, **ring_given),
        http=http_settings(os.environ, **ring_given),
        backoff=Backoff(**{key: value for key, value in waits.items() if value is not None}),
        **{key: value for key, value in known.items() if value is not None},
    )
    try:
        ask(root, "sup status")
    except UnavailableError:
        pass
    else:
        raise ConflictError(f"supervisor of {settings.root.path}", "runs already", next="see stead sup status")
    check(settings.http, os.environ)
    environ = dict(os.environ)
    for name in ("STEAD_RING_KEY", "HAB_RING_KEY"):  # it is in the key cache now
        environ.pop(name, None)
    if no_color:
        environ["NO_COLOR"] = "1"
    if options["url"]:
        environ["STEAD_DEPOT_URL"] = options["url"]
    make_dirs(settings.root.sup)
    if ident is not None:
        preload(settings, ident, given(options), environ)
    supervisor = [sys.executable, "-P", "-m", "supervisor.run", *settings.arguments()]
    environ[MEMO] = Memo(python=sys.executable, version=own_version()).text()
    os.execve(sys.executable, command(sys.executable, str(settings.root.sup), supervisor), environ)  # noqa: S606


def preload(settings: Any, ident: str, options: dict[str, Any], environ: dict[str, str]) -> None:
    """Accept and write the spec of `sup run IDENT`; what is loaded already is changed."""
    import asyncio

    from hart.console import say
    from supervisor.loading import accept
    from supervisor.request import Request
    from supervisor.run import bare_place

    place = bare_place(settings, environ)
    spec, package = asyncio.run(accept(place, Request({"ident": ident, "options": options, "force": True}), say))
    place.specs.write(spec)
    say(f"{package.ident} is loaded as {spec.service_group}")


@click.command("status")
@root_option
@seconds("--wait", "wait_s", "Wait for a supervisor that is being started, at most so long [0].")
@json_option
def sup_status(root: str | None, wait_s: float | None, as_json: bool) -> None:
    """Show the supervisor itself: processes, version, how many services."""
    from hart.console import show_facts
    from hart.errors import UnavailableError

    deadline = time.monotonic() + (wait_s or 0)
    while True:
        try:
            facts = ask(root, "sup status")
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            break
    show_facts(facts, as_json=as_json)


@click.command("upgrade")
@root_option
@click.option("--python", metavar="PATH", help="Of the version to go over to: the interpreter that it is installed for [this one's].")
@seconds("--wait", "wait_s", "How long to wait until the new supervisor has taken over [60].")
@json_option
def upgrade(root: str | None, python: str | None, wait_s: float | None, as_json: bool) -> None:
    """Go over to this program: the holder becomes its holder, without letting go of a service, and starts its supervisor.

    \b
    Run it from the version that shall run from now on; going back is the same with the older one.
    Example:
      pip install --upgrade stead && stead sup upgrade
    """
    import asyncio

    from hart.console import say, show_json
    from supervisor.replacement import Change, replace

    program = os.path.abspath(python or sys.executable)  # noqa: PTH100  a link stays one: a venv's interpreter is one
    change: Change = asyncio.run(replace(choose_root(root), program, wait_s=60.0 if wait_s is None else wait_s))
    if as_json:
        show_json(change.row())
    else:
        for line in change.lines():
            say(line)


@click.command("term")
@root_option
@json_option
def term(root: str | None, as_json: bool) -> None:
    """Stop all services, then the supervisor and its holder."""
    from hart.console import say, show_json
    from hart.errors import UnavailableError

    holder = ask(root, "sup status")["holder_pid"]
    watched = os.pidfd_open(holder)  # the very process: its number may be another's in a moment
    stopped = ask(root, "term")["stopped"]
    say(f"stopped {', '.join(stopped)}" if stopped else "no services were running")
    if not wait_for_end(watched, TERM_S):
        raise UnavailableError("holder", f"process {holder} is still there after {TERM_S:g} s", next="look at its terminal")
    if as_json:
        show_json({"stopped": stopped})


def wait_for_end(pidfd: int, timeout_s: float) -> bool:
    """Whether the process ended in time."""
    import select

    deadline = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(pidfd)


@click.command("unit")
@root_option
@click.option("-u", "--url", metavar="URL", help="The depot that the supervisor asks (STEAD_DEPOT_URL).")
@click.option("--depot", is_flag=True, help="The unit of a depot instead.")
def unit(root: str | None, url: str | None, depot: bool) -> None:
    """Print the unit file for systemd, for this program and root.

    \b
    Example:
      stead sup unit > /etc/systemd/system/stead.service && systemctl enable --now stead
    """
    from hart.console import show_lines
    from supervisor.unit import unit_text

    chosen = choose_root(root).path
    program = os.path.abspath(sys.argv[0])  # noqa: PTH100  a link stays one: it is what an upgrade changes
    asked = url or os.environ.get("STEAD_DEPOT_URL") or os.environ.get("HAB_BLDR_URL") or ""
    show_lines(unit_text(depot=depot, program=program, root=str(chosen), url=asked).splitlines())
