"""Feeds a node with what arrives and with the time, and carries its effects out. No rules of the ring are here.

Rules: the clock is read once for each step. A wake-up looks at no more than RING_DRAIN datagrams, then everybody else has a turn. What
costs more than a look comes after the budget. No error of a socket is fatal, each is counted. Streams are frames of a 4 byte length and so
many bytes; one that is too long, or a reader that does not read, ends its stream.
"""

from __future__ import annotations

import asyncio
import errno
import struct
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from hart.limits import DATAGRAM_MAX, RING_CONNECT_S, RING_DRAIN, RING_FRAME_MAX, RING_KNOWN_S, RING_STREAM_S, RING_UNREAD
from supervisor.gossip.budget import Budget
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
        self.drops: Counter[str] = Counter()
        self._hear, self._clock = hear, clock
        self._budget = Budget(clock())
        self._known: frozenset[Address] = frozenset()
        self._known_at = float("-inf")
        self._streams: dict[int, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._closed = False

    @property
    def address(self) -> Address:
        return self.sockets.address

    # --- life

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._accept, sock=self.sockets.streams, limit=RING_FRAME_MAX)
        loop.add_reader(self.sockets.datagrams, self._drain)
        self.do(self.node.start(self._clock()))

    async def close(self) -> None:
        """No more packets, streams or ticks. What the node had to say was said before. Twice is once."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
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
        """Carry them out in order, then sleep until the node wants to be called."""
        for effect in effects:
            match effect:
                case Send(to, data):
                    self._send(to, data)
                case Open(stream, to):
                    self._spawn(self._connect(stream, to))
                case Write(stream, data):
                    self._write(stream, data)
                case Close(stream):
                    if (writer := self._streams.pop(stream, None)) is not None:
                        writer.close()
                case _:
                    if isinstance(effect, Seen):
                        self._known_at = float("-inf")
                    self._hear(effect)
        self._sleep()

    def _send(self, to: Address, data: bytes) -> None:
        try:
            self.sockets.datagrams.sendto(data, self.sockets.outward(to))
        except OSError as error:  # no route, a firewall, a full queue: what the ring is built to bear
            self.drops[f"send {errno.errorcode.get(error.errno or 0, 'error')}"] += 1

    def _sleep(self) -> None:
        if self._closed:
            return
        now = self._clock()
        at = min(self.node.deadline(), now + FAR)
        if self._timer is not None:
            if self._timer_at <= at:
                return  # it wakes too early at worst, and looks again
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock()
        self.do(self.node.tick(now) if now >= self.node.deadline() else [])

    # --- datagrams

    def _drain(self) -> None:
        now = self._clock()
        self._look_who_is_known(now)
        for _ in range(RING_DRAIN):
            try:
                data, source = self.sockets.datagrams.recvfrom(DATAGRAM_MAX + 1)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # an answer of the network to something that was sent
                self.drops[f"receive {errno.errorcode.get(error.errno or 0, 'error')}"] += 1
                continue
            address = inward(source)
            if not self._budget.take(address, self._known, now):
                self.drops["budget"] += 1
                continue
            self.do(self.node.receive(data, address, now))

    def _look_who_is_known(self, now: float) -> None:
        if now - self._known_at > RING_KNOWN_S:
            self._known_at = now
            self._known = frozenset(member.address for member in self.node.members)

    # --- streams

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, stream: int, to: Address) -> None:
        try:
            async with asyncio.timeout(RING_CONNECT_S):
                reader, writer = await asyncio.open_connection(*to, limit=RING_FRAME_MAX)
        except (OSError, TimeoutError) as error:
            self.drops[f"connect {type(error).__name__}"] += 1
            self.do(self.node.closed(stream, self._clock()))
            return
        self._streams[stream] = writer
        self.do(self.node.opened(stream, self._clock()))
        await self._read(stream, reader, writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Our own task: asyncio's would print a traceback when it is cancelled at the end."""
        stream, effects = self.node.accepted(inward(writer.get_extra_info("peername") or ("", 0)), self._clock())
        if stream < 0 or self._closed:
            self.drops["stream refused"] += 1
            writer.transport.abort()
        else:
            self._streams[stream] = writer
            self._spawn(self._read(stream, reader, writer))
        self.do(effects)

    async def _read(self, stream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frames until somebody ends it."""
        try:
            while stream in self._streams:
                async with asyncio.timeout(RING_STREAM_S):
                    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                    if size > RING_FRAME_MAX + OVERHEAD:
                        self.drops["frame too long"] += 1
                        break
                    data = await reader.readexactly(size)
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
        if writer is None:
            return
        if writer.transport.get_write_buffer_size() > RING_UNREAD:
            self.drops["slow reader"] += 1
            writer.transport.abort()
            return
        writer.write(LENGTH.pack(len(data)) + data)
