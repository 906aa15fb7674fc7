"""A plan's dependencies as installed packages.

Rules: the newest installed release that a dependency names is taken; what is not installed comes from the depot when there is one, else
from the artifact cache; else the error says the command that installs it. The run closure holds one release of each package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from builder.environment import Dependencies, Dependency
from hart.errors import ConflictError, NotFoundError, SteadError
from hart.ident import Ident
from hart.installed import InstalledPackage, InstalledTree
from hart.keys import KeyCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where dependencies come from. `depot_url` None: only this machine."""

    tree: InstalledTree
    keys: KeyCache
    target: str
    channel: str
    depot_url: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Direct dependencies in plan order, and their closures as TDEPS say."""

    build: tuple[InstalledPackage, ...]
    run: tuple[InstalledPackage, ...]
    build_closure: tuple[InstalledPackage, ...]
    run_closure: tuple[InstalledPackage, ...]

    @property
    def idents(self) -> tuple[Ident, ...]:
        everything = (*self.build, *self.run, *self.build_closure, *self.run_closure)
        return tuple(dict.fromkeys(package.ident for package in everything))

    def shown(self) -> Dependencies:
        """As the environment of the steps needs them."""
        return Dependencies(
            build=tuple(map(dependency, self.build)),
            run=tuple(map(dependency, self.run)),
            build_closure=tuple(map(dependency, self.build_closure)),
            run_closure=tuple(map(dependency, self.run_closure)),
        )


def dependency(package: InstalledPackage) -> Dependency:
    meta = package.metadata
    return Dependency(
        ident=package.ident,
        path=package.path,
        bin_dirs=meta.path,
        ld_run_path=meta.ld_run_path,
        pkg_config_path=meta.pkg_config_path,
        cflags=meta.cflags,
        ldflags=meta.ldflags,
        runtime_environment=meta.runtime_environment,
    )


def resolve(build: Sequence[Ident], run: Sequence[Ident], provider: Provider, say: Callable[[str], None]) -> Resolved:
    """Find or install all dependencies. NotFoundError, ConflictError (two releases of one package at run time)."""
    missing = [wanted for wanted in dict.fromkeys((*build, *run)) if provider.tree.find(wanted) is None]
    if missing:
        install(missing, provider, say)
    found_build = tuple(provider.tree.get(wanted) for wanted in build)
    found_run = tuple(provider.tree.get(wanted) for wanted in run)
    resolved = Resolved(
        build=found_build,
        run=found_run,
        build_closure=closure(found_build, provider.tree),
        run_closure=closure(found_run, provider.tree),
    )
    refuse_two_releases(resolved.run_closure)
    return resolved


def closure(packages: Iterable[InstalledPackage], tree: InstalledTree) -> tuple[InstalledPackage, ...]:
    """The packages and all that they need to run, each once."""
    found = {entry.ident: entry for package in packages for entry in tree.closure(package)}
    return tuple(found.values())


def refuse_two_releases(packages: Iterable[InstalledPackage]) -> None:
    """One process must not load two releases of one library."""
    seen: dict[Ident, Ident] = {}
    for package in packages:
        other = seen.setdefault(package.ident.family, package.ident)
        if other != package.ident:
            raise ConflictError(
                f"dependency {package.ident.family}",
                f"is needed in two releases: {other} and {package.ident}",
                next="rebuild the dependencies that still need the older one",
            )


def install(missing: Sequence[Ident], provider: Provider, say: Callable[[str], None]) -> None:
    """Install what is not there, from the depot or the artifact cache."""
    from depot.client import Depot
    from depot.fetch import install as install_package

    async def run() -> None:
        if provider.depot_url is None:
            for wanted in missing:
                await install_package(None, provider.tree, provider.keys, wanted, channel=provider.channel, target=provider.target)
            return
        async with Depot(provider.depot_url, token=provider.token) as depot:
            for wanted in missing:
                say(f"installing {wanted} from {provider.depot_url} ({provider.channel})")
                await install_package(depot, provider.tree, provider.keys, wanted, channel=provider.channel, target=provider.target)

    try:
        asyncio.run(run())
    except NotFoundError as error:
        shown = ", ".join(map(str, missing))
        raise NotFoundError(
            f"dependency {shown}",
            f"is not installed ({error.thing}: {error.cause})",
            next=f"stead pkg install {' '.join(map(str, missing))}, with --url and --channel of a depot that has it",
        ) from error
    except SteadError as error:
        raise type(error)(f"dependency {', '.join(map(str, missing))}", f"{error.thing}: {error.cause}", next=error.next) from error
