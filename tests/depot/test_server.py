"""The HTTP server over a real socket: the rules that hold for every route, and a corpus of bad HTTP."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from depot import routes, tokens
from depot.call import check_pace
from depot.server import ALSO_HEAD, HANDLERS
from hart import limits
from hart.errors import UnavailableError
from hart.target import Target
from tests.depot.conformance.artifacts import artifact, ident
from tests.depot.conformance.house import House, house, parts

pytestmark = pytest.mark.asyncio


async def raw(depot: House, data: bytes, *, then_close: bool = False) -> bytes:
    """Send bytes, read to the end of the answer's connection (or 2 s of silence after some answer)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", depot.port)
    try:
        writer.write(data)
        if then_close:
            writer.write_eof()
        try:
            async with asyncio.timeout(5):
                return await reader.read(65536)
        except ConnectionResetError:
            return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_slow_body_is_given_up_only_after_its_grace() -> None:
    """4 KiB a second on average from then on."""
    check_pace(0, limits.UPLOAD_GRACE_S)
    check_pace(limits.UPLOAD_SLOWEST, limits.UPLOAD_GRACE_S + 1)
    with pytest.raises(UnavailableError) as caught:
        check_pace(limits.UPLOAD_SLOWEST - 1, limits.UPLOAD_GRACE_S + 1)
    assert routes.status_of(caught.value) == 408


async def test_every_route_has_a_handler() -> None:
    """No route is declared that nobody serves."""
    assert set(HANDLERS) == set(routes.ROUTES)


async def test_an_unknown_path_and_a_wrong_method_are_both_404_and_empty(tmp_path: Path) -> None:
    """Never 405, never the framework's text."""
    async with house(tmp_path) as depot:
        for method, path in (("GET", "/nowhere"), ("DELETE", "/status"), ("GET", "/depot/origins"), ("PATCH", "/depot/pkgs/acme")):
            answer = await depot.ask(path, method=method)
            assert (answer.status, answer.data) == (404, b""), (method, path)
            assert "Content-Type" not in answer.headers
        assert await depot.get("/") == 404


async def test_head_works_where_the_api_has_it(tmp_path: Path) -> None:
    """Status and downloads."""
    async with house(tmp_path) as depot:
        assert (await depot.ask(routes.STATUS, method="HEAD")).status == 200
        assert routes.DOWNLOAD in ALSO_HEAD
        assert (await depot.ask("/depot/origins/acme", method="HEAD")).status == 404


async def test_a_wrong_token_is_401_on_public_routes_too(tmp_path: Path) -> None:
    """Malformed, mistyped, unknown, expired, revoked: one answer (S27)."""
    async with house(tmp_path) as depot:
        good, revoked = await depot.token(), await depot.token()
        await tokens.revoke(depot.store, revoked)
        unknown = await depot.token()
        wrong = unknown[:-1] + ("a" if unknown[-1] != "a" else "b")
        for header in ("", "Bearer", "Bearer x", f"Basic {good}", f"Bearer {wrong}", f"Bearer {revoked}", f"Bearer {good} {good}"):
            answer = await depot.ask(routes.STATUS, headers={"Authorization": header})
            assert (answer.status, answer.data, answer.headers["WWW-Authenticate"]) == (401, b"", "Bearer"), header
        assert (await depot.ask(routes.STATUS, token=good)).status == 200


async def test_a_wrong_token_is_401_before_there_is_a_path(tmp_path: Path) -> None:
    """Who is asking is looked at before what is asked, as Builder does."""
    async with house(tmp_path) as depot:
        assert (await depot.ask("/nowhere", token="stead_wrong")).status == 401
        assert (await depot.ask(routes.STATUS, method="PATCH", token="stead_wrong")).status == 401
        assert (await depot.ask("/nowhere", token=await depot.token())).status == 404


async def test_a_revoked_token_stops_working_at_once(tmp_path: Path) -> None:
    """No cache holds it."""
    async with house(tmp_path) as depot:
        token = await depot.token()
        assert (await depot.ask(routes.PROFILE, token=token)).status == 200
        await tokens.revoke(depot.store, token)
        assert (await depot.ask(routes.PROFILE, token=token)).status == 401


