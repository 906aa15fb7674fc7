"""The supervisor's end of the holder's socket: requests, and events as values.

Rules: one connection, any number of requests under way; a reply finds its request by id. When the holder goes, every request under way
ends with UnavailableError and `events()` ends with `Lost`: what really runs is then only known to the next holder. A slow reader of
events is cut off rather than buffered without bound.

Format: `supervisor/holder/protocol.py`. Not here: what to do about an event (`supervisor/service`), and the holder itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hart.errors import ServiceError, UnavailableError
from hart.limits import HOLDER_EVENTS, HOLDER_REPLY_S, UNIX_PATH
from supervisor.holder import protocol
from supervisor.holder.protocol import Held, StartRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """A held process ended: by itself (`code`), by a `signal`, or `unknown` because another holder had started it."""

    service: str
    start_id: str
    code: int | None
    signal: int | None
    unknown: bool
    cause: str = ""  # what the kernel knows beyond that: out of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidReady:
    """A held process said that it is ready. Told once; `Held.ready` has it for who comes later."""

    service: str
    start_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidStatus:
    """What a held process says of itself before it is ready."""

    service: str
    start_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """The holder was told to end: stop every service, then `shutdown()`. `reason` is the signal's name."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The holder's socket closed. Always the last event."""

    cause: str


def exit_of(held: Held) -> Exited:
    """The end of a process that had ended before anybody listened."""
    return Exited(service=held.service, start_id=held.start_id, code=held.code, signal=held.signal, unknown=held.unknown, cause=held.cause)


UPGRADE = "stead sup upgrade"
HolderEvent = Exited | SaidReady | SaidStatus | StopRequested | Lost


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderInfo:
    """Who answers."""

    version: int
    boot_id: str
    pid: int
    containment: str = ""  # what it holds services together with
    program: str = ""  # the version of Stead that it is
    turn: int = 0  # how often it has become another
    takes: frozenset[str] | None = None  # fields of a start that it knows


class HolderClient:
    """One connection to the holder. Every method raises UnavailableError when the holder is gone or does not answer in time."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self.info: HolderInfo | None = None  # what it said last

    @classmethod
    async def connect(cls, path: Path) -> HolderClient:
        """Connect to `<state>/holder.sock`; UnavailableError when nobody listens there."""
        loop = asyncio.get_running_loop()
        directory = None
        try:
            address = str(path)
            if len(os.fsencode(address)) > UNIX_PATH:  # the kernel's sockaddr is short; a descriptor of the directory is shorter
                directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                address = f"/proc/self/fd/{directory}/{path.name}"
            _, wire = await loop.create_unix_connection(_Wire, address)
        except OSError as error:
            raise UnavailableError(
                str(path), f"the holder does not answer: {error.strerror or error}", next="start it: stead sup run"
            ) from error
        finally:
            if directory is not None:
                os.close(directory)
        return cls(wire)

    async def hello(self) -> HolderInfo:
        reply = await self._ask("hello")
        with _understood():
            info = HolderInfo(
                version=int(reply["version"]),
                boot_id=str(reply["boot_id"]),
                pid=int(reply["pid"]),
                containment=str(reply.get("containment", "")),
                program=str(reply.get("program", "")),
                turn=int(reply.get("turn", 0)),
                takes=frozenset(map(str, reply["takes"])) if "takes" in reply else None,
            )
        if info.version != protocol.VERSION:
            raise UnavailableError("holder", f"speaks version {info.version}, not {protocol.VERSION}", next="restart it: stead sup term")
        self.info = info
        return info

    async def attached(self) -> None:
        """The services are taken over: this supervisor does its work. A holder that is older and does not know the word loses nothing."""
        with suppress(ServiceError):
            await self._ask("attached")

    async def start(self, service: str, request: StartRequest) -> Held:
        """Start and hold one process, from its record on disk to its exec. ServiceError says why it could not be.

        After UnavailableError or a cancellation it may have started all the same: `list()` of the next connection tells."""
        fields, takes = protocol.to_dict(request), self.info.takes if self.info is not None else None
        if takes is not None:  # an older holder: what it does not know it cannot do
            if deaf := [name for name in protocol.NEEDED if fields[name] is not None and name not in takes]:
                raise ServiceError(
                    service, f"says itself when it is ready ({deaf[0]}), and this holder is too old to hear it", next=UPGRADE
                )
            fields = {name: value for name, value in fields.items() if name in takes}
        reply = await self._ask("start", service=service, start=fields)
        with _understood():
            return protocol.to_held(reply["held"])

    async def signal(self, service: str, start_id: str, signum: int, *, group: bool = True) -> bool:
        """Signal that very process (and its group). False when it is not the one that is held, or nothing of it is left."""
        reply = await self._ask("signal", service=service, start_id=start_id, signal=int(signum), group=group)
        return reply.get("sent") is True

    async def list(self) -> list[Held]:
        """What is held: running processes, and ended ones that were not forgotten yet."""
        reply = await self._ask("list")
        with _understood():
            return [protocol.to_held(held) for held in reply["held"]]

    async def forget(self, service: str, start_id: str) -> None:
        """Drop the record of an ended process and kill what it left behind. ServiceError while it runs."""
        await self._ask("forget", service=service, start_id=start_id)

    async def shutdown(self) -> None:
        """Everything is stopped: let the holder end. It waits for this process to exit, then exits 0."""
        await self._ask("shutdown")

    async def replace(self, program: str) -> str:
        """Have the holder become that Python's holder, by exec; the version that it is about to be. ServiceError: it cannot, and goes on.

        This connection then ends."""
        try:
            reply = await self._ask("replace", program=program)
        except ServiceError as error:
            hint = "nothing has changed; --python is the interpreter of a Stead that is installed and that can read these records"
            raise ServiceError("holder", error.cause, next=hint) from None
        return str(reply.get("version", ""))

    async def events(self) -> AsyncIterator[HolderEvent]:
        """Events in order, from the connection's begin; ends after `Lost`. For one reader."""
        while True:
            event = await self._wire.events.get()
            yield event
            if isinstance(event, Lost):
                self._wire.events.put_nowait(event)  # a reader that comes later must not wait for ever
                return

    async def close(self) -> None:
        """Close the connection; the holder and its processes go on."""
        self._wire.close("closed by us")
        await self._wire.closed

    async def _ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        reply = self._wire.request(kind, fields)
        try:
            async with asyncio.timeout(HOLDER_REPLY_S):
                message = await reply
        except TimeoutError as error:
            raise UnavailableError("holder", f"no answer to `{kind}` in {HOLDER_REPLY_S:g} s") from error
        if message.get("ok") is not True:
            raise ServiceError(str(fields.get("service", "holder")), str(message.get("error", "refused without a reason")))
        return message


