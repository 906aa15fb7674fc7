"""Network: what a bad line does to datagrams and streams, checked with hosts that only write down what they hear."""

from typing import Any

import pytest

from supervisor.gossip.messages import Address
from tests.sim.network import GIVE_UP_S, End, Network
from tests.sim.world import World

ONE: Address = ("10.0.0.1", 9638)
OTHER: Address = ("10.0.0.2", 9638)


class Ear:
    """Writes down what it hears."""

    def __init__(self, network: Network, address: Address) -> None:
        self.network, self.address = network, address
        self.heard: list[Any] = []
        self.silent = False
        self.listening = True
        self.taken: tuple[End, End] | None = None
        network.hosts[address] = self  # type: ignore[assignment]  # it does what the network asks of a host

    def receive(self, data: Any, source: Address) -> None:
        self.heard.append(data)

    def accept(self, stream: tuple[End, End]) -> None:
        self.taken = stream
        self.network.accepted(stream, self, 1)  # type: ignore[arg-type]

    def opened(self, number: int) -> None:
        self.heard.append("opened")

    def frame(self, number: int, data: bytes) -> None:
        self.heard.append(data)

    def closed(self, number: int) -> None:
        self.heard.append("closed")


@pytest.fixture
def network() -> Network:
    return Network(World(7))


def deliver(network: Network, count: int = 1000) -> int:
    """How many of `count` datagrams from ONE arrive at OTHER."""
    ear = Ear(network, OTHER)
    for number in range(count):
        network.send(ONE, OTHER, number)
    network.world.run(network.world.now + 60)
    return len(ear.heard)


def test_loss_and_duplication_take_their_share(network: Network) -> None:
    """Shares are probabilities of one datagram."""
    assert deliver(network) == 1000
    network.loss = 0.25
    assert 690 < deliver(network) < 810
    network.loss, network.duplication = 0.0, 0.1
    assert 1060 < deliver(network) < 1140


def test_a_one_way_cut_lets_the_other_way_through(network: Network) -> None:
    """`blocked` holds ordered pairs."""
    network.blocked.add((OTHER, ONE))
    assert deliver(network, 5) == 5
    network.blocked.add((ONE, OTHER))
    assert deliver(network, 5) == 0


def test_sides_cut_both_ways_and_heal_ends_everything(network: Network) -> None:
    """A host that is on no side hears everybody."""
    network.sides.update({ONE: 0, OTHER: 1})
    assert network.cut(ONE, OTHER)
    assert network.cut(OTHER, ONE)
    assert not network.cut(ONE, ("10.0.0.3", 9638))
    network.clogged.add(ONE)
    network.heal()
    assert deliver(network, 5) == 5


def test_reordered_datagrams_arrive_out_of_order(network: Network) -> None:
    """With reordering a datagram may be overtaken; without, and with time between them, never."""
    ear = Ear(network, OTHER)
    network.reorder = 0.3
    for number in range(200):
        network.world.at(number * 0.01, network.send, ONE, OTHER, number)
    network.world.run(60)
    assert ear.heard != sorted(ear.heard)
    assert len(ear.heard) == 200


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_stream_delivers_all_frames_in_order_whatever_is_lost(network: Network, loss: float) -> None:
    """As TCP: late, but whole, then the end."""
    one, other = Ear(network, ONE), Ear(network, OTHER)
    stream = network.connect(one, 1, OTHER)  # type: ignore[arg-type]
    network.world.run(1)
    assert one.heard == ["opened"]
    network.loss = loss
    frames = [bytes([number]) for number in range(100)]
    for frame in frames:
        network.write(*stream, frame)
    network.close(*stream)
    network.world.run(300)
    assert other.heard == [*frames, "closed"]


def test_a_stream_that_is_cut_ends_at_both_sides(network: Network) -> None:
    """Nothing gets through for GIVE_UP_S: both ends hear that it is over, once."""
    one, other = Ear(network, ONE), Ear(network, OTHER)
    stream = network.connect(one, 1, OTHER)  # type: ignore[arg-type]
    network.world.run(1)
    network.blocked.add((ONE, OTHER))
    network.write(*stream, b"lost")
    network.world.run(GIVE_UP_S + 5)
    assert one.heard == ["opened", "closed"]
    assert other.heard == ["closed"]


def test_nobody_there_is_told_to_who_connects(network: Network) -> None:
    """A process that is gone refuses; a host that is gone is given up."""
    one, other = Ear(network, ONE), Ear(network, OTHER)
    other.listening = False
    network.connect(one, 1, OTHER)  # type: ignore[arg-type]
    network.world.run(0.1)
    assert one.heard == ["closed"]
    other.silent = True
    network.connect(one, 2, OTHER)  # type: ignore[arg-type]
    network.world.run(1)
    assert one.heard == ["closed"]
    network.world.run(10)
    assert one.heard == ["closed", "closed"]
