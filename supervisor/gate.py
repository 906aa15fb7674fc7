"""Where the gateway may listen, and who may ask it: from settings, environment and a request's headers.

Rules: beyond loopback only with a token, with clients' certificates, or when somebody said that it is meant. A token is compared in
constant time, before anything else of a request. Without one a request must name a loopback address as its host: a page in a browser can
make its own name lead here. Light enough for the command line, which asks before it begins (reference: supervisor 8.1, W27).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import ip_address
from secrets import token_bytes
from typing import Final

from hart.errors import DeniedError, UsageError
from supervisor.doorway import listen
from supervisor.gossip.messages import Address
from supervisor.settings import HttpSettings, show_address
from supervisor.tls import Tls

TOKEN_NAMES: Final = ("STEAD_GATEWAY_AUTH_TOKEN", "HAB_SUP_GATEWAY_AUTH_TOKEN")


class Guard:
    """Who may ask."""

    def __init__(self, token: str, *, guarded_hosts: bool) -> None:
        self._key = token_bytes(32)
        self._digest = self._hash(token.encode()) if token else None
        self._guarded_hosts = guarded_hosts

    def _hash(self, data: bytes) -> bytes:
        return blake2b(data, key=self._key, digest_size=32).digest()

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """DeniedError, with status 401 for a token that is missing or wrong; then UsageError for a method that could change something."""
        self._check_who(headers)
        if method not in ("GET", "HEAD"):
            raise UsageError("method", "is not served: the gateway is read-only", next="GET, or the stead command on this host")

    def _check_who(self, headers: Mapping[str, str]) -> None:
        if self._digest is not None:
            scheme, _, given = headers.get("Authorization", "").partition(" ")
            same = compare_digest(self._hash(given.strip().encode(errors="surrogateescape")), self._digest)
            if not same or scheme.lower() != "bearer":
                raise DeniedError(
                    "token", "is missing or wrong", next="Authorization: Bearer TOKEN, as the supervisor was given it", status=401
                )
        elif self._guarded_hosts and not is_loopback_name(headers.get("Host", "")):
            raise DeniedError("host", "is not a name of this host's loopback", next="ask for 127.0.0.1, [::1] or localhost, or use a token")


def is_loopback_name(host: str) -> bool:
    """Of a Host header: a loopback address or `localhost`, with or without a port."""
    name = host.rpartition(":")[0] if host.count(":") == 1 or "]:" in host else host
    name = name.removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return name.lower() in ("localhost", "")


def check(http: HttpSettings, environ: Mapping[str, str]) -> None:
    """Raise now what would keep the gateway from its start, while a person is there to read it. Nothing is left open."""
    if http.listen is None:
        return
    tls = tls_of(http)
    refuse_open(http.listen, guarded=bool(token_of(environ) or http.ca_certs), anybody=http.anybody)
    if tls is not None:
        tls.context()
    listen(http.listen, fixed=http.listen_fixed).close()


def token_of(environ: Mapping[str, str]) -> str:
    return next((environ[name] for name in TOKEN_NAMES if environ.get(name)), "")


def tls_of(http: HttpSettings) -> Tls | None:
    return Tls(key=http.key, certs=http.certs, ca_certs=http.ca_certs) if http.key or http.certs or http.ca_certs else None


def refuse_open(address: Address, *, guarded: bool, anybody: bool) -> None:
    """UsageError where strangers could read everything and nobody said that they may. `guarded`: by a token or clients' certificates."""
    if not (ip_address(address[0]).is_loopback or guarded or anybody):
        raise UsageError(
            f"--listen-http {show_address(address)}",
            "would show this host's services to everybody who reaches it",
            next=f"set {TOKEN_NAMES[0]}, or ask for client certificates with --ca-certs, or say --http-open",
        )
