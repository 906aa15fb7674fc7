"""A depot in this process, with a real socket, a real catalog and real blobs; and what tests do with it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from depot import routes, tokens
from depot.call import Depot, Settings
from depot.publish import Caps, Publisher
from depot.routes import Route
from depot.server import serving
from depot.store import Store, open_store
from hart.ident import Ident
from hart.target import Target
from tests.depot.conformance.artifacts import KEY, Artifact


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    data: bytes

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.data)


@dataclass(frozen=True, slots=True)
class House:
    """A depot that is served, and a client that knows its tokens."""

    store: Store
    url: str
    prefix: str
    session: aiohttp.ClientSession

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    async def ask(
        self,
        route: Route | str,
        *,
        token: str | None = None,
        data: Any = None,
        json: Any = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
        query: dict[str, str] | None = None,
        **parts: str,
    ) -> Answer:
        """One request; a route or a path below the prefix."""
        path = route if isinstance(route, str) else route.path(**parts)
        chosen = method or (route.method if isinstance(route, Route) else "GET")
        own = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.request(
            chosen, self.url + self.prefix + path, data=data, json=json, params=query, headers=own | (headers or {})
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> int:
        """The status of a path as it is, without the prefix."""
        async with self.session.get(self.url + path) as response:
            return response.status

    async def token(self, account: str = "alice", *scopes: str) -> str:
        made = await tokens.create(self.store, account, list(scopes), 3600)
        return str(made["token"])

    async def acme(self, account: str = "alice") -> str:
        """An owner's token of the origin acme, whose key is uploaded."""
        token = await self.token(account)
        assert (await self.ask(routes.ORIGIN_CREATE, token=token, json={"name": "acme"})).status == 201
        text = KEY.public.text()
        made = await self.ask(routes.KEY_UPLOAD, token=token, data=text, origin="acme", revision=KEY.key.revision)
        assert made.status == 201
        return token

    async def upload(self, made: Artifact, token: str | None, *, at: Ident | None = None, data: Any = None, **query: str) -> Answer:
        """Publish an artifact. `at` is the ident in the URL, `query` changes the query."""
        asked = {"checksum": made.checksum, "target": str(made.target), **query}
        wanted = {name: value for name, value in asked.items() if value}
        body = io.BytesIO(made.data) if data is None else data
        return await self.ask(routes.UPLOAD, token=token, data=body, query=wanted, **parts(at or made.ident))

    async def promote(self, made: Artifact, channel: str, token: str) -> Answer:
        query = {"target": str(made.target)}
        return await self.ask(routes.PROMOTE, token=token, query=query, channel=channel, **parts(made.ident))

    async def idle(self) -> None:
        """Wait until no upload is under way: a client that went away leaves one behind for a moment."""
        async with asyncio.timeout(20):
            while list((self.store.directory / "tmp").iterdir()):  # noqa: ASYNC110  the file system tells nobody
                await asyncio.sleep(0.01)

    def blobs(self) -> list[str]:
        return sorted(path.name for path in (self.store.directory / "blobs").glob("*/*"))


def parts(ident: Ident) -> dict[str, str]:
    """The variable parts of a route for an ident, as far as it goes."""
    named = {"origin": ident.origin, "name": ident.name, "version": ident.version, "release": ident.release}
    return {name: value for name, value in named.items() if value is not None}


@asynccontextmanager
async def house(
    directory: Path, *, max_upload: int = 1 << 30, targets: frozenset[Target] = frozenset(Target), prefix: str = routes.DEFAULT_PREFIX
) -> AsyncIterator[House]:
    """A depot in a directory, served on a free port while the block lasts."""
    store = await asyncio.to_thread(open_store, directory)
    try:
        settings = Settings(prefix=prefix, max_upload=max_upload, targets=targets)
        publisher = Publisher(store, Caps(max_bytes=max_upload, targets=targets))
        depot = Depot(store=store, publisher=publisher, settings=settings)
        async with serving(depot, host="127.0.0.1", port=0) as port, aiohttp.ClientSession(auto_decompress=False) as session:
            yield House(store, f"http://127.0.0.1:{port}", prefix, session)
    finally:
        await store.close()
