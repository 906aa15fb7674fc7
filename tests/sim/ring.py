"""A whole simulated ring: world, network, hosts by name, and who listens to every event.

Ids, sessions and nonces are drawn from the world's dice; signatures are real, and checked once each (a memo: every host checks the same
ones). `plain` rings hand packets over as values, encrypted ones run the real codec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from supervisor.gossip.codec import Codec, PlainCodec
from supervisor.gossip.identity import verify
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import Address, Effect, Health
from supervisor.gossip.presets import LAN, Preset
from tests.sim.host import Disk, Host, Life, Listener
from tests.sim.network import Network
from tests.sim.world import World

PORT: Final = 9638
RING: Final = "simulated"


class Ring:
    """The hosts of one ring."""

    def __init__(self, *, seed: int, preset: Preset = LAN, plain: bool = True) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.preset = preset
        self.plain = plain
        self.first_key: bytes | None = None if plain else self.world.chance.randbytes(32)
        self.keyring = Keyring(RING, self.first_key)  # of hosts that come
        self.id = self.keyring.ring_id
        self.hosts: dict[str, Host] = {}
        self.listeners: list[Listener] = []
        self._verified: dict[tuple[bytes, bytes, bytes], bool] = {}

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """As identity.verify, each triple once."""
        asked = (public, message, signature)
        known = self._verified.get(asked)
        if known is None:
            known = self._verified[asked] = verify(*asked)
        return known

    def codec(self) -> Codec | PlainCodec:
        return PlainCodec(self.keyring) if self.plain else Codec(self.keyring, self.world.chance.randbytes)

    def change_keyring(self, host: Host | None, change: Callable[[Keyring], Keyring]) -> None:
        """Of one host, at whatever moment; None: of hosts that come later."""
        if host is None:
            self.keyring = change(self.keyring)
        else:
            host.codec.keyring = change(host.codec.keyring)

    def add(self, name: str, *, peers: Iterable[Address] = (), at: Address | None = None, disk: Disk | None = None) -> Host:
        """A host that does not run yet. `at`: an address that somebody else has had before."""
        number = len(self.hosts) + 1
        address = at or (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", PORT)
        host = Host(self, name, address, disk or Disk(seed=self.world.chance.randbytes(32)), self.codec(), peers)
        self.hosts[name] = host
        return host

    def grow(self, count: int, *, facts: dict[str, bytes] | None = None) -> list[Host]:
        """`count` hosts that know each other from the first moment and start within one period: for measuring, not for joining."""
        hosts = [self.add(f"m{number:04}") for number in range(count)]
        for host in hosts:
            host.disk.facts = dict(facts or {})
            host.prepare()
        for host in hosts:
            for other in hosts:
                if other is not host:
                    host.node.members.admit(other.id, other.node.me, Health.ALIVE, 0.0)
            self.world.after(self.world.chance.random() * self.preset.period_s, host.begin)
        return hosts

    def tell(self, host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        for listener in self.listeners:
            listener(host, verb, what, effects)

    def run(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    def periods(self, count: float) -> None:
        self.run(count * self.preset.period_s)

    @property
    def up(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.life is not Life.DOWN]
