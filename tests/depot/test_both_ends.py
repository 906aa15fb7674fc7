"""The client against the real depot in its own process: what the simulator claims about a depot is true."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from depot import fetch
from depot.client import Depot
from depot.retry import Backoff
from depot.transport import Pace
from depot.upload import Event, Published, Publisher
from hart.errors import ConflictError, DeniedError, NotFoundError, SteadError, TrustError, UnavailableError
from hart.ident import Ident
from hart.installed import InstalledTree
from hart.root import Root
from tests.depot.simulator import RELEASE, TARGET, ident, key_of, make_package, trusting

pytestmark = pytest.mark.slow

APP, LIB, BASE = ident("acme/app"), ident("acme/lib"), ident("base/libc")
DEADLINE_S = 60.0


@dataclass
class RealDepot:
    url: str
    token: str
    data: Path


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDepot]:
    home = tmp_path_factory.mktemp("depot")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    env = kept | {"STEAD_ROOT": str(home / "root")}
    stead = [sys.executable, "-m", "stead", "depot"]
    log = home / "log"
    with log.open("wb") as out:
        serve = [*stead, "serve", "--data", str(home / "data"), "--port", "0"]
        child = subprocess.Popen(serve, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = wait_for_url(child, log)
        create = [*stead, "token", "create", "--data", str(home / "data"), "--account", "ada", "--scope", "admin", "--json"]
        made = subprocess.run(create, env=env, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
        yield RealDepot(url, json.loads(made.stdout)["token"], home / "data")
    finally:
        child.terminate()
        child.wait(timeout=30)


def wait_for_url(child: subprocess.Popen[bytes], log: Path) -> str:
    """Where it says that it listens, once it answers there."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert child.poll() is None, log.read_text()
        urls = [word for word in log.read_text().split() if word.startswith("http://")]
        try:
            if urls and urllib.request.urlopen(f"{urls[0]}/v1/status", timeout=5).status == 200:
                return urls[0]
        except urllib.error.URLError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


class Publication:
    """One origin of its own for each test, so that tests share the depot and nothing else."""

    def __init__(self, real: RealDepot, home: Path, origin: str) -> None:
        self.real, self.home, self.origin = real, home, origin
        self.keys = trusting(home / "keys", origin)
        self.tree = InstalledTree(Root(home / "root"))
        self.app, self.lib = ident(f"{origin}/app"), ident(f"{origin}/lib")

    def client(self, *, token: str | None = None) -> Depot:
        return Depot(self.real.url, token=self.real.token if token is None else token)

    def make(self, who: Ident, **more: object) -> Path:
        return make_package(self.home / "made", str(who.family), **more)  # type: ignore[arg-type]

    async def publish(self, *paths: Path, channel: str | None = "stable") -> list[Published]:
        events: list[Event] = []
        async with self.client() as depot:
            publisher = Publisher(depot, self.keys, [], channel=channel, force=False, watch=events.append)
            return [each for path in paths for each in await publisher.publish(path)]

    async def publish_all(self) -> list[Published]:
        async with self.client() as depot:
            await depot.create_origin(self.origin)
        self.make(self.lib)
        return await self.publish(self.make(self.app, needs=(self.lib,)))


@pytest.fixture
def publication(real: RealDepot, tmp_path: Path, request: pytest.FixtureRequest) -> Publication:
    return Publication(real, tmp_path, f"o{zlib.crc32(request.node.nodeid.encode())}")


@pytest.mark.asyncio
async def test_what_was_published_can_be_installed(publication: Publication) -> None:
    """Key, dependency, package, channel; then the closure on another root."""
    published = await publication.publish_all()
    assert [(each.uploaded.ident, each.uploaded.new) for each in published] == [(publication.lib, True), (publication.app, True)]
    async with publication.client(token="") as depot:
        report = await fetch.install(depot, publication.tree, publication.keys, publication.app.family, channel="stable", target=TARGET)
        assert report.new == [publication.lib, publication.app]
        record = await depot.package(publication.app, target=TARGET)
        assert record is not None
        assert (record.tdeps, set(record.channels)) == ((publication.lib,), {"stable", "unstable"})
        names = {each.name for each in await depot.channels(publication.app, TARGET)}
        assert names == {"stable", "unstable"}
        assert publication.app.family in await depot.search("app")
        found = await depot.channels_with(publication.app.family, target=TARGET)
        assert {name for name, _ in found} == {"stable", "unstable"}


