"""Names of hosts: what is found, what is said when nothing is, and that a resolver that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from supervisor.gossip.discovery import names, static
from supervisor.gossip.discovery.names import Names, literal, resolve
from supervisor.gossip.discovery.static import Static

HERE, THERE = "192.0.2.7", "2001:db8::7"


def answers(*hosts: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (host, 0)) for host in hosts]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[str], list[Any]]], None]]:
    """Set what the system answers for a name."""

    def system(answer: Callable[[str], list[Any]]) -> None:
        monkeypatch.setattr(names.socket, "getaddrinfo", lambda host, *_, **__: answer(host))

    return system


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("db-1", ""),
        ("", ""),
        ("192.0.2", ""),
    ],
)
def test_an_address_is_written_as_members_write_it(host: str, written: str) -> None:
    assert literal(host) == written


@pytest.mark.asyncio
async def test_a_name_of_this_host_has_its_addresses() -> None:
    """By the real resolver."""
    assert ("127.0.0.1", 7000) in await resolve("localhost", 7000)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", "no-such-host.invalid"])
async def test_a_name_that_cannot_be_is_an_error_in_words(name: str) -> None:
    """Also one that Python cannot even encode."""
    with pytest.raises(OSError, match=r"no such name|do not answer"):
        await resolve(name, 1)


@pytest.mark.asyncio
async def test_both_families_are_found_and_addresses_of_one_link_are_not(resolver: Any) -> None:
    """What only means something on this host's own link means nothing to others."""
    resolver(lambda _: answers(HERE, THERE, "fe80::1%eth0", HERE))
    assert await resolve("db", 1) == {(HERE, 1), (THERE, 1)}
    resolver(lambda _: answers("fe80::1%eth0"))
    with pytest.raises(OSError, match="no address"):
        await resolve("db", 1)


@pytest.mark.asyncio
async def test_what_a_name_had_is_kept_while_name_servers_are_away(resolver: Any) -> None:
    """They often are when the network is, and then peers are needed. A peer that is no longer asked for is forgotten."""

    def fail(host: str) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    found = Names()
    resolver(lambda _: answers(HERE))
    assert await found.find([("db", 1), ("web", 2)]) == ({(HERE, 1), (HERE, 2)}, [])
    resolver(fail)
    assert await found.find([("db", 1)]) == ({(HERE, 1)}, ["db: the name servers do not answer"])
    assert await found.find([("web", 2)]) == (frozenset(), ["web: the name servers do not answer"])


@pytest.mark.asyncio
async def test_a_resolver_that_hangs_holds_up_neither_other_peers_nor_the_end(resolver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses are told at once; the thread that waits is nobody's business."""
    monkeypatch.setattr(names, "DISCOVERY_NAME_S", 0.2)
    monkeypatch.setattr(static, "DISCOVERY_S", 0.01)
    hanging, said = threading.Event(), list[str]()

    def hang(_: str) -> list[Any]:
        hanging.wait(20)
        return answers(THERE)

    resolver(hang)
    source = Static("--peer", ["db", HERE], said.append)
    told = []
    async with asyncio.timeout(20):
        async for found in source.addresses():
            told.append((found, len(said)))
            if len(told) == 4:
                break
    assert told[0] == ({(HERE, 9638)}, 0)
    assert said == ["db: the name servers do not answer; asked again every 0.01 s"]
    assert source.trouble
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "resolve db")
    hanging.set()


@pytest.mark.asyncio
async def test_trouble_is_said_once_and_its_end_too(resolver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "DISCOVERY_S", 0.001)
    said, asked = list[str](), list[str]()

    def answer(host: str) -> list[Any]:
        asked.append(host)
        if len(asked) <= 3:
            raise socket.gaierror(socket.EAI_NONAME, "no")
        return answers(HERE)

    resolver(answer)
    source = Static("--peer", ["db"], said.append)
    async with asyncio.timeout(20):
        async for found in source.addresses():
            if found:
                break
    assert said == ["db: no such name; asked again every 0.001 s", "all names are found again"]
    assert not source.trouble
