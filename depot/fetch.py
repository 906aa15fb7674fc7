"""Install a package with everything that it needs, from a depot, the artifact cache or a file.

Rules: the closure is complete before a package appears, so at every moment, also after kill -9, what is installed has all that it needs.
An artifact is believed only after the whole file was verified with a key of the key cache that belongs to its origin; before that nothing
of it is decompressed. A key that is not there is an error with the command that fetches it; `trust_depot_keys` fetches it, tells so, and
keeps it. A damaged file in the artifact cache is dropped and fetched again. Steps after packages 5.4. Not here: install hooks
(`depot/install_hook.py`), unpacking (`hart/installed.py`), the choice and the order (`depot/choice.py`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from depot.choice import Choice, Origin, cached_idents, choose, install_order
from depot.client import Depot
from depot.records import RemotePackage
from hart.artifact import authorise_key, checksum, read_header, verify
from hart.errors import FormatError, InputError, LimitError, NotFoundError, TrustError
from hart.files import storage
from hart.ident import Ident
from hart.keys import KeyCache, KeyName, PublicSigningKey, parse_key
from hart.limits import CLOSURE_MAX, DOWNLOAD_PARALLEL

if TYPE_CHECKING:
    from hart.installed import InstalledPackage, InstalledTree
    from hart.metafiles import Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloading:
    """So far, in bytes; `total` None where the depot does not say."""

    ident: Ident
    done: int
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    ident: Ident
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDropped:
    """A file of the artifact cache was not what its name says, and was removed."""

    path: Path
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTrusted:
    """A key was taken from the depot, on first use, because the caller allowed it."""

    key: KeyName
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    ident: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What a person should know about a package that went in, for example that setuid bits were dropped."""

    text: str


Event: TypeAlias = Resolved | Downloading | Downloaded | CacheDropped | KeyTrusted | Noticed | Installed
Watch: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallReport:
    """What is installed now, and which packages are new because of this call, in the order in which they went in."""

    package: InstalledPackage
    new: list[Ident]
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A verified artifact on disk."""

    path: Path
    metadata: Metadata


class KeyMissingError(TrustError):
    """The only trust error that says nothing against the file."""


def silent(_event: Event, /) -> None:
    """Nobody watches."""


async def newest(depot: Depot, wanted: Ident, *, channel: str, target: str) -> Ident | None:
    """The channel's newest release that `wanted` names; None when there is none."""
    head = await depot.latest(wanted, channel=channel, target=target)
    return None if head is None else head.ident


async def install(
    depot: Depot | None,
    tree: InstalledTree,
    keys: KeyCache,
    wanted: Ident,
    *,
    channel: str,
    target: str,
    progress: Watch = silent,
    trust_depot_keys: bool = False,
    ignore_local: bool = False,
) -> InstallReport:
    """Install what `wanted` names from a channel, closure first. Without a depot: from what is installed and cached.

    Raises NotFoundError (in no channel asked for, or a dependency is gone), TrustError, UnavailableError, StorageError. What failed leaves
    complete packages only; downloads that were cut are resumed by the next call.
    """
    work = _Install(depot, tree, keys, target, progress, trust_depot_keys=trust_depot_keys)
    choice, record = await work.resolve(wanted, channel=channel, ignore_local=ignore_local)
    progress(Resolved(choice=choice))
    present = tree.find(choice.ident)
    if present is not None:
        return InstallReport(package=present, new=[], choice=choice)
    candidate = await work.obtain(choice.ident, record)
    return await work.finish(choice, candidate)


async def install_file(
    depot: Depot | None,
    tree: InstalledTree,
    keys: KeyCache,
    artifact: Path,
    *,
    target: str,
    progress: Watch = silent,
    trust_depot_keys: bool = False,
) -> InstallReport:
    """Install an artifact file; what it needs is installed already, or comes from its own directory's cache or the depot."""
    work = _Install(depot, tree, keys, target, progress, trust_depot_keys=trust_depot_keys)
    candidate = await work.check(artifact, None)
    ident = candidate.metadata.ident
    choice = Choice(ident=ident, origin=Origin.FILE, because=f"it is in {artifact}")
    progress(Resolved(choice=choice))
    present = tree.find(ident)
    if present is not None:
        return InstallReport(package=present, new=[], choice=choice)
    return await work.finish(choice, candidate)


async def obtain(depot: Depot | None, tree: InstalledTree, keys: KeyCache, ident: Ident, *, target: str) -> Path:
    """A verified artifact of exactly this release, from the cache or the depot; nothing is installed."""
    return (await _Install(depot, tree, keys, target, silent, trust_depot_keys=False).obtain(ident)).path


