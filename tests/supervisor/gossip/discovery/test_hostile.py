"""Discovery under attack: files that are none, name servers that hang or lie, neighbours that flood, and sources that break."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hart.errors import UsageError
from hart.limits import DISCOVERY_GREETINGS_S, DISCOVERY_PEERS_MAX, DISCOVERY_THREADS, RING_JOINS_MAX
from supervisor.gossip.discovery import names
from supervisor.gossip.discovery.follow import Follow
from supervisor.gossip.discovery.mdns import SERVICE, Mdns
from supervisor.gossip.discovery.names import Names
from supervisor.gossip.discovery.source import parse_peer, some
from supervisor.gossip.discovery.watchfile import WatchFile, parse_lines
from supervisor.gossip.messages import Address

WAIT_S = 20.0
HERE, THERE = ("192.0.2.1", 9638), ("192.0.2.2", 9638)


# --- a watched file


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "loop of links", "unreadable"])
def test_what_is_no_file_costs_no_descriptor(tmp_path: Path, kind: str) -> None:
    """It is looked at every two seconds: one descriptor each is a supervisor without any within the hour."""
    path, said = tmp_path / "peers", list[str]()
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        case "loop of links":
            path.symlink_to(path)
        case _:
            path.symlink_to("/proc/self/mem")
    source, before = WatchFile(path, said.append), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        text, trouble = source._read()
        assert text == ""
        assert trouble
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("line", [", \n", "\x00\x01\xff\n", f"{'x' * 300}\n", f"a b{'x' * 500}\n"])
def test_rubbish_in_a_file_is_said_in_a_line(line: str) -> None:
    """Half a million wrong lines are one complaint in the journal and in `ring status`, and peers before them count."""
    peers, troubles = parse_lines("db-1\n" + line * 100_000)
    assert peers == [("db-1", 9638)]
    assert len(some(troubles)) < 1000
    assert len(troubles) <= DISCOVERY_PEERS_MAX


def test_many_troubles_are_the_first_and_how_many_more() -> None:
    assert some([]) == ""
    assert some(["a", "b"]) == "a; b"
    assert some([f"{number}" for number in range(10)]) == "0; 1; 2; and 7 more"
    assert len(some(["x" * 10_000])) < 300


def test_a_name_longer_than_any_is_no_peer() -> None:
    with pytest.raises(UsageError) as caught:
        parse_peer("x" * 1_000_000)
    assert len(str(caught.value)) < 300


# --- name servers


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterable[threading.Event]:
    """The system's resolver hangs until this is set."""
    opened = threading.Event()

    def hang(host: str, *_: Any, **__: Any) -> list[Any]:
        opened.wait(WAIT_S)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (HERE[0], 0))]

    monkeypatch.setattr(names.socket, "getaddrinfo", hang)
    yield opened
    opened.set()


def asking() -> int:
    """Names that wait for an answer, each with a thread; those of other tests may still be alive."""
    return len(names._asking)


