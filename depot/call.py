"""One request to the depot: its parts as checked values, and the token that it came with.

Rules: a query of the wrong type is 400, a target that does not exist 422, a name that cannot exist 404. The target is the query's, else the
one that the User-Agent names, else x86_64-linux. Source: reference: depot API 0. Not here: answers (depot/answers.py).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from depot import access, routes
from depot.access import Need, StoredToken
from depot.catalog import Reader, Writer
from depot.publish import Publisher
from depot.store import Store
from hart import limits
from hart.errors import FormatError, LimitError, NotFoundError, UnavailableError, UsageError
from hart.ident import Ident
from hart.target import Target

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a depot is served. `prefix` begins with a slash; `targets` are those that it accepts and hands out."""

    prefix: str = routes.DEFAULT_PREFIX
    max_upload: int = limits.UPLOAD_MAX
    targets: frozenset[Target] = frozenset(Target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depot:
    """What every request works on."""

    store: Store
    publisher: Publisher
    settings: Settings


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `token` is None for anonymous ones (a wrong token never gets here)."""

    request: web.Request
    depot: Depot
    token: StoredToken | None

    def part(self, name: str) -> str:
        """A variable part of the path, decoded; not validated."""
        return self.request.match_info[name]

    def ident(self) -> Ident:
        """The ident in the path, as exact as the route is; NotFoundError when no package can have it."""
        info = self.request.match_info
        try:
            return Ident(info["origin"], info["name"], info.get("version"), info.get("release"))
        except FormatError as error:
            raise NotFoundError(error.thing, error.cause) from error

    def asked_target(self) -> Target | None:
        """The query's target; FormatError (422) when there is no such target."""
        text = self.request.query.get("target")
        if text is None:
            return None
        try:
            return Target.parse(text)
        except FormatError as error:
            raise FormatError(error.thing, error.cause, next=error.next, text=f"{text[:64]!a} is not a target") from error

    def target(self) -> Target:
        """The target that is meant."""
        agent = routes.target_of_user_agent(self.request.headers.get("User-Agent", ""))
        return self.asked_target() or (Target(agent) if agent in set(Target) else Target(routes.DEFAULT_TARGET))

    def start(self) -> int:
        """The query's `range`; UsageError (400) when it is no number."""
        text = self.request.query.get("range", "0")
        if not re.fullmatch(r"-?[0-9]{1,15}", text, re.ASCII):
            raise UsageError("query `range`", "is not a number")
        return int(text)

    def flag(self, name: str) -> bool:
        """A boolean query; UsageError (400) when it is none."""
        text = self.request.query.get(name, "false").lower()
        if text not in ("true", "false", "1", "0", ""):
            raise UsageError(f"query `{name}`", "is neither true nor false")
        return text in ("true", "1", "")

    async def read(self, query: Callable[[Reader], T]) -> T:
        return await self.depot.store.read(query)

    async def write(self, change: Callable[[Writer], T], by: StoredToken) -> T:
        return await self.depot.store.write(change, by=by.account)

    async def check(self, need: Need, *, hide: bool = False) -> StoredToken:
        """The token if it may do what is needed, else DeniedError (see `depot.access.check`)."""
        token, origin = self.token, need.origin
        role = None
        if token is not None and origin is not None:
            account_id = token.account_id
            role = await self.read(lambda reader: reader.role(account_id, origin))
        return access.check(token, need, role, hide=hide)

    async def text(self, limit: int) -> bytes:
        """A small body; LimitError past `limit` bytes."""
        body = bytearray()
        async for block in self.body():
            body += block
            if len(body) > limit:
                raise LimitError("this request", f"is larger than {limit} bytes")
        return bytes(body)

    async def json(self) -> dict[str, Any]:
        """A small body that is one JSON object; UsageError (400) otherwise."""
        try:
            value = json.loads(await self.text(limits.REQUEST_TEXT_MAX))
        except (ValueError, RecursionError):
            raise UsageError("this request", "is not JSON") from None
        if not isinstance(value, dict):
            raise UsageError("this request", "is not a JSON object")
        return value

    async def body(self) -> AsyncIterator[bytes]:
        """The body in blocks of some 512 KiB. UsageError (400) when it is cut short, UnavailableError (408) when too little comes."""
        await _continue(self.request)
        clock = asyncio.get_running_loop().time
        started, received = clock(), 0
        batch = bytearray()
        try:
            while True:
                async with asyncio.timeout(limits.UPLOAD_SILENCE_S):
                    block = await self.request.content.readany()
                received += len(block)
                if block:
                    check_pace(received, clock() - started)
                batch += block
                if len(batch) >= limits.UPLOAD_BATCH or not block:
                    if batch:
                        yield bytes(batch)
                    batch.clear()
                if not block and self.request.content.at_eof():
                    return
        except TimeoutError:
            cause = f"has sent nothing for {limits.UPLOAD_SILENCE_S:.0f} seconds"
            raise UnavailableError("this request", cause, status=408) from None
        except (web.RequestPayloadError, HttpProcessingError, OSError) as error:
            raise UsageError("this request", "ends before its body does") from error


def check_pace(received: int, elapsed_s: float) -> None:
    """UnavailableError (408) once a body is slower than the lowest rate on average, after its grace."""
    if received < limits.UPLOAD_SLOWEST * (elapsed_s - limits.UPLOAD_GRACE_S):
        raise UnavailableError("this request", f"is slower than {limits.UPLOAD_SLOWEST} bytes a second", status=408)


async def _continue(request: web.Request) -> None:
    """Ask for the body only now, so that a refused upload costs nothing (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
