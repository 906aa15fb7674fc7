"""The local network: members tell and ask by multicast DNS (`_stead._udp.local.`), so that hosts with the ring's key find each other.

Rules: only with a ring key, since otherwise anybody on the network could join. The ring's id in the TXT record sorts out other rings;
whether a candidate belongs to this one it proves by its key. Anybody on the network can tell anything: neighbours, and the addresses of
each, are limited. Told and asked is on the network where this member listens. zeroconf is loaded only here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hart.limits import DISCOVERY_ANSWER_S, DISCOVERY_NAME_ADDRESSES, DISCOVERY_NAMES_AT_ONCE, DISCOVERY_PEERS_MAX, DISCOVERY_S
from supervisor.gossip.discovery.names import literal
from supervisor.gossip.discovery.source import Say, Trouble
from supervisor.gossip.messages import Address

if TYPE_CHECKING:
    from zeroconf import ServiceInfo
    from zeroconf.asyncio import AsyncZeroconf

SERVICE = "_stead._udp.local."
VERSION = "1"  # of what the TXT record says


class Mdns:
    """`own` is where this member listens; `ring` and `member` are their ids."""

    def __init__(self, ring: bytes, member: bytes, own: Address, say: Say, *, interfaces: list[str] | None = None) -> None:
        assert ring
        assert member
        self.name = "mdns"
        self._ring, self._member, self._own = ring.hex(), member.hex(), own
        self._trouble = Trouble(say, "works again")
        self._interfaces = interfaces or ([own[0]] if is_ours(own[0]) else None)
        self._found: dict[str, frozenset[Address]] = {}
        self._fresh: dict[str, None] = {}  # names that were told of and not yet asked, in order
        self._changed = asyncio.Event()

    @property
    def trouble(self) -> str:
        return self._trouble.text

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        from zeroconf import Error

        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # our own words are said once, on each change
        while True:
            try:
                async for found in self._follow():
                    self._trouble.is_now("", DISCOVERY_S)
                    yield found
            except (OSError, RuntimeError, Error) as error:
                told = error.strerror if isinstance(error, OSError) else error
                self._trouble.is_now(f"no multicast here: {told or type(error).__name__}", DISCOVERY_S)
            yield frozenset().union(*self._found.values())
            await asyncio.sleep(DISCOVERY_S)

    async def _follow(self) -> AsyncIterator[frozenset[Address]]:
        """Until the network refuses."""
        from zeroconf import InterfaceChoice
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        self._found.clear()
        zeroconf = AsyncZeroconf(interfaces=self._interfaces or InterfaceChoice.All)
        try:
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._on_change])
            try:
                # no probe whether the name is free: it is the member's id, and after a crash others still remember it
                telling = await zeroconf.async_register_service(self._info(), cooperating_responders=True)
                await telling
                while True:
                    await self._ask_fresh(zeroconf)
                    yield frozenset().union(*self._found.values())
                    await self._changed.wait()
                    self._changed.clear()
            finally:
                await browser.async_cancel()
        finally:
            await zeroconf.async_close()

    def _info(self) -> ServiceInfo:
        from zeroconf import ServiceInfo

        host, port = self._own
        return ServiceInfo(
            SERVICE,
            f"{self._member}.{SERVICE}",
            parsed_addresses=[host],
            port=port,
            properties={"v": VERSION, "ring": self._ring, "member": self._member},
            server=f"{self._member}.local.",
        )

    def _on_change(self, name: str, state_change: Any, **_: Any) -> None:
        if state_change.name == "Removed":
            self._found.pop(name, None)
            self._fresh.pop(name, None)
        elif len(self._fresh) < DISCOVERY_PEERS_MAX:
            self._fresh[name] = None
        self._changed.set()

    async def _ask_fresh(self, zeroconf: AsyncZeroconf) -> None:
        """Those that have shown up or changed are asked where they are, a few at once."""
        while self._fresh:
            names = list(self._fresh)[:DISCOVERY_NAMES_AT_ONCE]
            for name in names:
                del self._fresh[name]
            await asyncio.gather(*(self._look(zeroconf, name) for name in names))

    async def _look(self, zeroconf: AsyncZeroconf, name: str) -> None:
        from zeroconf import BadTypeInNameException

        with suppress(BadTypeInNameException):  # told by somebody else's program
            info = await zeroconf.async_get_service_info(SERVICE, name, timeout=int(DISCOVERY_ANSWER_S * 1000))
            if info is None or not (where := self._where(info)):
                return
            if name not in self._found and len(self._found) >= DISCOVERY_PEERS_MAX:
                del self._found[next(iter(self._found))]  # the oldest: whoever lies in thousands does not keep the next one out
            self._found[name] = where

    def _where(self, info: ServiceInfo) -> frozenset[Address]:
        """The addresses of a member of our ring that is not ourselves."""
        told = info.decoded_properties
        if told.get("ring") != self._ring or told.get("member") in (None, self._member) or not info.port:
            return frozenset()
        hosts = [known for host in info.parsed_addresses() if "%" not in host and (known := literal(host))]
        return frozenset((host, info.port) for host in hosts[:DISCOVERY_NAME_ADDRESSES])


def is_ours(host: str) -> bool:
    """Whether an address is one of this host's: what others reach it by may be a router's."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
