"""`stead file upload | list | remove`: files for the services of a group."""

from __future__ import annotations

import click

from hart.options import json_option, root_option
from supervisor.cli_config import login, version_and_file
from supervisor.cli_options import ask


@click.command("upload")
@click.argument("group")
@click.argument("version", metavar="[VERSION]")
@click.argument("file", metavar="FILE", required=False)
@root_option
@click.option("--name", metavar="NAME", help="Its name for the services [the file's own].")
@json_option
def file_upload(group: str, version: str, file: str | None, root: str | None, name: str | None, as_json: bool) -> None:
    """Give a file to all services of a group, on all their hosts: it appears in their files directory.

    Services that start later get it too. A running service's file-updated hook is run. At most 128 KiB.

    Example:  stead file upload web.default tls.crt
    """
    from pathlib import Path

    from hart.console import say, show_json
    from hart.errors import UsageError
    from hart.files import storage
    from hart.limits import GROUP_FILE_MAX
    from supervisor.ringfiles import safe_name

    number, source = version_and_file(version, file) if file is not None else (None, version)
    if source is None:
        raise UsageError("FILE", "is missing")
    path = Path(source)
    chosen = safe_name(name if name is not None else path.name)
    with storage(path), path.open("rb") as stream:
        data = stream.read(GROUP_FILE_MAX + 1)
    result = ask(root, "file upload", group=group, name=chosen, data=data, version=number, by=login())
    if as_json:
        show_json(result)
    elif result["changed"]:
        say(f"{result['name']} of {group} is version {result['version']}, {result['size']} bytes")
    else:
        say(f"nothing is new: {result['name']} of {group} is version {result['version']} already")


@click.command("list")
@click.argument("group")
@root_option
@json_option
def file_list(group: str, root: str | None, as_json: bool) -> None:
    """List the files of a group."""
    from hart.console import show_json, show_rows, warn

    result = ask(root, "file list", group=group)
    if as_json:
        show_json(result)
        return
    for trouble in result["troubles"]:
        warn(trouble)
    show_rows(result["rows"], ("name", "version", "size", "at", "by"), as_json=False, empty=f"{group} has no files")


@click.command("remove")
@click.argument("group")
@click.argument("name")
@root_option
@json_option
def file_remove(group: str, name: str, root: str | None, as_json: bool) -> None:
    """Take a file away from all services of a group."""
    from hart.console import say, show_json

    result = ask(root, "file remove", group=group, name=name, by=login())
    if as_json:
        show_json(result)
    else:
        say(f"{name} of {group} is removed")
