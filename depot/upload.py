"""Publish artifacts in an order in which a depot is never without what it has promised.

Rules: the origin's public key first, then each dependency that the depot lacks, deepest first, then the package: who finds a package can
install it. A dependency is taken from beside the artifact or from the artifact cache. What the depot has already, byte for byte, is not
sent again; the same release with other bytes is a ConflictError. Every artifact is verified before it is sent. Source: Habitat's client
(depot API 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from depot.client import Depot, Uploaded
from depot.fetch import Candidate, open_artifact, read_key_name
from hart.errors import ConflictError, DeniedError, NotFoundError
from hart.ident import Ident
from hart.keys import KeyCache, KeyName
from hart.limits import DOWNLOAD_PARALLEL

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUploaded:
    key: KeyName


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """So far, in bytes."""

    ident: Ident
    done: int
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """In the depot now, and in `channel` where one was asked for."""

    uploaded: Uploaded
    channel: str | None


Event: TypeAlias = KeyUploaded | Sending | Published
Watch: TypeAlias = Callable[[Event], None]


class Publisher:
    """Publishes with one set of keys; looks for dependencies in `places`."""

    def __init__(self, depot: Depot, keys: KeyCache, places: Sequence[Path], *, channel: str | None, force: bool, watch: Watch) -> None:
        self.depot = depot
        self.keys = keys
        self.places = places
        self.channel = channel
        self.force = force
        self.watch = watch
        self._keys_there: set[KeyName] = set()

    async def publish(self, artifact: Path) -> list[Published]:
        """Upload an artifact after what it needs; returns all that was published, the artifact last."""
        key, candidate = await self._verified(artifact)
        meta = candidate.metadata
        target = str(meta.target)
        missing = await self._missing(meta.tdeps, target)
        files = [(ident, self._find(ident, target, artifact)) for ident in reversed(missing)]  # all found before any is sent
        done = []
        for ident, path in files:
            dep_key, dep = await self._verified(path)
            if dep.metadata.ident != ident:
                raise ConflictError(str(path), f"is {dep.metadata.ident}, not {ident}", next="remove it, or rename it")
            done.append(await self._one(dep_key, dep))
        return [*done, await self._one(key, candidate)]

    async def _verified(self, path: Path) -> tuple[KeyName, Candidate]:
        """An artifact that its own origin's key signed."""
        name = await asyncio.to_thread(read_key_name, path)
        key = self.keys.public(name)
        return name, await asyncio.to_thread(open_artifact, path, None, key, None)

    async def _missing(self, wanted: Sequence[Ident], target: str) -> list[Ident]:
        """Those that the depot lacks, in the order given."""
        slots = asyncio.Semaphore(DOWNLOAD_PARALLEL)

        async def lacks(ident: Ident) -> bool:
            async with slots:
                return await self.depot.package(ident, target=target) is None

        found = await asyncio.gather(*(lacks(ident) for ident in wanted))
        return [ident for ident, is_missing in zip(wanted, found, strict=True) if is_missing]

    def _find(self, ident: Ident, target: str, beside: Path) -> Path:
        name = ident.archive_name(target)
        for place in (beside.parent, *self.places):
            if (place / name).is_file():
                return place / name
        raise NotFoundError(
            f"dependency {ident} of {beside}",
            f"is neither in the depot nor beside the artifact, nor in {', '.join(map(str, self.places))}",
            next=f"put {name} beside it, or upload it first",
        )

    async def _one(self, key: KeyName, candidate: Candidate) -> Published:
        """The key, then the package unless the depot has it, then the channel."""
        from hart.artifact import checksum

        if key not in self._keys_there:
            new = await self._upload_key(key)
            self._keys_there.add(key)
            if new:
                self.watch(KeyUploaded(key=key))
        ident, target = candidate.metadata.ident, str(candidate.metadata.target)
        digest = await asyncio.to_thread(checksum, candidate.path)
        record = await self.depot.package(ident, target=target)
        if record is not None and record.checksum == digest and not self.force:
            uploaded = Uploaded(ident=ident, target=target, checksum=digest, new=False)
            if self.channel is not None:
                await self.depot.publish_in(ident, self.channel, target)
        else:
            uploaded = await self.depot.send(
                candidate.path,
                ident,
                target,
                digest,
                channel=self.channel,
                force=self.force,
                progress=lambda done, total, /: self.watch(Sending(ident=ident, done=done, total=total)),
            )
        published = Published(uploaded=uploaded, channel=self.channel)
        self.watch(published)
        return published

    async def _upload_key(self, key: KeyName) -> bool:
        """Whether the depot did not have it. A missing origin is named as such: a depot may say `denied` for it."""
        try:
            return await self.depot.upload_public_key(self.keys.public(key).text())
        except (NotFoundError, DeniedError) as error:
            try:
                await self.depot.origin(key.name)
            except NotFoundError:
                raise NotFoundError(
                    f"origin {key.name}", f"is not in {self.depot.url}", next=f"stead origin create {key.name}, then upload again"
                ) from error
            raise
