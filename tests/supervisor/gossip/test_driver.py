"""The driver with real nodes and real sockets on loopback."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from supervisor import clock
from supervisor.gossip.codec import Codec
from supervisor.gossip.driver import LENGTH, Driver
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import Effect, Health, Seen
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


async def member(number: int, key: bytes | None = b"k" * 32) -> Member:
    keyring = Keyring("ring" if key else "", key)
    sockets = open_sockets(("127.0.0.1", 0), sealed=key is not None)
    chance = random.Random(number)
    node = Node(
        key=MemberKey(bytes([number]) * 32),
        generation=1,
        session=chance.randbytes(8),
        address=sockets.address,
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
async def ring(count: int, **options: bytes | None) -> AsyncIterator[list[Member]]:
    """Members that have been told of the first one."""
    members = [await member(number, **options) for number in range(1, count + 1)]
    for each in members[1:]:
        each.driver.do(each.node.join([members[0].driver.address], clock.now()))
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
