"""The gateway over real sockets, in front of real services, members and records."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hart.errors import FormatError, NotFoundError, UnavailableError, UsageError
from supervisor import clock, doorway, gate, gateway
from supervisor.gate import is_loopback_name
from supervisor.gateway import Gateway
from supervisor.gateway_view import clean, secret_texts
from supervisor.gossip.messages import Health
from supervisor.service.events import Check
from supervisor.settings import HttpSettings
from supervisor.tls import Tls
from tests.supervisor.gatehouse import House, become_ready, check, house

LOOPBACK = ("127.0.0.1", 0)
WEB = "t/web/1.0/20260101000000"
SECRET = "hunter2-the-secret"
PROBLEM = "application/problem+json"


@asynccontextmanager
async def served(path: Path, token: str = "", tls: Tls | None = None) -> AsyncIterator[tuple[House, Gateway]]:
    async with house(path) as found:
        made = Gateway(found.host, LOOPBACK, token, tls)
        await made.start()
        try:
            yield found, made
        finally:
            await made.close()


def url(made: Gateway, path: str, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{made.address[1]}{path}"


async def get(made: Gateway, path: str, **options: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url(made, path), **options) as response:
        assert response.headers["Server"] == "stead"
        return response.status, await response.json(content_type=None)


async def raw(made: Gateway, data: bytes) -> bytes:
    """The whole answer to these bytes, with nothing sent after them."""
    reader, writer = await asyncio.open_connection(*made.address)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


# --- who may ask


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "/v1/ring", "/metrics", "/nowhere", "/v1/services/web/health"])
@pytest.mark.parametrize("given", [None, "Bearer ", "Bearer wrong", "Basic good", "good", "Bearer good2", "Bearer \xff"])
async def test_without_the_token_nothing_is_told_not_even_which_paths_there_are(tmp_path: Path, path: str, given: str | None) -> None:
    async with served(tmp_path, token="good") as (_, made):
        lines = [f"GET {path} HTTP/1.1", "Host: h", *([f"Authorization: {given}"] if given else []), "", ""]
        answer = await raw(made, "\r\n".join(lines).encode("latin-1"))
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b'WWW-Authenticate: Bearer realm="stead"' in answer
        assert b"lists those" not in answer


@pytest.mark.asyncio
async def test_the_token_opens_in_any_case_of_its_scheme_and_comes_before_the_method(tmp_path: Path) -> None:
    async with served(tmp_path, token="good") as (_, made):
        assert (await get(made, "/", headers={"Authorization": "bearer good"}))[0] == 200
        assert (await raw(made, b"DELETE /v1/ring HTTP/1.1\r\nHost: h\r\n\r\n")).startswith(b"HTTP/1.1 401 ")


@pytest.mark.asyncio
async def test_a_name_that_a_web_page_could_have_chosen_is_refused_without_a_token(tmp_path: Path) -> None:
    """DNS rebinding: the browser sends the page's own name as Host."""
    async with served(tmp_path) as (_, made):
        assert (await get(made, "/v1/services", headers={"Host": "evil.example:9631"}))[0] == 403
        for name in ("localhost", "localhost:9631", "127.0.0.1", "[::1]:9631"):
            assert (await get(made, "/v1/services", headers={"Host": name}))[0] == 200


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("", True),
        ("192.0.2.1", False),
        ("localhost.evil", False),
    ],
)
def test_only_loopback_is_a_name_of_loopback(name: str, is_ours: bool) -> None:
    assert is_loopback_name(name) is is_ours


@pytest.mark.asyncio
@pytest.mark.parametrize("address", [("0.0.0.0", 0), ("192.0.2.1", 9631), ("::", 0)])
async def test_beyond_loopback_a_token_is_needed_or_the_word_that_it_is_meant(tmp_path: Path, address: tuple[str, int]) -> None:
    async with house(tmp_path) as found:
        with pytest.raises(UsageError, match="everybody") as refused:
            Gateway(found.host, address)
        assert "--http-open" in refused.value.next
        Gateway(found.host, address, "token")
        Gateway(found.host, address, anybody=True)
    with pytest.raises(UsageError):
        gate.check(HttpSettings(listen=address, listen_fixed=True), {})
    assert gate.token_of({"HAB_SUP_GATEWAY_AUTH_TOKEN": "b", "STEAD_GATEWAY_AUTH_TOKEN": ""}) == "b"


