"""`stead config apply | show | history | diff | revert`: configuration of service groups."""

from __future__ import annotations

import getpass
import sys
from typing import Any

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask, seconds

wait_options = [
    seconds("--wait", "wait_s", "How long to wait until members act on it [120]."),
    click.option("--no-wait", is_flag=True, help="Return when it is stored."),
]
expect_option = click.option("--expect", type=click.IntRange(min=0), metavar="VERSION", help="Refuse unless this version counts now.")
message_option = click.option("-m", "--message", metavar="TEXT", help="Why, for the history.")


def waiting(command: Any) -> Any:
    for option in reversed(wait_options):
        command = option(command)
    return command


@click.command("apply")
@click.argument("group")
@click.argument("version", metavar="[VERSION]", required=False)
@click.argument("file", metavar="[FILE|-]", required=False)
@root_option
@click.option("--replace", "whole", is_flag=True, help="It is the whole configuration, not a change of what is there.")
@click.option("--unset", multiple=True, metavar="KEY", help="Take this key out of the group's configuration; may be repeated.")
@expect_option
@message_option
@click.option("--dry-run", is_flag=True, help="Check it and show what it would change; change nothing.")
@waiting
@json_option
def config_apply(
    group: str,
    version: str | None,
    file: str | None,
    root: str | None,
    whole: bool,
    unset: tuple[str, ...],
    expect: int | None,
    message: str | None,
    dry_run: bool,
    wait_s: float | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Change the configuration of a service group on all its hosts: TOML from FILE or standard input.

    It is merged into what is there, as the next version. It is refused, and nothing changes, when it does not fit the package's schema or a
    template does not render with it. Then every member says what it made of it; exit code 11 when one cannot take it.
    VERSION, a number greater than the current one, is only for those who count themselves.

    \b
    Examples:
      echo 'port = 8081' | stead config apply web.default
      stead config apply web.default --unset http.proxy
    """
    from hart.console import show_json, warn
    from hart.errors import UsageError

    number, source = version_and_file(version, file)
    if whole and unset:
        raise UsageError("config apply", "--replace gives the whole, so there is nothing to --unset")
    body = b"" if source is None and unset else read_body(source or "-")
    result = ask(
        root,
        "config apply",
        group=group,
        version=number,
        body=body,
        replace=whole,
        unset=list(unset),
        expect=expect,
        why=message,
        by=login(),
        dry_run=dry_run,
        wait_s=0 if no_wait else wait_s,
    )
    if as_json:
        show_json(result)
        return
    show_applied(result, dry_run=dry_run)
    if dry_run:
        warn("nothing was changed: --dry-run")


def version_and_file(version: str | None, file: str | None) -> tuple[int | None, str | None]:
    """Habitat's second argument is a number; a file of such a name is given as ./NAME."""
    from hart.errors import UsageError

    if version is not None and version.isascii() and version.isdecimal():
        return int(version[:20]), file
    if file is not None:
        raise UsageError("VERSION", f"{version!r} is not a number")
    return None, version


def read_body(source: str) -> bytes:
    from pathlib import Path

    from hart.files import storage
    from hart.limits import GROUP_CONFIG_MAX

    if source == "-":
        return sys.stdin.buffer.read(GROUP_CONFIG_MAX + 1)
    with storage(Path(source)), Path(source).open("rb") as stream:
        return stream.read(GROUP_CONFIG_MAX + 1)


def login() -> str:
    """Who asks, for the history; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def show_applied(result: dict[str, Any], *, dry_run: bool) -> None:
    from hart.console import say, show_lines

    for effect in result["effects"]:
        if dry_run:
            say(f"{effect['service']}: {effect['effect']}: {effect['because']}")
        for change in effect["changed"]:
            show_lines([f"{effect['service']}  {change['key']}: {shown(change['before'])} → {shown(change['after'])}"])
    if dry_run:
        return
    say(
        f"version {result['version']} of {result['group']} is applied"
        if result["changed"]
        else f"nothing is new: version {result['version']} of {result['group']} counts"
    )
    if "accepted" in result:
        newer = f"; {', '.join(result['superseded'])} has a newer one already" if result["superseded"] else ""
        say(f"accepted by {result['accepted']}, rendered by {result['rendered']}{newer}")


def shown(value: Any) -> str:
    import json

    return "(none)" if value is None else json.dumps(value)


NO_SCHEMA = "no schema of it is known here, so nothing could be hidden"


@click.command("show")
@click.argument("target", metavar="GROUP|NAME|IDENT")
@root_option
@click.option("--effective", is_flag=True, expose_value=False, help="What all layers give together; this is what is shown anyway.")
@click.option("--why", metavar="KEY", help="Show what each layer says of this key, and which one won.")
@click.option("--origins", is_flag=True, help="Show each value with the layer that it comes from.")
@click.option("--reveal", is_flag=True, help="Show secrets too.")
@json_option
def config_show(target: str, root: str | None, why: str | None, origins: bool, reveal: bool, as_json: bool) -> None:
    """Show a service's configuration as its templates see it, and where each value comes from.

    A group that has no service here is shown as the ring has it.

    Example:  stead config show web.default --why http.port
    """
    from hart.console import say, show_json, show_lines, show_rows, warn
    from hart.toml import dumps
    from supervisor.plain import flat

    result = ask(root, "config show", target=target, reveal=reveal, why=why)
    if as_json:
        show_json(result)
        return
    if result["refused"]:
        warn(result["refused"])
    if not result["schema"] and not reveal:
        warn(f"{result['group']}: {NO_SCHEMA}")
    if why is not None:
        rows = [{**row, "value": shown(row["value"]), "wins": "wins" if row["wins"] else ""} for row in result["why"]]
        show_rows(rows, ("layer", "value", "wins"), as_json=False, empty="")
    elif origins:
        layers = result["origins"]
        rows = [{"key": key, "value": value, "from": layers.get(key, "package")} for key, value in sorted(flat(result["config"]).items())]
        show_rows(rows, ("key", "value", "from"), as_json=False, empty="it has no configuration")
    else:
        version = f"version {result['version']}" if result["version"] is not None else "no version is applied"
        say(f"{result['group']}, {result['release'] or 'no service of it here'}, {version}")
        show_lines(dumps(result["config"]).splitlines())


@click.command("history")
@click.argument("group")
@root_option
@json_option
def config_history(group: str, root: str | None, as_json: bool) -> None:
    """Show the versions of a group's configuration that are kept: who wrote them, when, why, and how many members run with each."""
    from hart.console import show_json, show_rows

    result = ask(root, "config history", group=group)
    if as_json:
        show_json(result)
        return
    rows = [{**row, "changed": row["trouble"] or ", ".join(row["changed"])} for row in result["rows"]]
    show_rows(rows, ("version", "at", "by", "members", "changed", "why"), as_json=False, empty="")


@click.command("diff")
@click.argument("group")
@click.argument("versions", metavar="[VERSION] [VERSION]", nargs=-1, type=click.IntRange(min=0))
@root_option
@click.option("--reveal", is_flag=True, help="Show secrets too.")
@json_option
def config_diff(group: str, versions: tuple[int, ...], root: str | None, reveal: bool, as_json: bool) -> None:
    """Show what differs between two versions of a group's configuration: the last two, one and the current one, or any two."""
    from hart.console import say, show_json, show_lines, warn
    from hart.errors import UsageError

    if len(versions) > 2:
        raise UsageError("config diff", "compares two versions")
    result = ask(root, "config diff", group=group, versions=list(versions), reveal=reveal)
    if as_json:
        show_json(result)
        return
    if not result["schema"] and not reveal:
        warn(f"{group}: {NO_SCHEMA}")
    say(f"{group}, version {result['from']} → {result['to']}" + ("" if result["rows"] else ": no difference"))
    show_lines([f"{row['key']}: {shown(row['before'])} → {shown(row['after'])}" for row in result["rows"]])


@click.command("revert")
@click.argument("group")
@click.argument("version", type=click.IntRange(min=1))
@root_option
@expect_option
@message_option
@click.option("--dry-run", is_flag=True, help="Check it and show what it would change; change nothing.")
@waiting
@json_option
def config_revert(
    group: str,
    version: int,
    root: str | None,
    expect: int | None,
    message: str | None,
    dry_run: bool,
    wait_s: float | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Go back to an earlier version of a group's configuration: its text becomes the next version, on all hosts."""
    from hart.console import show_json, warn

    wait = 0 if no_wait else wait_s
    result = ask(root, "config revert", group=group, version=version, expect=expect, why=message, by=login(), dry_run=dry_run, wait_s=wait)
    if as_json:
        show_json(result)
        return
    show_applied(result, dry_run=dry_run)
    if dry_run:
        warn("nothing was changed: --dry-run")
