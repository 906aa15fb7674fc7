"""`stead pkg install`: names and arguments are Habitat's (reference: packages 5.4), what it decides is in `depot/fetch.py`.

Ours beside them: `--fetch-keys`, several packages with one bar, and `--json`. With several packages each is whole before the next one
starts, so a failure leaves those before it installed.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from depot.binlink import DEFAULT_DIR
from depot.cli_options import chosen, depot_options, make_depot, target_text
from hart.cli_keys import key_cache
from hart.options import cache_options, json_option

if TYPE_CHECKING:
    from depot.client import Depot
    from depot.fetch import Event, InstallReport
    from hart.console import Progress
    from hart.ident import Ident
    from hart.installed import InstalledPackage, InstalledTree
    from hart.keys import KeyCache

DEFAULT_CHANNEL = "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asks for, once for all its packages."""

    channel: str
    target: str
    ignore_local: bool
    fetch_keys: bool


@click.command("install")
@click.argument("packages", nargs=-1, required=True, metavar="IDENT|FILE...")
@click.option("-c", "--channel", metavar="CHANNEL", help="Default STEAD_CHANNEL, HAB_BLDR_CHANNEL, else stable.")
@depot_options
@cache_options
@click.option("-b", "--binlink", is_flag=True, help="Link the package's programs into --binlink-dir.")
@click.option("--binlink-dir", metavar="DIR", help=f"Default STEAD_BINLINK_DIR, HAB_BINLINK_DIR, else {DEFAULT_DIR}.")
@click.option("-f", "--force", is_flag=True, help="With --binlink: replace links that lead elsewhere.")
@click.option("--ignore-install-hook", is_flag=True, help="Do not run install hooks.")
@click.option("--own-user", is_flag=True, help="Run install hooks as your own user, whatever user their packages name.")
@click.option("--ignore-local", is_flag=True, help="Take the channel's release although a newer one is installed.")
@click.option("--offline", is_flag=True, help="Ask no depot: use what is installed and what the artifact cache has.")
@click.option("--fetch-keys", is_flag=True, help="Trust, on first use, a key that is missing here and that the depot has; it is kept.")
@json_option
def install(packages: tuple[str, ...], root: str | None, cache_key_path: str | None, *, as_json: bool, **options: Any) -> None:
    """Install packages, each an IDENT or a .hart FILE, with all that they need."""
    from depot.install_hook import run_pending_hooks
    from hart.account import may_switch
    from hart.console import show_json
    from hart.installed import InstalledTree
    from hart.root import Root

    tree = InstalledTree(Root.choose(root, os.environ))
    keys = key_cache(root, cache_key_path)
    wish = Wish(
        channel=chosen(options["channel"], "STEAD_CHANNEL", "HAB_BLDR_CHANNEL") or DEFAULT_CHANNEL,
        target=target_text(None),
        ignore_local=options["ignore_local"],
        fetch_keys=options["fetch_keys"],
    )
    switch = may_switch() and not options["own_user"]
    wanted = [_argument(each) for each in packages]
    depot = None if options["offline"] else make_depot(options["url"], options["auth"])
    links = Path(chosen(options["binlink_dir"], "STEAD_BINLINK_DIR", "HAB_BINLINK_DIR") or DEFAULT_DIR)

    shown = []
    for each in wanted:
        report, story = asyncio.run(_install(depot, tree, keys, each, wish))
        hooks = [] if options["ignore_install_hook"] else run_pending_hooks(report.package, tree, environ=os.environ, switch=switch)
        _tell(report, hooks)
        linked = _link(report.package, links, force=options["force"]) if options["binlink"] else []
        shown.append(
            {
                "package": str(report.package.ident),
                "path": str(report.package.path),
                "because": report.choice.because,
                "new": [str(ident) for ident in report.new],
                "keys_trusted": story.keys_trusted,
                "hooks_run": [str(ident) for ident in hooks],
                "links": linked,
            }
        )
    if as_json:
        show_json(shown)


