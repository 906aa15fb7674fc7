"""The depot's HTTP server: which request goes where, who is asking, and what is refused before anything is read.

Rules: a wrong token is 401 on every path, public and unknown ones too; an unknown path and a known path with another method are 404; an
error has an empty body unless the client accepts a problem document; compressed bodies and HTTP/0.9 are refused. Nothing of a request is
logged but method, path, status, time, account. A connection that sends no whole request in time is closed.
Source: reference: depot API 0; threats 3.4 (aiohttp), S27, S29. Not here: what requests do (depot/serve_*.py), processes (depot/admin.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, TypeAlias

from aiohttp import http_parser, web

from depot import access, routes, serve_channels, serve_download, serve_origins, serve_packages
from depot.access import StoredToken
from depot.answers import empty, refusal
from depot.call import Call, Depot
from depot.log import log
from depot.routes import Route
from depot.store import now_us
from hart import limits
from hart.errors import DeniedError, NotFoundError, SteadError, UnavailableError, UsageError

Handler: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]

HANDLERS: Final[dict[Route, Handler]] = {
    routes.STATUS: serve_origins.status,
    routes.PROFILE: serve_origins.profile,
    routes.USER_ORIGINS: serve_origins.user_origins,
    routes.ORIGIN_CREATE: serve_origins.origin_create,
    routes.ORIGIN_SHOW: serve_origins.origin_show,
    routes.KEY_LIST: serve_origins.key_list,
    routes.KEY_LATEST: serve_origins.key_latest,
    routes.KEY_UPLOAD: serve_origins.key_upload,
    routes.KEY_DOWNLOAD: serve_origins.key_download,
    routes.SEARCH: serve_packages.search,
    routes.LIST_ORIGIN: serve_packages.list_packages,
    routes.LIST_NAME: serve_packages.list_packages,
    routes.VERSIONS: serve_packages.versions,
    routes.LATEST: serve_packages.latest,
    routes.LIST_VERSION: serve_packages.list_packages,
    routes.LATEST_OF_VERSION: serve_packages.latest,
    routes.PACKAGE: serve_packages.package,
    routes.UPLOAD: serve_packages.upload,
    routes.DOWNLOAD: serve_download.download,
    routes.PACKAGE_CHANNELS: serve_packages.package_channels,
    routes.CHANNEL_LIST: serve_channels.channel_list,
    routes.CHANNEL_CREATE: serve_channels.channel_create,
    routes.CHANNEL_DELETE: serve_channels.channel_delete,
    routes.CHANNEL_PKGS: serve_channels.list_packages,
    routes.CHANNEL_HEADS: serve_channels.heads,
    routes.PROMOTE_ALL: serve_channels.promote_all,
    routes.DEMOTE_ALL: serve_channels.demote_all,
    routes.CHANNEL_LIST_NAME: serve_channels.list_packages,
    routes.CHANNEL_LATEST: serve_channels.latest,
    routes.CHANNEL_LIST_VERSION: serve_channels.list_packages,
    routes.CHANNEL_LATEST_OF_VERSION: serve_channels.latest,
    routes.CHANNEL_PACKAGE: serve_channels.package,
    routes.PROMOTE: serve_channels.promote,
    routes.DEMOTE: serve_channels.demote,
}
ALSO_HEAD: Final = (routes.STATUS, routes.DOWNLOAD)

TOKEN: Final = web.RequestKey("token", StoredToken)  # absent for anonymous requests


class Traffic:
    """Connections that have sent a whole request head, and how many requests are under way."""

    def __init__(self) -> None:
        self.spoke: set[object] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._under_way = 0

    @contextmanager
    def request(self, connection: object) -> Iterator[None]:
        self.spoke.add(connection)
        self._under_way += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.idle.set()


TRAFFIC: Final = web.AppKey("traffic", Traffic)
DEPOT: Final = web.AppKey("depot", Depot)


def application(depot: Depot) -> web.Application:
    """The web application of one depot."""
    app = web.Application(middlewares=[_counted, _border, _known], client_max_size=limits.REQUEST_TEXT_MAX)
    app[serve_download.PROVEN] = serve_download.Proven(asyncio.get_running_loop().time)
    app[TRAFFIC] = Traffic()
    app[DEPOT] = depot
    app.on_response_prepare.append(_without_version)
    for route in routes.ROUTES:
        handler = _entry(depot, HANDLERS[route])
        for method in (route.method, "HEAD") if route in ALSO_HEAD else (route.method,):
            app.router.add_route(method, depot.settings.prefix + route.pattern, handler, expect_handler=_expect)
    return app


def _entry(depot: Depot, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def enter(request: web.Request) -> web.StreamResponse:
        return await handler(Call(request, depot, request.get(TOKEN)))

    return enter


@web.middleware
async def _known(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Who is asking comes before what is asked: a wrong token is 401 where there is no path, too."""
    token = await _identify(request.app[DEPOT], request)
    if token is not None:
        request[TOKEN] = token
    return await handler(request)


