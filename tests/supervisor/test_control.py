"""The control socket: our own client is served, a hostile one harms nobody (threats S54)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hart.errors import ConflictError, FormatError, NotFoundError, SteadError, UnavailableError
from hart.limits import CONTROL_FRAME_MAX
from supervisor import control
from supervisor.control import Control, ask

pytestmark = pytest.mark.asyncio


class StrangeError(ConflictError):
    """An error of a module that the client does not load."""


async def answer(request: Mapping[str, Any], say: Callable[[str], None]) -> Any:
    match request.get("command"):
        case "echo":
            say("first")
            return {"said": request["text"]}
        case "unspeakable":
            return float("nan")
        case "flood":
            for _ in range(1000):
                say("x" * 10_000)
            return None
        case "refuse":
            raise StrangeError("thing", "cause", next="help", current=3)
        case _:
            raise ZeroDivisionError("a bug")


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Path]:
    server = Control(path, answer)
    await server.start()
    try:
        yield path
    finally:
        await server.close(5)


def socket_path(tmp_path: Path, depth: int = 0) -> Path:
    return tmp_path.joinpath(*["deep" * 10] * depth, "root", "sup", "default", "control.sock")


@pytest.mark.parametrize("depth", [0, 4], ids=["short", "longer than a socket's address"])
async def test_a_request_is_answered_with_progress_and_result(tmp_path: Path, depth: int) -> None:
    said: list[str] = []
    async with served(socket_path(tmp_path, depth)) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        result = await asyncio.to_thread(ask, path, {"command": "echo", "text": "x"}, said.append)
    assert (result, said) == ({"said": "x"}, ["first"])


async def test_an_error_arrives_as_its_nearest_known_family(tmp_path: Path) -> None:
    async with served(socket_path(tmp_path)) as path:
        with pytest.raises(ConflictError, match="thing: cause") as caught:
            await asyncio.to_thread(ask, path, {"command": "refuse"}, print)
    assert (type(caught.value), caught.value.next, caught.value.data) == (ConflictError, "help", {"current": 3})


async def test_a_bug_in_a_command_is_told_and_harms_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(socket_path(tmp_path)) as path:
        with pytest.raises(SteadError, match="bug: ZeroDivisionError"):
            await asyncio.to_thread(ask, path, {"command": "break"}, print)
        assert "ZeroDivisionError" in capsys.readouterr().err
        await asyncio.to_thread(ask, path, {"command": "echo", "text": ""}, print)


async def test_a_result_that_no_frame_can_carry_is_an_error_for_its_asker(tmp_path: Path) -> None:
    async with served(socket_path(tmp_path)) as path:
        with pytest.raises(FormatError, match="not a number"):
            await asyncio.to_thread(ask, path, {"command": "unspeakable"}, print)


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SILENCE_S", 0.1)
    async with served(socket_path(tmp_path)) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
            client.sendall(control.frame({"command": "flood"}))
            async with asyncio.timeout(10):
                for served_now in (True, False):  # first it is, then not any more
                    while (len(asyncio.all_tasks()) > 1) is not served_now:  # noqa: ASYNC110  there is no event to wait for
                        await asyncio.sleep(0.01)


HOSTILE = {
    "a huge length": struct.pack(">I", 0xFFFFFFFF),
    "just over the cap": struct.pack(">I", CONTROL_FRAME_MAX + 1) + b"x",
    "no msgpack": struct.pack(">I", 3) + b"\xc1\xc1\xc1",
    "a list": struct.pack(">I", 1) + b"\x90",
    "an array that claims a billion": struct.pack(">I", 5) + b"\xdd\x3b\x9a\xca\x00",
    "half a frame": struct.pack(">I", 100) + b"\x81",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_frame_closes_its_connection_only(tmp_path: Path, name: str) -> None:
    async with served(socket_path(tmp_path)) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(HOSTILE[name])
        writer.write_eof()
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await asyncio.to_thread(ask, path, {"command": "echo", "text": ""}, print)


async def test_a_peer_of_another_user_is_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(socket_path(tmp_path)) as path:
        monkeypatch.setattr(control, "is_ours", lambda _: False)
        with pytest.raises(UnavailableError):
            await asyncio.to_thread(ask, path, {"command": "echo", "text": ""}, print)


async def test_credentials_are_the_kernels(tmp_path: Path) -> None:
    """is_ours reads SO_PEERCRED of the real socket: ours is accepted."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        _, writer = await asyncio.open_unix_connection(sock=ours)
        assert control.is_ours(writer)
        writer.close()
        await writer.wait_closed()


async def test_without_a_supervisor_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    with pytest.raises(UnavailableError, match="is not running") as caught:
        ask(path, {"command": "echo"}, print)
    assert caught.value.next == f"start it: stead sup run --root {tmp_path / 'root'}"
    async with served(path):
        pass
    with pytest.raises(UnavailableError, match="is not running"):
        ask(path, {"command": "echo"}, print)


async def test_families_that_are_no_errors_are_not_made() -> None:
    assert type(control.error_from_wire({"family": "annotations", "thing": "a", "cause": "b"})) is SteadError
    assert type(control.error_from_wire({"family": "NotFoundError", "thing": "a", "cause": "b"})) is NotFoundError
    assert isinstance(control.error_from_wire(7), SteadError)
