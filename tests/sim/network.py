"""The network between simulated hosts: datagrams that may be lost, doubled, late or out of order, and streams that keep order.

A datagram's fate is drawn when it is sent: cut off, lost, doubled, delayed. A stream delivers its frames whole and in order; a lost frame
is sent again after RETRY_S, one that cannot get through for GIVE_UP_S ends the stream, as TCP's user timeout would. A host whose process
is gone refuses connections at once; a host that is gone altogether (`silent`) answers nothing.
What is cut: ordered pairs of addresses (one way), sides (members of two sides do not hear each other), and clogged hosts (hear nobody).
Rules of the ring are not here: the network does not look into what it carries.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final

from supervisor.gossip.messages import Address
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.host import Host

DELAY_S: Final = (0.0005, 0.0015)  # one way within a data centre: the distribution of earlier simulations, so figures compare
RETRY_S: Final = 0.2  # TCP's smallest retransmission timeout on Linux
GIVE_UP_S: Final = 15.0  # a connection without progress; longer than the ring's own patience, so that patience is what is tested
CONNECT_S: Final = 3.0  # two SYNs


class End:
    """One side of a stream: who holds it (None: nobody any more), under which number, and what it still has to send (None: the end)."""

    __slots__ = ("address", "arrives", "host", "number", "queue", "since")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.host: Host | None = None
        self.number = -1
        self.queue: deque[bytes | None] = deque()
        self.arrives = 0.0  # of the last frame, so that the next one comes later
        self.since = -1.0  # when the head of the queue was first tried; -1: no try is under way


Stream = tuple[End, End]  # the first one has opened it


class Network:
    """Who is where, what is cut, and how bad the line is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hosts: dict[Address, Host] = {}
        self.delay_s = DELAY_S
        self.loss = 0.0
        self.duplication = 0.0
        self.reorder = 0.0  # share of datagrams that take up to `reorder_s` longer
        self.reorder_s = 0.5
        self.blocked: set[tuple[Address, Address]] = set()
        self.sides: dict[Address, int] = {}
        self.clogged: set[Address] = set()
        self.sent = 0
        self.lost = 0

    def heal(self) -> None:
        """Nothing is cut, nothing is lost."""
        self.loss = self.duplication = self.reorder = 0.0
        self.delay_s = DELAY_S
        self.blocked.clear()
        self.sides.clear()
        self.clogged.clear()

    def cut(self, source: Address, to: Address) -> bool:
        """Whether nothing gets from `source` to `to` now."""
        if (source, to) in self.blocked or source in self.clogged or to in self.clogged:
            return True
        sides = self.sides
        return bool(sides) and source in sides and to in sides and sides[source] != sides[to]

    def delay(self) -> float:
        low, high = self.delay_s
        return low + (high - low) * self.world.chance.random()

    def send(self, source: Address, to: Address, data: Any) -> None:
        """One datagram."""
        self.sent += 1
        host = self.hosts.get(to)
        world = self.world
        if host is None or self.blocked or self.sides or self.clogged or self.loss or self.duplication or self.reorder:
            self._send_over_a_bad_line(host, source, to, data)
            return
        low, high = self.delay_s
        world.sequence = sequence = world.sequence + 1  # as world.at, which costs a fifth of an idle ring's time
        heappush(world.heap, (world.now + low + (high - low) * world.chance.random(), sequence, host.receive, (data, source)))

    def _send_over_a_bad_line(self, host: Host | None, source: Address, to: Address, data: Any) -> None:
        random = self.world.chance.random
        if host is None or self.cut(source, to) or (self.loss and random() < self.loss):
            self.lost += 1
            return
        copies = 2 if self.duplication and random() < self.duplication else 1
        for _ in range(copies):
            late = self.reorder_s * random() if self.reorder and random() < self.reorder else 0.0
            self.world.after(self.delay() + late, host.receive, data, source)

    # --- streams

    def connect(self, host: Host, number: int, to: Address) -> Stream:
        """A stream that `host` calls `number`; the host will hear `opened` or `closed` of it."""
        near, far = End(host.address), End(to)
        near.host, near.number = host, number
        self._dial((near, far), self.world.now + CONNECT_S)
        return near, far

    def _dial(self, stream: Stream, until: float) -> None:
        near, far = stream
        if near.host is None:
            return  # closed, or gone, meanwhile
        there = self.hosts.get(far.address)
        if there is None or there.silent or self._fails(near.address, far.address):
            if self.world.now >= until:
                self._drop(near)
            else:
                self.world.after(1.0, self._dial, stream, until)
        elif not there.listening:
            self.world.after(2 * self.delay(), self._drop, near)
        else:
            self.world.after(self.delay(), there.accept, stream)

    def accepted(self, stream: Stream, host: Host, number: int) -> None:
        """`host` has taken the stream, under its own `number`."""
        near, far = stream
        far.host, far.number = host, number
        if near.host is None:
            self.world.after(self.delay(), self._drop, far)
        else:
            self.world.after(self.delay(), self._opened, near)

    def _opened(self, end: End) -> None:
        if end.host is not None:
            end.host.opened(end.number)

    def refused(self, stream: Stream) -> None:
        """Nobody takes it."""
        self.world.after(self.delay(), self._drop, stream[0])

    def write(self, near: End, far: End, data: bytes | None) -> None:
        """Queue a frame from `near`, or its close (None)."""
        near.queue.append(data)
        if near.since < 0:
            self._push(near, far)

    def _push(self, near: End, far: End) -> None:
        """Send what waits at `near` until something is lost."""
        world = self.world
        while near.queue:
            if self._fails(near.address, far.address) or (far.host is not None and far.host.silent):
                near.since = world.now if near.since < 0 else near.since
                if world.now - near.since > GIVE_UP_S:
                    near.queue.clear()
                    self._drop(near)
                    self._drop(far)
                else:
                    world.after(RETRY_S, self._push, near, far)
                return
            near.since = -1.0
            data = near.queue.popleft()
            near.arrives = max(near.arrives + 1e-6, world.now + self.delay())
            if data is None:
                world.at(near.arrives, self._drop, far)
            else:
                world.at(near.arrives, self._arrive, far, data)
        near.since = -1.0

    def _fails(self, one: Address, other: Address) -> bool:
        """Whether a segment or its acknowledgement does not get through."""
        return self.cut(one, other) or self.cut(other, one) or (self.loss > 0 and self.world.chance.random() < self.loss)

    def _arrive(self, end: End, data: bytes) -> None:
        if end.host is not None:
            end.host.frame(end.number, data)

    def close(self, near: End, far: End) -> None:
        """`near` writes no more and hears no more; the other end hears of it after everything that was written."""
        near.host = None
        self.write(near, far, None)

    def _drop(self, end: End) -> None:
        host, end.host = end.host, None
        if host is not None:
            host.closed(end.number)
