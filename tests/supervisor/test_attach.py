"""The supervisor's client of the holder, against a holder that says what the test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hart.errors import ServiceError, UnavailableError
from supervisor import attach
from supervisor.attach import Exited, HolderClient, Lost, SaidReady, SaidStatus, StopRequested, to_event
from supervisor.holder.protocol import Held, StartRequest, to_dict

HELD = Held(service="web", start_id="ab", pid=7, boot_id="b", start_time=9, started_at=1.5, running=True)
REQUEST = StartRequest(argv=["/bin/web"], env={}, cwd="/", log="/log")
EXITED = {"event": "exited", "service": "web", "start_id": "ab", "code": 1, "signal": None, "unknown": False}

pytestmark = pytest.mark.asyncio


class ScriptedHolder:
    """Collects requests; answers when told to."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        while line := await reader.readline():
            self.requests.put_nowait(json.loads(line))
        writer.close()

    async def next_request(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.requests.get(), 10)

    def say(self, *messages: dict[str, Any]) -> None:
        self.say_bytes(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def say_bytes(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.close()


@pytest_asyncio.fixture
async def holder(tmp_path: Path) -> AsyncIterator[ScriptedHolder]:
    scripted = ScriptedHolder()
    server = await asyncio.start_unix_server(scripted.serve, tmp_path / "holder.sock")
    yield scripted
    server.close()
    await server.wait_closed()


@pytest_asyncio.fixture
async def client(holder: ScriptedHolder, tmp_path: Path) -> AsyncIterator[HolderClient]:
    connected = await HolderClient.connect(tmp_path / "holder.sock")
    yield connected
    await connected.close()


async def asked(holder: ScriptedHolder, question: Awaitable[Any], **reply: Any) -> Any:
    """Ask, answer with `reply`, and return what came of it."""
    task = asyncio.ensure_future(question)
    request = await holder.next_request()
    holder.say({"id": request["id"], **reply})
    return await asyncio.wait_for(task, 10)


async def test_each_reply_finds_its_request_in_any_order(holder: ScriptedHolder, client: HolderClient) -> None:
    """Requests do not wait for each other."""
    first = asyncio.ensure_future(client.signal("web", "ab", 15))
    second = asyncio.ensure_future(client.signal("api", "cd", 9, group=False))
    one, two = await holder.next_request(), await holder.next_request()
    assert one == {"id": one["id"], "request": "signal", "service": "web", "start_id": "ab", "signal": 15, "group": True}
    assert two == {"id": two["id"], "request": "signal", "service": "api", "start_id": "cd", "signal": 9, "group": False}
    holder.say({"id": 99, "ok": True}, {"id": two["id"], "ok": True, "sent": False}, {"id": one["id"], "ok": True, "sent": True})
    assert list(await asyncio.wait_for(asyncio.gather(first, second), 10)) == [True, False]


async def test_answers_become_values(holder: ScriptedHolder, client: HolderClient) -> None:
    """Each method returns its documented type."""
    assert (await asked(holder, client.hello(), ok=True, version=1, boot_id="b", pid=3)).pid == 3
    assert await asked(holder, client.start("web", REQUEST), ok=True, held=to_dict(HELD) | {"news": 1}) == HELD
    assert await asked(holder, client.list(), ok=True, held=[to_dict(HELD)]) == [HELD]
    for question in (client.forget("web", "ab"), client.shutdown()):
        assert await asked(holder, question, ok=True) is None
    assert await asked(holder, client.replace("/python"), ok=True, version="9.1") == "9.1"


async def test_an_older_holder_is_not_sent_what_it_does_not_know(holder: ScriptedHolder, client: HolderClient) -> None:
    await asked(holder, client.hello(), ok=True, version=1, boot_id="b", pid=3, takes=["argv", "env", "cwd", "log"])
    task = asyncio.ensure_future(client.start("web", REQUEST))
    request = await holder.next_request()
    assert set(request["start"]) == {"argv", "env", "cwd", "log"}
    task.cancel()


async def test_what_an_older_holder_could_not_hear_is_not_started(holder: ScriptedHolder, client: HolderClient) -> None:
    """A service that says itself when it is ready would be stopped at its deadline again and again."""
    await asked(holder, client.hello(), ok=True, version=1, boot_id="b", pid=3, takes=["argv", "env", "cwd", "log"])
    for told in ({"notify": "/run/n"}, {"notify_fd": 3}):
        with pytest.raises(ServiceError, match="this holder is too old to hear it") as caught:
            await client.start("web", replace(REQUEST, **told))  # type: ignore[arg-type]
        assert caught.value.next == "stead sup upgrade"


async def test_a_refusal_is_a_service_error_with_the_holders_reason(holder: ScriptedHolder, client: HolderClient) -> None:
    """The service is the thing, the reason the cause."""
    with pytest.raises(ServiceError, match="web: exec: No such file") as caught:
        await asked(holder, client.start("web", REQUEST), ok=False, error="exec: No such file")
    assert caught.value.thing == "web"


async def test_an_answer_that_is_not_documented_is_unavailable(holder: ScriptedHolder, client: HolderClient) -> None:
    """Neither a traceback nor a half value."""
    for reply in ({}, {"held": None}, {"held": {"service": "web"}}, {"held": to_dict(HELD) | {"pid": "7"}}):
        with pytest.raises(UnavailableError, match="not documented"):
            await asked(holder, client.start("web", REQUEST), ok=True, **reply)
    with pytest.raises(UnavailableError, match="speaks version 2"):
        await asked(holder, client.hello(), ok=True, version=2, boot_id="b", pid=3)


async def test_events_come_in_order_and_end_with_lost(holder: ScriptedHolder, client: HolderClient) -> None:
    """Events of kinds that only a newer holder knows are passed over."""
    task = asyncio.ensure_future(client.list())
    await holder.next_request()
    holder.say(EXITED, {"event": "dance"}, {"event": "stop", "reason": "SIGTERM"})
    holder.hang_up()
    async with asyncio.timeout(10):
        events = [event async for event in client.events()]
        assert events == [
            Exited(service="web", start_id="ab", code=1, signal=None, unknown=False),
            StopRequested(reason="SIGTERM"),
            Lost(cause="the holder closed the connection"),
        ]
        with pytest.raises(UnavailableError, match="closed the connection"):
            await task
        assert [event async for event in client.events()] == events[-1:], "who asks later hears of it too"
    with pytest.raises(UnavailableError, match="closed the connection"):
        await client.list()


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"[]\n",
        b'{"event": "exited"}\n',
        b"{}\n",
        b'{"event":"exited","service":1,"start_id":"","code":"x","signal":1,"unknown":1}\n',
    ],
)
async def test_a_holder_that_cannot_be_followed_is_lost(holder: ScriptedHolder, client: HolderClient, garbage: bytes) -> None:
    """A stream that was misread once says nothing any more."""
    task = asyncio.ensure_future(client.list())
    await holder.next_request()
    holder.say_bytes(garbage)
    async with asyncio.timeout(10):
        (event,) = [event async for event in client.events()]
        assert isinstance(event, Lost)
        assert "cannot follow the holder" in event.cause
        with pytest.raises(UnavailableError):
            await task


