"""`stead depot serve` as a process: killed in the middle of publishing, on a full disk, with large files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from depot import routes
from depot.check import check_store
from depot.store import open_store
from hart.artifact import checksum, sign_payload
from hart.ident import Ident
from hart.limits import MIB
from tests.depot.conformance.artifacts import KEY, Artifact, artifact, ident
from tests.depot.conformance.house import parts
from tests.depot.conformance.process import START_S, served, stead, token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.asyncio]


class Client:
    """Requests with one token, and nothing kept alive."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def status(self, route: routes.Route, *, query: dict[str, str] | None = None, data: object = None, **of: str) -> int:
        async with self._session.request(route.method, f"{self._url}/v1{route.path(**of)}", params=query, data=data) as response:
            await response.read()
            return response.status

    async def acme(self) -> None:
        async with self._session.post(f"{self._url}/v1/depot/origins", json={"name": "acme"}) as response:
            assert response.status == 201
        text = KEY.public.text()
        assert await self.status(routes.KEY_UPLOAD, data=text, origin="acme", revision=KEY.key.revision) == 201

    async def upload(self, made: Artifact, *, data: object = None) -> int:
        query = {"checksum": made.checksum, "target": str(made.target)}
        body = made.data if data is None else data
        return await self.status(routes.UPLOAD, query=query, data=body, **parts(made.ident))

    async def promote(self, made: Artifact) -> int:
        return await self.status(routes.PROMOTE, channel="stable", **parts(made.ident))

    async def download(self, of: Ident) -> tuple[int, str, int]:
        """Status, checksum and size of what comes; in constant memory."""
        digest, size = hashlib.blake2b(digest_size=32), 0
        async with self._session.get(f"{self._url}/v1{routes.DOWNLOAD.path(**parts(of))}") as response:
            async for block in response.content.iter_chunked(MIB):
                digest.update(block)
                size += len(block)
            return response.status, digest.hexdigest(), size


def session(secret: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}, connector=aiohttp.TCPConnector(force_close=True))


async def test_a_server_is_ready_when_it_says_so_and_ends_at_term(tmp_path: Path) -> None:
    """The readiness line on stderr, exit code 0, no log and no socket left behind; the next one starts on the same data."""
    data = tmp_path / "depot"
    for _ in range(2):
        with served(data) as server:
            async with session(await asyncio.to_thread(token, data)) as http:
                assert await Client(http, server.url).status(routes.PROFILE) == 200
            assert f"listening on {server.url}\n" in server.log.read_text()
            assert await asyncio.to_thread(server.stop) == 0
        assert sorted(path.name for path in data.iterdir()) == ["LOCK", "blobs", "depot.sqlite", "tmp"]
    assert "stead depot token create" in (tmp_path / "depot.log").read_text()


async def test_a_server_collects_old_orphans_when_it_starts(tmp_path: Path) -> None:
    """What a killed publish left behind a day ago goes, what is younger may yet get its package."""
    data = tmp_path / "depot"
    old, young = (data / "blobs" / (digit * 2) / (digit * 64) for digit in "ab")
    for path in (old, young):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"orphan")
    os.utime(old, (0, 0))
    with served(data) as server:
        assert "removed 1 blobs" in server.log.read_text()
    assert not old.exists()
    assert young.exists()


async def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """Exit code 6, and the first one goes on."""
    data = tmp_path / "depot"
    with served(data) as server:
        command = stead("depot", "serve", "--data", str(data), "--port", "0")
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=START_S, check=False)
        assert done.returncode == 6
        assert b"in use by another process" in done.stderr
        assert server.process.poll() is None


async def test_kill_9_at_any_moment_loses_no_acknowledged_publish(tmp_path: Path) -> None:
    """S24, fifty times: what was answered with 201 is there, no row lacks its blob, uploads under way are swept, the catalog opens."""
    data, chance = tmp_path / "depot", random.Random(24)
    secret = await asyncio.to_thread(token, data)
    acknowledged: dict[Ident, str] = {}
    tried = 0

    async def publish(client: Client, seed: int) -> None:
        nonlocal tried
        while True:
            tried += 1
            of = ident(f"app{seed}", release=f"{20260101000000 + tried}")
            made = artifact(tmp_path / "w", of, content=random.Random(tried).randbytes(50_000))
            assert await client.upload(made) == 201
            acknowledged[of] = made.checksum

    for number in range(50):
        with served(data) as server:
            async with session(secret) as http:
                client = Client(http, server.url)
                if number == 0:
                    await client.acme()
                uploads = [asyncio.ensure_future(publish(client, seed)) for seed in range(3)]
                await asyncio.sleep(chance.uniform(0.01, 0.25))  # the moment of death is what this test is about
                server.kill()
                ends = await asyncio.gather(*uploads, return_exceptions=True)
                assert all(isinstance(end, aiohttp.ClientError | OSError) for end in ends), ends
        store = await asyncio.to_thread(open_store, data)
        try:
            assert not list((data / "tmp").iterdir())
            rows = await store.read(lambda reader: reader.stored(after=0, count=1_000_000))
            assert {row.ident: row.checksum for row in rows}.items() >= {str(of): name for of, name in acknowledged.items()}.items()
            for row in rows:
                assert (data / "blobs" / row.checksum[:2] / row.checksum).stat().st_size == row.size
        finally:
            await store.close()
    assert len(acknowledged) > 50, "hardly anything was published: the test proves nothing"
    assert tried > len(acknowledged), "no upload was ever interrupted: the test proves nothing"
    store = await asyncio.to_thread(open_store, data)
    report = await check_store(store, lambda _count: None)
    await store.close()
    assert report.findings == []


