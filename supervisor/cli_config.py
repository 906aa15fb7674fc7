"""`stead config apply | show`: configuration of service groups."""

from __future__ import annotations

from typing import IO, Any

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask


@click.command("apply")
@click.argument("group")
@click.argument("version", type=int)
@click.argument("file", type=click.File("rb"), default="-")
@root_option
@click.option("--dry-run", is_flag=True, help="Check it and show what it would change; change nothing.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait until services act on it [120].")
@click.option("--no-wait", is_flag=True, help="Return when it is stored.")
@json_option
def config_apply(
    group: str,
    version: int,
    file: IO[bytes],
    root: str | None,
    dry_run: bool,
    wait_s: float | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Change the configuration of a service group: TOML from FILE or standard input, as a version greater than the current one.

    It is refused, and nothing changes, when it does not fit the package's schema or a template does not render with it.

    Example:  echo 'port = 8081' | stead config apply web.default 2
    """
    from hart.console import say, show_json, show_lines, warn
    from hart.limits import GROUP_CONFIG_MAX

    body = file.read(GROUP_CONFIG_MAX + 1)
    result = ask(root, "config apply", group=group, version=version, body=body, dry_run=dry_run, wait_s=0 if no_wait else wait_s)
    if as_json:
        show_json(result)
        return
    for effect in result["effects"]:
        if dry_run:
            say(f"{effect['service']}: {effect['effect']}: {effect['because']}")
        for change in effect["changed"]:
            show_lines([f"{effect['service']}  {change['key']}: {shown(change['before'])} → {shown(change['after'])}"])
    if dry_run:
        warn("nothing was changed: --dry-run")
    else:
        say(f"version {version} of {group} is applied")


def shown(value: Any) -> str:
    import json

    return "(none)" if value is None else json.dumps(value)


@click.command("show")
@click.argument("target", metavar="GROUP|NAME|IDENT")
@root_option
@click.option("--origins", is_flag=True, help="Show each value with the layer that it comes from.")
@click.option("--reveal", is_flag=True, help="Show secrets too.")
@json_option
def config_show(target: str, root: str | None, origins: bool, reveal: bool, as_json: bool) -> None:
    """Show a service's configuration as its templates see it, and where each value comes from."""
    from hart.console import say, show_json, show_lines, show_rows
    from hart.toml import dumps
    from supervisor.view import flat

    result = ask(root, "config show", target=target, reveal=reveal)
    if as_json:
        show_json(result)
    elif origins:
        layers = result["origins"]
        rows = [{"key": key, "value": value, "from": layers.get(key, "package")} for key, value in sorted(flat(result["config"]).items())]
        show_rows(rows, ("key", "value", "from"), as_json=False, empty="it has no configuration")
    else:
        version = f"version {result['version']}" if result["version"] is not None else "no version is applied"
        say(f"{result['group']}, {result['release']}, {version}")
        show_lines(dumps(result["config"]).splitlines())
