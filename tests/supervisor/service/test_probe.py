"""Probes over real sockets: what a service does can never raise, and silence is not an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from supervisor.service.events import Check
from supervisor.service.health import Address, http_address, tcp_address
from supervisor.service.probe import ask_http, ask_tcp

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def answering(reply: bytes | None) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """A server that reads a request and sends `reply`; None: it says nothing."""
    heard: list[bytes] = []
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:  # a tcp probe only connects
            writer.close()
            return
        if reply is None:
            await silent.wait()
        writer.write(reply or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield http_address(f"http://127.0.0.1:{port}/ready?x=1"), heard
    finally:
        silent.set()
        server.close()


@pytest.mark.parametrize(
    ("reply", "check"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Check.OK),
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", Check.CRITICAL),
        (b"garbage\n", Check.UNKNOWN),
        (b"", Check.UNKNOWN),
        (b"H" * 100_000, Check.UNKNOWN),
    ],
    ids=["200", "503", "garbage", "closed", "a line without end"],
)
async def test_http_asks_once_and_judges_the_status_line(reply: bytes, check: Check) -> None:
    async with answering(reply) as (address, heard):
        found, because = await ask_http(address, 10)
    assert found is check
    assert str(address.port) in because
    assert heard[0].startswith(b"GET /ready?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_silence_is_unknown_and_refusal_is_critical() -> None:
    async with answering(None) as (address, _):
        assert await ask_http(address, 0.2) == (Check.UNKNOWN, f"127.0.0.1:{address.port}: no answer in 0.2 s")
        assert (await ask_tcp(tcp_address(f"127.0.0.1:{address.port}"), 10))[0] is Check.OK
    check, because = await ask_tcp(tcp_address(f"127.0.0.1:{address.port}"), 10)
    assert check is Check.CRITICAL
    assert "refused" in because.lower()
