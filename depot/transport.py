"""HTTP as the depot's client speaks it: one request with its tries, an artifact's body in, an artifact's body out.

Rules: every phase has a timeout, every answer a size; no redirect is followed, no compressed body accepted, no proxy or password taken
from the environment (threats 3.4: a proxy is named, see `stead pkg install --help`). What the network did to us is tried again
(`depot/retry.py`), a refusal is final. aiohttp's exceptions end here, as families of `hart/errors.py`. What the depot can be asked is in
`depot/client.py`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlencode

import aiohttp
import yarl

from depot import download as downloads
from depot import routes
from depot.retry import Backoff
from hart.console import Progress
from hart.errors import FormatError, LimitError, SteadError, TrustError, UnavailableError, UsageError
from hart.files import storage
from hart.limits import CHUNK, DEPOT_ANSWER_MAX, DEPOT_CONNECT_S, DEPOT_READ_S, DEPOT_REQUEST_S, UPLOAD_ANSWER_S

ACCEPTED = f"application/json, {routes.PROBLEM_JSON}, */*"
Retrying = Callable[[SteadError, float], None]  # told before each further try: why, and after how many seconds
Sleep = Callable[[float], Awaitable[None]]
ROUNDS = 100  # of the loop, for a connection that was given up to be closed; it takes three


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Deadlines in seconds, and how often to try."""

    connect_s: float = DEPOT_CONNECT_S
    read_s: float = DEPOT_READ_S
    request_s: float = DEPOT_REQUEST_S
    upload_s: float = UPLOAD_ANSWER_S
    backoff: Backoff = field(default_factory=Backoff)
    caps: downloads.Caps = field(default_factory=downloads.Caps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request. `thing` names it in messages; statuses other than `accept` raise what `routes.error_of` says they mean."""

    route: routes.Route
    parts: Mapping[str, str]
    thing: str
    query: Mapping[str, str]
    accept: tuple[int, ...] = (200,)
    body: bytes | None = None
    cap: int = DEPOT_ANSWER_MAX
    repeatable: bool = True  # False: after a doubtful end it is not sent again


class Transport:
    """Requests below one base URL with one set of headers. Open it before use, close it after."""

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        *,
        proxy: str | None,
        pace: Pace,
        chance: random.Random,
        sleep: Sleep,
        retrying: Retrying,
    ) -> None:
        self.base = base
        self.pace = pace
        self._headers = {**headers, "Accept-Encoding": "identity", "Accept": ACCEPTED}
        self._proxy = proxy
        self._chance = chance
        self._sleep = sleep
        self._retrying = retrying
        self._session: aiohttp.ClientSession | None = None
        self.sockets = weakref.WeakSet[socket.socket]()
        _demand_url(base, "the depot's URL")
        if proxy is not None:
            _demand_url(proxy, "the proxy's URL")

    def open(self) -> None:
        pace = self.pace
        timeout = aiohttp.ClientTimeout(total=pace.request_s, connect=pace.connect_s, sock_connect=pace.connect_s, sock_read=pace.read_s)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket),
            headers=self._headers,
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
            timeout=timeout,
        )

    async def close(self) -> None:
        """No connection is left, nor one that still holds what a refused upload had not sent: that is given up."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        for left in [each for each in self.sockets if each.fileno() >= 0]:
            with suppress(OSError):  # the other side was first
                left.shutdown(socket.SHUT_RDWR)
            for _ in range(ROUNDS):  # its transport sees the end in the loop's next rounds, and closes it
                if left.fileno() < 0:
                    break
                await asyncio.sleep(0)

    def _socket(self, address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, object]) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setblocking(False)
        self.sockets.add(made)
        return made

    async def ask(self, question: Question) -> Answer:
        """One request with its tries."""

        async def once() -> Answer:
            return await self._read(question, self._request(question, data=question.body))

        return await self._tried(once, repeatable=question.repeatable)

    async def send_file(self, question: Question, path: Path, progress: Progress) -> Answer:
        """One upload with its tries: the file as body, with its length, in constant memory."""

        async def once() -> Answer:
            timeout = aiohttp.ClientTimeout(
                total=None, connect=self.pace.connect_s, sock_connect=self.pace.connect_s, sock_read=self.pace.upload_s
            )
            clock = asyncio.get_running_loop().time
            with self._border(question.thing), storage(path), path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                async with asyncio.timeout(self.pace.upload_s) as deadline:

                    async def blocks() -> AsyncIterator[bytes]:
                        sent = 0
                        while block := file.read(CHUNK):
                            yield block
                            sent += len(block)
                            progress(sent, size)
                            deadline.reschedule(clock() + self.pace.upload_s)  # silence is limited, not the whole

                    headers = {"Content-Length": str(size), "Content-Type": routes.OCTET_STREAM}
                    return await self._read(question, self._request(question, data=blocks(), headers=headers, timeout=timeout))

        return await self._tried(once, repeatable=True)

    @asynccontextmanager
    async def open_body(self, question: Question, wanted: downloads.Wanted, offset: int) -> AsyncIterator[downloads.Body]:
        """One try of a download from `offset` on: the port that `depot/download.py` asks for."""
        pace = self.pace
        timeout = aiohttp.ClientTimeout(total=None, connect=pace.connect_s, sock_connect=pace.connect_s, sock_read=pace.read_s)
        headers = {"Accept": routes.OCTET_STREAM}
        if offset:  # If-Range: without it a depot that has other bytes by now would send their tail
            headers |= {"Range": f"bytes={offset}-", "If-Range": routes.etag(wanted.checksum)}
        with self._border(question.thing):
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(pace.request_s):  # the answer's head, whatever comes before it and however slowly
                    response = await stack.enter_async_context(self._request(question, headers=headers, timeout=timeout))
                if response.status == 416 and offset:
                    raise UnavailableError(question.thing, "the depot's file ends before the part that is here", restart=True)
                await self._refuse(response, question, (200, 206) if offset else (200,))
                _check_name(response, wanted)
                start = _range_start(response, question.thing) if response.status == 206 else 0
                yield downloads.Body(offset=start, length=response.content_length, blocks=response.content.iter_chunked(CHUNK))

    def _request(self, question: Question, **options: object) -> aiohttp.client._RequestContextManager:
        assert self._session is not None, "the depot is not open: use `async with`"
        tail = f"?{urlencode(question.query)}" if question.query else ""
        url = yarl.URL(f"{self.base}{question.route.path(**question.parts)}{tail}", encoded=True)
        return self._session.request(question.route.method, url, allow_redirects=False, **options)  # type: ignore[arg-type]  # aiohttp's own names

    async def _read(self, question: Question, request: aiohttp.client._RequestContextManager) -> Answer:
        """Send, and read the whole answer up to its cap."""
        with self._border(question.thing):
            async with request as response:
                await self._refuse(response, question, question.accept)
                body = await _bounded(response, question.cap, question.thing)
                return Answer(status=response.status, headers=dict(response.headers), body=body)

    async def _refuse(self, response: aiohttp.ClientResponse, question: Question, accept: tuple[int, ...]) -> None:
        """Pass only an accepted status with a plain body."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise FormatError(
                question.thing, f"the depot sent a body compressed with {encoding!r}, unasked", next="look for a proxy in between"
            )
        if response.status in accept:
            return
        if 300 <= response.status < 400:
            raise FormatError(
                question.thing,
                f"{self.base} redirects to {response.headers.get('Location', '')[:200]!r}, and redirects are not followed",
                next="give the depot's own URL with --url",
                status=response.status,
            )
        if response.status < 400:
            raise FormatError(
                question.thing, f"the depot answered {response.status}, which says nothing here", next="is this URL a depot's?"
            )
        said = ""
        if response.content_type == routes.PROBLEM_JSON:
            said = _said(await _bounded(response, DEPOT_ANSWER_MAX, question.thing), question.thing)
        raise routes.error_of(response.status, question.thing, said)

    async def _tried(self, once: Callable[[], Awaitable[Answer]], *, repeatable: bool) -> Answer:
        failed = 0
        while True:
            try:
                return await once()
            except UnavailableError as error:
                failed += 1
                if not repeatable and not error.data.get("nobody_there"):
                    raise
                await self.wait(error, failed)

    async def wait(self, error: UnavailableError, failed: int) -> None:
        """Sleep until the next try after the `failed`th failure in a row, or raise the error when there is none left."""
        wait_s = self.pace.backoff.wait_s(failed, self._chance, nobody_there=bool(error.data.get("nobody_there")))
        if wait_s is None:
            raise error
        self._retrying(error, wait_s)
        await self._sleep(wait_s)

    @contextmanager
    def _border(self, thing: str) -> Iterator[None]:
        """aiohttp's exceptions become ours."""
        try:
            yield
        except TimeoutError as error:
            raise UnavailableError(thing, f"no answer in time from {self.base}", next="try again later, or check the network") from error
        except aiohttp.ClientError as error:
            self._translate(error, thing)

    def _translate(self, error: aiohttp.ClientError, thing: str) -> NoReturn:
        match error:
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ServerFingerprintMismatch():
                raise TrustError(
                    f"depot at {self.base}",
                    "its TLS certificate is not trusted",
                    next="name your CA's certificate in SSL_CERT_FILE; do not go on without",
                ) from error
            case aiohttp.ClientConnectorSSLError():
                raise FormatError(
                    f"depot at {self.base}", "does not speak TLS as we know it", next="check the URL: http or https, and the port"
                ) from error
            case aiohttp.ClientProxyConnectionError():
                raise UnavailableError(
                    "proxy of STEAD_PROXY", "nobody listens there", next="check STEAD_PROXY, or unset it", nobody_there=True
                ) from error
            case aiohttp.ClientConnectorDNSError():
                raise UnavailableError(
                    f"depot at {self.base}",
                    "the host's name is not known",
                    next="check --url or STEAD_DEPOT_URL, and DNS",
                    nobody_there=True,
                ) from error
            case aiohttp.ClientConnectorError():
                cause = "nobody listens there" if error.errno == errno.ECONNREFUSED else f"cannot connect: {error.strerror}"
                raise UnavailableError(
                    f"depot at {self.base}",
                    cause,
                    next="check --url or STEAD_DEPOT_URL; to start a depot: stead depot serve",
                    nobody_there=True,
                ) from error
            case aiohttp.InvalidURL():
                raise UsageError(f"depot URL {self.base!r}", "is not a URL", next="for example http://127.0.0.1:9636") from error
            case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
                raise UnavailableError(thing, f"{self.base} closed the connection", next="try again later") from error
            case aiohttp.ClientResponseError():
                raise FormatError(
                    thing,
                    f"{self.base} does not speak HTTP as we know it: {error.message.partition(chr(10))[0][:200]!r}",
                    next="is this URL a depot's?",
                ) from error
            case _:
                raise UnavailableError(thing, f"talking to {self.base} failed: {type(error).__name__}", next="try again later") from error


