"""The HTTP gateway: what machines see of this supervisor. Read-only, from memory.

    /                              the paths below
    /v1/ring                       this member, the others, keys in use by id, records by name: never a record's body
    /v1/census                     groups, their members, and what those export
    /v1/services                   the services of this host, as `stead svc status --json` shows them
    /v1/services/NAME              one of them; NAME or SERVICE.GROUP
    /v1/services/NAME/health       200 ok or warning, 503 critical or not ready, 500 not known, 404 not loaded
    /metrics                       Prometheus text

Rules: whoever may not ask is told nothing else. GET and HEAD only. Every refusal is one `application/problem+json`. A connection carries
one request and lives GATEWAY_CONNECTION_S at most, handshake and a slow reader included; there are GATEWAY_CONNECTIONS at once.
Source: reference: supervisor 8.1, 8.4, W27, W30, W33. Not here: who may ask (gate.py), what is shown (gateway_view.py, ring_view.py),
metrics (metrics.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hart.errors import DeniedError, NotFoundError, SteadError, UsageError
from hart.limits import GATEWAY_CONNECTION_S, GATEWAY_HANDSHAKE_S, GATEWAY_HEADERS, GATEWAY_LINE, GATEWAY_RETRY_S
from supervisor import clock, gateway_view, ring_view
from supervisor.doorway import Doorway, listen
from supervisor.gate import Guard, refuse_open, tls_of, token_of
from supervisor.gossip.messages import Address
from supervisor.lag import Lag
from supervisor.settings import show_address
from supervisor.tls import Tls

if TYPE_CHECKING:
    from supervisor.host import Host

PROBLEM: Final = "application/problem+json"
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
            self._guard.check(request.method, request.headers)
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


SILENT: Final = logging.getLogger("supervisor.gateway")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False  # aiohttp's lines quote what strangers send