@contextmanager
def tiny_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "depot-test", str(place)], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Take all that is left of a file system."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 4096):
            with suppress(OSError):  # no space left: that is the aim
                while os.write(fd, b"x" * size) == size:
                    pass
    finally:
        os.close(fd)


async def test_a_full_disk_is_507_while_reads_go_on_and_heals_without_restart(tmp_path: Path) -> None:
    """S31, on a real file system of 36 MiB that fills up: uploads first, then even the catalog."""
    with tiny_disk(tmp_path / "disk", "36m") as disk:
        data = disk / "depot"
        with served(data) as server:
            async with session(await asyncio.to_thread(token, data)) as http:
                client = Client(http, server.url)
                await client.acme()
                offered = [artifact(tmp_path / "w", ident(f"app{n}"), content=random.Random(n).randbytes(900_000)) for n in range(28)]
                answers = [await client.upload(made) for made in offered]
                assert set(answers) == {201, 507}
                assert answers[0] == 201
                assert answers[-1] == 507
                assert not list((data / "tmp").iterdir())
                assert await client.promote(offered[0]) == 200, "the reserve is there for the catalog"
                fill(disk / "filler")
                assert (await client.download(offered[0].ident))[:2] == (200, offered[0].checksum)
                refused = [await client.promote(made) for made, answer in zip(offered, answers, strict=True) if answer == 201]
                assert refused[-1] in (200, 507)
                assert await client.upload(offered[-1]) == 507
                assert await client.status(routes.LIST_ORIGIN, origin="acme") in (200, 206)
                (disk / "filler").unlink()
                await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=256m", str(disk)], check=True)
                assert await client.upload(offered[-1]) == 201
                assert await client.promote(offered[-1]) == 200
            assert await asyncio.to_thread(server.stop) == 0
        store = await asyncio.to_thread(open_store, data)
        assert (await check_store(store, lambda _count: None)).findings == []
        await store.close()


async def test_a_file_size_limit_is_507_too(tmp_path: Path) -> None:
    """The unprivileged way to run out of room: RLIMIT_FSIZE, which is EFBIG."""
    data = tmp_path / "depot"
    small = artifact(tmp_path / "w", ident("small"), content=random.Random(1).randbytes(100_000))
    large = artifact(tmp_path / "w", ident("large"), content=random.Random(2).randbytes(900_000))
    with served(data, largest_file=800_000) as server:
        async with session(await asyncio.to_thread(token, data)) as http:
            client = Client(http, server.url)
            await client.acme()
            assert await client.upload(small) == 201
            assert await client.upload(large) == 507
            assert not list((data / "tmp").iterdir())
            assert (await client.download(small.ident))[:2] == (200, small.checksum)
        assert await asyncio.to_thread(server.stop) == 0


async def test_large_files_go_through_in_constant_memory(tmp_path: Path) -> None:
    """300 MB up, and down twice (hashed, then by sendfile), below 120 MB resident."""
    data, made = tmp_path / "depot", artifact(tmp_path / "w", ident("large"))
    payload, file = tmp_path / "payload", tmp_path / "large.hart"
    with payload.open("wb") as out:  # a small archive with its metafiles first, and ballast behind it that only hashing reads
        out.write(made.data.split(b"\n\n", 1)[1])
        chunk = random.Random(3).randbytes(MIB)
        for _ in range(300):
            out.write(chunk)
    sign_payload(payload, file, KEY)
    payload.unlink()
    name, size = checksum(file), file.stat().st_size

    async def pieces() -> AsyncIterator[bytes]:
        with file.open("rb") as source:
            while block := source.read(MIB):
                yield block

    with served(data) as server:
        async with session(await asyncio.to_thread(token, data)) as http:
            client = Client(http, server.url)
            await client.acme()
            query = {"checksum": name, "target": str(made.target)}
            assert await client.status(routes.UPLOAD, query=query, data=pieces(), **parts(made.ident)) == 201
            for _ in range(2):
                assert await client.download(made.ident) == (200, name, size)
        peak = server.peak_kib()
        assert peak < 120_000, f"{peak} KiB resident"


async def test_a_stop_waits_for_an_upload_under_way(tmp_path: Path) -> None:
    """TERM refuses new connections, finishes what was begun, and ends with 0."""
    data = tmp_path / "depot"
    made = artifact(tmp_path / "w", content=random.Random(1).randbytes(300_000))
    with served(data) as server:
        async with session(await asyncio.to_thread(token, data)) as http:
            client = Client(http, server.url)
            await client.acme()

            async def pieces() -> AsyncIterator[bytes]:
                yield made.data[:1000]
                await _until(lambda: bool(list((data / "tmp").iterdir())))
                server.process.send_signal(signal.SIGTERM)
                await _until(lambda: "stopping" in server.log.read_text())
                yield made.data[1000:]

            assert await client.upload(made, data=pieces()) == 201
        assert await asyncio.to_thread(server.process.wait, 60) == 0
    store = await asyncio.to_thread(open_store, data)
    assert (await check_store(store, lambda _count: None)).packages == 1
    await store.close()


async def _until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(START_S):
        while not fact():  # noqa: ASYNC110  another process tells through files
            await asyncio.sleep(0.01)
