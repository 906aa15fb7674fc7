"""A file of peers, one HOST[:PORT] a line, `#` begins a comment; read when it changes. A file that is not there yet is no trouble."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from hart.errors import UsageError
from hart.limits import DISCOVERY_FILE_MAX, DISCOVERY_FILE_S, DISCOVERY_PEERS_MAX, DISCOVERY_S
from supervisor.gossip.discovery.names import Names, Peer
from supervisor.gossip.discovery.source import Say, Trouble, parse_peer, some
from supervisor.gossip.messages import Address


def parse_lines(text: str) -> tuple[list[Peer], list[str]]:
    """The peers, and what is wrong with the other lines."""
    peers, troubles = list[Peer](), list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if peer := line.partition("#")[0].strip():
            try:
                peers.append(parse_peer(peer))
            except UsageError as error:
                if len(troubles) < DISCOVERY_PEERS_MAX - 1:
                    troubles.append(f"line {number}: {error}")
    if len(peers) > DISCOVERY_PEERS_MAX:
        troubles.append(f"only the first {DISCOVERY_PEERS_MAX} of its {len(peers)} peers are tried")
    return peers[:DISCOVERY_PEERS_MAX], troubles


class WatchFile:
    """Looked at every few seconds; its names are resolved again less often."""

    def __init__(self, path: Path, say: Say) -> None:
        self.name = f"--peer-watch-file {path}"
        self._path, self._names, self._trouble = path, Names(), Trouble(say, "all of it is understood again")

    @property
    def trouble(self) -> str:
        return self._trouble.text

    async def addresses(self) -> AsyncIterator[frozenset[Address]]:
        loop = asyncio.get_running_loop()
        last, asked_at = None, 0.0
        while True:
            read = self._read()
            if read != last or loop.time() - asked_at > DISCOVERY_S:
                last, asked_at = read, loop.time()
                text, trouble = read
                peers, wrong = parse_lines(text)
                if early := self._names.at_once(peers):
                    yield early
                found, unknown = await self._names.find(peers)
                self._trouble.is_now(some([*([trouble] if trouble else []), *wrong, *unknown]), DISCOVERY_S)
                yield found
            await asyncio.sleep(DISCOVERY_FILE_S)

    def _read(self) -> tuple[str, str]:
        """Its text, and what is wrong with the file."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    return "", "is not a file"
                with open(handle, "rb", closefd=False) as file:
                    data = file.read(DISCOVERY_FILE_MAX + 1)
            finally:
                os.close(handle)
        except FileNotFoundError:
            return "", ""
        except OSError as error:
            return "", f"cannot be read: {error.strerror}"
        if len(data) > DISCOVERY_FILE_MAX:
            return "", f"has more than {DISCOVERY_FILE_MAX} bytes"
        return data.decode(errors="replace"), ""