@pytest.mark.asyncio
async def test_the_real_depot_resumes_a_download(publication: Publication) -> None:
    """Range and If-Range as the client uses them."""
    await publication.publish_all()
    into = publication.home / "cache"
    into.mkdir()
    whole = (publication.home / "made" / publication.app.archive_name(TARGET)).read_bytes()
    (into / f".{publication.app.archive_name(TARGET)}.part").write_bytes(whole[:200])
    seen: list[int] = []
    async with publication.client(token="") as depot:
        path = await depot.download(publication.app, target=TARGET, into=into, progress=lambda done, _total, /: seen.append(done))
    assert path.read_bytes() == whole
    assert seen[0] == 200


@pytest.mark.asyncio
async def test_the_real_depot_tells_same_bytes_from_other_bytes(publication: Publication) -> None:
    """The second upload of the same is no error; other bytes are a conflict."""
    await publication.publish_all()
    path = publication.home / "made" / publication.app.archive_name(TARGET)
    async with publication.client() as depot:
        assert not (await depot.upload(path)).new
        other = make_package(publication.home / "other", str(publication.app.family), files={"other": b"x"})
        with pytest.raises(ConflictError, match="never changes"):
            await depot.upload(other)


@pytest.mark.asyncio
async def test_the_real_depot_refuses_a_stranger(publication: Publication) -> None:
    """No token, a made-up token: denied, also in the middle of a large upload."""
    await publication.publish_all()
    big = make_package(publication.home / "big", f"{publication.origin}/big", files={"data": os.urandom(8_000_000)})
    for token in ("", "stead_made_up"):
        async with publication.client(token=token) as depot:
            with pytest.raises(DeniedError):
                await depot.upload(big)


@pytest.mark.asyncio
async def test_the_real_depot_refuses_a_damaged_artifact(publication: Publication) -> None:
    """The checksum that we send is right for the bytes; the signature is not."""
    await publication.publish_all()
    path = publication.make(ident(f"{publication.origin}/bad"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    async with publication.client() as depot:
        with pytest.raises(SteadError):
            await depot.upload(path)
        assert await depot.package(ident(f"{publication.origin}/bad"), target=TARGET) is None


@pytest.mark.asyncio
async def test_the_real_depot_moves_releases_between_channels(publication: Publication) -> None:
    """A missing channel is not found until it is made."""
    await publication.publish_all()
    async with publication.client() as depot:
        with pytest.raises(NotFoundError):
            await depot.promote(publication.app, "next", TARGET)
        assert await depot.create_channel(publication.origin, "next")
        assert not await depot.create_channel(publication.origin, "next")
        await depot.promote(publication.app, "next", TARGET)
        assert await depot.latest(publication.app.family, channel="next", target=TARGET) is not None
        await depot.demote(publication.app, "next", TARGET)
        assert await depot.latest(publication.app.family, channel="next", target=TARGET) is None


@pytest.mark.asyncio
async def test_the_real_depot_keeps_public_keys(publication: Publication) -> None:
    """List, download, upload again, and another key under the same name."""
    await publication.publish_all()
    key = key_of(publication.origin)
    async with publication.client() as depot:
        assert [each.revision for each in await depot.public_keys(publication.origin)] == [RELEASE]
        assert await depot.public_key(key.key) == key.public.text()
        assert not await depot.upload_public_key(key.public.text())
        with pytest.raises(ConflictError):
            await depot.upload_public_key(key_of(publication.origin, seed=1).public.text())


@pytest.mark.asyncio
async def test_an_origin_that_is_missing_is_named_when_something_is_published(publication: Publication) -> None:
    """The depot says denied; the person wants to know that the origin is not there."""
    with pytest.raises(NotFoundError) as caught:
        await publication.publish(publication.make(publication.app))
    assert f"stead origin create {publication.origin}" in caught.value.next


@pytest.mark.asyncio
async def test_bit_rot_in_the_depot_reaches_no_host(publication: Publication) -> None:
    """S32 from the other side: a blob that changed on the depot's disk is not installed."""
    await publication.publish_all()
    data = (publication.home / "made" / publication.app.archive_name(TARGET)).read_bytes()
    (blob,) = [path for path in publication.real.data.rglob("*") if path.is_file() and path.read_bytes() == data]
    blob.chmod(0o644)
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    async with Depot(publication.real.url, pace=Pace(backoff=Backoff(tries=2, first_s=0.01))) as depot:
        with pytest.raises((TrustError, UnavailableError)):
            await fetch.install(depot, publication.tree, publication.keys, publication.app, channel="stable", target=TARGET)
    assert publication.tree.find(publication.app) is None
