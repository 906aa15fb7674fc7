"""A simulated host: one process with a production Node inside, its disk, its clock, and how well it runs.

It is the driver of the simulation: it hands datagrams, stream events and time to the Node and carries out its effects, in order. It may
be paused (what arrives waits in a bounded socket buffer, then comes all at once, and the tick comes last), slow (each event waits for
its turn), have a clock that runs fast or slow, crash with or without its disk, and start again. What a disk holds is what store.py
would hold: the key, the generation counted before the first packet, announcements, documents.
Not here: what is right (checkers.py), what goes wrong and when (faults.py).
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, assert_never

from supervisor.gossip.codec import Codec, PlainCodec
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.messages import (
    Address,
    Announcement,
    Cloned,
    Close,
    Contested,
    Dismissed,
    Effect,
    Expired,
    Learned,
    MemberId,
    Noted,
    Open,
    Record,
    Seen,
    Send,
    Write,
)
from supervisor.gossip.node import Node
from supervisor.gossip.records import Records
from tests.sim.network import End

if TYPE_CHECKING:
    from tests.sim.ring import Ring

SOCKET_BUFFER: Final = 250  # datagrams that wait for a process that does not read: 212,992 bytes of Linux by default
REJOIN_S: Final = 3.0  # between tries to find anybody at all
SPIN_MAX: Final = 50  # ticks at one instant before a node counts as spinning

Listener = Callable[["Host", str, Any, list[Effect]], None]


class Life(IntEnum):
    """Of a host's process."""

    DOWN = 0
    UP = 1
    PAUSED = 2


@dataclass(slots=True, kw_only=True)
class Disk:
    """What outlives a process."""

    seed: bytes  # of the member key
    generation: int = 0
    announcements: tuple[Announcement, ...] = ()
    documents: tuple[Record, ...] = ()
    facts: dict[str, bytes] = field(default_factory=dict)  # what its services would say again after a restart


