"""Discovery: what is written is understood or refused, what is found is tried for ever, and no trouble ends a source."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import pytest

from hart.errors import UsageError
from hart.limits import DISCOVERY_FILE_MAX, DISCOVERY_PEERS_MAX, RING_JOINS_MAX
from supervisor.gossip.discovery import watchfile
from supervisor.gossip.discovery.follow import Follow
from supervisor.gossip.discovery.mdns import Mdns
from supervisor.gossip.discovery.source import parse_peer
from supervisor.gossip.discovery.sources import SCHEMES, parse_source
from supervisor.gossip.discovery.static import Static
from supervisor.gossip.discovery.watchfile import WatchFile, parse_lines
from supervisor.gossip.messages import Address

WAIT_S = 20.0


async def until(source: AsyncIterator[frozenset[Address]], wanted: Iterable[Address], said: Sequence[str] = (), times: int = 0) -> None:
    """Listen until a source tells exactly these, and so many troubles have been said."""
    async with asyncio.timeout(WAIT_S):
        async for found in source:
            if found == frozenset(wanted) and len(said) >= times:
                return


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("db-1", ("db-1", 9638)),
        ("db-1:7000", ("db-1", 7000)),
        (" 192.0.2.7 ", ("192.0.2.7", 9638)),
        ("192.0.2.7:1", ("192.0.2.7", 1)),
        ("2001:db8::7", ("2001:db8::7", 9638)),
        ("[2001:db8::7]", ("2001:db8::7", 9638)),
        ("[2001:db8::7]:7000", ("2001:db8::7", 7000)),
        ("::1", ("::1", 9638)),
    ],
)
def test_a_peer_is_a_host_and_a_port(text: str, peer: tuple[str, int]) -> None:
    assert parse_peer(text) == peer


@pytest.mark.parametrize(
    "text",
    ["", ":", "db-1:", ":7000", "db-1:0", "db-1:65536", "db-1:x", "db-1:७", "[db-1]:7000", "[::1",
     "[::1]7000", "a:b:c", "a b", "a/b", "a,b", "x\n"],
)  # fmt: skip
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not HOST"):
        parse_peer(text.replace("x\n", "x\x07"))


@pytest.mark.parametrize("text", ["", "dns", "dns:", "ftp:x"])
def test_a_scheme_that_is_not_known_names_those_that_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text, print)
    assert all(scheme in caught.value.next for scheme in SCHEMES)


def test_a_watched_file_has_a_peer_a_line_and_comments() -> None:
    """What is wrong on one line is named, and costs only that line."""
    peers, troubles = parse_lines("# ring\n\ndb-1\n db-2:7000 # the other\nnot a peer\n")
    assert peers == [("db-1", 9638), ("db-2", 7000)]
    assert [trouble.partition(":")[0] for trouble in troubles] == ["line 5"]


@pytest.mark.asyncio
async def test_a_watched_file_is_read_when_it_appears_and_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchfile, "DISCOVERY_FILE_S", 0.02)
    path, said = tmp_path / "peers", list[str]()
    source = WatchFile(path, said.append).addresses()
    await until(source, [])
    path.write_text("127.0.0.1:7001\n")
    await until(source, [("127.0.0.1", 7001)])
    path.write_text("127.0.0.1:7001\n[::1]:7002\nnot a peer\n")
    await until(source, [("127.0.0.1", 7001), ("::1", 7002)], said, 1)
    assert len(said) == 1
    assert "line 3" in said[0]
    path.unlink()
    await until(source, [])
    assert said[1:] == ["all of it is understood again"]
    await source.aclose()  # type: ignore[attr-defined]


def test_a_watched_file_of_endless_lines_is_cut() -> None:
    """Each peer costs a question to the name servers."""
    peers, troubles = parse_lines("\n".join(f"db-{number}" for number in range(DISCOVERY_PEERS_MAX + 1)))
    assert len(peers) == DISCOVERY_PEERS_MAX
    assert "only the first" in troubles[0]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["directory", "pipe", "large"])
async def test_what_is_no_file_of_peers_is_said_and_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    path, said = tmp_path / "peers", list[str]()
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.write_bytes(b"#" * (DISCOVERY_FILE_MAX + 1))
    source = WatchFile(path, said.append)
    await until(source.addresses(), [], said, 1)
    assert "asked again" in said[0]


@pytest.mark.asyncio
async def test_a_name_that_is_not_found_is_said_and_costs_only_itself() -> None:
    said = list[str]()
    source = Static("--peer", ["127.0.0.1:7001", "no-such-host.invalid"], said.append)
    await until(source.addresses(), [("127.0.0.1", 7001)], said, 1)
    assert len(said) == 1
    assert "no-such-host.invalid" in said[0] and source.trouble  # noqa: PT018


class Told:
    """A source that yields what it was given, once."""

    trouble = ""

    def __init__(self, name: str, *addresses: Address) -> None:
        self.name, self._addresses = name, frozenset(addresses)

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        yield self._addresses


@pytest.mark.asyncio
async def test_all_sources_are_tried_until_somebody_is_there_and_again_when_nobody_is() -> None:
    """A peer that was named is never given up; one where a living member is, is left alone."""
    here, there, tried = ("192.0.2.1", 1), ("192.0.2.2", 2), list[list[Address]]()
    known: set[Address] = {here}
    enough = asyncio.Event()

    def join(addresses: Iterable[Address]) -> None:
        tried.append(list(addresses))
        if len(tried) == 2:
            enough.set()

    follow = Follow([Told("a", here), Told("b", there)], join=join, known=lambda: known, chance=random.Random(1), say=print)
    task = asyncio.get_running_loop().create_task(follow.run())
    async with asyncio.timeout(WAIT_S):
        await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    assert tried[:2] == [[there], [there]]
    assert follow.found == {"a": {here}, "b": {there}}


@pytest.mark.asyncio
async def test_of_many_addresses_only_as_many_are_greeted_at_once_as_are_remembered() -> None:
    """And others the next time: in the end everybody was tried."""
    many = frozenset((f"10.0.0.{number}", 9638) for number in range(200))
    tried: list[list[Address]] = []
    follow = Follow(
        [Told("a", *many)], join=lambda addresses: tried.append(list(addresses)), known=list, chance=random.Random(1), say=print
    )
    task = asyncio.get_running_loop().create_task(follow.run())
    async with asyncio.timeout(WAIT_S):
        while not tried:  # noqa: ASYNC110  the first try comes in the next turn of the loop
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert len(tried[0]) == len(set(tried[0])) == RING_JOINS_MAX
    assert tried[0] != sorted(tried[0])


@pytest.mark.slow
@pytest.mark.asyncio
async def test_two_on_one_network_find_each_other_by_mdns_and_not_another_ring() -> None:
    """With real multicast on loopback."""
    said = list[str]()

    def member(ring: bytes, number: int) -> Mdns:
        return Mdns(ring, bytes([number]) * 16, ("127.0.0.1", 7000 + number), said.append, interfaces=["127.0.0.1"])

    sources = [member(b"ringring", 1), member(b"ringring", 2), member(b"another!", 3)]
    found: dict[int, frozenset[Address]] = {}

    async def watch(number: int) -> None:
        async for addresses in sources[number].addresses():
            found[number] = addresses
            if found.get(0) and found.get(1):
                done.set()

    done = asyncio.Event()
    tasks = [asyncio.get_running_loop().create_task(watch(number)) for number in range(3)]
    async with asyncio.timeout(WAIT_S):
        await done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not said
    assert found[0] == {("127.0.0.1", 7002)}
    assert found[1] == {("127.0.0.1", 7001)}
    assert not found.get(2)
