"""`stead depot …`: the commands of whoever runs a depot. Serve it, make tokens, check what it holds.

Rules: no configuration is needed: data in `<root>/depot`, listening on 127.0.0.1:9636. The server prints `listening on URL` on stderr when
it is ready, with `--json` also `{"url": …}` on stdout. TERM and INT end it after the requests under way. Tokens are made with and without a
running server. Not here: what they do (depot/server.py, depot/tokens.py, depot/check.py).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depot.routes import DEFAULT_PORT, DEFAULT_PREFIX
from hart import limits
from hart.console import say, show_facts, show_json, show_lines, show_rows, warn
from hart.errors import ConflictError, NotFoundError, StorageError, TrustError, UnavailableError, UsageError
from hart.files import storage
from hart.options import json_option, root_option
from hart.root import Root

if TYPE_CHECKING:
    from depot.store import Store

_data = click.option("--data", metavar="DIR", help="The depot's data directory instead of ROOT/depot.")


def data_directory(root: str | None, data: str | None) -> Path:
    return Path(data).absolute() if data else Root.choose(root, os.environ).path / "depot"


def address(listen: str, port: int | None) -> tuple[str, int]:
    """Host and port of `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; `port` wins. UsageError when it is none of them."""
    host, separator, number = listen.rpartition(":")
    if not separator or listen.endswith("]"):
        host, number = listen, ""
    if (number and not (number.isascii() and number.isdigit() and int(number) < 65536)) or not host.strip("[]"):
        raise UsageError(f"address {listen!r}", "is not HOST or HOST:PORT", next="--listen 127.0.0.1:9636")
    chosen = port if port is not None else int(number) if number else DEFAULT_PORT
    return host.strip("[]"), chosen


@click.command()
@root_option
@_data
@click.option("--listen", metavar="HOST[:PORT]", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"Port, 0 for any free one.  [default: {DEFAULT_PORT}]")
@click.option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="What every path begins with.")
@click.option("--max-upload", type=click.IntRange(min=1), default=limits.UPLOAD_MAX, help="Largest artifact in bytes.  [default: 8 GiB]")
@json_option
def serve(root: str | None, data: str | None, listen: str, port: int | None, prefix: str, max_upload: int, as_json: bool) -> int:
    """Serve packages over HTTP.

    Needs no configuration and no database. Data is kept in ROOT/depot.
    """
    from depot import routes

    directory, (host, number) = data_directory(root, data), address(listen, port)
    return asyncio.run(_serve(directory, host, number, routes.prefix(prefix), max_upload, as_json=as_json))


async def _serve(directory: Path, host: str, port: int, prefix: str, max_upload: int, *, as_json: bool) -> int:
    import signal

    from depot.admin_socket import listening
    from depot.call import Depot, Settings
    from depot.publish import Caps, Publisher
    from depot.server import serving
    from depot.store import open_store

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = await asyncio.to_thread(open_store, directory)
    try:
        _advise(directory, host, fresh=not await store.read(lambda reader: reader.tokens()))
        if orphans := await store.collect_orphans():
            say(f"removed {orphans} blobs that no package refers to")
        settings = Settings(prefix=prefix, max_upload=max_upload)
        publisher = Publisher(store, Caps(max_bytes=max_upload, targets=settings.targets))
        async with listening(store), serving(Depot(store=store, publisher=publisher, settings=settings), host=host, port=port) as chosen:
            url = f"http://{f'[{host}]' if ':' in host else host}:{chosen}" + (prefix if prefix != DEFAULT_PREFIX else "")
            say(f"listening on {url}")
            if as_json:
                show_json({"url": url})
                sys.stdout.flush()
            await stop.wait()
            say("stopping")
    finally:
        await store.close()
    return StorageError.exit_code if store.read_only else 0


def _advise(directory: Path, host: str, *, fresh: bool) -> None:
    import ipaddress

    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        warn(f"{host} can be reached from outside, and tokens travel in clear text: put a TLS proxy in front")
    if fresh:
        say(f"no token yet, so nobody can publish; make one with\n  stead depot token create --account NAME --data {directory}")


def administer(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one admin request: in this process when no server runs, else through the server. UnavailableError when neither works in time."""
    from depot.admin_socket import ask

    deadline = time.monotonic() + limits.ADMIN_S
    while True:
        try:
            return asyncio.run(_alone(directory, request))
        except ConflictError as error:
            if "lock" not in error.data:
                raise
        try:
            return ask(directory, request)
        except UnavailableError:  # a server that is just starting or stopping
            if time.monotonic() > deadline:
                raise
            time.sleep(limits.ADMIN_RETRY_S)


async def _alone(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    from depot import tokens
    from depot.store import open_store

    store = open_store(directory)
    try:
        return await tokens.perform(store, request)
    finally:
        await store.close()


@click.command("create")
@root_option
@_data
@click.option("--account", metavar="NAME", required=True, help="Whose token it is; made if new.")
@click.option(
    "--scope", "scopes", multiple=True, help="read, publish:ORIGIN, promote:ORIGIN[/CHANNEL] or admin; again for more.  [default: admin]"
)
@click.option("--expires", metavar="TIME", default="90d", show_default=True, help="Life time, such as 12h, 90d or 1y.")
@json_option
def token_create(root: str | None, data: str | None, account: str, scopes: tuple[str, ...], expires: str, as_json: bool) -> None:
    """Make an access token. It is shown once.

    Without --scope it may do all that its account may.
    """
    from depot import access

    request = {
        "do": "create",
        "account": access.check_account(account),
        "scopes": [str(scope) for scope in access.parse_scopes(scopes)],
        "expires_s": access.expiry_s(expires),
    }
    made = administer(data_directory(root, data), request)
    if as_json:
        show_json(made)
    else:
        say(f"token {made['id']} of {made['account']}: {', '.join(made['scopes'])}; until {made['expires_at']}")
        show_lines([made["token"]])


@click.command("list")
@root_option
@_data
@json_option
def token_list(root: str | None, data: str | None, as_json: bool) -> None:
    """List access tokens, never their secrets."""
    rows = administer(data_directory(root, data), {"do": "list"})["tokens"]
    show_rows(rows, ["id", "account", "state", "scopes", "expires_at", "last_used_at"], as_json=as_json, empty="there are no tokens")


@click.command("revoke")
@root_option
@_data
@click.argument("token_id", metavar="ID")
@json_option
def token_revoke(root: str | None, data: str | None, token_id: str, as_json: bool) -> None:
    """Revoke an access token, by its id. It stops working at once."""
    done = administer(data_directory(root, data), {"do": "revoke", "id": token_id})
    if as_json:
        show_json(done)
    else:
        say(f"revoked {done['id']}")


@click.command()
@root_option
@_data
@json_option
def verify(root: str | None, data: str | None, as_json: bool) -> None:
    """Check that every stored package is whole, and that the audit trail was not edited.

    The depot may go on running. Changes nothing.
    """
    from depot.check import check_store
    from depot.store import open_beside

    async def check(store: Store) -> Any:
        try:
            return await check_store(store, lambda _count: None)
        finally:
            await store.close()

    directory = data_directory(root, data)
    with storage(directory):
        there = (directory / "depot.sqlite").exists()
    if not there:
        raise NotFoundError(f"depot in {directory}", "does not exist", next="choose another directory with --data DIR")
    report = asyncio.run(check(open_beside(directory)))
    findings = [{"thing": finding.thing, "problem": finding.problem} for finding in report.findings]
    facts = {"packages": report.packages, "audit_entries": report.audit_entries, "audit_head": report.head}
    if as_json:
        show_json(facts | {"problems": findings})
    else:
        show_facts(facts | {"problems": [f"{row['thing']}: {row['problem']}" for row in findings] or "none"}, as_json=False)
    if findings:
        raise TrustError(f"depot in {directory}", f"{len(findings)} problems found", next="restore the named packages from a backup")