# --- what may be asked


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_can_be_changed(tmp_path: Path, method: str) -> None:
    async with served(tmp_path) as (_, made):
        answer = await raw(made, f"{method} /v1/services HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"Allow: GET, HEAD" in head
        assert PROBLEM.encode() in head
        assert json.loads(body)["status"] == 405


@pytest.mark.asyncio
async def test_every_refusal_has_one_shape(tmp_path: Path) -> None:
    """Also what the HTTP parser refuses, of which nothing is quoted."""
    async with served(tmp_path) as (_, made):
        status, body = await get(made, "/v1/nowhere")
        assert (status, set(body)) == (404, {"type", "title", "status", "detail", "next"})
        for hostile in (
            b"NOT HTTP\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
            b"GET /\x00evil HTTP/1.1\r\n\r\n",
        ):
            answer = await raw(made, hostile)
            head, _, text = answer.partition(b"\r\n\r\n")
            assert b" 400 " in head.splitlines()[0], answer
            assert b"Server: stead" in head
            assert b"aiohttp" not in answer
            assert b"evil" not in answer
            assert json.loads(text)["status"] == 400


@pytest.mark.asyncio
async def test_head_is_get_without_a_body_and_each_connection_carries_one_request(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, made):
        answer = await raw(made, b"HEAD /v1/ring HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"\r\n\r\n")
        assert answer.count(b"HTTP/1.1") == 1


# --- what is answered


@pytest.mark.asyncio
async def test_services_are_shown_as_svc_status_shows_them_without_secrets(tmp_path: Path) -> None:
    """A hook that prints a password prints it into the reason; nobody reads it here."""
    async with served(tmp_path) as (found, made):
        web = found.load(WEB, secret=SECRET)
        become_ready(web)
        web.hook_trouble = f"reconfigure exited with code 1: cannot log in as {SECRET}"
        web.hook_results["reconfigure"] = f"exited with code 1: {SECRET}"
        status, rows = await get(made, "/v1/services")
        assert (status, [row["service"] for row in rows]) == (200, ["web"])
        assert (rows[0]["state"], rows[0]["ready"], rows[0]["serving"], rows[0]["release"]) == ("ready", True, True, WEB)
        assert "cannot log in as ***" in rows[0]["because"]
        for path in ("/v1/services", "/v1/services/web", "/v1/services/web.default", "/v1/services/web/health", "/v1/census", "/metrics"):
            async with aiohttp.ClientSession() as session, session.get(url(made, path)) as response:
                assert response.status == 200
                assert SECRET not in await response.text(), path
        assert (await get(made, "/v1/services/web.other"))[0] == 404


@pytest.mark.asyncio
async def test_of_a_secret_with_several_lines_each_is_one(tmp_path: Path) -> None:
    """A key's last line alone is what a hook's last line quotes."""
    async with house(tmp_path) as found:
        web = found.load(WEB, secret=r"-----BEGIN-----\nMIIBOg IBAAJB\n=\n-----END-----")
        assert set(secret_texts(web)[1:]) == {"-----BEGIN-----", "MIIBOg IBAAJB", "-----END-----"}
        assert clean("no login: MIIBOg IBAAJB", secret_texts(web)) == "no login: ***"


@pytest.mark.asyncio
async def test_health_has_a_status_for_load_balancers(tmp_path: Path) -> None:
    """200 ok or warning, 503 critical or not ready, 500 unknown, 404 not loaded."""
    async with served(tmp_path) as (found, made):
        plain, checked = found.load(WEB), found.load("t/api/1.0/20260101000000", health=True)
        assert await verdict(made, "web") == (503, "not ready")
        assert await verdict(made, "none") == (404, None)
        become_ready(plain)
        assert await verdict(made, "web") == (200, "ok")
        become_ready(checked)
        for result, expected in [
            (None, (500, "unknown")),
            (Check.OK, (200, "ok")),
            (Check.WARNING, (200, "warning")),
            (Check.CRITICAL, (503, "critical")),
            (Check.OK, (200, "ok")),
            (Check.UNKNOWN, (500, "unknown")),
            (Check.UNKNOWN, (500, "unknown")),
            (Check.UNKNOWN, (503, "critical")),  # the third bad one in a row: unhealthy
        ]:
            if result is not None:
                check(checked, result)
            assert await verdict(made, "api") == expected, result


async def verdict(made: Gateway, name: str) -> tuple[int, str | None]:
    status, body = await get(made, f"/v1/services/{name}/health")
    assert (status == 200) == (body.get("serving", False) and status == 200)
    return status, body["status"] if status != 404 else None


@pytest.mark.asyncio
async def test_the_ring_is_shown_with_who_is_away_and_why_and_no_bodies(tmp_path: Path) -> None:
    async with served(tmp_path) as (found, made):
        ring = found.ring
        ring.meet(2, "h2")
        gone = ring.meet(3, "h3", health=Health.DEAD, because="suspected for 4 s by 2 (h2, this member), and it did not object")
        ring.discovery.append({"source": "dns:web.example", "trouble": "no such name", "addresses": []})
        ring.refuse("tag", 3)
        ring.drops["budget"] = 7
        record = ring.node.draft("group/web.default/config", b'password = "in the body"', expect=None, now=clock.now())
        ring.node.adopt(record, clock.now())
        status, body = await get(made, "/v1/ring")
        assert status == 200
        assert (body["ring"], body["encrypted"], body["member"], body["name"]) == ("prod", True, ring.key.id.hex(), "h1")
        assert body["counts"] == {"alive": 2, "suspect": 0, "dead": 1, "departed": 0}
        (away,) = body["away"]
        assert (away["member"], away["health"], away["because"]) == (gone.id.hex(), "dead", ring.because[gone.id])
        assert away["for_s"] == pytest.approx(125, abs=5)
        assert [row["name"] for row in body["members"]] == ["h1", "h2", "h3"]
        assert {row["reason"]: row["count"] for row in body["refused"]} == {"tag": 3, "budget": 7}
        (row,) = body["records"]["rows"]
        assert (row["key"], row["version"], row["size"]) == ("group/web.default/config", "1", 24)
        assert "in the body" not in json.dumps(body)
        assert body["key"] == ring.keyring.primary_id.hex()
        assert b"k" * 32 not in json.dumps(body).encode()
        assert body["discovery"][0]["trouble"] == "no such name"


@pytest.mark.asyncio
async def test_the_census_shows_exports_but_not_what_their_schema_calls_secret(tmp_path: Path) -> None:
    async with served(tmp_path) as (found, made):
        web = found.load(WEB, secret=SECRET, exports="word=word\nlogin=password\n")
        become_ready(web)
        found.other("web.default", "a" * 32, word="far", login="their own")
        _, body = await get(made, "/v1/census")
        group = body["groups"]["web.default"]
        assert group["leader"] is None
        assert {each["presence"] for each in group["members"]} == {"alive"}
        assert [(each["member"], each["serving"], each["exports"]) for each in group["members"]] == [
            ("a" * 32, True, {"word": "far", "login": "***"}),
            ("m" * 32, True, {"word": "first", "login": "***"}),
        ]


@pytest.mark.asyncio
async def test_a_bug_in_one_answer_is_one_500_and_a_line_in_the_journal(tmp_path: Path) -> None:
    async with served(tmp_path) as (found, made):
        found.ring.discovery.append({"source": object(), "addresses": found})  # not what discovery says
        found.services["web"] = None  # type: ignore[assignment]  # not what a host has
        status, body = await get(made, "/v1/services")
        assert (status, body["detail"]) == (500, "bug: it is in the journal of this supervisor")
        assert "bug: AttributeError" in found.journal.path.read_text()
        assert (await get(made, "/"))[0] == 200


# --- metrics


@pytest.mark.asyncio
async def test_metrics_are_read_from_the_host_at_the_scrape(tmp_path: Path) -> None:
    async with served(tmp_path) as (found, made):
        web = found.load(WEB, health=True)
        assert (await sample(made, "stead_service_ready", service="web")) == 0
        become_ready(web)
        check(web, Check.OK)
        found.ring.meet(2, "h2", health=Health.DEAD)
        found.ring.refuse("ring", 5)
        for name, labels, value in [
            ("stead_service_ready", {"service": "web", "group": "web.default"}, 1),
            ("stead_service_up", {"service": "web"}, 1),
            ("stead_service_health", {"health": "healthy"}, 1),
            ("stead_service_health", {"health": "unhealthy"}, 0),
            ("stead_service_restarts_total", {"service": "web"}, 0),
            ("stead_service_release_info", {"release": WEB}, 1),
            ("stead_group_members", {"group": "web.default", "serving": "yes"}, 1),
            ("stead_ring_members", {"health": "alive"}, 1),
            ("stead_ring_members", {"health": "dead"}, 1),
            ("stead_ring_refused_total", {"reason": "ring"}, 5),
            ("stead_ring_health_score", {}, 0),
            ("stead_ring_encrypted", {}, 1),
            ("stead_info", {"version": "9.9"}, 1),
        ]:
            assert await sample(made, name, **labels) == value, (name, labels)
        assert await sample(made, "process_resident_memory_bytes") > 1e6


async def scraped(made: Gateway) -> list[Any]:
    async with aiohttp.ClientSession() as session, session.get(url(made, "/metrics")) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return [found for family in text_string_to_metric_families(await response.text()) for found in family.samples]


async def sample(made: Gateway, name: str, **labels: str) -> float:
    (found,) = [each.value for each in await scraped(made) if each.name == name and labels.items() <= each.labels.items()]
    assert isinstance(found, float)
    return found


@pytest.mark.asyncio
async def test_no_client_makes_a_label_of_its_own(tmp_path: Path) -> None:
    """A scanner's paths would be a series each, for ever."""
    async with served(tmp_path) as (_, made):
        for number in range(20):
            await get(made, f"/v1/scan-{number}")
            await get(made, f"/v1/services/scan-{number}")
        routes = {
            (each.labels["route"], each.labels["status"]) for each in await scraped(made) if each.name == "stead_gateway_requests_total"
        }
        assert routes == {("unknown", "404"), ("service", "404")}


# --- connections


@pytest.mark.asyncio
async def test_silent_clients_take_their_places_and_lose_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "GATEWAY_CONNECTIONS", 3)
    monkeypatch.setattr(gateway, "GATEWAY_CONNECTION_S", 0.5)
    async with served(tmp_path) as (_, made):
        silent = [await asyncio.open_connection(*made.address) for _ in range(3)]
        silent[0][1].write(b"GET / HTTP/1.1\r\nHost: loc")  # slow, not silent
        for reader, _ in silent:
            assert not reader.at_eof()
        try:
            refused = await raw(made, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        except ConnectionError:
            refused = b""
        assert refused == b""
        assert made.refused == 1
        for reader, writer in silent:
            assert await asyncio.wait_for(ended(reader), 10)
            writer.close()
        assert (await get(made, "/"))[0] == 200


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_cut_off_and_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "GATEWAY_CONNECTION_S", 1.0)
    async with served(tmp_path) as (found, made):
        for number in range(20, 220):
            found.ring.meet(number, f"host-{number}", because="x" * 40_000)  # 8 MB: more than a socket takes
        connection = socket.create_connection(made.address)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /v1/ring HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await get(made, "/"))[0] == 200
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 10
        while made._server.connections:
            assert loop.time() < deadline
            await asyncio.sleep(0.02)
        connection.close()


