"""Feeds a node with what arrives and with the time, and carries its effects out. No rules of the ring are here.

Rules: the clock is read once for each step, when the step begins: a node sees how late it is called. A wake-up gives the node no more than
RING_DRAIN datagrams, then everybody else has a turn. What costs more than a look comes after the budget; where that was passed, the socket
rests for a moment, so that a flood comes in heaps and not one wake-up at a time. No error of a socket is fatal, each is counted. A ring
without a key hears this host only. Streams are frames of a 4 byte length and so many bytes; one that is too long, a caller that says
nothing, or a reader that does not read, ends its stream.
"""

from __future__ import annotations

import asyncio
import errno
import struct
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from hart.limits import (
    DATAGRAM_MAX,
    RING_BACKLOG,
    RING_CONNECT_S,
    RING_DRAIN,
    RING_FAULT_S,
    RING_FIRST_S,
    RING_FRAME_MAX,
    RING_KNOWN_S,
    RING_LOOKS,
    RING_PAUSE_S,
    RING_STREAM_S,
    RING_UNREAD,
)
from supervisor.gossip.budget import Budget, Places, is_loopback
from supervisor.gossip.keyring import OVERHEAD
from supervisor.gossip.messages import Address, Close, Effect, Open, Seen, Send, Write
from supervisor.gossip.node import Node
from supervisor.gossip.sockets import Sockets, inward

LENGTH = struct.Struct(">I")
FAR = 3600.0  # the longest sleep: a deadline of never is looked at again


