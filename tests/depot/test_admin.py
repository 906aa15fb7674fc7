"""`stead depot …`: tokens with and without a running server, the check of all data, addresses."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from depot import access, admin, admin_socket, routes, tokens
from depot.admin_socket import ask, listening
from depot.store import open_store
from hart.errors import ConflictError, FormatError, NotFoundError, SteadError, TrustError, UnavailableError, UsageError
from tests.depot.conformance.artifacts import artifact, ident
from tests.depot.conformance.house import house, parts


def run(command: click.Command, *args: str) -> Any:
    """A command's JSON; its errors come out as they are."""
    done = CliRunner().invoke(command, [*args, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[tuple[str, str]]:
    return ("--data", str(tmp_path / "depot"))


@pytest.mark.parametrize(
    ("listen", "port", "meant"),
    [
        ("127.0.0.1", None, ("127.0.0.1", 9636)),
        ("127.0.0.1:80", None, ("127.0.0.1", 80)),
        ("127.0.0.1:80", 0, ("127.0.0.1", 0)),
        ("localhost", 7, ("localhost", 7)),
        ("[::1]", None, ("::1", 9636)),
        ("[::1]:81", None, ("::1", 81)),
    ],
)
def test_an_address_is_a_host_with_or_without_port(listen: str, port: int | None, meant: tuple[str, int]) -> None:
    """`--port` wins; IPv6 stands in brackets."""
    assert admin.address(listen, port) == meant


@pytest.mark.parametrize("listen", ["", ":80", "host:x", "host:99999", "host:-1"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError):
        admin.address(listen, None)


def test_the_data_directory_is_below_the_root_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`<root>/depot`."""
    monkeypatch.setenv("STEAD_ROOT", "/r")
    assert admin.data_directory(None, None) == Path("/r/depot")
    assert admin.data_directory("/other", None) == Path("/other/depot")
    assert admin.data_directory("/other", "/data") == Path("/data")


def test_a_token_is_made_shown_once_listed_and_revoked(data: tuple[str, str]) -> None:
    """With no server running; nothing needs to exist before."""
    made = run(admin.token_create, "--account", "alice", "--scope", "publish:acme", "--expires", "1d", *data)
    assert access.present(made["token"]) is not None
    (row,) = run(admin.token_list, *data)
    assert (row["id"], row["account"], row["scopes"], row["state"]) == (made["id"], "alice", ["publish:acme"], "valid")
    assert made["token"] not in json.dumps(row)
    assert run(admin.token_revoke, made["id"], *data) == {"id": made["id"]}
    assert run(admin.token_list, *data)[0]["state"] == "revoked"


def test_a_token_is_printed_alone_on_stdout(data: tuple[str, str]) -> None:
    """So that a shell can take it into a variable; the rest goes to stderr."""
    done = CliRunner().invoke(admin.token_create, ["--account", "alice", *data], catch_exceptions=False)
    assert access.present(done.stdout.strip()) is not None
    assert "alice" in done.stderr


@pytest.mark.parametrize("args", [("--account", "a b"), ("--account", "a", "--scope", "all"), ("--account", "a", "--expires", "never")])
def test_a_wrong_wish_for_a_token_makes_nothing(data: tuple[str, str], args: tuple[str, ...]) -> None:
    """Not even the depot's directory."""
    with pytest.raises((UsageError, FormatError)):
        run(admin.token_create, *args, *data)
    assert not Path(data[1]).exists()


def test_revoking_what_is_not_there_is_an_error(data: tuple[str, str]) -> None:
    """A typing mistake must not look like a revocation."""
    with pytest.raises(NotFoundError):
        run(admin.token_revoke, "nobody", *data)


@pytest.mark.asyncio
async def test_tokens_are_made_through_a_running_server(tmp_path: Path) -> None:
    """Its lock is held, so the admin socket does it; the token works at once."""
    async with house(tmp_path / "depot") as depot, listening(depot.store):
        request = {"do": "create", "account": "bob", "scopes": ["read"], "expires_s": 60}
        made = await asyncio.to_thread(admin.administer, tmp_path / "depot", request)
        shown = await depot.ask(routes.PROFILE, token=made["token"])
        assert shown.json["name"] == "bob"
        await asyncio.to_thread(admin.administer, tmp_path / "depot", {"do": "revoke", "id": made["id"]})
        assert (await depot.ask(routes.PROFILE, token=made["token"])).status == 401
        with pytest.raises(NotFoundError):
            await asyncio.to_thread(admin.administer, tmp_path / "depot", {"do": "revoke", "id": "nobody"})


@pytest.mark.asyncio
async def test_the_socket_works_below_a_very_long_path(tmp_path: Path) -> None:
    """A socket's path has 108 bytes; directories have not."""
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    store = await asyncio.to_thread(open_store, directory)
    async with listening(store):
        assert (await asyncio.to_thread(ask, directory, {"do": "list"})) == {"tokens": []}
    assert not (directory / "admin.sock").exists()
    await store.close()


@pytest.mark.asyncio
async def test_a_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    """Whoever holds the lock owns the path."""
    (tmp_path / "admin.sock").write_text("left by a server that was killed")
    store = await asyncio.to_thread(open_store, tmp_path)
    async with listening(store):
        assert "tokens" in await asyncio.to_thread(ask, tmp_path, {"do": "list"})
    await store.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "line", [b"\n", b"junk\n", b"[]\n", b"{}\n", b'{"do": "create"}\n', b'{"do": "create", "account": 1, "scopes": [], "expires_s": 1}\n',
             b'{"do": "create", "account": "a", "scopes": [], "expires_s": -1}\n', b"[" * 10_000 + b"\n", b"x" * 100_000 + b"\n"],
)  # fmt: skip
async def test_a_malformed_admin_request_is_an_error_and_the_socket_goes_on(tmp_path: Path, line: bytes) -> None:
    """Only our own user can send one, but a newer or older stead may."""
    store = await asyncio.to_thread(open_store, tmp_path)
    async with listening(store):
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, str(tmp_path / "admin.sock"))
            await loop.sock_sendall(client, line)
            async with asyncio.timeout(10):
                answer = await loop.sock_recv(client, 10_000)
        assert json.loads(answer)["error"] == "UsageError"
        assert await asyncio.to_thread(ask, tmp_path, {"do": "list"}) == {"tokens": []}
    await store.close()


@pytest.mark.asyncio
async def test_the_socket_answers_its_own_user_and_root_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the peer's credentials: modes of files are not enough."""
    store = await asyncio.to_thread(open_store, tmp_path)
    monkeypatch.setattr(admin_socket.os, "geteuid", lambda: 12345)
    monkeypatch.setattr(admin_socket, "_ROOT", 54321)
    async with listening(store):
        with pytest.raises(SteadError, match="own user"):
            await asyncio.to_thread(ask, tmp_path, {"do": "list"})
    await store.close()


def test_no_server_means_no_answer(tmp_path: Path) -> None:
    """Told as unavailable, which the command tries again for a while."""
    with pytest.raises(UnavailableError):
        ask(tmp_path, {"do": "list"})


def test_one_process_has_the_data_at_a_time(tmp_path: Path) -> None:
    """The second one is told who is in its way."""
    store = open_store(tmp_path)
    with pytest.raises(ConflictError, match="in use"):
        open_store(tmp_path)
    asyncio.run(store.close())
    asyncio.run(open_store(tmp_path).close())


async def fill(directory: Path, workspace: Path) -> list[str]:
    """A depot with two packages; the checksums of their blobs."""
    async with house(directory) as depot:
        token = await depot.acme()
        made = [artifact(workspace, ident(name)) for name in ("web", "db")]
        for one in made:
            assert (await depot.upload(one, token)).status == 201
        assert (await depot.ask(routes.PACKAGE, **parts(made[0].ident))).status == 200
    return [one.checksum for one in made]


def problems(data: tuple[str, str]) -> list[str]:
    """What `depot verify` finds; it must fail exactly when there is something."""
    done = CliRunner().invoke(admin.verify, [*data, "--json"])
    found = [row["thing"] for row in json.loads(done.stdout)["problems"]]
    assert isinstance(done.exception, TrustError) is bool(found)
    return found


def test_a_whole_depot_has_no_problems(tmp_path: Path, data: tuple[str, str]) -> None:
    """Counts and the audit trail's head are shown."""
    asyncio.run(fill(Path(data[1]), tmp_path))
    report = run(admin.verify, *data)
    assert (report["packages"], report["problems"]) == (2, [])
    assert len(report["audit_head"]) == 64


def test_a_missing_and_a_rotten_blob_are_named(tmp_path: Path, data: tuple[str, str]) -> None:
    """S32: each with its package, one line each."""
    web, db = asyncio.run(fill(Path(data[1]), tmp_path))
    (Path(data[1]) / "blobs" / web[:2] / web).unlink()
    rotten = Path(data[1]) / "blobs" / db[:2] / db
    rotten.write_bytes(rotten.read_bytes()[:-1] + b"!")
    found = problems(data)
    assert [thing.split("/")[1] for thing in found] == ["web", "db"]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE audit SET account = 'eve' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "UPDATE audit SET detail = '{}' WHERE action = 'package.publish'",
    ],
)
def test_an_edited_audit_trail_is_found(tmp_path: Path, data: tuple[str, str], edit: str) -> None:
    """S35: offline, with an ordinary SQL shell."""
    asyncio.run(fill(Path(data[1]), tmp_path))
    with closing(sqlite3.connect(Path(data[1]) / "depot.sqlite")) as connection:
        connection.execute(edit)
        connection.commit()
    assert problems(data) == ["audit trail"]