# --- ports


@pytest.mark.asyncio
async def test_a_taken_port_gives_way_to_the_next(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()
        async with house(tmp_path) as found:
            made = Gateway(found.host, taken, fixed=False)
            await made.start()
            assert taken[1] < made.address[1] < taken[1] + 100
            assert f"port {taken[1]} is taken" in found.journal.path.read_text()
            assert (await get(made, "/"))[0] == 200
            await made.close()


@pytest.mark.asyncio
async def test_a_port_that_was_asked_for_is_an_error_for_people_and_waited_for_by_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types the command is told; a supervisor that the holder starts again goes on with its services."""
    monkeypatch.setattr(gateway, "GATEWAY_RETRY_S", 0.05)
    async with house(tmp_path) as found:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            taken = holder.getsockname()
            with pytest.raises(UnavailableError, match="address already in use"):
                gate.check(HttpSettings(listen=taken, listen_fixed=True), {})
            made = Gateway(found.host, taken, fixed=True)
            await made.start()
            assert "address already in use" in made.trouble
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 10
        while made.trouble:
            assert loop.time() < deadline
            await asyncio.sleep(0.02)
        assert (await get(made, "/"))[0] == 200
        assert made.address == taken
        assert found.journal.path.read_text().count("tried again") == 1
        await made.close()


def test_ports_of_others_are_not_taken_in_passing() -> None:
    """Beside a gateway on 9631 the next one must not sit on the ring's port."""
    with doorway.listen(("127.0.0.1", 9632), fixed=False) as listening:
        assert listening.getsockname()[1] not in doorway.OF_OTHERS


# --- TLS


MAKE_CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -addext subjectAltName=IP:127.0.0.1"


def certificate(path: Path, name: str) -> tuple[str, str]:
    """Key and self-signed certificate for 127.0.0.1."""
    key, certs = path / f"{name}.key", path / f"{name}.crt"
    subprocess.run(
        [*MAKE_CERTIFICATE.split(), "-keyout", str(key), "-out", str(certs), "-subj", f"/CN={name}"],
        check=True,
        capture_output=True,
    )
    return str(key), str(certs)


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")


@needs_openssl
@pytest.mark.asyncio
async def test_with_authorities_only_their_clients_come_in_and_a_handshake_that_never_ends_blocks_nobody(tmp_path: Path) -> None:
    key, certs = certificate(tmp_path, "server")
    client_key, client_certs = certificate(tmp_path, "client")
    async with served(tmp_path, tls=Tls(key=key, certs=certs, ca_certs=client_certs)) as (_, made):
        silent = socket.create_connection(made.address)  # and no handshake ever
        trusting = ssl.create_default_context(cafile=certs)
        async with aiohttp.ClientSession() as session:
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await (await session.get(url(made, "/", "https"), ssl=trusting)).read()
            known = ssl.create_default_context(cafile=certs)
            known.load_cert_chain(client_certs, client_key)
            async with session.get(url(made, "/", "https"), ssl=known) as response:
                assert response.status == 200
        silent.close()


@needs_openssl
def test_files_that_do_not_serve_are_refused_with_their_names(tmp_path: Path) -> None:
    key, certs = certificate(tmp_path, "server")
    other_key, _ = certificate(tmp_path, "other")
    (tmp_path / "empty").write_text("")
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", str(tmp_path / "locked")], check=True, capture_output=True
    )
    for wrong, error in [
        ({"key": key, "certs": ""}, UsageError),
        ({"key": "", "certs": "", "ca_certs": certs}, UsageError),
        ({"key": str(tmp_path / "none"), "certs": certs}, NotFoundError),
        ({"key": other_key, "certs": certs}, FormatError),
        ({"key": str(tmp_path / "locked"), "certs": certs}, FormatError),
        ({"key": key, "certs": certs, "ca_certs": str(tmp_path / "empty")}, FormatError),
    ]:
        with pytest.raises(error):
            Tls(**{"ca_certs": "", **wrong}).context()
