"""Publishing: the rules as functions, and the order with a real store."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from depot import blobs, publish, tokens
from depot.access import StoredToken, present
from depot.catalog import Package
from depot.publish import Caps, Offer, Publisher
from depot.routes import status_of
from depot.store import Store, open_store
from hart import limits
from hart.errors import ConflictError, InputError, LimitError, NotFoundError, SteadError, StorageError, TrustError, UnavailableError
from hart.ident import Ident
from hart.metafiles import Metadata
from hart.target import Target
from tests.depot.conformance.artifacts import KEY, OTHER, STRANGER, Artifact, artifact, ident

LINUX = Target.X86_64_LINUX
CAPS = Caps(max_bytes=1 << 20, targets=frozenset({LINUX, Target.AARCH64_LINUX}))


def offer(made: Artifact, **changes: object) -> Offer:
    fields: dict[str, object] = {"ident": made.ident, "target": made.target, "checksum": made.checksum}
    return Offer(**(fields | changes))  # type: ignore[arg-type]


class Counter:
    """A shop with a clerk: a store with the origin acme, and who may publish there."""

    def __init__(self, store: Store, clerk: StoredToken, caps: Caps) -> None:
        self.store = store
        self.clerk = clerk
        self.publisher = Publisher(store, caps)

    async def publish(self, made: Artifact, *, data: bytes | None = None, announced: int | None = None, **changes: object) -> Package:
        content = made.data if data is None else data

        async def body() -> AsyncIterator[bytes]:
            for at in range(0, len(content), 1000):
                yield content[at : at + 1000]

        return await self.publisher.publish(offer(made, **changes), body(), by=self.clerk, announced=announced)

    async def refusal(self, made: Artifact, **changes: object) -> SteadError:
        """What it is refused with; and nothing is left of it."""
        before = sorted((self.store.directory / "blobs").glob("*/*"))
        head = await self.store.read(lambda reader: reader.audit_head())
        with pytest.raises(SteadError) as caught:
            await self.publish(made, **changes)  # type: ignore[arg-type]
        assert not list((self.store.directory / "tmp").iterdir())
        assert sorted((self.store.directory / "blobs").glob("*/*")) == before
        assert await self.store.read(lambda reader: reader.audit_head()) == head
        return caught.value


@asynccontextmanager
async def counter(directory: Path, caps: Caps = CAPS) -> AsyncIterator[Counter]:
    store = await asyncio.to_thread(open_store, directory / "data")
    try:
        token = present((await tokens.create(store, "alice", [], 60))["token"])
        assert token is not None
        clerk = await store.read(lambda reader: reader.token(token.public_id))
        assert clerk is not None
        await store.write(lambda writer: writer.add_origin("acme", clerk.account_id), by="alice")
        await store.write(lambda writer: writer.add_key("acme", KEY.key.revision, KEY.public.text()), by="alice")
        yield Counter(store, clerk, caps)
    finally:
        await store.close()


# --- rules


def test_a_row_says_what_the_metafiles_say() -> None:
    """Type in Builder's words, dependencies as texts."""
    dep = Ident("core", "glibc", "2.36", "20260101000000")
    meta = Metadata(ident=ident(), target=LINUX, deps=(dep,), package_type="native", exposes=(80,), default_config="a = 1", is_service=True)
    row = publish.describe(
        Offer(ident=ident(), target=LINUX, checksum="0" * 64), KEY.key, meta, checksum="0" * 64, size=3, earlier_type=None
    )
    assert (row.package_type, row.deps, row.exposes, row.config, row.is_a_service) == ("Native", (str(dep),), (80,), "a = 1", True)
    assert row.key_name == str(KEY.key)


@pytest.mark.parametrize(
    ("meta", "earlier", "text"),
    [
        (Metadata(ident=ident("db"), target=LINUX), None, "ds:up:6"),
        (Metadata(ident=ident(release="20270101000000"), target=LINUX), None, "ds:up:6"),
        (Metadata(ident=ident(), target=Target.AARCH64_LINUX), None, "ds:up:1"),
        (Metadata(ident=ident(), target=LINUX), "Native", "acme/web is of type Native, this release of type Standard"),
    ],
)
def test_an_artifact_that_is_not_what_the_url_says_is_refused(meta: Metadata, earlier: str | None, text: str) -> None:
    """With Builder's texts, which its client shows."""
    wanted = Offer(ident=ident(), target=LINUX, checksum="0" * 64)
    with pytest.raises(InputError) as caught:
        publish.describe(wanted, KEY.key, meta, checksum="0" * 64, size=3, earlier_type=earlier)
    assert caught.value.data["text"] == text
    assert status_of(caught.value) == 422


# --- the order


