"""A file of peers, one HOST[:PORT] a line, `#` begins a comment; read when it changes. A file that is not there yet is no trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from hart.errors import UsageError
from hart.limits import DISCOVERY_FILE_MAX, DISCOVERY_FILE_S, DISCOVERY_S
from supervisor.gossip.discovery.source import Say, parse_peer, resolve
from supervisor.gossip.messages import Address


def parse_lines(text: str) -> tuple[list[tuple[str, int]], list[str]]:
    """The peers, and what is wrong with the other lines."""
    peers, troubles = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if peer := line.partition("#")[0].strip():
            try:
                peers.append(parse_peer(peer))
            except UsageError as error:
                troubles.append(f"line {number}: {error}")
    return peers, troubles


class WatchFile:
    """Looked at every few seconds; its names are resolved again less often."""

    def __init__(self, path: Path, say: Say) -> None:
        self.name, self.trouble = f"--peer-watch-file {path}", ""
        self._path, self._say = path, say

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        loop = asyncio.get_running_loop()
        last, resolved_at = None, 0.0
        while True:
            text, trouble = await asyncio.to_thread(self._read)
            if text != last or loop.time() - resolved_at > DISCOVERY_S:
                last, resolved_at = text, loop.time()
                found, troubles = await self._find(text)
                self._note("; ".join([trouble, *troubles] if trouble else troubles))
                yield found
            await asyncio.sleep(DISCOVERY_FILE_S)

    def _read(self) -> tuple[str, str]:
        try:
            with self._path.open("rb") as file:
                return file.read(DISCOVERY_FILE_MAX).decode(errors="replace"), ""
        except FileNotFoundError:
            return "", ""
        except OSError as error:
            return "", f"cannot be read: {error.strerror}"

    async def _find(self, text: str) -> tuple[frozenset[Address], list[str]]:
        peers, troubles = parse_lines(text)
        found: set[Address] = set()
        for host, port in peers:
            try:
                found |= await resolve(host, port)
            except OSError as error:
                troubles.append(f"{host}: {error.strerror or error}")
        return frozenset(found), troubles

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            self._say(trouble or "all of it is understood again")
        self.trouble = trouble
