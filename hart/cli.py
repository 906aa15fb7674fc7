"""`stead pkg list | path | env | exec | dependencies | provides`: the installed tree, with Habitat's names and arguments
(packages 5.5). Files and keys are `hart/cli_artifact.py` and `hart/cli_keys.py`, installing and removing `depot/cli_install.py` and
`depot/cli_uninstall.py`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from hart.options import json_option, root_option

if TYPE_CHECKING:
    from hart.ident import Ident
    from hart.installed import InstalledTree


def tree_at(root: str | None) -> InstalledTree:
    """The installed tree that the option and the environment choose."""
    from hart.installed import InstalledTree
    from hart.root import Root

    return InstalledTree(Root.choose(root, os.environ))


def parse_ident(text: str) -> Ident:
    from hart.ident import Ident

    return Ident.parse(text)


@click.command("list")
@click.argument("ident", required=False, metavar="[IDENT]")
@click.option("-a", "--all", "everything", is_flag=True, help="All installed packages.")
@click.option("-o", "--origin", metavar="ORIGIN", help="The packages of one origin.")
@root_option
@json_option
def list_installed(ident: str | None, origin: str | None, root: str | None, *, everything: bool, as_json: bool) -> None:
    """List installed packages: those that satisfy IDENT, those of an origin, or all."""
    from hart.console import show_rows
    from hart.errors import UsageError

    if sum((ident is not None, origin is not None, everything)) > 1:
        raise UsageError("stead pkg list", "takes one of IDENT, --origin and --all")
    tree = tree_at(root)
    packages = tree.list(parse_ident(ident) if ident else None)
    rows = [
        {"ident": str(package.ident), "path": str(package.path), "service": package.metadata.is_service}
        for package in packages
        if origin in (None, package.ident.origin)
    ]
    wanted = ident or (f"{origin}/…" if origin else "a package")
    empty = f"nothing is installed under {tree.root.path} that is {wanted}; next: stead pkg install {ident or 'ORIGIN/NAME'}"
    show_rows(rows, ["ident"], as_json=as_json, empty=empty)


@click.command("path")
@click.argument("ident")
@root_option
@json_option
def path(ident: str, root: str | None, *, as_json: bool) -> None:
    """Print where the newest installed package that satisfies IDENT is."""
    from hart.console import show_json, show_lines

    package = tree_at(root).get(parse_ident(ident))
    if as_json:
        show_json({"ident": str(package.ident), "path": str(package.path)})
    else:
        show_lines([str(package.path)])


@click.command("env")
@click.argument("ident")
@root_option
@json_option
def env(ident: str, root: str | None, *, as_json: bool) -> None:
    """Print a package's runtime environment, as lines for a shell."""
    import re
    import shlex

    from hart.closure import runtime_environment
    from hart.console import show_json, show_lines, warn

    tree = tree_at(root)
    variables = runtime_environment(tree.complete_metadata(tree.get(parse_ident(ident))))
    if as_json:
        show_json(variables)
        return
    names = [name for name in variables if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]
    if odd := variables.keys() - names:  # a shell would run what stands in them
        warn(f"variables that no shell can set are left out: {', '.join(sorted(odd))}")
    show_lines(f"export {name}={shlex.quote(variables[name])}" for name in names)


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("ident")
@click.argument("command")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@root_option
def exec_command(ident: str, command: str, args: tuple[str, ...], root: str | None) -> None:
    """Run COMMAND with ARGS in a package's runtime environment. Options of ours come before IDENT."""
    from hart.errors import NotFoundError, UsageError

    tree = tree_at(root)
    package = tree.get(parse_ident(ident))
    try:
        os.execvpe(command, [command, *args], tree.environment(package, os.environ))  # noqa: S606  that is what the verb is for
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"command {command}",
            f"is not on the PATH of {package.ident}",
            next=f"stead pkg provides {os.path.basename(command)}",  # noqa: PTH119  a word, not a path of ours
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"command {command}", f"cannot be run: {error}") from error


@click.command("dependencies")
@click.argument("ident")
@click.option("-t", "--transitive", is_flag=True, help="Also what those need, and so on.")
@click.option("-r", "--reverse", is_flag=True, help="Who needs IDENT, instead of what it needs.")
@root_option
@json_option
def dependencies(ident: str, root: str | None, *, transitive: bool, reverse: bool, as_json: bool) -> None:
    """Show what an installed package needs, or who needs it."""
    from hart.console import show_rows

    tree = tree_at(root)
    package = tree.get(parse_ident(ident))
    if reverse:
        found = [member.ident for member in tree.dependants(package.ident, transitive=transitive)]
        empty = f"no installed package needs {package.ident}"
    else:
        found = list(package.metadata.tdeps if transitive else package.metadata.deps)
        empty = f"{package.ident} needs no other package"
    show_rows([{"ident": str(member)} for member in found], ["ident"], as_json=as_json, empty=empty)


@click.command("provides")
@click.argument("file")
@click.option("-r", "--full-releases", is_flag=True, help="Show version and release too.")
@click.option("-p", "--full-paths", is_flag=True, help="Show the path of the file.")
@root_option
@json_option
def provides(file: str, root: str | None, *, full_releases: bool, full_paths: bool, as_json: bool) -> None:
    """Find the installed packages that have a file named FILE."""
    from hart.console import show_rows
    from hart.errors import UsageError

    if not file or "/" in file:
        raise UsageError(f"file {file!r}", "is not a plain file name", next="stead pkg provides redis-server")
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for package, where in tree_at(root).provides(file):
        row = {"ident": str(package.ident if full_releases else package.ident.family)}
        if full_paths:
            row["path"] = str(where)
        rows.setdefault(tuple(row.values()), row)
    columns = ["ident", "path"] if full_paths else ["ident"]
    empty = f"no installed package has a file {file}; next: stead pkg search {file}"
    show_rows(list(rows.values()), columns, as_json=as_json, empty=empty)
