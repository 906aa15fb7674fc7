"""Publishing an artifact, in the one allowed order (threats 4.1).

 1. Refuse what the URL alone decides: not fully qualified, unserved target, published already. The caller has authorised the account.
 2. Stream the body into a staged file, hashing and counting, under a cap and the disk's reserve.
 3. The whole file has the checksum that was announced.
 4. The header names a public key that was uploaded for this origin, and that key signed exactly these bytes; only then unpack anything.
 5. IDENT and TARGET inside are those of the URL; the package's type is that of its earlier releases.
 6. fsync, link by content, fsync of the directory (depot/blobs.py).
 7. One transaction: the row, its place in `unstable`, the audit entry (depot/catalog.py). Then, and only then, 201.

Whatever stops it before 7 leaves nothing but, after 6, a blob without a package, which is collected later. A published ident never changes:
uploading it again answers 409 whatever the bytes are, as Builder does, and Habitat's client takes 409 for "already there". The checksum of
what is there goes with the 409, so that a client can tell "the same" from "another"; to publish is idempotent that way.
`forced` only repairs: it must bring the very same bytes (422 `ds:up:4` otherwise) and puts them in place of a damaged blob.
The texts `ds:up:…` are Builder's. Not here: HTTP (depot/serve_packages.py), who may publish (depot/access.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from depot.access import StoredToken
from depot.blobs import Staged
from depot.catalog import NewPackage, Package, Writer
from depot.store import Store
from hart import limits
from hart.archive import read_metafiles
from hart.artifact import authorise_key, read_header, verify
from hart.errors import ConflictError, FormatError, InputError, LimitError, StorageError, TrustError, UnavailableError
from hart.ident import Ident
from hart.keys import KeyName, PublicSigningKey, parse_key
from hart.metafiles import Metadata, parse
from hart.target import Target

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What an upload's URL announces. `checksum` is BLAKE2b-256 of the body, lowercase hex; `target` None means what is inside."""

    ident: Ident
    target: Target | None
    checksum: str
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What an upload may be. Bytes."""

    max_bytes: int
    targets: Collection[Target]


# --- rules (pure)


def refused(thing: str, cause: str, text: str, *, status: int = 422) -> InputError:
    """A refusal whose text Habitat's client shows."""
    return InputError(thing, cause, text=text, status=status)


def check_target(target: Target, caps: Caps) -> None:
    if target not in caps.targets:
        raise refused(f"target {target}", "is not served by this depot", "", status=501)


def check_existing(offer: Offer, existing: Package | None) -> None:
    """ConflictError unless there is nothing yet, or this is a repair."""
    if existing is not None and not offer.forced:
        raise ConflictError(f"{existing.ident} for {existing.new.target}", "is published already", checksum=existing.new.checksum)


def check_bytes(offer: Offer, existing: Package | None, checksum: str) -> None:
    """The body is what was announced, and what is published if this is a repair."""
    if checksum != offer.checksum:
        raise refused(f"upload of {offer.ident}", f"has checksum {checksum}, not {offer.checksum}", "ds:up:3")
    if existing is not None and existing.new.checksum != checksum:
        raise refused(f"upload of {offer.ident}", f"is published with checksum {existing.new.checksum}", "ds:up:4")


def describe(offer: Offer, key: KeyName, metadata: Metadata, *, checksum: str, size: int, earlier_type: str | None) -> NewPackage:
    """The row for a verified artifact; InputError when it is not what the URL says."""
    if metadata.ident != offer.ident:
        raise refused(f"upload of {offer.ident}", f"contains {metadata.ident}", "ds:up:6")
    if offer.target is not None and metadata.target != offer.target:
        raise refused(f"upload of {offer.ident}", f"is for {metadata.target}, not {offer.target}", "ds:up:1")
    kind = "Native" if metadata.package_type.strip().lower() == "native" else "Standard"
    if earlier_type is not None and earlier_type != kind:
        text = f"{offer.ident.family} is of type {earlier_type}, this release of type {kind}"
        raise refused(f"upload of {offer.ident}", text, text)
    return NewPackage(
        ident=offer.ident,
        target=str(metadata.target),
        checksum=checksum,
        size=size,
        key_name=str(key),
        package_type=kind,
        is_a_service=metadata.is_service,
        deps=tuple(map(str, metadata.deps)),
        tdeps=tuple(map(str, metadata.tdeps)),
        build_deps=tuple(map(str, metadata.build_deps)),
        build_tdeps=tuple(map(str, metadata.build_tdeps)),
        exposes=metadata.exposes,
        manifest=metadata.manifest,
        config=metadata.default_config,
    )


# --- driver


