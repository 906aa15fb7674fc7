"""What goes wrong in a simulated ring: one flat record, and the mischief that carries it out.

Shares are probabilities of one datagram; counts are occurrences during the time of faults, at random moments, to random hosts, for a
random while. `drawn` makes a record from a seed, swarm style: each kind is left out of half of the runs, so that kinds also meet alone.
Everything ends with `heal`: lines are whole, the paused run, crashed hosts that kept their disk start again. What was lost stays lost.
Not here: what the network does with a bad line (network.py), what must hold (checkers.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Final

from supervisor.gossip.keyring import Keyring, key_id
from supervisor.gossip.messages import Health
from tests.sim.checkers import Safety
from tests.sim.host import Disk, Host, Life
from tests.sim.ring import Ring

GROUPS: Final = ("redis.default", "web.default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Of one run."""

    members: int = 5
    periods: int = 40  # that faults go on for
    encrypted: bool = False
    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.0015  # the longest of one way
    reorder: float = 0.0
    one_way: int = 0  # somebody does not hear somebody
    partition: int = 0  # two parts
    swizzled: int = 0  # some hosts are cut off one after another, and joined again in another order (FoundationDB's swizzle-clogging)
    crash_kept: int = 0
    crash_lost: int = 0  # the disk with it: what starts there later is somebody else on a reused address
    pause: int = 0
    slow: int = 0  # hosts that take up to 0.3 s for each event
    drift: float = 0.0  # clocks run up to this share fast or slow, and show any time
    burst: int = 0  # somebody publishes thirty records at once
    rotation: int = 0  # of the ring's key, while the rest goes on
    restored: int = 0  # an old copy of somebody's disk starts, in its place or beside it
    facts: int = 10
    documents: int = 5
    departure: int = 0

    def __str__(self) -> str:
        """Only what differs from a quiet run."""
        quiet = asdict(Faults())
        return " ".join(f"{name}={value:g}" for name, value in asdict(self).items() if value != quiet[name] or name == "members")


def drawn(seed: int) -> Faults:
    """The faults of a seed."""
    chance = random.Random(seed * 7919 + 1)

    def maybe(draw: Callable[[], float]) -> float:
        value = draw()
        return value if chance.random() < 0.5 else 0

    def count(most: int) -> int:
        return int(maybe(lambda: chance.randint(1, most)))

    return Faults(
        members=chance.randint(5, 9),
        periods=chance.randint(20, 50),
        encrypted=chance.random() < 0.2,
        loss=maybe(lambda: chance.uniform(0.01, 0.35)),
        duplication=maybe(lambda: chance.uniform(0.01, 0.3)),
        delay_s=chance.choice((0.0015, 0.02, 0.2)),
        reorder=maybe(lambda: chance.uniform(0.01, 0.2)),
        one_way=count(4),
        partition=count(2),
        swizzled=count(2),
        crash_kept=count(4),
        crash_lost=count(1),
        pause=count(3),
        slow=count(1),
        drift=maybe(lambda: chance.uniform(0.001, 0.1)),
        burst=count(2),
        rotation=count(1),
        restored=count(1),
        facts=chance.randint(0, 15),
        documents=chance.randint(0, 10),
        departure=count(1),
    )


