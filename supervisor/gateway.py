"""The HTTP gateway: what machines see of this supervisor. Read-only, from memory.

    /                              the paths below
    /v1/ring                       this member, the others, keys in use by id, records by name: never a record's body
    /v1/census                     groups, their members, and what those export
    /v1/services                   the services of this host, as `stead svc status --json` shows them
    /v1/services/NAME              one of them; NAME or SERVICE.GROUP
    /v1/services/NAME/health       200 ok or warning, 503 critical or not ready, 500 not known, 404 not loaded
    /metrics                       Prometheus text

Rules: the token is compared, in constant time, before anything else of a request is looked at. GET and HEAD only. Every refusal is one
`application/problem+json`. A connection carries one request and lives GATEWAY_CONNECTION_S at most, handshake and a slow reader
included; there are GATEWAY_CONNECTIONS at once. Beyond loopback there is no gateway without a token, unless that was asked for. Without a
token a request must name a loopback address as its host: a page in a browser can make its own name lead here.
Source: reference: supervisor 8.1, 8.4, W27, W30, W33. Not here: what is shown (gateway_view.py, ring_view.py), metrics (metrics.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import ip_address
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hart.errors import DeniedError, NotFoundError, SteadError, UsageError
from hart.limits import GATEWAY_CONNECTION_S, GATEWAY_HANDSHAKE_S, GATEWAY_HEADERS, GATEWAY_LINE, GATEWAY_RETRY_S
from supervisor import clock, gateway_view, ring_view
from supervisor.doorway import Doorway, listen
from supervisor.gossip.messages import Address
from supervisor.lag import Lag
from supervisor.settings import HttpSettings, show_address
from supervisor.tls import Tls

if TYPE_CHECKING:
    from supervisor.host import Host

PROBLEM: Final = "application/problem+json"
TOKEN_NAMES: Final = ("STEAD_GATEWAY_AUTH_TOKEN", "HAB_SUP_GATEWAY_AUTH_TOKEN")
HEADERS: Final = {"Server": "stead", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
STATUS: Final = {UsageError: 405, NotFoundError: 404, DeniedError: 403}


class Gateway:
    """The server. `address` is where it was told to listen, and after `start` where it does."""

    def __init__(
        self,
        host: Host,
        address: Address,
        token: str = "",
        tls: Tls | None = None,
        *,
        fixed: bool = True,
        anybody: bool = False,
    ) -> None:
        refuse_open(address, guarded=bool(token or (tls and tls.ca_certs)), anybody=anybody)
        self.host, self.address, self.fixed = host, address, fixed
        self.requests: Counter[tuple[str, int]] = Counter()  # by route and status
        self.lag = Lag()
        self.trouble = ""  # why it does not listen
        self._guard = Guard(token, guarded_hosts=not token and not anybody and ip_address(address[0]).is_loopback)
        self._tls = tls
        self._server = web.Server(self.answer)
        self._door: Doorway | None = None
        self._again: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen, or say what is in the way and try again for ever: a port or a certificate is no reason to leave services alone.

        Whoever is there to read an error is given it before, by `check`.
        """
        self.lag.start()
        self._try()

    def _try(self) -> None:
        try:
            context = self._tls.context() if self._tls is not None else None
            listening = listen(self.address, fixed=self.fixed)
        except SteadError as error:
            if str(error) != self.trouble:
                self.host.journal.write("gateway", "gateway", f"{error}; tried again every {GATEWAY_RETRY_S:g} s", level="error")
            self.trouble = str(error)
            self._again = asyncio.get_running_loop().call_later(GATEWAY_RETRY_S, self._try)
            return
        asked, self.address, self.trouble = self.address, listening.getsockname()[:2], ""
        self._door = Doorway(
            listening, self._conversation, context, held=lambda: len(self._server.connections), handshake_s=GATEWAY_HANDSHAKE_S
        )
        where = f"{'https' if self._tls else 'http'}://{show_address(self.address)}"
        instead = "" if asked[1] in (0, self.address[1]) else f"; port {asked[1]} is taken, so look here"
        self.host.journal.write("gateway", "gateway", f"answers at {where}{instead}")

    async def close(self) -> None:
        """Stop listening; who is being answered has a second."""
        self.lag.stop()
        if self._again is not None:
            self._again.cancel()
        if self._door is not None:
            await self._door.close()
        await self._server.shutdown(1.0)

    @property
    def refused(self) -> int:
        """Connections beyond the limit, or whose handshake failed."""
        return self._door.refused if self._door is not None else 0

    def _conversation(self) -> Conversation:
        return Conversation(
            self._server,
            loop=asyncio.get_running_loop(),
            logger=SILENT,
            access_log=None,  # type: ignore[arg-type]  # that is how it is turned off
            keepalive_timeout=GATEWAY_CONNECTION_S,
            max_line_size=GATEWAY_LINE,
            max_field_size=GATEWAY_LINE,
            max_headers=GATEWAY_HEADERS,
            lingering_time=0,
            auto_decompress=False,
        )

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """One request's response; whatever goes wrong is one too."""
        route = "refused"
        try:
            self._guard.check(request)
            route, make = self._route(request.path)
            response = make()
        except SteadError as error:
            response = problem(error)
        except Exception as error:  # noqa: BLE001  the border: one request's bug must not be more
            self.host.journal.write("gateway", route, f"bug: {type(error).__name__}: {error}", level="error")
            response = problem(SteadError("supervisor", "bug: it is in the journal of this supervisor", status=500))
        self.requests[route, response.status] += 1
        return response

    def _route(self, path: str) -> tuple[str, Callable[[], web.Response]]:
        """The route's name, which is a label of the metrics and so never what a client wrote, and what answers."""
        host = self.host
        offset = clock.wall() - clock.now()

        def at(now: float) -> float:
            return now + offset

        match path.rstrip("/").split("/")[1:]:
            case []:
                return "index", lambda: shown(gateway_view.INDEX)
            case ["metrics"]:
                return "metrics", self._metrics
            case ["v1", "ring"]:
                return "ring", lambda: shown(ring_view.ring(host.ring, clock.now(), at))
            case ["v1", "census"]:
                return "census", lambda: shown(gateway_view.census(host))
            case ["v1", "services"]:
                return "services", lambda: shown(gateway_view.services(host, at))
            case ["v1", "services", name]:
                return "service", lambda: shown(gateway_view.service(host, name, at))
            case ["v1", "services", name, "health"]:
                return "health", lambda: self._health(name)
            case _:
                return "unknown", nowhere

    def _health(self, name: str) -> web.Response:
        found = gateway_view.health(self.host, name)
        return shown(found.facts, status=found.status)

    def _metrics(self) -> web.Response:
        from supervisor.metrics import CONTENT_TYPE, scrape  # its library is loaded by the first who asks

        return respond(200, scrape(self.host, self), {"Content-Type": CONTENT_TYPE})