@pytest.mark.asyncio
async def test_a_resolver_that_hangs_for_ever_has_one_thread_for_each_name_and_only_so_many(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question every half minute for months must not be a thread every half minute."""
    monkeypatch.setattr(names, "DISCOVERY_NAME_S", 0.01)
    found = Names()
    for _ in range(5):
        assert await found.find([("db", 1), ("db", 2)]) == (frozenset(), ["db: the name servers do not answer"] * 2)
    assert asking() == 1
    many = [(f"db-{number}", 1) for number in range(DISCOVERY_THREADS * 3)]
    for _ in range(3):
        _, troubles = await found.find(many)
        assert len(troubles) == len(many)
    assert asking() == DISCOVERY_THREADS
    gate.set()
    async with asyncio.timeout(WAIT_S):
        while asking():  # noqa: ASYNC110  threads tell nobody when they have ended
            await asyncio.sleep(0.01)
    assert await found.find([("db", 1)]) == ({(HERE[0], 1)}, [])


@pytest.mark.asyncio
async def test_names_that_hang_hold_up_neither_addresses_nor_the_next_look(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a thousand dead names, corrected, is read again within the minute. Who had no turn is the first in the next round."""
    monkeypatch.setattr(names, "DISCOVERY_NAME_S", 0.02)
    monkeypatch.setattr(names, "DISCOVERY_ROUND_S", 0.05)
    monkeypatch.setattr(names, "DISCOVERY_THREADS", 10_000)
    found = Names()
    peers = [*((f"db-{number}", 1) for number in range(DISCOVERY_PEERS_MAX)), HERE]
    addresses, troubles = await found.find(peers)
    assert addresses == {HERE}
    assert len(troubles) == DISCOVERY_PEERS_MAX
    first = {trouble.partition(":")[0] for trouble in troubles if "no time" in trouble}
    assert first
    gate.set()
    monkeypatch.setattr(names, "DISCOVERY_ROUND_S", WAIT_S)
    order: list[str] = []
    resolve = names.resolve

    async def watched(host: str, port: int) -> frozenset[Address]:
        order.append(host)
        return await resolve(host, port)

    monkeypatch.setattr(names, "resolve", watched)
    await found.find(peers)
    assert set(order[: len(first)]) == first


@pytest.mark.asyncio
async def test_a_host_that_has_no_thread_left_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    found = Names()
    for _ in range(2):
        assert await found.find([("db", 1)]) == (frozenset(), ["db: no thread is left to ask for it"])


# --- sources together


class Told:
    """A source that tells what it is given to tell, for ever."""

    trouble = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: asyncio.Queue[frozenset[Address] | Exception] = asyncio.Queue()

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        while True:
            told = await self.queue.get()
            if isinstance(told, Exception):
                raise told
            yield told


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [ValueError("lies"), UnicodeDecodeError("utf-8", b"", 0, 1, "x"), OSError(errno.EMFILE, "no more")])
async def test_a_source_that_breaks_is_said_and_costs_only_itself(error: Exception) -> None:
    """What a stranger on the network can provoke in a library must not be the end of the supervisor."""
    tried: asyncio.Queue[list[Address]] = asyncio.Queue()
    said: list[str] = []
    broken, well = Told("broken"), Told("well")
    follow = Follow(
        [broken, well], join=lambda each: tried.put_nowait(list(each)), known=list, chance=random.Random(1), say=said.append, again_s=0.01
    )
    task = asyncio.get_running_loop().create_task(follow.run())
    async with asyncio.timeout(WAIT_S):
        broken.queue.put_nowait(frozenset({HERE}))
        assert await tried.get() == [HERE]
        broken.queue.put_nowait(error)
        broken.queue.put_nowait(error)
        while not broken.queue.empty():  # noqa: ASYNC110  nobody tells when a source has begun again
            await asyncio.sleep(0.01)
        assert follow.trouble(broken)
        assert not follow.trouble(well)
        well.queue.put_nowait(frozenset({THERE}))
        while THERE not in await tried.get():
            pass
        broken.queue.put_nowait(frozenset({HERE}))
        while follow.trouble(broken):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(said) == 2
    assert said[0].startswith(f"broken: {type(error).__name__}")


@pytest.mark.asyncio
async def test_a_source_that_changes_all_the_time_makes_no_flood_of_greetings() -> None:
    """A neighbour can tell of other people's addresses: what it makes us send there is bounded (threats S39)."""
    tried: list[Address] = []
    source, loop = Told("liar"), asyncio.get_running_loop()
    follow = Follow([source], join=tried.extend, known=list, chance=random.Random(1), say=print)
    task, begun = loop.create_task(follow.run()), loop.time()
    for turn in range(300):
        source.queue.put_nowait(frozenset((f"10.{turn // 256}.{turn % 256}.{number}", 9) for number in range(64)))
        while not source.queue.empty():  # noqa: ASYNC110  the source takes it in one of the next turns
            await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert 0 < len(tried) <= RING_JOINS_MAX + DISCOVERY_GREETINGS_S * (loop.time() - begun)


# --- neighbours


def mdns() -> Mdns:
    return Mdns(b"ringring", bytes(16), HERE, print, interfaces=["127.0.0.1"])


class Neighbours:
    """Answers as zeroconf does, for any name: what the neighbours' names say."""

    async def async_get_service_info(self, _: str, name: str, **__: Any) -> Any:
        ring, _, number = name.partition(".")[0].partition("-")
        told = {"ring": ring.encode().hex(), "member": number or bytes(16).hex()}
        return SimpleNamespace(
            decoded_properties=told, port=9638, parsed_addresses=lambda: [f"10.0.{int(number) // 256}.{int(number) % 256}"]
        )


@pytest.mark.asyncio
@pytest.mark.parametrize("ring", ["another!", "ringring"])
async def test_neighbours_that_lie_in_thousands_do_not_keep_the_next_one_out(ring: str) -> None:
    """Not those of other rings, and not those who claim to be of ours."""
    source = mdns()
    for start in range(0, 3 * DISCOVERY_PEERS_MAX, 500):
        for number in range(start, start + 500):
            source._on_change(name=f"{ring}-{number}.{SERVICE}", state_change=SimpleNamespace(name="Added"))
        await source._ask_fresh(Neighbours())  # type: ignore[arg-type]
    assert len(source._found) <= DISCOVERY_PEERS_MAX
    source._on_change(name=f"ringring-65000.{SERVICE}", state_change=SimpleNamespace(name="Added"))
    await source._ask_fresh(Neighbours())  # type: ignore[arg-type]
    assert ("10.0.253.232", 9638) in frozenset().union(*source._found.values())