@pytest.mark.asyncio
async def test_a_good_artifact_is_published_with_its_bytes(tmp_path: Path) -> None:
    """Row, blob, unstable, audit."""
    async with counter(tmp_path) as shop:
        made = artifact(tmp_path, content=b"x" * 5000)
        package = await shop.publish(made, announced=len(made.data))
        assert (package.new.checksum, package.new.size, package.channels) == (made.checksum, len(made.data), ("unstable",))
        with shop.store.blobs.open(made.checksum) as blob:
            assert blob.read() == made.data
        assert not list((shop.store.directory / "tmp").iterdir())


@pytest.mark.asyncio
async def test_publish_refuses_an_artifact_whose_checksum_was_announced_wrong(tmp_path: Path) -> None:
    """422 ds:up:3."""
    async with counter(tmp_path) as shop:
        error = await shop.refusal(artifact(tmp_path), checksum="0" * 64)
        assert (status_of(error), error.data["text"]) == (422, "ds:up:3")


@pytest.mark.asyncio
async def test_publish_refuses_a_key_that_was_not_uploaded_for_the_origin(tmp_path: Path) -> None:
    """It is named for the origin, but nobody gave it to us."""
    async with counter(tmp_path) as shop:
        error = await shop.refusal(artifact(tmp_path, key=STRANGER))
        assert isinstance(error, TrustError)
        assert "was not uploaded" in error.cause


@pytest.mark.asyncio
async def test_publish_refuses_a_key_of_another_origin(tmp_path: Path) -> None:
    """S04: even when that origin exists here, with that key."""
    async with counter(tmp_path) as shop:
        await shop.store.write(lambda writer: writer.add_origin("evil", shop.clerk.account_id), by="alice")
        await shop.store.write(lambda writer: writer.add_key("evil", OTHER.key.revision, OTHER.public.text()), by="alice")
        assert isinstance(await shop.refusal(artifact(tmp_path, key=OTHER)), TrustError)


@pytest.mark.asyncio
async def test_publish_refuses_any_flipped_byte(tmp_path: Path) -> None:
    """S01: also when the uploader announces the checksum of the damaged file."""
    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        for place in range(0, len(made.data), 97):
            flipped = bytearray(made.data)
            flipped[place] ^= 1
            bad = Artifact(made.ident, made.target, bytes(flipped))
            assert status_of(await shop.refusal(bad)) == 422, place
        assert await shop.publish(made)


@pytest.mark.asyncio
async def test_publish_refuses_a_truncated_artifact(tmp_path: Path) -> None:
    """Any shorter file, announced as it is."""
    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        for length in (0, 1, 50, 300, len(made.data) - 1):
            assert status_of(await shop.refusal(Artifact(made.ident, made.target, made.data[:length]))) == 422, length


@pytest.mark.asyncio
async def test_publish_refuses_an_ident_or_target_other_than_in_the_url(tmp_path: Path) -> None:
    """The overwrite bypass of Builder: a claimed target that is not the artifact's."""
    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        await shop.publish(made)
        assert (await shop.refusal(made, target=Target.AARCH64_LINUX)).data["text"] == "ds:up:1"
        assert (await shop.refusal(made, ident=ident("db"))).data["text"] == "ds:up:6"
        assert isinstance(await shop.refusal(made, target=None), ConflictError)


@pytest.mark.asyncio
async def test_publish_refuses_a_target_that_is_not_served(tmp_path: Path) -> None:
    """501, which clients take for "skip"; before the body if it is announced, after reading it if not."""
    async with counter(tmp_path) as shop:
        made = artifact(tmp_path, target=Target.X86_64_WINDOWS)
        assert status_of(await shop.refusal(made)) == 501
        assert status_of(await shop.refusal(made, target=None)) == 501


@pytest.mark.asyncio
async def test_publish_refuses_more_than_the_cap(tmp_path: Path) -> None:
    """Announced or not."""
    async with counter(tmp_path, Caps(max_bytes=2000, targets=CAPS.targets)) as shop:
        made = artifact(tmp_path, content=os.urandom(4000))
        assert isinstance(await shop.refusal(made, announced=len(made.data)), LimitError)
        assert status_of(await shop.refusal(made)) == 413


@pytest.mark.asyncio
async def test_a_second_upload_is_409_and_says_what_is_there(tmp_path: Path) -> None:
    """Whatever its bytes are: Habitat's client takes it for "already there", ours compares the checksum."""
    async with counter(tmp_path) as shop:
        first, second = artifact(tmp_path), artifact(tmp_path, content=b"other")
        await shop.publish(first)
        for made in (first, second):
            error = await shop.refusal(made)
            assert status_of(error) == 409
            assert error.data["checksum"] == first.checksum


