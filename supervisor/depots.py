"""Ask depots and install from them, for a supervisor: no terminal, no person to ask.

Rules: keys are never fetched silently; a package whose key is not in the key cache is refused with the command that fetches it. One
installation at a time on a host. Install hooks run after it, dependencies first, and again before a start while they have not succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from depot import install_hook
from depot.client import Depot
from depot.fetch import Event, Installed, KeyTrusted, install, newest, obtain
from depot.routes import DEFAULT_PORT
from hart.account import clean_environment, own_account
from hart.errors import UnavailableError
from hart.ident import Ident
from hart.installed import InstalledPackage, InstalledTree, install_hooks_due
from hart.keys import KeyCache
from hart.limits import UPDATE_INSTALL_S
from hart.target import host_target

OURS = frozenset({"STEAD_TOKEN", "STEAD_KEYS", "STEAD_ROOT"})  # never a package's configuration, whatever the package is called
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"  # a depot on this host, as the other verbs have it
Say = Callable[[str], None]


class Depots:
    """`environ` has the default depot's URL and the token."""

    def __init__(self, tree: InstalledTree, keys: KeyCache, environ: Mapping[str, str], *, switch: bool) -> None:
        self.tree, self.keys, self._environ, self._switch = tree, keys, environ, switch
        self._one = asyncio.Lock()

    def _open(self, url: str | None) -> Depot:
        chosen = url or self._environ.get("STEAD_DEPOT_URL") or self._environ.get("HAB_BLDR_URL") or DEFAULT_URL
        return Depot(chosen, token=self._environ.get("STEAD_TOKEN") or self._environ.get("HAB_AUTH_TOKEN") or None)

    async def newest(self, url: str | None, wanted: Ident, *, channel: str) -> Ident | None:
        """The head of a channel."""
        async with self._open(url) as depot:
            return await newest(depot, wanted, channel=channel, target=str(host_target()))

    async def install(self, url: str | None, wanted: Ident, *, channel: str, say: Say = lambda _: None) -> InstalledPackage:
        """Install with everything that it needs; nothing is left half done. Install hooks are not run here."""

        def watch(event: Event) -> None:
            if isinstance(event, Installed):
                say(f"installed {event.ident}")
            elif isinstance(event, KeyTrusted):  # not asked for, so it does not happen; if it did, it must be seen
                say(f"took key {event.key} from the depot")

        try:
            async with self._one, asyncio.timeout(UPDATE_INSTALL_S), self._open(url) as depot:
                target = str(host_target())
                report = await install(depot, self.tree, self.keys, wanted, channel=channel, target=target, progress=watch)
                return report.package
        except TimeoutError:
            raise UnavailableError(f"package {wanted}", f"is not installed after {UPDATE_INSTALL_S:g} s") from None

    async def install_again(self, url: str | None, ident: Ident) -> None:
        """Put a release that was damaged back, from the artifact cache or the depot; its install hook runs again."""
        target = str(host_target())
        try:
            async with self._one, asyncio.timeout(UPDATE_INSTALL_S), self._open(url) as depot:
                artifact = await obtain(depot, self.tree, self.keys, ident, target=target)
                package = await asyncio.to_thread(self.tree.install, artifact, self.keys.public, expect=ident, again=True)
        except TimeoutError:
            raise UnavailableError(f"package {ident}", f"is not installed again after {UPDATE_INSTALL_S:g} s") from None
        await self.run_install_hooks(package)

    async def run_install_hooks(self, package: InstalledPackage) -> None:
        """Install hooks that have not succeeded yet, dependencies first; ServiceError when one fails."""
        for each in reversed(self.tree.closure(package)):
            if install_hooks_due(each):
                environ = self._hook_environment(each.ident.name)
                await asyncio.to_thread(install_hook.run_install_hook, each, self.tree, environ=environ, switch=self._switch)

    def _hook_environment(self, name: str) -> dict[str, str]:
        """A clean environment, with the variables that are the package's own configuration layer."""
        layer = name.upper().replace("-", "_")
        own = {key: self._environ[key] for key in (f"HAB_{layer}", f"STEAD_{layer}") if key in self._environ and key not in OURS}
        return {**clean_environment(self._environ, own_account()), **own}