class Mischief:
    """Carries a Faults out on a ring that runs."""

    def __init__(self, ring: Ring, faults: Faults, safety: Safety | None = None) -> None:
        self.ring = ring
        self.faults = faults
        self.safety = safety
        self.over = False
        self._serial = 0
        self._chance = ring.world.chance

    def begin(self) -> None:
        """All that will happen is put into the heap."""
        faults, network = self.faults, self.ring.network
        network.loss, network.duplication, network.reorder = faults.loss, faults.duplication, faults.reorder
        network.delay_s = (network.delay_s[0], max(faults.delay_s, network.delay_s[0]))
        lasts_s = faults.periods * self.ring.preset.period_s
        deeds: dict[Callable[[], None], int] = {
            self._one_way: faults.one_way,
            self._partition: faults.partition,
            self._swizzle: faults.swizzled,
            self._crash_kept: faults.crash_kept,
            self._crash_lost: faults.crash_lost,
            self._pause: faults.pause,
            self._slow: faults.slow,
            self._burst: faults.burst,
            self._restore: faults.restored,
            self._say: faults.facts,
            self._apply: faults.documents,
            self._depart: faults.departure,
            self._rotate: faults.rotation if faults.encrypted else 0,
        }
        for deed, times in deeds.items():
            for _ in range(times):
                self.ring.world.after(self._chance.uniform(0.0, lasts_s), deed)

    def end(self) -> None:
        """Heal everything."""
        self.over = True
        self.ring.network.heal()
        for host in list(self.ring.hosts.values()):
            host.slow_s = 0.0
            host.silent = False
            if host.life is Life.PAUSED:
                host.resume()
            if host.life is Life.DOWN and not host.retired:
                host.start()
        self.introduce()

    def introduce(self) -> None:
        """Hosts that have never heard of each other, not even by way of others, cannot heal: somebody has to name an address to them."""
        islands: list[set[bytes]] = []
        for host in self.ring.up:
            knows = {host.id} | {each.id for each in host.node.members if each.health is not Health.DEPARTED}
            ids = {other.id for other in self.ring.up} & knows
            touched = [island for island in islands if island & ids]
            islands = [island for island in islands if not island & ids] + [ids.union(*touched)]
        first = next(host for host in self.ring.up if host.id in islands[0])
        for island in islands[1:]:
            for host in self.ring.up:
                if host.id in island:
                    host.peers.add(first.address)
                    host.join([first.address])
                    break

    # --- deeds

    def _some(self, among: Iterable[Host] | None = None) -> Host | None:
        running = [host for host in (among or self.ring.up) if host.life is Life.UP and not host.node.me.departing]
        return self._chance.choice(running) if running and not self.over else None

    def _later(self, low_s: float, high_s: float, undo: Callable[[], None]) -> None:
        self.ring.world.after(self._chance.uniform(low_s, high_s), lambda: None if self.over else undo())

    def _one_way(self) -> None:
        one, other = self._some(), self._some()
        if one is None or other is None or one is other:
            return
        pair = (one.address, other.address)
        blocked = self.ring.network.blocked
        blocked.add(pair)
        self._later(2.0, 20.0, lambda: blocked.discard(pair))

    def _partition(self) -> None:
        if self.over:
            return
        sides = self.ring.network.sides
        sides.clear()
        for host in self.ring.hosts.values():
            sides[host.address] = self._chance.randrange(2)
        self._later(3.0, 25.0, sides.clear)

    def _swizzle(self) -> None:
        if self.over:
            return
        clogged = self.ring.network.clogged
        victims = [host.address for host in self.ring.hosts.values() if self._chance.random() < 0.5]
        for address in self._chance.sample(victims, len(victims)):
            self._later(0.0, 4.0, lambda address=address: clogged.add(address))  # type: ignore[misc]
            self._later(5.0, 12.0, lambda address=address: clogged.discard(address))  # type: ignore[misc]

    def _crash_kept(self) -> None:
        host = self._some()
        if host is None or len(self.ring.up) < 3:
            return
        host.crash(silent=self._chance.random() < 0.5)
        self._later(0.5, 20.0, lambda: host.start() if host.life is Life.DOWN and not host.retired else None)

    def _crash_lost(self) -> None:
        """The disk is lost; sometimes somebody new gets the address."""
        host = self._some()
        if host is None or len(self.ring.up) < 4:
            return
        host.crash(keep=False)
        host.retired = True
        if self._chance.random() < 0.7:
            self._later(0.1, 15.0, lambda: self._stranger(host))

    def _stranger(self, before: Host) -> None:
        self._serial += 1
        peers = [host.address for host in self.ring.up if host is not before]
        stranger = self.ring.add(f"stranger{self._serial}", peers=peers, at=before.address)
        stranger.start()

    def _pause(self) -> None:
        host = self._some()
        if host is not None:
            host.pause()
            self._later(0.3, 15.0, lambda: host.resume() if host.life is Life.PAUSED else None)

    def _slow(self) -> None:
        host = self._some()
        if host is not None:
            host.slow_s = 0.3

    def _burst(self) -> None:
        host = self._some()
        if host is not None:
            facts = {f"burst/{number}": self._chance.randbytes(200) for number in range(30)}
            host.publish({**host.disk.facts, **facts})

    def _say(self) -> None:
        """A fact appears, changes or is withdrawn."""
        host = self._some()
        if host is None:
            return
        facts, key = dict(host.disk.facts), f"service/{self._chance.randrange(4)}"
        if key in facts and self._chance.random() < 0.3:
            del facts[key]
        else:
            facts[key] = self._chance.randbytes(self._chance.choice((20, 200, 4_000)))
        host.publish(facts)

    def _apply(self) -> None:
        """A document of a group is written, seldom withdrawn."""
        host = self._some()
        if host is None:
            return
        kind = self._chance.choice(("config", "file/motd"))
        body = None if self._chance.random() < 0.1 else self._chance.randbytes(self._chance.choice((50, 700, 20_000)))
        host.apply(f"group/{self._chance.choice(GROUPS)}/{kind}", body)

    def _depart(self) -> None:
        host = self._some()
        if host is None or len(self.ring.up) < 4:
            return
        host.depart()
        host.retired = True
        self.ring.world.after(3.0, lambda: host.crash() if host.life is not Life.DOWN else None)

    def _restore(self) -> None:
        """A copy of a disk is taken now and started later: in its owner's place, or beside it on another address."""
        host = self._some()
        if host is None:
            return
        copy = host.copied_disk()
        beside = self._chance.random() < 0.5
        self._later(1.0, 20.0, lambda: self._start_copy(host, copy, beside=beside))

    def _start_copy(self, host: Host, copy: Disk, *, beside: bool) -> None:
        if host.retired:
            return
        if self.safety is not None:
            self.safety.copied(host.node.me.public)
        if beside:
            self._serial += 1
            peers = [each.address for each in self.ring.up]
            self.ring.add(f"copy{self._serial}", peers=peers, disk=copy).start()
        else:
            if host.life is not Life.DOWN:
                host.crash()
            host.disk = copy
            host.start()

    def _rotate(self) -> None:
        """A new key: every host learns it, then uses it, then forgets the old one, each at its own moment, while packets are under way."""
        if self.over:
            return
        ring, old = self.ring, self.ring.keyring.primary_id
        raw = self._chance.randbytes(32)

        def step(change: Callable[[Keyring], Keyring]) -> None:
            ring.change_keyring(None, change)
            for host in ring.hosts.values():
                ring.world.after(2.9 * self._chance.random(), ring.change_keyring, host, change)

        step(lambda keyring: keyring.with_key(raw))
        ring.world.after(3.0, step, lambda keyring: keyring.using(key_id(raw)))
        ring.world.after(6.0, step, lambda keyring: keyring.without(old))
