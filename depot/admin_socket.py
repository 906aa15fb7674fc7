"""The depot's admin socket: how `stead depot token` reaches a server that is running, on the same machine only.

Rules: `admin.sock` in the data directory, one JSON line each way, then close. Only the server's own uid or root is answered (SO_PEERCRED),
whatever the file's mode says. The path goes through /proc/self/fd, since a socket's path has only 108 bytes. An error is
`{"error": family, "thing", "cause", "next"}`. The requests are those of
depot/tokens.py. Not here: what they do.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from depot import tokens
from depot.log import log
from depot.store import Store
from hart import errors, limits
from hart.errors import SteadError, UnavailableError
from hart.files import storage

_NAME = "admin.sock"
_ROOT = 0
_PEER = struct.Struct("3i")  # pid, uid, gid


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[None]:
    """Answer on the socket until the block ends. Whoever holds the store's lock may take the path over."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(json.dumps(await _answer(store, reader, writer)).encode() + b"\n")
            await writer.drain()
        writer.close()

    with _address(store.directory) as address:
        with suppress(FileNotFoundError):
            os.unlink(address)  # noqa: PTH108  through /proc/self/fd
        with storage(store.directory / _NAME):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(address)
                os.chmod(address, 0o600)  # noqa: PTH101  through /proc/self/fd
            except BaseException:
                listener.close()
                raise
        server = await asyncio.start_unix_server(serve, sock=listener, limit=limits.ADMIN_LINE)
        try:
            async with server:
                yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(address)  # noqa: PTH108  through /proc/self/fd


async def _answer(store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
    try:
        _check_peer(writer.get_extra_info("socket"))
        async with asyncio.timeout(limits.ADMIN_S):
            line = await reader.readline()
        done = await tokens.perform(store, json.loads(line))
    except SteadError as error:
        return {"error": type(error).__name__, "thing": error.thing, "cause": error.cause, "next": error.next}
    except (ValueError, RecursionError, TimeoutError):
        return {"error": "UsageError", "thing": "admin request", "cause": "is not one line of JSON", "next": ""}
    log("admin", id=done.get("id"), account=done.get("account"))
    return done


def _check_peer(peer: socket.socket) -> None:
    _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid not in (_ROOT, os.geteuid()):
        raise errors.DeniedError("the admin socket", "answers its own user and root only", next="run it as the depot's user")


def ask(directory: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the server that has this data directory; blocking. UnavailableError when none listens, else what it raised."""
    advice = "the depot may be starting or stopping: try again"
    try:
        with _address(directory) as address, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(limits.ADMIN_S)
            connection.connect(address)
            with suppress(ConnectionError):  # who refuses us may have answered and left already: the answer can still be read
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline(limits.ADMIN_ANSWER)
        answer = json.loads(line)
    except (OSError, ValueError) as error:
        raise UnavailableError(f"depot in {directory}", "does not answer on its admin socket", next=advice) from error
    if not isinstance(answer, dict):
        raise UnavailableError(f"depot in {directory}", "does not answer as a depot does", next=advice)
    if "error" in answer:
        raise _meant(answer)
    return answer


def _meant(answer: Mapping[str, Any]) -> SteadError:
    family = getattr(errors, str(answer["error"]), SteadError)
    known = family if isinstance(family, type) and issubclass(family, SteadError) else SteadError
    return known(str(answer.get("thing")), str(answer.get("cause")), next=str(answer.get("next", "")))


@contextmanager
def _address(directory: Path) -> Iterator[str]:
    """A short path to the socket, good while the block lasts."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{_NAME}"
    finally:
        os.close(fd)
