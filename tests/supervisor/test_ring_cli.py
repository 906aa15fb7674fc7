"""Real supervisors on loopback: what people type, what machines fetch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hart.root import Root
from tests.ports import free_port
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = pytest.mark.slow
STEAD = str(Path(sys.executable).with_name("stead"))
WEB = "t/web/1.0/20260101000000"
OWN_PORTS = ("--listen-gossip=127.0.0.1:0", "--listen-http=127.0.0.1:0")


def stead(host: Supervised, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    environ = {**clean, "STEAD_ROOT": str(host.root.path)}
    return subprocess.run([STEAD, *arguments], env=environ, capture_output=True, text=True, timeout=90, check=False)


def status(host: Supervised) -> dict[str, Any]:
    found: dict[str, Any] = host.ask("ring status")
    return found


def journal(host: Supervised) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.settings.journal.read_text().splitlines()]


def fetch(host: Supervised, path: str, token: str = "") -> tuple[int, str]:
    where = [line["because"].removeprefix("answers at ") for line in journal(host) if line["because"].startswith("answers at ")][-1]
    request = urllib.request.Request(f"{where}{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Supervised, Supervised]]:
    """Two that have met; the first runs a service and wants a token."""
    path = tmp_path_factory.mktemp("ring")
    lay_package(Root(path / "h1"), WEB)
    with ExitStack() as stack:
        first = stack.enter_context(supervised(Root(path / "h1"), *OWN_PORTS, WEB, env={"STEAD_GATEWAY_AUTH_TOKEN": "the-token"}))
        second = stack.enter_context(
            supervised(
                Root(path / "h2"), f"--listen-gossip=127.0.0.1:{free_port()}", OWN_PORTS[1], "--json-logs"
            )  # where it is found again
        )
        first.until_listed("web", "ready")
        done = stead(second, "ring", "join", status(first)["address"])
        assert (done.returncode, "in the ring with" in done.stderr) == (0, True), done.stderr
        first.until("both are alive", lambda: status(first)["counts"]["alive"] == 2)
        yield first, second


def test_members_and_records_are_listed_on_both(pair: tuple[Supervised, Supervised]) -> None:
    ids = {status(host)["member"] for host in pair}
    for host in pair:
        rows = json.loads(stead(host, "ring", "members", "--json").stdout)
        assert {row["member"] for row in rows} == ids
        assert [row["me"] for row in rows].count(True) == 1
    pair[1].until("the service's fact has come", lambda: "/web" in stead(pair[1], "ring", "records", "member/").stdout)
    rows = json.loads(stead(pair[1], "ring", "records", "member/", "--reveal", "--json").stdout)
    assert all(isinstance(row["body"], dict) for row in rows)
    shown = stead(pair[0], "ring", "status")
    assert "without a ring key" in shown.stdout
    assert "2 alive" in shown.stdout


def test_nobody_at_an_address_is_an_error_and_not_a_wait_for_ever(pair: tuple[Supervised, Supervised]) -> None:
    done = stead(pair[0], "ring", "join", "127.0.0.1:1", "--wait", "1")
    assert (done.returncode, "no member has answered" in done.stderr) == (7, True)
    assert stead(pair[0], "ring", "join", "not an address").returncode == 2


def test_a_name_that_two_hosts_have_dismisses_neither(pair: tuple[Supervised, Supervised]) -> None:
    done = stead(pair[0], "ring", "depart", status(pair[1])["name"])
    assert done.returncode == 6
    assert all(status(host)["member"] in done.stderr for host in pair)


def test_a_gateway_that_cannot_be_is_refused_before_anything_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        for options, code, word in [
            ((f"--listen-http={taken}",), 7, "address already in use"),
            (("--listen-http=0.0.0.0",), 2, "--http-open"),
            ((f"--key={__file__}", f"--certs={__file__}"), 3, "do not serve"),
        ]:
            done = subprocess.run(
                [STEAD, "sup", "run", "--root", str(tmp_path), *options], capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode, word in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert not (tmp_path / "sup").exists()


def test_the_gateway_wants_its_token_and_shows_the_ring_the_census_and_the_service(pair: tuple[Supervised, Supervised]) -> None:
    first, second = pair
    assert fetch(first, "/v1/ring")[0] == 401
    code, body = fetch(first, "/v1/ring", "the-token")
    assert (code, json.loads(body)["counts"]["alive"]) == (200, 2)
    assert fetch(first, "/v1/services/web/health", "the-token")[0] == 200
    assert json.loads(fetch(first, "/v1/services/web", "the-token")[1])["release"] == WEB
    metrics = fetch(first, "/metrics", "the-token")[1]
    assert 'stead_service_ready{group="web.default",service="web"} 1.0' in metrics
    assert 'stead_ring_members{health="alive"} 2.0' in metrics

    def seen() -> bool:
        groups = json.loads(fetch(second, "/v1/census")[1])["groups"]
        return [each["serving"] for each in groups.get("web.default", {"members": []})["members"]] == [True]

    second.until("the other host sees the service serve", seen)


def test_every_line_of_a_supervisor_that_speaks_json_is_one_object(pair: tuple[Supervised, Supervised]) -> None:
    """Also across the death of the supervisor, of which its holder tells."""
    second = pair[1]
    second.kill_supervisor()
    second.until("it is in the ring again", lambda: status(second)["counts"]["alive"] == 2)
    lines = [json.loads(line) for line in second.log().splitlines()]
    assert all({"at", "level", "topic", "because"} <= set(line) for line in lines)
    assert any(line["topic"] == "holder" and line["level"] == "warning" for line in lines)


def test_leaving_dismissal_and_death_are_shown_with_their_reasons(tmp_path: Path) -> None:
    with supervised(Root(tmp_path / "h1"), *OWN_PORTS) as first, supervised(Root(tmp_path / "h2"), *OWN_PORTS) as second:
        address, identity = status(first)["address"], status(second)["member"]
        assert stead(second, "ring", "join", address).returncode == 0

        left = stead(second, "ring", "depart", "--why", "new rack")
        assert (left.returncode, "stead ring join" in left.stderr) == (0, True)
        first.until("it has left", lambda: status(first)["counts"]["departed"] == 1)
        assert "this host takes no part: new rack" in stead(second, "ring", "status").stdout
        second.kill_supervisor()
        assert status(second)["departed"] == "new rack"
        assert stead(second, "ring", "join", address).returncode == 0
        first.until("it is back", lambda: status(first)["counts"] == {"alive": 2, "suspect": 0, "dead": 0, "departed": 0})

        gone = stead(first, "ring", "depart", identity[:8], "--why", "scaled in")
        assert (gone.returncode, "it lives" in gone.stderr) == (0, True)
        second.until("it has heard that it was dismissed", lambda: "scaled in" in (status(second)["departed"] or ""))
        assert stead(second, "ring", "join", address).returncode == 0

        os.killpg(second.process.pid, signal.SIGKILL)  # holder and supervisor: nobody says goodbye
        second.process.wait(timeout=20)
        first.until("it is held dead", lambda: status(first)["counts"]["dead"] == 1)
        (away,) = status(first)["away"]
        assert (away["member"], away["health"]) == (identity, "dead")
        assert "suspected for" in away["because"]
        assert f"({identity[:8]}) dead for" in stead(first, "ring", "status").stdout