def test_a_row_that_names_other_bytes_is_found(tmp_path: Path, data: tuple[str, str]) -> None:
    """A key that is gone, a checksum that was exchanged."""
    web, db = asyncio.run(fill(Path(data[1]), tmp_path))
    with closing(sqlite3.connect(Path(data[1]) / "depot.sqlite")) as connection:
        connection.execute("UPDATE packages SET checksum = ? WHERE checksum = ?", (db, web))
        connection.execute("UPDATE packages SET key_name = 'acme-20990101000000' WHERE name = 'db'")
        connection.commit()
    assert len(problems(data)) == 2


@pytest.mark.asyncio
async def test_a_running_depot_can_be_verified(tmp_path: Path) -> None:
    """Beside the server, changing nothing."""
    async with house(tmp_path / "depot") as depot:
        token = await depot.acme()
        assert (await depot.upload(artifact(tmp_path / "w"), token)).status == 201
        report = await asyncio.to_thread(run, admin.verify, "--data", str(tmp_path / "depot"))
        assert (report["packages"], report["problems"]) == (1, [])
        assert (await depot.upload(artifact(tmp_path / "w", ident("db")), token)).status == 201


def test_verifying_what_is_not_there_makes_nothing(data: tuple[str, str]) -> None:
    """A typing mistake must not become an empty, healthy depot."""
    with pytest.raises(NotFoundError, match="does not exist"):
        run(admin.verify, *data)
    assert not Path(data[1]).exists()


@pytest.mark.asyncio
async def test_only_the_digest_of_a_token_is_on_disk(tmp_path: Path) -> None:
    """S28: whoever steals the files has no token."""
    store = await asyncio.to_thread(open_store, tmp_path)
    made = await tokens.create(store, "alice", [], 60)
    await store.close()
    kept = (tmp_path / "depot.sqlite").read_bytes()
    assert made["id"].encode() in kept
    assert made["token"].removeprefix("stead_")[16:].encode() not in kept
    assert (tmp_path / "blobs").stat().st_mode & 0o077 == 0
