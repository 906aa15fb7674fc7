"""The tree of installed packages, `<root>/pkgs/O/N/V/R` (reference: packages 5.3 to 5.5; threats S12 to S18).

Rules: a release is there whole or not at all, so whoever reads the tree needs no lock. An artifact is opened once: header, key, signature
over the whole payload, and only then is anything decompressed, from the same descriptor, hashed again on the way. A package is installed
after all that it needs (TDEPS), and removed before it. Packages of other targets are invisible. Locks: an install holds the tree's lock
shared while it checks dependencies and renames, an uninstall holds it alone.
Not here: hooks (who installs and removes runs them, see `install_hooks_due` and `farewell`), downloads, and which packages a closure has
(`depot/fetch.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from hart import closure, filelist, metafiles, sweep
from hart.archive import announced, extract, read_metafiles
from hart.artifact import Trust, Verified, authorise_key, verify
from hart.errors import ConflictError, FormatError, InputError, NotFoundError, StorageError, TrustError, UsageError
from hart.filelist import Problem
from hart.files import make_dirs, open_regular, storage
from hart.ident import Ident
from hart.keyfile import KeyName
from hart.limits import FILES_LIST_MAX, HOOK_STATUS_MAX, STAGING_TRIES
from hart.members import stores_of
from hart.metafiles import Metadata
from hart.pins import supervisor_pins
from hart.root import DEFAULT_ROOT, Root
from hart.staging import Staging, prune
from hart.staging import sweep as sweep_staging
from hart.sweep import Kept, dependants
from hart.target import host_target
from hart.version import ident_key

__all__ = ["InstalledPackage", "InstalledTree", "Problem", "Removed", "install_hooks_due", "open_regular"]

LOCK = ".lock"  # in pkgs; no origin begins with a dot


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """One installed release. The metadata's paths are those under this root."""

    ident: Ident
    path: Path
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What an uninstall removed (or would have, `dry_run`), in order, and what it was asked for but kept."""

    packages: tuple[Ident, ...]
    kept: tuple[Kept, ...]
    dry_run: bool


Packages: TypeAlias = list[InstalledPackage]  # inside the class, `list` is the method
Problems: TypeAlias = list[Problem]
Paths: TypeAlias = list[Path]


class HashingReader:
    """Passes a payload on and hashes it: what was unpacked is what was verified, even if somebody writes to the file meanwhile."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.digest = hashlib.blake2b(digest_size=32)

    def read(self, size: int = -1, /) -> bytes:
        block = self.source.read(size)
        self.digest.update(block)
        return block


