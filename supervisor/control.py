"""The supervisor's control socket: framed msgpack over a Unix socket, one request, a stream of replies.

    frame      4 bytes length, big endian, then so many bytes of msgpack (hart/wire.py)
    request    {"command": name, …}                  at most CONTROL_FRAME_MAX bytes, whole within CONTROL_REQUEST_S
    replies    {"say": text} *  {"alive": true} *   then {"result": value} or {"error": {family, thing, cause, next, data}}

Rules: `<root>/sup/default/control.sock`, mode 0600; the peer must be our own user or root by SO_PEERCRED. A hostile or broken
frame closes that connection and nothing else. A command answers when the thing is done; until then `alive` says that somebody is
at it. Commands are in commands.py, and this file does not know them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hart import errors
from hart.errors import DeniedError, FormatError, LimitError, SteadError, UnavailableError
from hart.files import make_dirs, storage
from hart.limits import CONTROL_CONNECTIONS, CONTROL_FRAME_MAX, CONTROL_REPLY_MAX, CONTROL_REQUEST_S, UNIX_PATH
from hart.wire import decode, encode

ALIVE_S = 5.0  # between two signs of life; the client gives up after six of them
SILENCE_S = 30.0
PEERCRED = struct.Struct("3i")  # pid, uid, gid
LENGTH = struct.Struct(">I")

Say = Callable[[str], None]
Answer = Callable[[Mapping[str, Any], Say], Awaitable[Any]]


def frame(value: Any) -> bytes:
    data = encode(value)
    if len(data) > CONTROL_REPLY_MAX:
        raise LimitError("reply", f"is larger than {CONTROL_REPLY_MAX} bytes")
    return LENGTH.pack(len(data)) + data


def error_to_wire(error: SteadError) -> dict[str, Any]:
    data = {key: value for key, value in error.data.items() if isinstance(value, (str, int, float, bool))}
    family = next(each.__name__ for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    return {"family": family, "thing": error.thing, "cause": error.cause, "next": error.next, "data": data}


def error_from_wire(value: Any) -> SteadError:
    """The error that the supervisor met, of the same family."""
    if not isinstance(value, Mapping):
        return FormatError("supervisor", "answered with an error of an unknown shape")
    family = getattr(errors, str(value.get("family")), SteadError)
    if not (isinstance(family, type) and issubclass(family, SteadError)):
        family = SteadError
    made: SteadError = family(str(value.get("thing")), str(value.get("cause")), next=str(value.get("next") or ""))
    data = value.get("data")
    made.data = dict(data) if isinstance(data, Mapping) else {}
    return made


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """An address of the socket that fits into sockaddr_un, however long the path is."""
    if len(os.fsencode(path)) <= UNIX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


# --- the supervisor's side


class Control:
    """The listening end."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path, self._answer = path, answer
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        make_dirs(self.path.parent)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with storage(self.path), short_address(self.path) as address:
            self.path.unlink(missing_ok=True)  # the holder has one supervisor at a time: whoever left it is gone
            before = os.umask(0o177)
            try:
                listening.bind(address)
            finally:
                os.umask(before)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening)

    async def close(self, timeout_s: float) -> None:
        """Stop listening, and let answers under way get out."""
        self.path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        if self._open:
            await asyncio.wait(self._open, timeout=timeout_s)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Our own task: asyncio's would print a traceback when it is cancelled at the end."""
        if len(self._open) >= CONTROL_CONNECTIONS or not is_ours(writer):
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, SteadError):
            pass  # the peer left, does not read, or does not speak our language: nobody else is concerned
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONTROL_REQUEST_S):
            (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if size > CONTROL_FRAME_MAX:
                raise LimitError("request", f"is larger than {CONTROL_FRAME_MAX} bytes")
            request = decode(await reader.readexactly(size), thing="request", limit=CONTROL_FRAME_MAX)
        if not isinstance(request, dict):
            raise FormatError("request", "is not a map")
        work = asyncio.ensure_future(self._answer(request, lambda text: writer.write(frame({"say": text}))))
        try:
            while not (await asyncio.wait([work], timeout=ALIVE_S))[0]:
                await self._send(writer, frame({"alive": True}))
        finally:
            if not work.done():  # the peer has left: nobody waits for the result, what was begun is in the specs
                work.cancel()
                await asyncio.wait([work])
        try:
            reply = frame(outcome(work))
        except SteadError as error:
            reply = frame({"error": error_to_wire(error)})
        await self._send(writer, reply)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """TimeoutError when the peer does not read."""
        writer.write(data)
        async with asyncio.timeout(SILENCE_S):
            await writer.drain()


def outcome(work: asyncio.Future[Any]) -> dict[str, Any]:
    """The last reply."""
    error = work.exception()
    if error is None:
        return {"result": work.result()}
    if isinstance(error, SteadError):
        return {"error": error_to_wire(error)}
    traceback.print_exception(error)  # the border: a bug in one command must not take the supervisor down
    bug = SteadError("supervisor", f"bug: {type(error).__name__}: {error}", next="please report it with the lines on its terminal")
    return {"error": error_to_wire(bug)}


def is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the peer is our own user, or root."""
    peer = writer.get_extra_info("socket")
    _, uid, _ = PEERCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEERCRED.size))
    return uid in (os.geteuid(), 0)


# --- the command's side: blocking, one question, then gone


def ask(path: Path, request: Mapping[str, Any], say: Say) -> Any:
    """Send one request, wait for its result; raises the supervisor's error, or UnavailableError when there is none (with `lost` in its
    data: whether the request was carried out is not known)."""
    no_supervisor = UnavailableError(
        f"supervisor of {path.parents[2]}", "is not running", next=f"start it: stead sup run --root {path.parents[2]}", lost=True
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SILENCE_S)
        try:
            with short_address(path) as address:
                connection.connect(address)
            connection.sendall(frame(dict(request)))
            while True:
                reply = _receive(connection)
                if "say" in reply:
                    say(str(reply["say"]))
                elif "error" in reply:
                    raise error_from_wire(reply["error"])
                elif "result" in reply:
                    return reply["result"]
        except PermissionError:
            raise DeniedError(str(path), "belongs to another user", next="run as the supervisor's user, or as root") from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise no_supervisor from None
        except TimeoutError:
            raise UnavailableError(
                str(path),
                f"the supervisor said nothing for {SILENCE_S:g} s: it is stopped, or stuck; services go on",
                next="look at its terminal; kill -9 its process and the holder starts another",
            ) from None
        except (ConnectionError, EOFError):
            raise UnavailableError(
                str(path), "the supervisor closed the connection", next="is it running, and as your user? stead sup status", lost=True
            ) from None


def _receive(connection: socket.socket) -> dict[str, Any]:
    (size,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
    if size > CONTROL_REPLY_MAX:
        raise LimitError("reply", f"is larger than {CONTROL_REPLY_MAX} bytes")
    reply = decode(_exactly(connection, size), thing="reply")
    if not isinstance(reply, dict):
        raise FormatError("reply", "is not a map")
    return reply


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        block = connection.recv(size - len(data))
        if not block:
            raise EOFError
        data += block
    return data