class Host:
    """One process of one member at one address."""

    __slots__ = (
        "_deaf",
        "_inbox",
        "_listeners",
        "_ready_at",
        "_spun",
        "_timer",
        "address",
        "cloned",
        "codec",
        "disk",
        "id",
        "key",
        "life",
        "name",
        "network",
        "node",
        "peers",
        "rate",
        "retired",
        "ring",
        "silent",
        "slow_s",
        "starts",
        "stream_ends",
        "world",
        "zero",
    )  # fmt: skip

    def __init__(
        self, ring: Ring, name: str, address: Address, disk: Disk, codec: Codec | PlainCodec, peers: Iterable[Address] = ()
    ) -> None:
        self.ring = ring
        self.world = ring.world
        self.network = ring.network
        self.name = name
        self.address = address
        self.disk = disk
        self.codec = codec
        self.peers = set(peers)
        self.life = Life.DOWN
        self.silent = False  # the whole host is gone, not only the process
        self.rate = 1.0  # seconds of its clock in a second of the world
        self.zero = 0.0  # what its clock showed at the world's start
        self.slow_s = 0.0  # longest wait of an event for the processor
        self.starts = 0
        self.retired = False  # nobody will start it again
        self.id: MemberId = b""  # of the process that runs, or ran last
        self.cloned = 0  # times that it lost its identity
        self.stream_ends: dict[int, tuple[End, End]] = {}
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._ready_at = 0.0  # when the processor is free
        self._timer = float("inf")  # world's time of the tick that is in the heap
        self._listeners = ring.listeners
        self._spun = 0
        self._deaf = False
        self.node: Node = None  # type: ignore[assignment]  # made by `start`; a host without a process is asked for nothing

    @property
    def listening(self) -> bool:
        return self.life is not Life.DOWN

    def clock(self) -> float:
        """Its own time."""
        return self.zero + self.world.now * self.rate

    # --- life

    def prepare(self, known: Iterable[Announcement] | None = None) -> None:
        """A new process: the generation is counted on disk, then the node is made from what is there."""
        self.disk.generation += 1
        self.starts += 1
        ring = self.ring
        records = Records(ring.id, ring.verify)
        for record in self.disk.documents:
            records.merge(record)
        self.key = key = MemberKey(self.disk.seed)
        self.id = key.id
        self.node = Node(
            key=key,
            generation=self.disk.generation,
            session=self.world.chance.randbytes(8),
            address=self.address,
            name=self.name,
            ring=ring.id,
            preset=ring.preset,
            codec=self.codec,
            chance=self.world.chance,
            records=records,
            verify=ring.verify,
            known=self.disk.announcements if known is None else known,
        )

    def start(self, known: Iterable[Announcement] | None = None) -> None:
        """Start the process, publish its facts, look for others."""
        assert self.life is Life.DOWN, f"{self.name} runs"
        self.prepare(known)
        self.begin()

    def begin(self) -> None:
        """The node that was prepared starts to speak."""
        self.life = Life.UP
        self.silent = False
        self.network.hosts[self.address] = self
        self._inbox.clear()
        self._ready_at = 0.0
        self._timer = float("inf")
        self.act("start", None, self.node.start(self.clock()))
        if self.disk.facts:
            self.publish(self.disk.facts)
        self._look_for_others(self.starts)

    def _look_for_others(self, start: int) -> None:
        """What discovery does, but only as long as nobody is there: a ring must heal without it."""
        if self.life is Life.DOWN or start != self.starts:
            return
        if self.life is Life.UP and self.peers and not self.node.members.living:
            self.act("join", None, self.node.join(sorted(self.peers), self.clock()))
        self.world.after(REJOIN_S, self._look_for_others, start)

    def join(self, addresses: Iterable[Address]) -> None:
        self.act("join", None, self.node.join(list(addresses), self.clock()))

    def save(self) -> None:
        """What the disk holds of members and documents is what the node held last."""
        node = self.node
        self.disk.announcements = tuple(each.announcement for each in node.members if each is not node.members.me)
        keys = [key for prefix in ("group/", "ring/") for key in node.records.keys(prefix)]
        self.disk.documents = tuple(record for key in sorted(keys) for record in node.records.history(key))

    def copied_disk(self) -> Disk:
        """As a backup, a snapshot of a machine or an image would hold it."""
        if self.life is not Life.DOWN:
            self.save()
        return copy.deepcopy(self.disk)

    def crash(self, *, keep: bool = True, silent: bool = False) -> None:
        """The process is gone; `silent`: the host too. Without `keep` its disk is empty afterwards: it comes back as somebody else."""
        assert self.life is not Life.DOWN, f"{self.name} does not run"
        self.save()
        self.life = Life.DOWN
        self.silent = silent
        self._inbox.clear()
        self._hang_up()
        if not keep:
            self.disk = Disk(seed=self.world.chance.randbytes(32), facts=self.disk.facts)
        self.ring.tell(self, "crash", None, [])

    def _hang_up(self) -> None:
        for near, far in self.stream_ends.values():
            near.host = None
            if not self.silent:
                self.network.write(near, far, None)
        self.stream_ends.clear()

    def pause(self, *, deaf: bool = False) -> None:
        """The process stands still; `deaf`: the whole machine sleeps, and what is sent to it meanwhile is lost."""
        assert self.life is Life.UP, f"{self.name} does not run"
        self.life = Life.PAUSED
        self._deaf = deaf

    def resume(self) -> None:
        """What has arrived is read first, then time is looked at, as an event loop does."""
        assert self.life is Life.PAUSED, f"{self.name} is not paused"
        self.life = Life.UP
        waiting, self._inbox = self._inbox, deque()
        for call, args in waiting:
            call(*args)
        self._tick_if_due()

    def starve(self, run_s: float, stall_s: float, seconds: float, *, deaf: bool = False) -> None:
        """It runs for `run_s`, stalls for `stall_s`, and so on for `seconds`: a processor that others have taken."""
        self._stall(run_s, stall_s, self.world.now + seconds, deaf)

    def _stall(self, run_s: float, stall_s: float, until: float, deaf: bool) -> None:
        if self.world.now >= until:
            return
        if self.life is Life.UP:
            self.pause(deaf=deaf)
            self.world.after(stall_s, self._go_on)
        self.world.after(stall_s + run_s, self._stall, run_s, stall_s, until, deaf)

    def _go_on(self) -> None:
        if self.life is Life.PAUSED:
            self.resume()

    # --- what reaches it

    def _later(self, call: Callable[..., None], args: tuple[Any, ...], *, datagram: bool = False) -> bool:
        """Whether the event has to wait, or is lost."""
        if self.life is Life.DOWN:
            return True
        if self.life is Life.PAUSED:
            if not datagram or (len(self._inbox) < SOCKET_BUFFER and not self._deaf):
                self._inbox.append((call, args))
            return True
        if self.slow_s and self.world.now < self._ready_at - 1e-9:
            if not datagram or len(self._inbox) < SOCKET_BUFFER:
                self._inbox.append((call, args))
            return True
        return False

    def receive(self, data: Any, source: Address) -> None:
        if (self.life is not Life.UP or self.slow_s) and self._later(self.receive, (data, source), datagram=True):
            return
        effects = self.node.receive(data, source, self.zero + self.world.now * self.rate)
        if effects or self._listeners or self.slow_s:
            self.act("receive", data, effects)
        else:  # a short way for the two events in three of a large idle ring
            due = self.node.deadline()
            if (due - self.zero) / self.rate < self._timer:
                self._set_timer()

    def accept(self, stream: tuple[End, End]) -> None:
        if self._later(self.accept, (stream,)):
            return
        number, effects = self.node.accepted((stream[0].address[0], 40_000), self.clock())
        if number < 0:
            self.network.refused(stream)
        else:
            self.stream_ends[number] = (stream[1], stream[0])
            self.network.accepted(stream, self, number)
        self.act("accepted", number, effects)

    def opened(self, number: int) -> None:
        if number not in self.stream_ends or self._later(self.opened, (number,)):
            return
        self.act("opened", number, self.node.opened(number, self.clock()))

    def frame(self, number: int, data: bytes) -> None:
        if number not in self.stream_ends or self._later(self.frame, (number, data)):
            return
        self.act("frame", number, self.node.frame(number, data, self.clock()))

    def closed(self, number: int) -> None:
        if number not in self.stream_ends or self._later(self.closed, (number,)):
            return
        del self.stream_ends[number]
        self.act("closed", number, self.node.closed(number, self.clock()))

    def _wake(self, start: int, at: float) -> None:
        """The timer that was set for `at` has come."""
        if start != self.starts or at != self._timer:
            return
        self._timer = float("inf")
        if self.life is Life.UP:
            self._tick_if_due()

    def _tick_if_due(self) -> None:
        if self.slow_s and self._later(self._tick_if_due, ()):
            return
        now, due = self.clock(), self.node.deadline()
        if now < due - 1e-6:
            self._set_timer()
        else:
            self.act("tick", None, self.node.tick(max(now, due)))
            self._spun = self._spun + 1 if self.node.deadline() <= due else 0
            assert self._spun < SPIN_MAX, f"{self.name} asks to be woken at once for ever"

    # --- what its own supervisor does

    def publish(self, facts: dict[str, bytes]) -> None:
        """The whole set of own facts."""
        self.disk.facts = dict(facts)
        self.act("publish", None, self.node.publish(facts, self.clock()))

    def apply(self, key: str, body: bytes | None, *, expect: int | None = None) -> Record:
        """A document, drafted, made durable, adopted."""
        record = self.node.draft(key, body, expect=expect, now=self.clock())
        self.disk.documents = (*self.disk.documents, record)
        self.act("adopt", record, self.node.adopt(record, self.clock()))
        return record

    def depart(self) -> None:
        self.act("depart", None, self.node.depart(self.clock()))

    def dismiss(self, member: MemberId, why: str) -> None:
        record = self.node.dismiss(member, why, self.clock())
        self.act("adopt", record, self.node.adopt(record, self.clock()))

    # --- what it does

    def act(self, verb: str, what: Any, effects: list[Effect]) -> None:
        """Carry out what the node asks for, in order; then the checkers look; then the next tick is set."""
        lost = ""
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                self.network.send(self.address, effect[0], effect[1])
            elif kind is Seen or kind is Noted or kind is Learned or kind is Expired:
                pass
            elif kind is Cloned:
                lost = effect[0]
            else:
                self._speak(effect)
        if self._listeners:
            self.ring.tell(self, verb, what, effects)
        if lost:
            self._begin_again(lost)
            return
        if self.slow_s:
            self._ready_at = max(self.world.now, self._ready_at) + self.slow_s * self.world.chance.random()
            self.world.at(self._ready_at, self._next_of_queue)
        self._set_timer()

    def _next_of_queue(self) -> None:
        if self.life is Life.UP and self._inbox and self.world.now >= self._ready_at - 1e-9:
            call, args = self._inbox.popleft()
            call(*args)
            if self._inbox and self.world.now >= self._ready_at - 1e-9:
                self.world.after(0.0, self._next_of_queue)

    def _set_timer(self) -> None:
        at = (self.node.deadline() - self.zero) / self.rate
        if at < self._timer:
            if at < self.world.now:
                at = self.world.now
            self._timer = at
            self.world.at(at, self._wake, self.starts, at)

    def _speak(self, effect: Effect) -> None:
        match effect:
            case Open(stream, to):
                self.stream_ends[stream] = self.network.connect(self, stream, to)
            case Write(stream, data):
                if stream in self.stream_ends:
                    self.network.write(*self.stream_ends[stream], data)
            case Close(stream):
                ends = self.stream_ends.pop(stream, None)
                if ends is not None:
                    self.network.close(*ends)
            case Dismissed():
                pass
            case Contested(generation):
                self.disk.generation = generation
                self.world.after(0.0, self._count_on, self.starts, generation)
            case Send() | Seen() | Noted() | Learned() | Expired() | Cloned():
                raise AssertionError("handled where it is hot")
            case _:
                assert_never(effect)

    def _count_on(self, start: int, generation: int) -> None:
        if start == self.starts and self.life is Life.UP:
            self.act("count on", None, self.node.count_on(generation, self.clock()))

    def _begin_again(self, because: str) -> None:
        """This process has lost its identity: a new key, a new member at the same address."""
        self.cloned += 1
        self.save()
        self.life = Life.DOWN
        self._hang_up()
        self.disk.seed = self.world.chance.randbytes(32)
        self.disk.generation = 0
        self.start()