class Guard:
    """Who may ask."""

    def __init__(self, token: str, *, guarded_hosts: bool) -> None:
        self._key = token_bytes(32)
        self._digest = self._hash(token.encode()) if token else None
        self._guarded_hosts = guarded_hosts

    def _hash(self, data: bytes) -> bytes:
        return blake2b(data, key=self._key, digest_size=32).digest()

    def check(self, request: web.BaseRequest) -> None:
        """DeniedError, with status 401 for a token that is missing or wrong; then UsageError for a method that could change something."""
        self._check_who(request.headers)
        if request.method not in ("GET", "HEAD"):
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


class Conversation(web.RequestHandler):
    """aiohttp's connection, with an end that no client can put off, and our own shape for what its parser refuses."""

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self._end = asyncio.get_running_loop().call_later(GATEWAY_CONNECTION_S, transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser says of the request stays here: it quotes the request."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        return problem(SteadError("request", "is not HTTP as this server takes it", status=status if 400 <= status < 500 else 500))


def respond(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    """A whole answer, after which the connection ends."""
    made = web.Response(status=status, body=body, headers={**HEADERS, **headers})
    made.force_close()
    return made


def shown(data: Any, *, status: int = 200) -> web.Response:
    body = json.dumps(data, separators=(",", ":"), default=str).encode() + b"\n"
    return respond(status, body, {"Content-Type": "application/json"})


def nowhere() -> web.Response:
    raise NotFoundError("this path", "does not exist", next="/ lists those that do")


def problem(error: SteadError) -> web.Response:
    """The one shape of every refusal (RFC 9457)."""
    given = error.data.get("status")
    status = given if isinstance(given, int) else next((STATUS[family] for family in type(error).__mro__ if family in STATUS), 500)
    facts = {"type": "about:blank", "title": error.thing, "status": status, "detail": error.cause, "next": error.next or None}
    headers = {"Content-Type": PROBLEM}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="stead"'
    if status == 405:
        headers["Allow"] = "GET, HEAD"
    return respond(status, json.dumps(facts).encode() + b"\n", headers)


# --- from settings


def gateway_of(host: Host) -> Gateway | None:
    """The gateway that the settings and the environment ask for. UsageError when they do not go together."""
    http = host.settings.http
    if http.listen is None:
        return None
    token = token_of(host.environ)
    return Gateway(host, http.listen, token, tls_of(http), fixed=http.listen_fixed, anybody=http.anybody)


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


SILENT: Final = logging.getLogger("supervisor.gateway")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False  # aiohttp's lines quote what strangers send
