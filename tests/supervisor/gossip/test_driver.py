"""The driver with real nodes and real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from hart.limits import RING_STREAMS
from supervisor import clock
from supervisor.gossip import driver as driver_module
from supervisor.gossip.codec import Codec
from supervisor.gossip.driver import LENGTH, Driver
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import Close, Effect, Health, Noted, Open, Seen, Send
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LOCAL
from supervisor.gossip.records import Records
from supervisor.gossip.sockets import open_sockets

WAIT_S = 30.0


@dataclass
class Member:
    """One member of a test's ring."""

    driver: Driver
    heard: list[Effect] = field(default_factory=list)

    @property
    def node(self) -> Node:
        return self.driver.node

    def living(self) -> set[bytes]:
        return {member.id for member in self.node.members.alive()}


async def member(number: int, key: bytes | None = b"k" * 32, listen: str = "127.0.0.1", at: str = "") -> Member:
    """`at` is the host that it tells others, where that is not what it listens on."""
    keyring = Keyring("ring" if key else "", key)
    sockets = open_sockets((listen, 0), sealed=key is not None)
    chance = random.Random(number)
    node = Node(
        key=MemberKey(bytes([number]) * 32),
        generation=1,
        session=chance.randbytes(8),
        address=(at or listen, sockets.address[1]),
        name=f"host-{number}",
        ring=keyring.ring_id,
        preset=LOCAL,
        codec=Codec(keyring, chance.randbytes),
        chance=chance,
        records=Records(keyring.ring_id),
    )
    heard: list[Effect] = []
    driver = Driver(node, sockets, hear=heard.append, clock=clock.now)
    await driver.start()
    return Member(driver, heard)


@asynccontextmanager
async def ring(count: int, **options: Any) -> AsyncIterator[list[Member]]:
    """Members that have been told of the first one."""
    members = [await member(number, **options) for number in range(1, count + 1)]
    for each in members[1:]:
        each.driver.do(each.node.join([members[0].node.members.me.address], clock.now()))
    try:
        yield members
    finally:
        for each in members:
            await each.driver.close()


