"""SRV records, asked of a real name server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from supervisor.gossip.discovery import dns as dns_source
from supervisor.gossip.discovery.dns import Srv

WAIT_S = 20.0


class NameServer(asyncio.DatagramProtocol):
    """Knows these SRV records; without any it says that there is no such name, and when `silent` nothing."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.silent = False
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.silent or self.transport is None:
            return
        asked = dns.message.from_wire(data)
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.AA
        if self.records:
            answer.answer.append(dns.rrset.from_text(asked.question[0].name, 0, "IN", "SRV", *self.records))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, dns.asyncresolver.Resolver]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    yield server, resolver
    transport.close()


@pytest.mark.asyncio
async def test_a_record_names_hosts_and_their_ports_and_follows_its_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was named stays while nobody answers; each trouble is said once. A target of "." is nobody."""
    monkeypatch.setattr(dns_source, "DISCOVERY_S", 0.01)
    monkeypatch.setattr(dns_source, "DISCOVERY_NAME_S", 0.3)
    said: list[str] = []
    async with name_server() as (server, resolver), asyncio.timeout(WAIT_S):
        source = Srv("_stead._udp.example.org", said.append, resolver=lambda: resolver)
        found = source.addresses()
        assert await anext(found) == frozenset()
        assert said == ["_stead._udp.example.org: no such name; asked again every 0.01 s"]
        server.records = ["0 0 7001 127.0.0.1.", "0 0 7002 localhost.", "0 0 9 .", "0 0 0 127.0.0.1."]
        addresses = await anext(found)
        assert {("127.0.0.1", 7001), ("127.0.0.1", 7002)} <= addresses
        assert {port for _, port in addresses} == {7001, 7002}
        assert said[1:] == ["its records are found again"]
        server.silent = True
        assert await anext(found) == addresses
        assert await anext(found) == addresses
        assert said[2:] == ["_stead._udp.example.org: the name servers do not answer; asked again every 0.01 s"]
        server.silent, server.records = False, ["0 0 7003 127.0.0.1."]
        assert await anext(found) == {("127.0.0.1", 7003)}


@pytest.mark.asyncio
@pytest.mark.parametrize("record", ["a..b", "x" * 64, "\\"])
async def test_a_record_that_cannot_be_is_said(record: str) -> None:
    said: list[str] = []
    async with name_server() as (_, resolver), asyncio.timeout(WAIT_S):
        source = Srv(record, said.append, resolver=lambda: resolver)
        assert await anext(source.addresses()) == frozenset()
    assert len(said) == 1
    assert source.trouble