@pytest.mark.asyncio
async def test_fifty_uploads_of_one_ident_at_once_give_one_winner(tmp_path: Path) -> None:
    """S26: one is published, the stored bytes are its own, the others are 409 and leave no blob."""
    async with counter(tmp_path) as shop:
        offered = [artifact(tmp_path, content=f"variant {number}".encode()) for number in range(50)]
        outcomes = await asyncio.gather(*(shop.publish(made) for made in offered), return_exceptions=True)
        won = [outcome for outcome in outcomes if isinstance(outcome, Package)]
        assert len(won) == 1
        assert all(isinstance(outcome, Package) or (isinstance(outcome, SteadError) and status_of(outcome) == 409) for outcome in outcomes)
        assert [found.checksum for found in shop.store.blobs.all(0.0)] == [won[0].new.checksum]
        assert offered[outcomes.index(won[0])].checksum == won[0].new.checksum


@pytest.mark.asyncio
async def test_forced_puts_the_same_bytes_back_and_refuses_others(tmp_path: Path) -> None:
    """Repair after bit rot; never a way to change what is published."""
    async with counter(tmp_path) as shop:
        made, other = artifact(tmp_path), artifact(tmp_path, content=b"other")
        await shop.publish(made)
        (path,) = (shop.store.directory / "blobs").glob("*/*")
        path.write_bytes(b"x" * len(made.data))
        assert (await shop.refusal(other, forced=True)).data["text"] == "ds:up:4"
        assert (await shop.publish(made, forced=True)).new.checksum == made.checksum
        assert path.read_bytes() == made.data
        (entry, _) = (await shop.store.read(lambda reader: reader.audit(after=0, count=100)))[-1]
        assert entry.action == "package.repair"


@pytest.mark.asyncio
async def test_a_full_disk_refuses_with_507_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S31: without a restart."""

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(blobs.os, "write", full)
            assert status_of(await shop.refusal(made)) == 507
        assert await shop.publish(made)


@pytest.mark.asyncio
async def test_a_failed_fsync_makes_the_depot_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S25: never tried again in this process, also when the disk claims to be well."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(blobs.os, "fsync", fail)
            error = await shop.refusal(made)
            assert isinstance(error, StorageError)
            assert status_of(error) == 503
        assert shop.store.read_only
        assert isinstance(await shop.refusal(made), UnavailableError)
        assert await shop.store.read(lambda reader: reader.origin("acme")) is not None


@pytest.mark.asyncio
async def test_a_disk_that_cannot_remove_has_failed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S25: EIO of unlink is no bug of ours and no success: 503, nothing published, read-only."""

    def fail(_path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(blobs.Path, "unlink", fail)
            with pytest.raises(StorageError) as caught:
                await shop.publish(made)
            assert status_of(caught.value) == 503
        assert shop.store.read_only
        assert await shop.store.read(lambda reader: reader.package(made.ident, str(made.target))) is None


@pytest.mark.asyncio
async def test_an_upload_that_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    """S30: cancelled at any point while its body comes."""
    async with counter(tmp_path) as shop:
        started = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 1000
                started.set()
                await asyncio.sleep(0)

        wanted = Offer(ident=ident(), target=LINUX, checksum="0" * 64)
        upload = asyncio.ensure_future(shop.publisher.publish(wanted, endless(), by=shop.clerk, announced=None))
        await started.wait()
        upload.cancel()
        with pytest.raises((asyncio.CancelledError, LimitError)):
            await upload
        assert not list((shop.store.directory / "tmp").iterdir())
        assert await shop.publish(artifact(tmp_path))


@pytest.mark.asyncio
async def test_only_so_many_uploads_are_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is 503, which clients try again."""
    monkeypatch.setattr(limits, "UPLOADS", 0)
    async with counter(tmp_path) as shop:
        assert status_of(await shop.refusal(artifact(tmp_path))) == 503


@pytest.mark.asyncio
async def test_orphans_go_after_a_day_and_packages_stay(tmp_path: Path) -> None:
    """A crash between link and commit leaves a blob that nobody refers to."""
    async with counter(tmp_path) as shop:
        made = artifact(tmp_path)
        await shop.publish(made)
        for content in (b"old orphan", b"young orphan"):
            staged = shop.store.blobs.stage()
            staged.write(content)
            shop.store.blobs.keep(staged)
        old, young, used = (shop.store.directory / "blobs" / name[:2] / name for name in _names(b"old orphan", b"young orphan", made.data))
        for path in (old, used):
            os.utime(path, (1000, 1000))
        assert await shop.store.collect_orphans() == 1
        assert (old.exists(), young.exists(), used.exists()) == (False, True, True)


def _names(*contents: bytes) -> list[str]:
    return [Artifact(ident(), LINUX, content).checksum for content in contents]


@pytest.mark.asyncio
async def test_a_package_whose_blob_is_gone_is_not_found(tmp_path: Path) -> None:
    """A missing file is said to be missing, not read as empty."""
    async with counter(tmp_path) as shop:
        package = await shop.publish(artifact(tmp_path))
        shop.store.blobs.remove(package.new.checksum)
        with pytest.raises(NotFoundError):
            shop.store.blobs.open(package.new.checksum)