class _Wire(asyncio.Protocol):
    """Bytes to replies and events: a protocol and not a task, so that nothing here needs an owner to run."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[HolderEvent] = asyncio.Queue(HOLDER_EVENTS + 1)  # one place is kept for Lost
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._rest = b""
        self._cause = "the holder closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def request(self, kind: str, fields: Mapping[str, Any]) -> asyncio.Future[dict[str, Any]]:
        if self._transport is None or self._transport.is_closing():
            raise UnavailableError("holder", self._cause, next="is it running? stead sup status")
        self._last_id += 1
        number = self._last_id
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(lambda _: self._pending.pop(number, None))
        line = protocol.encode_request(number, kind, fields)
        self._pending[number] = reply
        self._transport.write(line)
        return reply

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > protocol.MAX_LINE:
            self.close("the holder sent a line without end")
            return
        for line in lines:
            try:
                self._receive(protocol.decode(line))
            except (ValueError, KeyError, asyncio.QueueFull) as error:
                self.close(f"cannot follow the holder: {type(error).__name__} {error}")
                return

    def _receive(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is not None:
            reply = self._pending.get(number)
            if reply is not None and not reply.done():
                reply.set_result(message)
            return
        event = to_event(message)
        if event is None:
            return
        if self.events.qsize() >= HOLDER_EVENTS:
            raise asyncio.QueueFull
        self.events.put_nowait(event)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._cause = f"the connection to the holder broke: {exc}"
        for reply in list(self._pending.values()):
            if not reply.done():
                reply.set_exception(UnavailableError("holder", self._cause, next="is it running? stead sup status"))
        self.events.put_nowait(Lost(cause=self._cause))
        if not self.closed.done():
            self.closed.set_result(None)

    def close(self, cause: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._cause = cause
            self._transport.close()


@contextmanager
def _understood() -> Iterator[None]:
    """The border to a holder that says yes and then something else."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        raise UnavailableError("holder", f"gave an answer that is not documented: {error}", next="stead sup term, then sup run") from error


def to_event(message: Mapping[str, Any]) -> HolderEvent | None:
    """A received event; None for a kind that only a newer holder knows. KeyError or ValueError when it is malformed."""
    match message["event"]:
        case "exited":
            code, signum = message["code"], message["signal"]
            if not all(number is None or isinstance(number, int) for number in (code, signum)):
                raise ValueError("code and signal are numbers")
            return Exited(
                service=str(message["service"]),
                start_id=str(message["start_id"]),
                code=code,
                signal=signum,
                unknown=message["unknown"] is True,
                cause=str(message.get("cause", "")),
            )
        case "ready":
            return SaidReady(service=str(message["service"]), start_id=str(message["start_id"]))
        case "status":
            return SaidStatus(service=str(message["service"]), start_id=str(message["start_id"]), text=str(message["text"]))
        case "stop":
            return StopRequested(reason=str(message["reason"]))
        case _:
            return None