class _Install:
    """One installation under way."""

    def __init__(
        self, depot: Depot | None, tree: InstalledTree, keys: KeyCache, target: str, watch: Watch, *, trust_depot_keys: bool
    ) -> None:
        self.depot = depot
        self.tree = tree
        self.keys = keys
        self.target = target
        self.watch = watch
        self.trust_depot_keys = trust_depot_keys
        self.cache = tree.root.artifacts
        self._slots = asyncio.Semaphore(DOWNLOAD_PARALLEL)
        self._first_use = asyncio.Lock()

    # --- which

    async def resolve(self, wanted: Ident, *, channel: str, ignore_local: bool) -> tuple[Choice, RemotePackage | None]:
        """The release to install, with its record where the depot was asked."""
        if wanted.is_full:
            return Choice(ident=wanted, origin=Origin.ASKED, because="it is fully qualified"), None
        local = self.tree.find(wanted)
        if self.depot is None:
            return await self._resolve_offline(wanted, None if local is None else local.ident), None
        record = await self.depot.latest(wanted, channel=channel, target=self.target)
        choice = choose(
            None if record is None else record.ident,
            None if local is None else local.ident,
            channel=channel,
            ignore_local=ignore_local,
        )
        if choice is None:
            raise await self._nowhere(self.depot, wanted, channel)
        return choice, record if choice.origin is Origin.DEPOT else None

    async def _nowhere(self, depot: Depot, wanted: Ident, channel: str) -> NotFoundError:
        """The error for a channel without the package: it says where the package is."""
        elsewhere = await depot.channels_with(wanted, target=self.target)
        if not elsewhere:
            return NotFoundError(
                f"package {wanted}",
                f"{depot.url} has it in no channel for {self.target}",
                next=f"look for its name: stead pkg search {wanted.name}",
                channels={},
            )
        listed = ", ".join(f"{name} ({head.ident})" for name, head in elsewhere)
        return NotFoundError(
            f"package {wanted}",
            f"is not in channel {channel}, but in {listed}",
            next=f"stead pkg install {wanted} --channel {elsewhere[0][0]}",
            channels={name: str(head.ident) for name, head in elsewhere},
        )

    async def _resolve_offline(self, wanted: Ident, local: Ident | None) -> Choice:
        """The newest of what is installed and what the artifact cache has, verified."""
        from hart.version import ident_key

        with storage(self.cache):
            names = os.listdir(self.cache) if self.cache.is_dir() else []  # noqa: PTH208  names are matched, not paths
        for ident in cached_idents(names, wanted, self.target):
            if local is not None and ident_key(ident) <= ident_key(local):
                break
            try:
                await self.check(self.cache / ident.archive_name(self.target), ident)
            except (TrustError, InputError) as error:
                if isinstance(error, KeyMissingError):
                    raise
                continue  # another package of a similar name, or a damaged file: the next one may do
            return Choice(ident=ident, origin=Origin.CACHE, because="the newest in the artifact cache")
        if local is None:
            raise NotFoundError(
                f"package {wanted}", f"is neither installed nor in {self.cache}", next="try without --offline, or give a .hart file"
            )
        return Choice(ident=local, origin=Origin.INSTALLED, because="the newest that is installed")

    # --- get

    async def obtain(self, ident: Ident, record: RemotePackage | None = None) -> Candidate:
        """A verified artifact of exactly this release, from the cache or the depot."""
        path = self.cache / ident.archive_name(self.target)
        if path.is_file():
            try:
                return await self.check(path, ident)
            except (TrustError, InputError) as error:
                if self.depot is None:
                    raise
                if isinstance(error, KeyMissingError):  # it says nothing against the file, unless the depot's is another
                    record = record or await self.depot.package(ident, target=self.target)
                    if record is None or record.checksum == await asyncio.to_thread(checksum, path):
                        raise
                path.unlink(missing_ok=True)
                self.watch(CacheDropped(path=path, because=error.cause))
        if self.depot is None:
            raise NotFoundError(f"package {ident}", f"is neither installed nor in {self.cache}", next="try without --offline")
        record = record or await self.depot.package(ident, target=self.target)
        if record is None:
            raise NotFoundError(
                f"package {ident}", f"{self.depot.url} does not have it for {self.target}", next=f"stead pkg search {ident.name}"
            )
        path = await self.depot.download_record(
            record, into=self.cache, progress=lambda done, total, /: self.watch(Downloading(ident=ident, done=done, total=total))
        )
        self.watch(Downloaded(ident=ident, path=path))
        try:
            return await self.check(path, ident)
        except KeyMissingError:
            raise  # the file may be good: it waits in the cache for its key
        except (TrustError, InputError):
            path.unlink(missing_ok=True)
            raise

    async def check(self, path: Path, expected: Ident | None) -> Candidate:
        """Verify a file and read what it is; the key may be fetched first, if that was allowed."""
        name = await asyncio.to_thread(read_key_name, path)
        if expected is not None:
            authorise_key(name, expected)
        async with self._first_use:
            key = self._known(name)
            fetched = None if key is not None else await self._from_depot(name)
            offered = key or fetched
            assert offered is not None
            if fetched is not None:  # kept only after it has proved to be the signer's, and before anybody else asks for it
                candidate = await asyncio.to_thread(open_artifact, path, expected, offered, self.target)
                self.keys.store(fetched)
                self.watch(KeyTrusted(key=fetched.key, fingerprint=fetched.fingerprint))
                return candidate
        return await asyncio.to_thread(open_artifact, path, expected, offered, self.target)

    def _known(self, key: KeyName) -> PublicSigningKey | None:
        try:
            return self.keys.public(key)
        except NotFoundError:
            return None

    async def _from_depot(self, key: KeyName) -> PublicSigningKey:
        """A key on first use; KeyMissingError unless that was allowed."""
        if not self.trust_depot_keys or self.depot is None:
            raise KeyMissingError(
                f"public key {key}",
                f"is not in {self.keys.path}, so nothing that it signed is installed",
                next=f"stead origin key download {key.name}, and compare the fingerprint with its owner; or --fetch-keys",
                key=str(key),
            )
        thing = f"public key {key}"
        try:
            found = parse_key(await self.depot.public_key(key), thing=thing)
        except NotFoundError as error:
            raise KeyMissingError(
                thing,
                f"is neither in {self.keys.path} nor in the depot",
                next=f"ask the owner of {key.name} for it, then: stead origin key import",
                key=str(key),
            ) from error
        if not isinstance(found, PublicSigningKey) or found.key != key:
            raise TrustError(thing, f"the depot sent another one: {found.key}", next="do not go on; tell the depot's operator")
        return found

    # --- install

    async def finish(self, choice: Choice, candidate: Candidate) -> InstallReport:
        """Fetch what the candidate needs, then install all, deepest first."""
        candidates = {choice.ident: candidate}
        asked: set[Ident] = {choice.ident}
        wave = [candidate]
        while wave:
            needed = sorted({need for each in wave for need in each.metadata.tdeps} - asked, key=str)
            asked.update(needed)
            if len(asked) > CLOSURE_MAX:
                raise LimitError(f"package {choice.ident}", f"needs more than {CLOSURE_MAX} packages")
            missing = [need for need in needed if self.tree.find(need) is None]
            wave = await _all(self._slotted(need) for need in missing)
            candidates |= zip(missing, wave, strict=True)
        new: list[Ident] = []
        notices: list[str] = []  # told here, not from the thread
        for ident in install_order({ident: each.metadata.tdeps for ident, each in candidates.items()}):
            await asyncio.to_thread(self.tree.install, candidates[ident].path, self.keys.public, expect=ident, report=notices.append)
            for text in notices:
                self.watch(Noticed(text=text))
            notices.clear()
            new.append(ident)
            self.watch(Installed(ident=ident))
        return InstallReport(package=self.tree.get(choice.ident), new=new, choice=choice)

    async def _slotted(self, ident: Ident) -> Candidate:
        async with self._slots:
            return await self.obtain(ident)


