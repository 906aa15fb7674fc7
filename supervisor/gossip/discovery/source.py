"""The interface of all discovery, and how a peer is written: `HOST`, `HOST:PORT`, `[V6]:PORT`.

Rules: a source yields the addresses that it knows whenever it has looked; it retries for ever, and no trouble is fatal. What it could not
find out it says in words, once for each change. A candidate is only an address: whoever answers there must prove that it has the ring's
key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_address
from typing import Protocol

from hart.errors import UsageError
from supervisor.gossip.messages import Address

PORT = 9638  # Habitat's
NAME_MAX = 253  # characters of a host's name (RFC 1035)
_SAID = 3  # troubles that are said one by one
_SAID_TEXT = 80  # characters of each
Say = Callable[[str], None]


class Source(Protocol):
    """One place to look."""

    name: str  # what people wrote, such as `--peer db-1`

    @property
    def trouble(self) -> str:
        """Why it finds nothing, or not all; else empty."""
        ...

    def addresses(self) -> AsyncIterator[frozenset[Address]]:
        """Never ends by itself."""
        ...


def parse_peer(text: str) -> tuple[str, int]:
    """Host, which may be a name, and port; UsageError."""
    wrong = UsageError(f"peer {cut(text)!r}", "is not HOST, HOST:PORT or [IPV6]:PORT")
    stripped = text.strip()
    if stripped.startswith("["):
        host, bracket, rest = stripped[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_v6(host):
            raise wrong
        port = rest[1:]
    elif stripped.count(":") > 1:
        host, port = stripped, ""
        if not _is_v6(host):
            raise wrong
    else:
        host, _, port = stripped.partition(":")
        if stripped.endswith(":"):
            raise wrong
    if not host or len(host) > NAME_MAX or not host.isprintable() or any(mark in host for mark in " /,#"):
        raise wrong
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise wrong
    return host, int(port) if port else PORT


def _is_v6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def cut(text: str) -> str:
    """As much of it as a line has room for."""
    return text if len(text) <= _SAID_TEXT else f"{text[: _SAID_TEXT - 1]}…"


def some(troubles: Sequence[str]) -> str:
    """The first few, and how many more there are: half a million are one line in the journal as well."""
    told = [cut(trouble) for trouble in troubles[:_SAID]]
    if len(troubles) > _SAID:
        told.append(f"and {len(troubles) - _SAID} more")
    return "; ".join(told)


class Trouble:
    """What a source says of itself: each change once, never the same again."""

    def __init__(self, say: Say, well: str) -> None:
        self.text = ""
        self._say, self._well = say, well

    def is_now(self, text: str, again_s: float) -> None:
        """Empty: there is none, or no more."""
        if text != self.text:
            self._say(f"{text}; asked again every {again_s:g} s" if text else self._well)
        self.text = text