class InstalledTree:
    """The packages under one root. Holds nothing: every call looks at the disk."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.target = host_target()

    # --- looking

    def list(self, wanted: Ident | None = None) -> Packages:
        """What is installed and satisfies `wanted`, sorted, oldest first. Damaged releases are not in it."""
        loaded = (self._load(ident) for ident in sorted(self._idents(wanted), key=ident_key))
        return [package for package in loaded if package is not None]

    def find(self, wanted: Ident) -> InstalledPackage | None:
        """The newest installed package that satisfies `wanted`."""
        for ident in sorted(self._idents(wanted), key=ident_key, reverse=True):
            if package := self._load(ident):
                return package
        return None

    def get(self, wanted: Ident) -> InstalledPackage:
        """As find; NotFoundError with the way to get it."""
        if package := self.find(wanted):
            return package
        raise NotFoundError(f"package {wanted}", f"is not installed under {self.root.path}", next=f"stead pkg install {wanted}")

    def closure(self, package: InstalledPackage) -> Packages:
        """The package itself, then all that it needs in TDEPS order; NotFoundError names what is missing."""
        self._demand(package.metadata)
        return [package, *(self.get(ident) for ident in package.metadata.tdeps)]

    def environment(self, package: InstalledPackage, inherited: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a program of the package that is started in `inherited`."""
        return closure.environment(self.complete_metadata(package), inherited)

    def complete_metadata(self, package: InstalledPackage) -> Metadata:
        """The metadata with a RUNTIME_PATH: packages before 2017 have none, it is then composed from PATH of all that is needed."""
        if package.metadata.runtime_path:
            return package.metadata
        deps = [member.metadata for member in self.closure(package)[1:]]
        return replace(package.metadata, runtime_path=closure.runtime_path(package.metadata.path, (), deps))

    def dependants(self, ident: Ident, *, transitive: bool = False) -> Packages:
        """Installed packages that need this one, directly or also through others."""
        packages = self.list()
        needs = {package.ident: package.metadata.tdeps if transitive else package.metadata.deps for package in packages}
        needing = set(dependants(ident, needs, needs))
        return [package for package in packages if package.ident in needing]

    def provides(self, filename: str, wanted: Ident | None = None) -> Iterator[tuple[InstalledPackage, Path]]:
        """Every installed file (or link to one) with exactly this name, and whose it is."""
        for package in self.list(wanted):
            for directory, folders, names in os.walk(package.path):
                folders.sort()
                if filename in names:
                    yield package, Path(directory, filename)

    def verify(self, package: InstalledPackage, trust: Trust, *, pause: Callable[[int], None] = lambda _: None) -> Problems:
        """Compare a release with its signed list of files. Raises what `trust` raises for a key that is not known. `pause` is called after
        each block with its size: whoever checks in the background rests there."""
        thing = f"package {package.ident}"
        with storage(package.path):
            try:
                signed = metafiles.read_bounded(package.path / "FILES", FILES_LIST_MAX)
                if signed is None:
                    return [Problem("FILES", filelist.NO_LIST)]
                stream = io.BytesIO(signed)
                authorise_key(verify(stream, trust, thing=f"FILES of {package.ident}").header.key, package.ident)
                build_root = package.metadata.build_root or str(DEFAULT_ROOT)
                prefix = f"{build_root.rstrip('/')}/pkgs/{package.ident}"
                listed = filelist.parse_files_list(stream.read(), prefix, thing=thing)
            except (TrustError, InputError) as error:
                return [Problem("FILES", error.cause)]
            return filelist.compare(package.path, listed, pause)

    # --- changing

    def install(
        self,
        artifact: Path,
        trust: Trust,
        *,
        expect: Ident | None = None,
        report: Callable[[str], None] | None = None,
        again: bool = False,
    ) -> InstalledPackage:
        """Install one artifact whose dependencies are installed. What is installed already is left as it is, or replaced, `again`: who runs
        something of it keeps the old files open.

        TrustError when it is not what an authorised key signed, or not what was expected; UsageError for another target or root;
        NotFoundError when dependencies are missing; StorageError for the disk. `report` is told what a person should know.
        """
        thing = str(artifact)
        with open_regular(artifact) as stream:
            verified = verify(stream, trust, thing=thing)
            first = announced(stream, thing=thing)
            self._authorise(verified.header.key, first.ident, expect)
            if (there := self._complete(first.ident)) is not None and not again:
                return there
            if first.metafiles_first:  # else reading them would cost as much as unpacking, and they are checked after that
                stream.seek(verified.header.payload_offset)
                self._admit(metafiles.parse(read_metafiles(stream, thing=thing)))
            self.sweep_temporary()
            try:
                with Staging.beside(self.root.package(first.ident)) as staging:
                    stream.seek(verified.header.payload_offset)
                    self._unpack(stream, verified, staging.path, first.ident, report)
                    metadata = metafiles.read(staging.path)
                    if metadata.ident != first.ident:
                        raise FormatError(thing, f"IDENT says {metadata.ident}, the paths {first.ident}")
                    self._admit(metadata)
                    staging.sync()
                    if again and (replaced := self._replace(staging, metadata)) is not None:
                        return replaced
                    return self._put_in_place(staging, metadata)
            finally:
                prune(self.root.package(first.ident).parent, self.root.pkgs)

    def uninstall(
        self,
        wanted: Ident,
        *,
        pinned: Collection[Ident] = (),
        dry_run: bool = False,
        exclude: Collection[Ident] = (),
        keep_latest: int | None = None,
        no_deps: bool = False,
        farewell: Callable[[InstalledPackage], None] | None = None,
    ) -> Removed:
        """Remove the newest package that satisfies `wanted`, or with `keep_latest` all but the newest N, and what only they needed.

        `farewell` is called before the newest release of a name goes of which nothing stays; what it raises leaves that package and the
        later ones installed. It is called under the lock: nobody installs a package meanwhile that needs one of these.
        What the supervisor's specs load is pinned too. One package that others need: ConflictError with their names; with `keep_latest`
        those are skipped and told in `kept`.
        """
        if self.find(wanted) is None:  # before the lock, which makes directories
            raise NotFoundError(f"package {wanted}", f"is not installed under {self.root.path}", next="stead pkg list")
        with self._locked(exclusive=True):
            packages = self.list()
            matching = [package.ident for package in packages if package.ident.satisfies(wanted)]
            targets = matching[-1:] if keep_latest is None else sweep.outdated(matching, keep_latest)
            plan = sweep.plan(
                {package.ident: {*package.metadata.deps, *package.metadata.tdeps} for package in packages},
                targets,
                pinned={*pinned, *supervisor_pins(self.root, [package.ident for package in packages])},
                exclude=exclude,
                no_deps=no_deps,
            )
            if plan.kept and keep_latest is None:
                raise refused(plan.kept[0])
            if not dry_run:
                last = sweep.last_of_their_name((package.ident for package in packages), plan.remove)
                known = {package.ident: package for package in packages}
                for ident in plan.remove:
                    if farewell is not None and ident in last:
                        farewell(known[ident])
                    self._remove(ident)
        return Removed(packages=plan.remove, kept=plan.kept, dry_run=dry_run)

    def sweep_temporary(self) -> Paths:
        """Remove what killed installs and uninstalls left; gives the paths."""
        return sweep_staging(self.root.pkgs)

    # --- steps

    def _idents(self, wanted: Ident | None) -> Iterator[Ident]:
        """Names of releases on the disk, complete or not."""
        parts = ("*", "*", "*", "*")
        if wanted is not None:
            parts = (wanted.origin, wanted.name, wanted.version or "*", wanted.release or "*")
        with storage(self.root.pkgs):
            for names in descend(self.root.pkgs, parts):
                try:
                    yield Ident(*names)
                except FormatError:
                    continue  # not a package: a file of somebody's

    def _load(self, ident: Ident) -> InstalledPackage | None:
        """A release, unless it is not there, damaged, or for another target."""
        package = self._read(ident)
        return package if package is not None and package.metadata.target == self.target else None

    def _read(self, ident: Ident) -> InstalledPackage | None:
        path = self.root.package(ident)
        try:
            metadata = metafiles.read(path, self.root)
        except (InputError, NotFoundError):
            return None
        return InstalledPackage(ident=ident, path=path, metadata=metadata) if metadata.ident == ident else None

    def _complete(self, ident: Ident) -> InstalledPackage | None:
        """What has the release's name and is whole; ConflictError when it is for another target."""
        package = self._read(ident)
        if package is not None and package.metadata.target != self.target:
            raise ConflictError(f"package {ident}", f"is installed for {package.metadata.target} under {self.root.path}")
        return package

    def _authorise(self, key: KeyName, ident: Ident, expect: Ident | None) -> None:
        """The package is signed by its origin's key, and is the one that was asked for."""
        authorise_key(key, ident)
        if expect is not None and not ident.satisfies(expect):
            raise TrustError(f"package {expect}", f"the file is another package: {ident}", next="do not use this source for packages")

    def _admit(self, metadata: Metadata) -> None:
        """The package is for this host and root, and all that it needs is installed."""
        ident, root = metadata.ident, os.path.normpath(self.root.path)
        if metadata.target != self.target:
            raise UsageError(f"package {ident}", f"is built for {metadata.target}, this host is {self.target}")
        build_root = os.path.normpath(metadata.build_root or DEFAULT_ROOT)
        if build_root != root and not metadata.relocatable:
            raise UsageError(
                f"package {ident}",
                f"is built for the root {build_root}, and its files name that path; here the root is {root}",
                next=f"install it with --root {build_root}, or build it again with --root {root}",
            )
        self._demand(metadata)

    def _demand(self, metadata: Metadata) -> None:
        """All that a package needs is installed."""
        missing = [ident for ident in metadata.tdeps if self._load(ident) is None]
        if missing:
            raise NotFoundError(
                f"package {metadata.ident}",
                f"needs what is not installed: {', '.join(map(str, missing))}",
                next=f"stead pkg install {metadata.ident}",
                missing=[str(ident) for ident in missing],
            )

    def _unpack(self, stream: BinaryIO, verified: Verified, into: Path, ident: Ident, report: Callable[[str], None] | None) -> None:
        """Extract, and check that the bytes were those that were verified."""
        payload = HashingReader(stream)
        extracted = extract(payload, into, ident, stores=stores_of(str(self.root.path)))
        if payload.digest.hexdigest() != verified.payload_blake2b:
            raise TrustError(f"package {ident}", "its file changed after it was verified", next="find out who writes to it")
        if extracted.stripped and report is not None:
            report(f"{ident}: setuid, setgid and sticky bits were dropped from {', '.join(extracted.stripped)}")

    def _put_in_place(self, staging: Staging, metadata: Metadata) -> InstalledPackage:
        """Rename, under the shared lock, while all that the package needs is there. Somebody else's complete one is as good."""
        release = self.root.package(metadata.ident)
        with self._locked(exclusive=False):
            self._demand(metadata)
            for _ in range(STAGING_TRIES):
                done = staging.become(release)
                if (package := self._complete(metadata.ident)) is not None:
                    return package
                assert not done, release
                if broken := Staging.take(release):  # an empty or damaged directory has the name
                    with broken:
                        pass
        raise StorageError(str(release), "cannot be replaced", next=f"move it away: mv {release} /tmp")

    def _replace(self, staging: Staging, metadata: Metadata) -> InstalledPackage | None:
        """At once where the file system can; else None, and the damaged release is out of the way: for a moment nothing has its name."""
        with self._locked(exclusive=False):
            self._demand(metadata)
            if staging.replace(self.root.package(metadata.ident)):
                return self._complete(metadata.ident)
            self._remove(metadata.ident)
        return None

    def _remove(self, ident: Ident) -> None:
        release = self.root.package(ident)
        if taken := Staging.take(release):
            with taken:
                pass
        prune(release.parent, self.root.pkgs)

    @contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        make_dirs(self.root.pkgs)
        path = self.root.pkgs / LOCK
        with storage(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)  # who may read it may lock it
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)


def install_hooks_due(package: InstalledPackage) -> bool:
    """Whether the package has an install hook that has not succeeded yet (packages 5.4, step 6)."""
    if not (package.path / "hooks" / "install").is_file():
        return False
    return (metafiles.read_bounded(package.path / "INSTALL_HOOK_STATUS", HOOK_STATUS_MAX) or b"").strip() != b"0"


def descend(top: Path, parts: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Names of directories below `top`, one for each part; `*` stands for all of them."""
    if not parts:
        yield ()
        return
    first, *rest = parts
    try:
        names = [entry.name for entry in top.iterdir()] if first == "*" else [first]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if (top / name).is_dir():
            yield from ((name, *below) for below in descend(top / name, rest))


def refused(kept: Kept) -> ConflictError:
    """Why one package cannot be uninstalled."""
    if not kept.needed_by:
        return ConflictError(f"package {kept.ident}", kept.why, next=f"stead svc unload {kept.ident.family}")
    names = ", ".join(map(str, kept.needed_by))
    return ConflictError(
        f"package {kept.ident}",
        f"is needed by {names}",
        next=f"stead pkg uninstall {kept.needed_by[0]} first",
        needed_by=[str(ident) for ident in kept.needed_by],
    )