async def _all(jobs: Iterable[Awaitable[Candidate]]) -> list[Candidate]:
    """All results in order; the first error ends the others and is raised alone."""

    async def run(job: Awaitable[Candidate]) -> Candidate:
        return await job

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(job)) for job in jobs]
    except BaseExceptionGroup as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return [task.result() for task in tasks]


def read_key_name(path: Path) -> KeyName:
    """Who says to have signed a file; NotFoundError when there is no such file."""
    from hart.installed import open_regular

    try:
        with open_regular(path) as stream:
            return read_header(stream, thing=str(path)).key
    except FileNotFoundError as error:
        raise NotFoundError(str(path), "no such file", next="check the path") from error


def open_artifact(path: Path, expected: Ident | None, key: PublicSigningKey, target: str | None) -> Candidate:
    """Verify the whole file, then read its metadata through the same descriptor: nobody can exchange it in between. Target None: any."""
    from hart.archive import read_metafiles
    from hart.installed import open_regular
    from hart.metafiles import parse

    with open_regular(path) as stream:
        thing = str(path) if expected is None else f"package {expected}"
        verified = verify(stream, lambda _name: key, thing=thing)
        metadata = parse(read_metafiles(stream, thing=thing))
    if expected is not None and metadata.ident != expected:
        raise TrustError(thing, f"the file is another package: {metadata.ident}", next="do not install it; tell the depot's operator")
    authorise_key(verified.header.key, metadata.ident)
    if target is not None and str(metadata.target) != target:
        raise FormatError(thing, f"is for {metadata.target}, and this host is {target}", next="get the artifact for this target")
    return Candidate(path=path, metadata=metadata)