async def test_a_token_in_the_url_is_ignored_and_no_token_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """S27: URLs end in logs, headers do not."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        assert (await depot.ask(routes.PROFILE, query={"token": token, "access_token": token})).status == 401
        assert (await depot.ask(routes.ORIGIN_CREATE, token=token, query={"token": token}, json={"name": "x"})).status == 201
    logged = capfd.readouterr().err
    assert '"event": "request"' in logged
    assert token not in logged


async def test_the_last_use_of_a_token_is_noted(tmp_path: Path) -> None:
    """Once a minute at most, since each note is a commit."""
    async with house(tmp_path) as depot:
        token = await depot.token()
        for _ in range(3):
            assert (await depot.ask(routes.STATUS, token=token)).status == 200
        (row,) = (await tokens.perform(depot.store, {"do": "list"}))["tokens"]
        assert row["last_used_at"] is not None


async def test_errors_are_explained_only_to_those_who_ask(tmp_path: Path) -> None:
    """An empty body for Habitat's client, a problem document for ours."""
    async with house(tmp_path) as depot:
        plain = await depot.ask(routes.ORIGIN_SHOW, origin="nobody")
        assert (plain.status, plain.data) == (404, b"")
        told = await depot.ask(routes.ORIGIN_SHOW, origin="nobody", headers={"Accept": f"application/json, {routes.PROBLEM_JSON}"})
        assert told.status == 404
        assert told.headers["Content-Type"] == routes.PROBLEM_JSON
        assert routes.problem_text(told.json) == "origin nobody: does not exist"


async def test_the_prefix_is_configurable(tmp_path: Path) -> None:
    """Some sit behind a proxy below /bldr."""
    async with house(tmp_path, prefix="/bldr/v1") as depot:
        assert (await depot.ask(routes.STATUS)).status == 200
        assert await depot.get("/v1/status") == 404


async def test_a_body_that_is_too_long_or_compressed_or_no_json_is_refused(tmp_path: Path) -> None:
    """413, 415, 400: nothing of it is stored."""
    async with house(tmp_path) as depot:
        token = await depot.token()
        for body, headers, status in (
            (b"x" * (limits.REQUEST_TEXT_MAX + 1), {}, 413),
            (b"{}", {"Content-Encoding": "gzip"}, 415),
            (b"{", {}, 400),
            (b"[" * 60_000, {}, 400),
            (b"\xff", {}, 400),
            (b"[]", {}, 400),
            (b'{"name": 1}', {}, 400),
        ):
            answer = await depot.ask(routes.ORIGIN_CREATE, token=token, data=body, headers=headers)
            assert answer.status == status, body[:20]


async def test_nobody_is_asked_for_a_body_that_would_be_refused(tmp_path: Path) -> None:
    """Expect: 100-continue gets its refusal before the body is sent."""
    async with house(tmp_path) as depot:
        path = depot.prefix + routes.UPLOAD.path(**parts(ident()))
        head = f"POST {path}?checksum={'0' * 64} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
        answer = await raw(depot, f"{head}Connection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 401 ")
        token = await depot.acme()
        answer = await raw(depot, f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 100 ")


async def test_a_body_that_is_cut_off_stores_nothing(tmp_path: Path) -> None:
    """The connection ends before the length, or before the last chunk."""
    async with house(tmp_path) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w")
        path = depot.prefix + routes.UPLOAD.path(**parts(made.ident))
        head = f"POST {path}?checksum={made.checksum}&target={made.target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        for framing, body in (
            (f"Content-Length: {len(made.data)}", made.data[:-1]),
            ("Transfer-Encoding: chunked", f"{len(made.data):x}\r\n".encode() + made.data + b"\r\n"),
        ):
            answer = await raw(depot, f"{head}{framing}\r\n\r\n".encode() + body, then_close=True)
            assert b" 201 " not in answer
            await depot.idle()
            assert depot.blobs() == []
        assert (await depot.upload(made, token)).status == 201