class Publisher:
    """Publishes into one store. Two uploads of one ident are verified side by side, but enter one after the other."""

    def __init__(self, store: Store, caps: Caps) -> None:
        self._store = store
        self._caps = caps
        self._under_way = 0
        self._doors: WeakValueDictionary[Ident, asyncio.Lock] = WeakValueDictionary()

    async def publish(self, offer: Offer, body: AsyncIterator[bytes], *, by: StoredToken, announced: int | None) -> Package:
        """Publish one artifact; `announced` is the body's length if known. Returns when it is durable, raises with nothing stored."""
        existing = await self._check_offer(offer, announced)
        if self._under_way >= limits.UPLOADS:
            raise UnavailableError("this depot", f"has {limits.UPLOADS} uploads under way", next="try again later")
        self._under_way += 1
        try:
            staged = await self._in_thread(self._store.blobs.stage)
            try:
                await self._receive(staged, body)
                check_bytes(offer, existing, staged.checksum())
                key, metadata = await self._verify(offer, staged)
                check_target(metadata.target, self._caps)
                return await self._enter(offer, staged, key, metadata, by)
            finally:
                staged.discard()
        except StorageError as error:
            self._store.note_failure(error)
            raise
        finally:
            self._under_way -= 1

    async def _check_offer(self, offer: Offer, announced: int | None) -> Package | None:
        self._store.check_writable()
        if announced is not None and announced > self._caps.max_bytes:
            raise LimitError(f"upload of {offer.ident}", f"is larger than {self._caps.max_bytes} bytes")
        if offer.target is None:
            return None
        check_target(offer.target, self._caps)
        target = offer.target
        existing = await self._store.read(lambda reader: reader.package(offer.ident, target))
        check_existing(offer, existing)
        return existing

    async def _receive(self, staged: Staged, body: AsyncIterator[bytes]) -> None:
        async for block in body:
            if staged.size + len(block) > self._caps.max_bytes:
                raise LimitError("this upload", f"is larger than {self._caps.max_bytes} bytes")
            await self._in_thread(partial(staged.write, block))

    async def _verify(self, offer: Offer, staged: Staged) -> tuple[KeyName, Metadata]:
        thing = f"upload of {offer.ident}"
        name = await self._in_thread(lambda: _signer(staged, thing))
        authorise_key(name, offer.ident)
        text = await self._store.read(lambda reader: reader.key(name.name, name.revision))
        if text is None:
            advice = f"stead origin key upload {name.name}"
            raise TrustError(thing, f"is signed by {name}, which was not uploaded for origin {name.name}", next=advice)
        key = parse_key(text)
        assert isinstance(key, PublicSigningKey), name
        return name, await self._in_thread(lambda: _contents(staged, key, thing))

    async def _enter(self, offer: Offer, staged: Staged, key: KeyName, metadata: Metadata, by: StoredToken) -> Package:
        """Steps 6 and 7. The door keeps the losers of a race from leaving blobs behind; the catalog decides in any case."""
        door = self._doors.setdefault(offer.ident, asyncio.Lock())
        async with door:
            ident, target, checksum = offer.ident, str(metadata.target), staged.checksum()
            earlier = await self._store.read(lambda reader: reader.package_type(ident.origin, ident.name))
            new = describe(offer, key, metadata, checksum=checksum, size=staged.size, earlier_type=earlier)
            existing = await self._store.read(lambda reader: reader.package(ident, target))
            check_existing(offer, existing)
            check_bytes(offer, existing, checksum)
            await self._in_thread(lambda: self._store.blobs.keep(staged, repair=existing is not None))
            return await self._store.write(lambda writer: _commit(writer, offer, new, by), by=by.account)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Off the event loop, and to its end: a staged file must not be discarded under a thread that still writes it."""
        future = asyncio.get_running_loop().run_in_executor(self._store.publishing, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def _commit(writer: Writer, offer: Offer, new: NewPackage, by: StoredToken) -> Package:
    existing = writer.reader.package(new.ident, new.target)
    check_existing(offer, existing)
    check_bytes(offer, existing, new.checksum)
    if existing is not None:
        writer.note_repair(existing)
        return existing
    return writer.add_package(new, by.account_id)


def _signer(staged: Staged, thing: str) -> KeyName:
    with staged.open() as stream:
        try:
            return read_header(stream, thing=thing).key
        except FormatError as error:
            raise refused(thing, error.cause, "ds:up:0") from error


def _contents(staged: Staged, key: PublicSigningKey, thing: str) -> Metadata:
    """Verify the whole file, then, and only then, read what is packed in it."""
    with staged.open() as stream:
        verify(stream, lambda _name: key, thing=thing)
        return parse(read_metafiles(stream, thing=thing))