async def test_a_line_without_end_is_cut_off(holder: ScriptedHolder, client: HolderClient) -> None:
    """Nothing is buffered without bound."""
    asyncio.ensure_future(client.list()).add_done_callback(lambda task: task.exception())
    await holder.next_request()
    holder.say_bytes(b"x" * 300_000)
    async with asyncio.timeout(10):
        (event,) = [event async for event in client.events()]
    assert event == Lost(cause="the holder sent a line without end")


async def test_a_reader_that_does_not_read_is_cut_off(
    holder: ScriptedHolder, client: HolderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next connection learns from `list` what it missed."""
    monkeypatch.setattr(attach, "HOLDER_EVENTS", 3)
    task = asyncio.ensure_future(client.list())
    await holder.next_request()
    holder.say(*[EXITED] * 4)
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(task, 10)
    async with asyncio.timeout(10):
        events = [event async for event in client.events()]
    assert [type(event) for event in events] == [Exited, Exited, Exited, Lost]


async def test_silence_ends_with_unavailable(holder: ScriptedHolder, client: HolderClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped holder does not hang its supervisor."""
    monkeypatch.setattr(attach, "HOLDER_REPLY_S", 0.01)
    with pytest.raises(UnavailableError, match="no answer to `list`"):
        await client.list()
    late = await holder.next_request()
    holder.say({"id": late["id"], "ok": True, "held": []})
    monkeypatch.setattr(attach, "HOLDER_REPLY_S", 10.0)
    assert await asked(holder, client.list(), ok=True, held=[to_dict(HELD)]) == [HELD]


async def test_no_holder_is_unavailable_and_says_how_to_start_one(tmp_path: Path) -> None:
    """Also behind a path that no socket address could hold."""
    for path in (tmp_path / "holder.sock", tmp_path / ("d" * 150) / "holder.sock"):
        with pytest.raises(UnavailableError) as caught:
            await HolderClient.connect(path)
        assert caught.value.next == "start it: stead sup run"


async def test_closing_twice_is_closing(holder: ScriptedHolder, tmp_path: Path) -> None:
    """And whoever still waits for events is told."""
    client = await HolderClient.connect(tmp_path / "holder.sock")
    await client.close()
    await client.close()
    async with asyncio.timeout(10):
        assert [event async for event in client.events()] == [Lost(cause="closed by us")]


async def test_every_documented_event_has_a_value() -> None:
    """And an undocumented kind none."""
    assert to_event({"event": "stop", "reason": "SIGINT"}) == StopRequested(reason="SIGINT")
    assert to_event({"event": "?"}) is None
    said = {"service": "web", "start_id": "ab"}
    assert to_event({"event": "ready", **said}) == SaidReady(service="web", start_id="ab")
    assert to_event({"event": "status", **said, "text": "loading"}) == SaidStatus(service="web", start_id="ab", text="loading")