BAD_HTTP = {
    "both lengths": b"POST /v1/depot/origins HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /v1/depot/origins HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a negative length": b"POST /v1/depot/origins HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a bad chunk": b"POST /v1/depot/origins HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "a folded header": b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "a NUL in a header": b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "a space before the colon": b"GET /v1/status HTTP/1.1\r\nHost : x\r\n\r\n",
    "an endless header": b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    "a thousand headers": b"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
    "an endless path": b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /v1/status\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "an unknown expectation": b"POST /v1/depot/origins HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\nConnection: close\r\n\r\n",
}

WHOLE = ("HTTP/0.9",)  # answered as it is: after the end of the stream nothing would be answered, good or bad


@pytest.mark.parametrize("name", BAD_HTTP)
async def test_bad_http_is_refused_or_the_connection_closed(tmp_path: Path, name: str) -> None:
    """S29: never a 2xx, and the server goes on."""
    async with house(tmp_path) as depot:
        answer = await raw(depot, BAD_HTTP[name], then_close=name not in WHOLE)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/0.9 4")), answer[:200]
        assert (await depot.ask(routes.STATUS)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/depot/pkgs/%2e%2e/%2e%2e/latest",
        "/v1/depot/pkgs/..%2f..%2fblobs/x/1/20260101000000/download",
        "/v1/depot/pkgs/acme/web/%2e%2e/20260101000000/download",
        "/v1/../../../etc/passwd",
        "/v1/depot/pkgs/acme/web/1/20260101000000/../../../../../../depot.sqlite",
        "/v1/depot/origins/acme/keys/..%2f..%2fLOCK",
        "/v1/depot/pkgs/acme/%00/latest",
        "/v1/depot/pkgs/acme/%ff/latest",
        "/v1/depot/pkgs/acme/%ed%a0%80/latest",
        "//v1/status",
        "/v1/depot/channels/acme/stable/pkgs/%2e%2e/latest",
    ],
)
async def test_tricks_with_paths_find_nothing(tmp_path: Path, path: str) -> None:
    """No part of a URL becomes a path of the file system."""
    async with house(tmp_path) as depot:
        await depot.acme()
        answer = await raw(depot, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 "), answer[:100]


async def test_an_absolute_url_is_served_as_its_path(tmp_path: Path) -> None:
    """What a proxy sends; its host decides nothing."""
    async with house(tmp_path) as depot:
        answer = await raw(depot, b"GET http://elsewhere/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("route", [routes.UPLOAD, routes.ORIGIN_CREATE])
async def test_a_body_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: routes.Route) -> None:
    """S29: one byte now and then is no silence, but too slow: 408, whatever the body is for."""
    monkeypatch.setattr(limits, "UPLOAD_GRACE_S", 0.2)
    async with house(tmp_path) as depot:
        token = await depot.acme()
        path = depot.prefix + route.path(**parts(ident())) + f"?checksum={'0' * 64}"
        reader, writer = await asyncio.open_connection("127.0.0.1", depot.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 60000\r\n\r\n".encode())
        answer = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        async with asyncio.timeout(20):
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait([answer], timeout=0.05)
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await depot.idle()


async def test_a_connection_that_never_sends_a_request_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris: some bytes now and then keep nobody."""
    monkeypatch.setattr(limits, "HEADER_S", 0.1)
    async with house(tmp_path) as depot:
        reader, writer = await asyncio.open_connection("127.0.0.1", depot.port)
        writer.write(b"GET /v1/status HTT")
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_targets_can_be_limited(tmp_path: Path) -> None:
    """501 for uploads, 422 for downloads."""
    async with house(tmp_path, targets=frozenset({Target.AARCH64_LINUX})) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w")
        assert (await depot.upload(made, token)).status == 501
        answer = await depot.ask(routes.DOWNLOAD, query={"target": "x86_64-linux"}, **parts(made.ident))
        assert answer.status == 422


async def test_uploads_by_many_clients_at_once_all_arrive(tmp_path: Path) -> None:
    """Different packages do not wait for each other's failures."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        offered = [artifact(tmp_path / "w", ident(f"app{number}"), content=bytes([number]) * 5000) for number in range(20)]
        answers = await asyncio.gather(*(depot.upload(made, token) for made in offered))
        assert [answer.status for answer in answers] == [201] * 20
        assert depot.blobs() == sorted(hashlib.blake2b(made.data, digest_size=32).hexdigest() for made in offered)