async def until(true: Callable[[], bool]) -> None:
    """Look again and again, with a deadline."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110  what a test asks for is no event of a driver
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
@pytest.mark.parametrize("key", [b"k" * 32, None])
async def test_members_that_know_one_address_find_all_and_share_what_they_say(key: bytes | None) -> None:
    """A ring with a key, and one without on loopback: one view, one record everywhere."""
    async with ring(4, key=key) as members:
        await until(lambda: all(len(each.living()) == 4 for each in members))
        record = members[1].node.draft("group/web.default/config", b"port = 1", expect=None, now=clock.now())
        members[1].driver.do(members[1].node.adopt(record, clock.now()))
        await until(lambda: all(each.node.records.get(record.key) == record for each in members))


@pytest.mark.asyncio
async def test_a_document_larger_than_a_datagram_goes_over_a_stream() -> None:
    """A file of the largest size is everywhere, whole."""
    body = random.Random(1).randbytes(128 * 1024)
    async with ring(3) as members:
        await until(lambda: all(len(each.living()) == 3 for each in members))
        record = members[2].node.draft("group/web.default/file/logo", body, expect=None, now=clock.now())
        members[2].driver.do(members[2].node.adopt(record, clock.now()))
        await until(lambda: all(each.node.records.get(record.key) == record for each in members))


@pytest.mark.asyncio
async def test_a_member_that_falls_silent_is_held_dead_by_all_and_one_that_says_goodbye_departed() -> None:
    async with ring(4) as members:
        await until(lambda: all(len(each.living()) == 4 for each in members))
        left, lost, *others = members
        left.driver.do(left.node.depart(clock.now()))
        await left.driver.close()
        await lost.driver.close()

        def health(each: Member, of: Member) -> Health | None:
            found = each.node.members.get(of.node.members.me.id)
            return found.health if found is not None else None

        await until(lambda: all(health(each, lost) is Health.DEAD for each in others))
        await until(lambda: all(health(each, left) is Health.DEPARTED for each in others))
        assert any(isinstance(effect, Seen) and effect.health is Health.DEAD and effect.because for effect in others[0].heard)


@pytest.mark.asyncio
async def test_a_host_without_the_key_learns_and_changes_nothing() -> None:
    async with ring(2) as members:
        await until(lambda: all(len(each.living()) == 2 for each in members))
        stranger = await member(9, key=b"x" * 32)
        stranger.driver.do(stranger.node.join([each.driver.address for each in members], clock.now()))
        await until(lambda: all(each.node.counters.get("refused key", 0) > 0 for each in members))
        assert len(stranger.living()) == 1
        assert all(len(each.living()) == 2 for each in members)
        await stranger.driver.close()


@pytest.mark.asyncio
async def test_rubbish_on_either_socket_costs_only_itself() -> None:
    """Datagrams of all kinds, streams that lie about lengths, half frames: counted, and the ring goes on."""
    async with ring(2) as members:
        await until(lambda: all(len(each.living()) == 2 for each in members))
        target = members[0]
        chance = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for size in (0, 1, 3, 44, 60, 200, 1400, 1401, 9000):
                udp.sendto(chance.randbytes(size), target.driver.address)
        for data in (b"", b"\xff\xff\xff\xff", LENGTH.pack(10) + b"short", LENGTH.pack(5) + b"rubbi", LENGTH.pack(0)):
            _, writer = await asyncio.open_connection(*target.driver.address)
            writer.write(data)
            writer.close()
            await writer.wait_closed()
        await until(lambda: target.driver.drops["frame too long"] >= 1)
        await until(lambda: sum(count for reason, count in target.node.counters.items() if reason.startswith("refused")) >= 8)
        assert all(len(each.living()) == 2 for each in members)


@pytest.mark.asyncio
async def test_members_of_both_families_are_one_ring() -> None:
    """Who listens on [::] talks with IPv4 and IPv6; addresses are told as they are."""
    members = [await member(1, listen="::", at="127.0.0.1"), await member(2), await member(3, listen="::", at="::1")]
    for each in members[1:]:
        each.driver.do(each.node.join([("127.0.0.1", members[0].driver.address[1])], clock.now()))
    await until(lambda: all(len(each.living()) == 3 for each in (members[0], members[2])))
    body = bytes(100 * 1024)
    record = members[2].node.draft("group/web.default/file/logo", body, expect=None, now=clock.now())
    members[2].driver.do(members[2].node.adopt(record, clock.now()))
    await until(lambda: members[0].node.records.get(record.key) == record)
    for each in members:
        await each.driver.close()


@pytest.mark.asyncio
async def test_a_ring_without_a_key_hears_nobody_from_elsewhere() -> None:
    """Also where routing lets foreign packets reach a loopback address: an address of a network is enough to be refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this host has loopback only")
    target = await member(1, key=None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((own, 0))
        udp.sendto(b"x" * 60, target.driver.address)
    await until(lambda: target.driver.drops["plain text from elsewhere"] == 1)
    _, writer = await asyncio.open_connection(*target.driver.address, local_addr=(own, 0))
    await until(lambda: target.driver.drops["stream refused"] == 1)
    writer.transport.abort()
    assert target.node.counters["received"] == 0
    await target.driver.close()


@pytest.mark.asyncio
async def test_callers_who_say_nothing_hold_their_places_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the places are refused at once; those that had one are cut, and then others are heard."""
    monkeypatch.setattr(driver_module, "RING_FIRST_S", 2.0)
    async with ring(1) as (target,), contextlib.AsyncExitStack() as stack:
        readers: list[asyncio.StreamReader] = []
        while target.driver.drops["stream refused"] < 3:  # a busy machine cuts the first before the last is there: then there are more
            opened = await asyncio.gather(*(asyncio.open_connection(*target.driver.address) for _ in range(RING_STREAMS + 3)))
            for reader, writer in opened:
                stack.callback(writer.transport.abort)
                readers.append(reader)
            await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            for reader in readers:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        other = await member(2)
        stack.push_async_callback(other.driver.close)
        other.driver.do(other.node.join([target.driver.address], clock.now()))
        await until(lambda: len(target.living()) == len(other.living()) == 2 and target.node.counters["streams answer"] > RING_STREAMS)


@pytest.mark.asyncio
async def test_what_the_network_refuses_is_counted_and_stops_nothing() -> None:
    """No route of that family, too large, no port, nobody there: the next effect is carried out all the same."""
    sender = await member(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.settimeout(WAIT_S)
        to = there.getsockname()
        hopeless = [Send(("::1", 9), b"x"), Send(to, bytes(70_000)), Send(("127.0.0.1", 0), b"x"), Send(("240.0.0.1", 9), b"x")]
        sender.driver.do([*hopeless, Send(to, b"heard")])
        assert there.recv(100) == b"heard"
    assert sum(count for word, count in sender.driver.drops.items() if word.startswith("send ")) == len(hopeless)
    assert sender.driver.drops["send EMSGSIZE"] == 1
    await sender.driver.close()


@pytest.mark.asyncio
async def test_a_stream_that_is_closed_before_it_is_open_is_never_opened() -> None:
    """The probe that it was for is over."""
    caller = await member(1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):  # nobody accepts: the next ones wait
            caller.driver.do([Open(91, full.getsockname()), Open(92, full.getsockname())])
            await until(lambda: len(asyncio.all_tasks()) >= 3)
            caller.driver.do([Close(91), Close(92)])
            await until(lambda: len(asyncio.all_tasks()) == 1)
    assert not caller.driver.drops
    await caller.driver.close()


@pytest.mark.asyncio
async def test_what_follows_from_telling_an_effect_comes_after_the_effects_before() -> None:
    """Whoever is told may ask for more at once; the order of what was asked stays."""
    told: list[str] = []
    teller = await member(1)

    def hear(effect: Effect) -> None:
        assert isinstance(effect, Noted)
        told.append(effect.topic)
        if effect.topic == "a":
            teller.driver.do([Noted("c", "")])

    teller.driver._hear = hear
    teller.driver.do([Noted("a", ""), Noted("b", "")])
    assert told == ["a", "b", "c"]
    await teller.driver.close()


@pytest.mark.asyncio
async def test_a_bug_in_one_tick_is_told_and_the_next_tick_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loudly, and without spinning: the timer is set before the node is called."""
    monkeypatch.setattr(driver_module, "RING_FAULT_S", 0.05)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    real, broken = Node.tick, [True]

    def tick(node: Node, now: float) -> list[Effect]:
        if broken:
            broken.pop()
            raise ZeroDivisionError
        return real(node, now)

    monkeypatch.setattr(Node, "tick", tick)
    async with ring(2) as members:
        await until(lambda: all(each.node.counters["probes"] > 0 for each in members))
    assert [type(each["exception"]) for each in told] == [ZeroDivisionError]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_newcomer_gets_all_that_a_ring_may_hold() -> None:
    """Thirty megabytes of documents, a frame a turn."""
    async with ring(2) as members:
        await until(lambda: all(len(each.living()) == 2 for each in members))
        chance = random.Random(5)
        for number in range(240):
            old = members[0]
            record = old.node.draft(f"group/g{number}.default/file/f", chance.randbytes(127 * 1024), expect=None, now=clock.now())
            old.driver.do(old.node.adopt(record, clock.now()))
        newcomer = await member(3)
        newcomer.driver.do(newcomer.node.join([members[0].driver.address], clock.now()))
        await until(lambda: newcomer.node.records.digest == members[0].node.records.digest)
        assert not newcomer.driver.drops
        await newcomer.driver.close()