async def _identify(depot: Depot, request: web.Request) -> StoredToken | None:
    """The token of a request, None without one; DeniedError (401) for one that is malformed, unknown, expired or revoked."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    presented, now = access.bearer(header), now_us()
    stored = None
    if presented is not None:
        public_id = presented.public_id
        stored = access.accept(presented, await depot.store.read(lambda reader: reader.token(public_id)), now)
    if stored is None:
        raise DeniedError("the token", "is not accepted", next="see `stead depot token create`", status=401)
    if now - (stored.last_used_us or 0) > limits.TOKEN_TOUCH_S * 1e6:
        used = stored.public_id
        with suppress(SteadError):  # a note; a full disk must not keep anybody from reading
            await depot.store.write(lambda writer: writer.touch_token(used), by=stored.account)
    return stored


@web.middleware
async def _counted(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    with request.app[TRAFFIC].request(request.protocol):
        return await handler(request)


@web.middleware
async def _border(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Translate every error into its answer, and log changes and failures."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    cause = ""
    try:
        _refuse_unusual(request)
        response = await handler(request)
    except SteadError as error:
        response, cause = _refuse(request, error), str(error)
    except web.HTTPException as error:
        status = 404 if error.status == 405 else error.status
        response = _refuse(request, NotFoundError(request.path, "does not exist")) if status == 404 else empty(status)
    except (ConnectionError, TimeoutError):
        log("request.lost", method=request.method, path=request.path[: limits.LOGGED_PATH], account=_account(request))
        raise
    except Exception as error:  # noqa: BLE001  the border: anything that arrives here is our own bug, and one request must not be more
        log("request.bug", method=request.method, path=request.path[: limits.LOGGED_PATH], error=repr(error), trace=_trace(error))
        response = empty(500)
    if request.method not in ("GET", "HEAD") or response.status >= 500:
        log(
            "request",
            method=request.method,
            path=request.path[: limits.LOGGED_PATH],
            status=response.status,
            ms=round((loop.time() - started) * 1000, 1),
            account=_account(request),
            remote=request.remote,
            **({"cause": cause} if cause else {}),
        )
    return response


def _account(request: web.Request) -> str | None:
    token = request.get(TOKEN)
    return None if token is None else token.account


def _refuse_unusual(request: web.Request) -> None:
    """What is valid HTTP to the parser, and nothing that a client of ours says."""
    if request.version < (1, 0):
        raise UsageError("this request", "is HTTP/0.9")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UsageError("this request", "has a compressed body", status=415)


def _refuse(request: web.Request, error: SteadError) -> web.Response:
    response = refusal(error, explained=routes.PROBLEM_JSON in request.headers.get("Accept", ""))
    if isinstance(error, UnavailableError) and response.status == 408:
        response.force_close()
    return response


def _trace(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


async def _expect(request: web.Request) -> None:
    """Say `100 Continue` only when the body is wanted (see `Call.body`); nothing else can be expected of us."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def _without_version(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "stead"


@asynccontextmanager
async def serving(depot: Depot, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port. Requests under way have SHUTDOWN_S to finish. UnavailableError when it cannot listen."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise UsageError("AIOHTTP_NO_EXTENSIONS", "the server needs aiohttp's compiled HTTP parser", next="unset it and reinstall aiohttp")
    app = application(depot)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_http_log(),
        auto_decompress=False,
        keepalive_timeout=limits.KEEPALIVE_S,
        max_line_size=limits.HEADER_LINE,
        max_field_size=limits.HEADER_LINE,
        shutdown_timeout=limits.SHUTDOWN_CUT_S,
        handle_signals=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise UnavailableError(
                f"{host}:{port}", f"cannot listen: {error.strerror}", next="choose another --listen or --port"
            ) from error
        _close_silent(app, runner, {})
        yield int(runner.addresses[0][1])
        await site.stop()
        with suppress(TimeoutError):  # aiohttp's own shutdown stops reading at once, and would cut every upload
            async with asyncio.timeout(limits.SHUTDOWN_S):
                await app[TRAFFIC].idle.wait()
    finally:
        await runner.cleanup()


def _close_silent(app: web.Application, runner: web.AppRunner, since: dict[object, float]) -> None:
    """Close connections that have sent no whole request in time (slowloris), now and again until the server ends.

    aiohttp's own timer begins after the first request. `since`: when the connections of the last look were first seen.
    """
    if runner.server is None:
        return
    loop = asyncio.get_running_loop()
    connections, now = runner.server.connections, loop.time()
    app[TRAFFIC].spoke.intersection_update(connections)
    seen: dict[object, float] = {connection: since.get(connection, now) for connection in connections}
    for connection in connections:
        silent = connection not in app[TRAFFIC].spoke and now - seen[connection] > limits.HEADER_S
        if silent and connection.transport is not None:
            connection.transport.abort()
    loop.call_later(limits.HEADER_S / 3, _close_silent, app, runner, seen)


def _http_log() -> logging.Logger:
    logger = logging.getLogger("depot.http")
    logger.addFilter(_note)  # added once, however often it is called
    return logger


def _note(record: logging.LogRecord) -> bool:
    """What aiohttp has to say, mostly about malformed requests, as a line of ours: no trace, nothing of the request."""
    if record.levelno >= logging.WARNING:
        cause = record.exc_info[1] if record.exc_info else None
        log("http", message=record.getMessage()[: limits.LOGGED_PATH], cause=type(cause).__name__ if cause else None)
    return False
