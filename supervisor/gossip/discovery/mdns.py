"""The local network: members tell and ask by multicast DNS (`_stead._udp.local.`), so that hosts with the ring's key find each other.

Rules: only with a ring key, since otherwise anybody on the network could join. The ring's id in the TXT record sorts out other rings;
whether a candidate belongs to this one it proves by its key. zeroconf is loaded only here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from hart.limits import DISCOVERY_ANSWER_S, RING_MEMBERS_MAX
from supervisor.gossip.discovery.source import Say
from supervisor.gossip.messages import Address

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

SERVICE = "_stead._udp.local."


class Mdns:
    """`own` is where this member listens; `ring` and `member` are their ids."""

    def __init__(self, ring: bytes, member: bytes, own: Address, say: Say, *, interfaces: list[str] | None = None) -> None:
        self.name, self.trouble = "mdns", ""
        self._ring, self._member, self._own, self._say = ring.hex(), member.hex(), own, say
        self._interfaces = interfaces
        self._found: dict[str, frozenset[Address]] = {}
        self._changed = asyncio.Event()

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        from zeroconf import InterfaceChoice, ServiceInfo
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        try:
            zeroconf = AsyncZeroconf(interfaces=self._interfaces or InterfaceChoice.Default)
        except OSError as error:
            self.trouble = f"no multicast here: {error.strerror or error}"
            self._say(self.trouble)
            yield frozenset()
            return
        asking: set[asyncio.Task[None]] = set()

        def on_change(name: str, state_change: Any, **_: Any) -> None:
            if state_change.name == "Removed":
                self._found.pop(name, None)
                self._changed.set()
                return
            task = asyncio.get_running_loop().create_task(self._look(zeroconf, name))
            asking.add(task)
            task.add_done_callback(asking.discard)

        host, port = self._own
        own = ServiceInfo(
            SERVICE,
            f"{self._member}.{SERVICE}",
            parsed_addresses=[host],
            port=port,
            properties={"ring": self._ring, "member": self._member},
            server=f"{self._member[:16]}.local.",
        )
        browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[on_change])
        try:
            telling = await zeroconf.async_register_service(own, allow_name_change=False)
            await telling
            while True:
                yield frozenset().union(*self._found.values())
                await self._changed.wait()
                self._changed.clear()
        finally:
            for task in asking:
                task.cancel()
            await browser.async_cancel()
            await zeroconf.async_close()

    async def _look(self, zeroconf: AsyncZeroconf, name: str) -> None:
        """Ask one that has shown up where it is."""
        info = await zeroconf.async_get_service_info(SERVICE, name, timeout=int(DISCOVERY_ANSWER_S * 1000))
        if info is None or info.port is None or len(self._found) >= RING_MEMBERS_MAX:
            return
        told = info.decoded_properties
        if told.get("ring") != self._ring or told.get("member") == self._member:
            return
        self._found[name] = frozenset((host, info.port) for host in info.parsed_addresses() if "%" not in host)
        self._changed.set()
