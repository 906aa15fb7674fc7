"""`stead pkg uninstall`: names and arguments are Habitat's (reference: packages 5.5). What goes is decided in `hart/sweep.py`.

A failed uninstall hook leaves its package installed (as in Habitat): only its files know how to undo what the install hook did elsewhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from hart.options import json_option, root_option

if TYPE_CHECKING:
    from hart.installed import InstalledPackage


@click.command("uninstall")
@click.argument("ident")
@click.option("-d", "--dryrun", is_flag=True, help="Only show what would be removed.")
@click.option("--no-deps", is_flag=True, help="Keep what only this package needed.")
@click.option("--exclude", multiple=True, metavar="IDENT", help="Keep this one; may be given several times.")
@click.option("--keep-latest", type=click.IntRange(min=0), metavar="N", help="Remove all releases of IDENT but the newest N.")
@click.option("--ignore-uninstall-hook", is_flag=True, help="Do not run uninstall hooks.")
@click.option("--own-user", is_flag=True, help="Run uninstall hooks as your own user, whatever user their packages name.")
@root_option
@json_option
def uninstall(
    ident: str,
    exclude: tuple[str, ...],
    keep_latest: int | None,
    root: str | None,
    *,
    dryrun: bool,
    no_deps: bool,
    ignore_uninstall_hook: bool,
    own_user: bool,
    as_json: bool,
) -> None:
    """Remove the newest installed package that satisfies IDENT, and what only it needed.

    The uninstall hook of a package runs before its last installed release goes; when it fails, that release stays.
    """
    from depot.install_hook import run_uninstall_hook
    from hart.account import may_switch
    from hart.console import say, show_rows
    from hart.errors import ServiceError
    from hart.ident import Ident
    from hart.installed import InstalledTree
    from hart.root import Root

    tree = InstalledTree(Root.choose(root, os.environ))
    switch = may_switch() and not own_user
    seen = {package.ident for package in tree.list()}

    def farewell(package: InstalledPackage) -> None:
        if run_uninstall_hook(package, tree, environ=os.environ, switch=switch) is not None:
            say(f"uninstall hook of {package.ident} succeeded")

    try:
        removed = tree.uninstall(
            Ident.parse(ident),
            dry_run=dryrun,
            exclude=[Ident.parse(text) for text in exclude],
            keep_latest=keep_latest,
            no_deps=no_deps,
            farewell=None if ignore_uninstall_hook else farewell,
        )
    except ServiceError:
        for gone in sorted(seen - {package.ident for package in tree.list()}, key=str):
            say(f"removed {gone}")
        raise
    for kept in removed.kept:
        needed = f" by {', '.join(map(str, kept.needed_by))}" if kept.needed_by else ""
        say(f"kept {kept.ident}: {kept.why}{needed}")
    state = "would be removed" if dryrun else "removed"
    rows = [{"ident": str(member), "state": state} for member in removed.packages]
    empty = f"nothing of {ident} is there to remove; next: stead pkg list {ident}"
    show_rows(rows, ["state", "ident"], as_json=as_json, empty=empty)