class Driver:
    """Runs one node on its sockets. `hear` gets every effect that is not bytes."""

    def __init__(self, node: Node, sockets: Sockets, *, hear: Callable[[Effect], None], clock: Callable[[], float]) -> None:
        self.node, self.sockets = node, sockets
        self._drops: Counter[str] = Counter()
        self._hear, self._clock = hear, clock
        self._budget, self._places = Budget(clock()), Places(clock())
        self._known: frozenset[Address] = frozenset()
        self._known_hosts: frozenset[str] = frozenset()
        self._known_at, self._known_for_s = float("-inf"), 0.0
        self._todo: deque[Effect] = deque()
        self._doing = False
        self._streams: dict[int, asyncio.StreamWriter] = {}
        self._calls: dict[int, asyncio.Task[None]] = {}  # streams that are being opened
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def address(self) -> Address:
        return self.sockets.address

    @property
    def drops(self) -> Counter[str]:
        """What was not taken in or did not get out, by word; the kernel's part as it tells it now."""
        if not self._closed and (overflowed := self.sockets.overflowed()):
            self._drops["queue full"] = overflowed
        return self._drops

    # --- life

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._accept, sock=self.sockets.streams, limit=RING_FRAME_MAX, backlog=RING_BACKLOG)
        loop.add_reader(self.sockets.datagrams, self._drain)
        self.do(self.node.start(self._clock()))

    async def close(self) -> None:
        """No more packets, streams or ticks. What the node had to say was said before. Twice is once."""
        if self._closed:
            return
        self._drops = self.drops
        self._closed = True
        for timer in (self._timer, self._pause):
            if timer is not None:
                timer.cancel()
        asyncio.get_running_loop().remove_reader(self.sockets.datagrams)
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RING_CONNECT_S)
        self.sockets.close()

    # --- effects

    def do(self, effects: Sequence[Effect]) -> None:
        """Carry them out in order, also those that follow from telling one, then sleep until the node wants to be called."""
        self._todo.extend(effects)
        if self._doing:
            return
        self._doing = True
        try:
            while self._todo:
                self._carry_out(self._todo.popleft())
        finally:
            self._doing = False
            self._sleep()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to, data):
                self._send(to, data)
            case Open(stream, to):
                self._calls[stream] = self._spawn(self._connect(stream, to))
            case Write(stream, data):
                self._write(stream, data)
            case Close(stream):
                if (writer := self._streams.pop(stream, None)) is not None:
                    writer.close()
                elif (call := self._calls.pop(stream, None)) is not None:
                    call.cancel()
            case _:
                if isinstance(effect, Seen):
                    self._known_for_s = RING_KNOWN_S[0]
                self._hear(effect)

    def _send(self, to: Address, data: bytes) -> None:
        try:
            self.sockets.datagrams.sendto(data, self.sockets.outward(to))
        except OSError as error:  # no route, a firewall, a full queue: what the ring is built to bear
            self._drops[f"send {errno.errorcode.get(error.errno or 0, 'error')}"] += 1

    def _sleep(self) -> None:
        if self._closed:
            return
        now = self._clock()
        at = min(self.node.deadline(), now + FAR)
        if self._timer is not None:
            if self._timer_at <= at:
                return  # it wakes too early at worst, and looks again
            self._timer.cancel()
        self._wake_at(at, now)

    def _wake_at(self, at: float, now: float) -> None:
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._tick)

    def _tick(self) -> None:
        now = self._clock()
        self._wake_at(now + RING_FAULT_S, now)
        effects = self.node.tick(now) if now >= self.node.deadline() else []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.do(effects)

    # --- datagrams

    def _drain(self) -> None:
        now = self._clock()
        self._look_who_is_known(now)
        dropped = fed = 0
        while fed < RING_DRAIN and fed + dropped < RING_LOOKS:
            try:
                data, source = self.sockets.datagrams.recvfrom(DATAGRAM_MAX + 1)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # an answer of the network to something that was sent
                self._drops[f"receive {errno.errorcode.get(error.errno or 0, 'error')}"] += 1
                fed += 1
                continue
            address = inward(source)
            if self._may_speak(address, now):
                fed += 1
                self.do(self.node.receive(data, address, self._clock()))
            else:
                dropped += 1
        if dropped and not self._closed:
            asyncio.get_running_loop().remove_reader(self.sockets.datagrams)
            self._pause = asyncio.get_running_loop().call_later(RING_PAUSE_S, self._listen_again)

    def _may_speak(self, source: Address, now: float) -> bool:
        if not self.sockets.sealed and not is_loopback(source[0]):
            self._drops["plain text from elsewhere"] += 1
            return False
        if not self._budget.take(source, self._known, now):
            self._drops["budget"] += 1
            return False
        return True

    def _listen_again(self) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(self.sockets.datagrams, self._drain)

    def _look_who_is_known(self, now: float) -> None:
        if now - self._known_at > self._known_for_s:
            self._known_at, self._known_for_s = now, RING_KNOWN_S[1]
            self._known = frozenset(member.address for member in self.node.members)
            self._known_hosts = frozenset(host for host, _ in self._known)

    # --- streams

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self, stream: int, to: Address) -> None:
        try:
            async with asyncio.timeout(RING_CONNECT_S):
                reader, writer = await asyncio.open_connection(*to, limit=RING_FRAME_MAX)
        except (OSError, TimeoutError) as error:
            self._drops[f"connect {type(error).__name__}"] += 1
            if self._calls.pop(stream, None) is not None:
                self.do(self.node.closed(stream, self._clock()))
            return
        del self._calls[stream]
        self._streams[stream] = writer
        self.do(self.node.opened(stream, self._clock()))
        await self._read(stream, reader, writer, RING_STREAM_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Our own task: asyncio's would print a traceback when it is cancelled at the end."""
        caller, now = inward(writer.get_extra_info("peername") or ("", 0)), self._clock()
        self._look_who_is_known(now)
        known = caller[0] in self._known_hosts
        if self._closed or not (self.sockets.sealed or is_loopback(caller[0])) or not self._places.take(caller[0], now, known=known):
            self._drops["stream refused"] += 1
            writer.transport.abort()
            return
        stream, effects = self.node.accepted(caller, now)
        if stream < 0:
            self._drops["stream refused"] += 1
            self._places.leave(caller[0], known=known)
            writer.transport.abort()
        else:
            self._streams[stream] = writer
            reading = self._spawn(self._read(stream, reader, writer, RING_FIRST_S))
            reading.add_done_callback(lambda _: self._places.leave(caller[0], known=known))
        self.do(effects)

    async def _read(self, stream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first_s: float) -> None:
        """Frames until somebody ends it."""
        try:
            patience_s = first_s
            while stream in self._streams:
                async with asyncio.timeout(patience_s):
                    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                    if size > RING_FRAME_MAX + OVERHEAD:
                        self._drops["frame too long"] += 1
                        break
                    data = await reader.readexactly(size)
                patience_s = RING_STREAM_S
                self.do(self.node.frame(stream, data, self._clock()))
        except (OSError, EOFError, TimeoutError):
            pass  # the other side has left, or says nothing: the node hears that it is over
        finally:
            if self._streams.pop(stream, None) is not None:
                writer.transport.abort()
                if not self._closed:
                    self.do(self.node.closed(stream, self._clock()))
        with suppress(OSError, TimeoutError):  # closed by us: what was written may still go out
            async with asyncio.timeout(RING_STREAM_S):
                await writer.wait_closed()
        writer.transport.abort()

    def _write(self, stream: int, data: bytes) -> None:
        writer = self._streams.get(stream)
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > RING_UNREAD:
            self._drops["slow reader"] += 1
            writer.transport.abort()
            return
        writer.write(LENGTH.pack(len(data)) + data)
