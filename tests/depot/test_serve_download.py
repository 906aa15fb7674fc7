"""The bytes of a download: ranges, caching, and damaged files."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot import routes
from depot.serve_download import Proven, parse_range
from hart import limits
from tests.depot.conformance.artifacts import Artifact, artifact
from tests.depot.conformance.house import House, house, parts


@asynccontextmanager
async def published(directory: Path, size: int = 600_000) -> AsyncIterator[tuple[House, Artifact]]:
    async with house(directory / "data") as depot:
        token, made = await depot.acme(), artifact(directory, content=random.Random(size).randbytes(size))
        assert (await depot.upload(made, token)).status == 201
        yield depot, made


def blob_of(depot: House, made: Artifact) -> Path:
    return depot.store.directory / "blobs" / made.checksum[:2] / made.checksum


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", range(10)),
        ("bytes=3-5", range(3, 6)),
        ("bytes=3-100", range(3, 10)),
        ("bytes=-4", range(6, 10)),
        ("bytes=-100", range(10)),
        ("bytes=10-", range(0)),
        ("bytes=-0", range(10, 10)),
        ("bytes=5-3", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_a_range_is_read_as_the_rfc_says(header: str | None, wanted: range | None) -> None:
    """What is malformed or in several parts is ignored; what lies behind the end cannot be satisfied."""
    assert parse_range(header, 10) == wanted


@given(st.text(max_size=30), st.integers(0, 100))
def test_a_range_never_leaves_the_file(header: str, size: int) -> None:
    """Whatever is sent."""
    wanted = parse_range(header, size) or parse_range(f"bytes={header}", size)
    assert wanted is None or (wanted.start >= 0 and wanted.stop <= size)


def test_a_blob_is_trusted_for_an_hour_and_only_as_the_same_file(tmp_path: Path) -> None:
    """Then it is hashed again; another file under the name never profits."""
    now = [0.0]
    proven = Proven(lambda: now[0])
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x")
    two.write_bytes(b"xy")
    proven.add("name", one.stat())
    assert proven.holds("name", one.stat())
    assert not proven.holds("name", two.stat())
    assert not proven.holds("other", one.stat())
    now[0] = limits.PROVEN_S
    assert not proven.holds("name", one.stat())


def test_what_is_trusted_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes."""
    monkeypatch.setattr(limits, "PROVEN", 2)
    proven = Proven(lambda: 0.0)
    for name in ("a", "b", "c"):
        proven.add(name, tmp_path.stat())
    assert [proven.holds(name, tmp_path.stat()) for name in ("a", "b", "c")] == [False, True, True]


@pytest.mark.asyncio
async def test_a_download_has_its_name_length_checksum_and_tag(tmp_path: Path) -> None:
    """First hashed on the way, then by sendfile: the same bytes and headers."""
    async with published(tmp_path) as (depot, made):
        for _ in range(2):
            got = await depot.ask(routes.DOWNLOAD, query={"target": str(made.target)}, **parts(made.ident))
            assert got.status == 200
            assert got.data == made.data
            assert got.headers["Content-Length"] == str(len(made.data))
            assert got.headers["Content-Type"] == "application/octet-stream"
            assert got.headers[routes.X_FILENAME] == made.ident.archive_name("x86_64-linux")
            assert got.headers[routes.X_CHECKSUM] == made.checksum
            assert got.headers["ETag"] == routes.etag(made.checksum)
            assert got.headers["Content-Disposition"] == f'attachment; filename="{got.headers[routes.X_FILENAME]}"'
            assert got.headers["Cache-Control"] == routes.CACHE_YEAR


@pytest.mark.asyncio
async def test_a_head_request_has_the_headers_alone(tmp_path: Path) -> None:
    """To learn length and tag without the bytes."""
    async with published(tmp_path) as (depot, made):
        got = await depot.ask(routes.DOWNLOAD, method="HEAD", **parts(made.ident))
        assert (got.status, got.data, got.headers["Content-Length"]) == (200, b"", str(len(made.data)))


@pytest.mark.asyncio
async def test_a_download_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    """206 with the part, bound to the content by If-Range."""
    async with published(tmp_path) as (depot, made):
        half = len(made.data) // 2
        for tag, status, data in (
            (routes.etag(made.checksum), 206, made.data[half:]),
            (routes.etag("0" * 64), 200, made.data),
        ):
            headers = {"Range": f"bytes={half}-", "If-Range": tag}
            got = await depot.ask(routes.DOWNLOAD, headers=headers, **parts(made.ident))
            assert (got.status, got.data) == (status, data)
            if status == 206:
                assert got.headers["Content-Range"] == f"bytes {half}-{len(made.data) - 1}/{len(made.data)}"
        got = await depot.ask(routes.DOWNLOAD, headers={"Range": f"bytes={len(made.data)}-"}, **parts(made.ident))
        assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{len(made.data)}")


@pytest.mark.asyncio
async def test_who_has_it_already_gets_304(tmp_path: Path) -> None:
    """By the tag, in any of its spellings."""
    async with published(tmp_path) as (depot, made):
        for tag in (routes.etag(made.checksum), f'W/{routes.etag(made.checksum)}, "x"', "*"):
            got = await depot.ask(routes.DOWNLOAD, headers={"If-None-Match": tag}, **parts(made.ident))
            assert (got.status, got.data) == (304, b"")
        got = await depot.ask(routes.DOWNLOAD, headers={"If-None-Match": '"other"'}, **parts(made.ident))
        assert got.status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("place", [0, -1])
async def test_bit_rot_is_never_served_as_a_whole_file(tmp_path: Path, place: int, capfd: pytest.CaptureFixture[str]) -> None:
    """S32: the connection is cut before the last block, each time, and the log says which blob it was."""
    async with published(tmp_path) as (depot, made):
        path = blob_of(depot, made)
        rotten = bytearray(path.read_bytes())
        rotten[place] ^= 1
        path.write_bytes(rotten)
        for _ in range(2):
            with pytest.raises(aiohttp.ClientPayloadError):
                await depot.ask(routes.DOWNLOAD, **parts(made.ident))
    assert made.checksum in capfd.readouterr().err


@pytest.mark.asyncio
async def test_a_blob_that_is_gone_or_cut_short_is_an_error_at_once(tmp_path: Path) -> None:
    """500 or 404, not a promise of bytes that are not there."""
    async with published(tmp_path) as (depot, made):
        path = blob_of(depot, made)
        path.write_bytes(b"short")
        assert (await depot.ask(routes.DOWNLOAD, **parts(made.ident))).status == 500
        path.unlink()
        assert (await depot.ask(routes.DOWNLOAD, **parts(made.ident))).status == 404


@pytest.mark.asyncio
async def test_a_client_that_leaves_harms_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its file is closed; the next one gets everything."""
    async with published(tmp_path, 6_000_000) as (depot, made):
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", depot.port)
            path = depot.prefix + routes.DOWNLOAD.path(**parts(made.ident))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.read(1000)
            writer.transport.abort()
        got = await depot.ask(routes.DOWNLOAD, **parts(made.ident))
        assert got.data == made.data
    assert "request.bug" not in capfd.readouterr().err