def _demand_url(url: str, what: str) -> None:
    """Find a URL that nothing can be asked at before anything is asked. It is not shown whole: a proxy's may have a password."""
    try:
        parsed = yarl.URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(what, "is not an http or https URL with a host and a valid port", next="for example http://127.0.0.1:9636")


def _check_name(response: aiohttp.ClientResponse, wanted: downloads.Wanted) -> None:
    """The name that the depot gives is never used as a path; another one than ours means that it sends another file."""
    given = response.headers.get(routes.X_FILENAME)
    if given is not None and given != wanted.name:
        raise TrustError(
            wanted.thing, f"the depot sends another file: {given[:300]!r}", next="do not install it; tell the depot's operator"
        )


def _range_start(response: aiohttp.ClientResponse, thing: str) -> int:
    """The first byte of a partial answer, from `Content-Range: bytes 100-199/200`."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not (first.isascii() and first.isdigit() and len(first) < 20):
        raise FormatError(thing, "the depot sent a part without saying which", next="look for a proxy in between")
    return int(first)


async def _bounded(response: aiohttp.ClientResponse, cap: int, thing: str) -> bytes:
    """A whole small body; LimitError past `cap` bytes."""
    blocks: list[bytes] = []
    size = 0
    async for block in response.content.iter_any():
        size += len(block)
        if size > cap:
            raise LimitError(thing, f"the depot's answer is larger than {cap} bytes", next="is this URL a depot's?")
        blocks.append(block)
    return b"".join(blocks)


def _said(body: bytes, thing: str) -> str:
    """What a problem document says, cut to a readable length; empty when it says nothing. A next command is not taken from a depot."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    text = routes.problem_text(problem).removeprefix(f"{thing}: ") if isinstance(problem, dict) else ""
    return "".join(char if char.isprintable() else " " for char in text)[:500].strip()