def _argument(text: str) -> Ident | Path:
    """A file where there is one; a name that ends in .hart must be one."""
    from hart.errors import NotFoundError
    from hart.ident import Ident

    path = Path(text)
    if path.is_file():
        return path
    if path.suffix == ".hart":
        raise NotFoundError(text, "no such file", next="give an ident, origin/name, to install from a depot")
    return Ident.parse(text)


async def _install(
    depot: Depot | None, tree: InstalledTree, keys: KeyCache, wanted: Ident | Path, wish: Wish
) -> tuple[InstallReport, Story]:
    from contextlib import AsyncExitStack

    from depot import fetch

    async with AsyncExitStack() as stack:
        story = stack.enter_context(Story())
        if depot is not None:
            await stack.enter_async_context(depot)
        if isinstance(wanted, Path):
            report = await fetch.install_file(
                depot, tree, keys, wanted, target=wish.target, progress=story, trust_depot_keys=wish.fetch_keys
            )
        else:
            report = await fetch.install(
                depot,
                tree,
                keys,
                wanted,
                channel=wish.channel,
                target=wish.target,
                progress=story,
                trust_depot_keys=wish.fetch_keys,
                ignore_local=wish.ignore_local,
            )
        return report, story


class Story:
    """Tells on stderr what an installation does; one bar for all downloads at once, on a terminal."""

    def __init__(self) -> None:
        self.keys_trusted: list[dict[str, str]] = []
        self._stack = ExitStack()
        self._bar: Progress | None = None
        self._sizes: dict[Ident, tuple[int, int | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, event: Event) -> None:
        from depot import fetch
        from hart.console import say, warn

        match event:
            case fetch.Resolved(choice=choice):
                say(f"{choice.ident}: {choice.because}")
            case fetch.Downloading(ident=ident, done=done, total=total):
                self._progress(ident, done, total)
            case fetch.Downloaded(ident=ident, path=path):
                say(f"downloaded {ident} ({readable_size(path.stat().st_size)})")
            case fetch.CacheDropped(path=path, because=because):
                warn(f"{path} {because}; it was removed from the cache and is fetched again")
            case fetch.KeyTrusted(key=key, fingerprint=fingerprint):
                self.keys_trusted.append({"key": str(key), "fingerprint": fingerprint})
                warn(f"key {key} was taken from the depot on first use: compare {fingerprint} with its owner")
            case fetch.Noticed(text=text):
                warn(text)
            case fetch.Installed(ident=ident):
                self._stack.close()
                say(f"installed {ident}")

    def _progress(self, ident: Ident, done: int, total: int | None) -> None:
        from hart.console import progress

        if self._bar is None:
            self._bar = self._stack.enter_context(progress("downloading"))
        self._sizes[ident] = (done, total)
        totals = [size for _, size in self._sizes.values()]
        known = [size for size in totals if size is not None]
        self._bar(sum(so_far for so_far, _ in self._sizes.values()), sum(known) if len(known) == len(totals) else None)


def readable_size(size: int) -> str:
    """Bytes as people read them: `999 B`, `1.2 MB`."""
    if size < 1000:
        return f"{size} B"
    scaled = float(size)
    for unit in ("kB", "MB", "GB"):
        scaled /= 1000
        if scaled < 999.95:
            return f"{scaled:.1f} {unit}"
    return f"{scaled / 1000:.1f} TB"


def _tell(report: InstallReport, hooks: list[Ident]) -> None:
    from hart.console import say

    for ident in hooks:
        say(f"install hook of {ident} succeeded")
    ident = report.package.ident
    if report.new:
        others = len(report.new) - 1
        say(f"{ident} is installed" + (f", with {others} package{'s' if others > 1 else ''} that it needs" if others else ""))
    else:
        say(f"{ident} is already installed")


def _link(package: InstalledPackage, directory: Path, *, force: bool) -> list[dict[str, str]]:
    from depot.binlink import LinkState, binlink
    from hart.console import say, warn

    links = binlink(package, directory, force=force)
    for link in links:
        tell = say if link.state in (LinkState.MADE, LinkState.KEPT) else warn
        tell(f"{link.path} → {link.target}: {link.state}")
    return [{"path": str(link.path), "target": str(link.target), "state": link.state.value} for link in links]
