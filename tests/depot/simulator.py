"""A depot in memory that can misbehave, and packages to put into it: the other end for tests of the depot's client.

It speaks through the same `depot/routes.py` as both real ends and knows nothing else of them. What it does wrong is one flat record:
`Faults`.
"""

import asyncio
import hashlib
import json
import mmap
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from depot import routes
from hart.archive import pack
from hart.artifact import sign_payload
from hart.ident import Ident
from hart.keys import KeyCache, KeyName, SecretSigningKey, generate_signing_pair
from hart.limits import CHUNK
from hart.metafiles import Metadata, render
from hart.target import host_target

TARGET = str(host_target())
RELEASE = "20260101000000"


def ident(text: str) -> Ident:
    """`acme/app/1.0` gets the tests' release."""
    found = Ident.parse(text)
    return found if found.is_full else Ident(found.origin, found.name, found.version or "1.0", RELEASE)


def key_of(origin: str, revision: str = RELEASE, seed: int = 0) -> SecretSigningKey:
    """An origin's signing key, the same in every run."""
    digest = hashlib.blake2b(f"{origin} {revision} {seed}".encode(), digest_size=32).digest()
    return generate_signing_pair(origin, revision, digest)


def make_package(
    directory: Path,
    name: str,
    *,
    needs: tuple[Ident, ...] = (),
    files: dict[str, bytes] | None = None,
    key: SecretSigningKey | None = None,
    file_name: str | None = None,
    **said: Any,
) -> Path:
    """A signed artifact in `directory`. `files` by path inside the package; `said` are further fields of its metadata."""
    who = ident(name)
    tree = directory / "trees" / str(who).replace("/", "-")
    tree.mkdir(parents=True)
    meta = Metadata(ident=who, target=host_target(), deps=needs, tdeps=needs, relocatable=True, manifest=f"# {who}\n", **said)
    contents = render(meta) | ({"bin/run": b"#!/bin/sh\n"} if files is None else files)
    for path, data in contents.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
        if path.startswith(("bin/", "hooks/")):
            (tree / path).chmod(0o755)
    payload = tree.with_suffix(".payload")
    with payload.open("wb") as out:
        pack(tree, who, out, mtime=0, level=0)
    artifact = directory / (file_name or who.archive_name(TARGET))
    sign_payload(payload, artifact, key or key_of(who.origin))
    payload.unlink()
    return artifact


@dataclass
class Faults:
    """What the depot does wrong. Numbers count down where they say `times`."""

    statuses: list[int] = field(default_factory=list)  # answers to give before honest ones
    hang_times: int = 0  # requests that are never answered
    cut_at: int | None = None  # download: abort the connection after so many bytes of the body
    cut_times: int = 0
    flip: bool = False  # download: other bytes, the record's checksum stays
    honest_lie: bool = False  # the record names the checksum of the bytes that are sent, whatever they are
    instead: bytes | None = None  # download: these bytes for every package
    endless: bool = False  # download: a body without length that never ends
    trickle: bool = False  # download: one byte now, one byte later
    instead_of_head: bytes | None = None  # download: after the begin of an answer, these bytes again and again
    file_name: str | None = None
    size: int | None = None  # the record's size
    no_range: bool = False  # as Builder: no Range, no ETag, no length
    wrong_range: bool = False  # a part that starts elsewhere
    encoding: str | None = None
    location: str | None = None  # redirect everything there
    answer_about: str | None = None  # records are about this ident
    body: bytes | None = None  # every JSON answer
    circular_pages: bool = False
    key_text: str | None = None
    lost: set[str] = field(default_factory=set)  # idents whose record is there and whose file is not


@dataclass
class Stored:
    data: bytes | mmap.mmap
    ident: Ident
    needs: tuple[Ident, ...]
    channels: set[str]

    @property
    def checksum(self) -> str:
        return hashlib.blake2b(self.data, digest_size=32).hexdigest()


class Simulator:
    """`async with` it, or `with` it from tests without a loop (then it has a thread)."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.packages: dict[str, Stored] = {}
        self.channels: dict[str, set[str]] = {}
        self.keys: dict[str, str] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.token: str | None = None  # demanded for everything that is not a GET
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ending = asyncio.Event()

    # --- what it holds

    def add(self, artifact: Path, *channels: str) -> Stored:
        """Put an artifact in, without asking anybody."""
        from depot.fetch import open_artifact, read_key_name

        name = read_key_name(artifact)
        meta = open_artifact(artifact, None, key_of(name.name, name.revision).public, None).metadata
        return self.add_bytes(artifact.read_bytes(), meta.ident, meta.tdeps, *channels)

    def add_bytes(self, data: bytes | mmap.mmap, who: Ident, needs: tuple[Ident, ...], *channels: str) -> Stored:
        self.channels.setdefault(who.origin, {"stable", "unstable"}).update(channels)
        stored = Stored(data, who, needs, {"unstable", *(channels or ("stable",))})
        self.packages[str(who)] = stored
        return stored

    def add_file(self, artifact: Path, who: Ident, *channels: str) -> Stored:
        """A large artifact, mapped instead of read."""
        with artifact.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self.add_bytes(data, who, (), *channels)

    def add_key(self, key: SecretSigningKey) -> None:
        self.channels.setdefault(key.key.name, {"stable", "unstable"})
        self.keys[str(key.key)] = key.public.text()

    def asked(self, part: str) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.requests if part in path]

    # --- life

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**40)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending.set()
        assert self._runner is not None
        await self._runner.cleanup()

    def __enter__(self) -> Self:
        ready = threading.Event()

        async def life() -> None:
            self._loop = asyncio.get_running_loop()
            self._ending = asyncio.Event()
            async with self:
                ready.set()
                await self._ending.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(life()))
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    # --- answers

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        self.requests.append((request.method, request.raw_path, dict(request.headers)))
        faults = self.faults
        if faults.hang_times:
            faults.hang_times -= 1
            await self._ending.wait()
        if faults.statuses:
            await request.read()
            return web.Response(status=faults.statuses.pop(0), body=b"")
        if faults.location is not None:
            return web.Response(status=302, headers={"Location": faults.location})
        for route, handler in HANDLERS:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", routes.DEFAULT_PREFIX + route.pattern)
            found = re.fullmatch(pattern, path)
            if found is not None and route.method == request.method:
                if self.token is not None and route.method != "GET" and request.headers.get("Authorization") != f"Bearer {self.token}":
                    return web.Response(status=401, body=b"")
                return await handler(self, request, found.groupdict())
        return web.Response(status=404, body=b"")

    def _json(self, value: Any, status: int = 200) -> web.Response:
        headers = {"Content-Encoding": self.faults.encoding} if self.faults.encoding else {}
        body = json.dumps(value).encode() if self.faults.body is None else self.faults.body
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    def _record(self, stored: Stored) -> dict[str, Any]:
        about = stored.ident if self.faults.answer_about is None else Ident.parse(self.faults.answer_about)
        checksum = stored.checksum
        if self.faults.honest_lie:
            checksum = hashlib.blake2b(self._bytes(stored), digest_size=32).hexdigest()
        return {
            "ident": _ident(about),
            "target": TARGET,
            "checksum": checksum,
            "deps": [_ident(need) for need in stored.needs],
            "tdeps": [_ident(need) for need in stored.needs],
            "channels": sorted(stored.channels),
            "manifest": "",
            "config": "",
            "exposes": [],
        } | ({} if self.faults.size is None else {"size": self.faults.size})

    def _bytes(self, stored: Stored) -> bytes:
        if self.faults.instead is not None:
            return self.faults.instead
        return stored.data[:-1] + bytes([stored.data[-1] ^ 1]) if self.faults.flip else stored.data

    async def latest(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        wanted = Ident(parts["origin"], parts["name"], parts.get("version"), parts.get("release"))
        found = [each for each in self.packages.values() if each.ident.satisfies(wanted) and parts["channel"] in each.channels]
        if not found or request.query.get("target") != TARGET:
            return web.Response(status=404, body=b"")
        return self._json(self._record(max(found, key=lambda each: str(each.ident))))

    async def download(self, request: web.Request, parts: dict[str, str]) -> web.StreamResponse:
        stored = self.packages.get("/".join(parts[name] for name in ("origin", "name", "version", "release")))
        if stored is None or str(stored.ident) in self.faults.lost:
            return web.Response(status=404, body=b"")
        faults, data, start = self.faults, self._bytes(stored), 0
        wanted = request.headers.get("Range", "")
        ranged = bool(wanted) and not faults.no_range and request.headers.get("If-Range") == routes.etag(stored.checksum)
        if ranged:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                return web.Response(status=416, body=b"")
        if faults.instead_of_head is not None:
            return await self._headless(request, faults.instead_of_head)
        response = web.StreamResponse(status=206 if ranged else 200)
        response.headers[routes.X_FILENAME] = faults.file_name or stored.ident.archive_name(TARGET)
        if ranged:
            first = start + 1 if faults.wrong_range else start
            response.headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        if not faults.no_range and not faults.endless:
            response.content_length = len(data) - start
        if faults.encoding:
            response.headers["Content-Encoding"] = faults.encoding
        await response.prepare(request)
        return await self._body(request, response, data[start:])

    async def _headless(self, request: web.Request, again: bytes) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        transport.write(b"" if again.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\nX: ")
        while not self._ending.is_set() and not transport.is_closing():
            transport.write(again)
            await asyncio.sleep(0.01)
        transport.close()
        return web.Response()

    async def _body(self, request: web.Request, response: web.StreamResponse, data: bytes) -> web.StreamResponse:
        faults = self.faults
        assert request.transport is not None
        try:
            if faults.endless:
                while not self._ending.is_set():
                    await response.write(bytes(65536))
            elif faults.trickle:
                for at in range(len(data)):
                    await response.write(data[at : at + 1])
                    await asyncio.sleep(0.01)
            elif faults.cut_at is not None and faults.cut_times:
                faults.cut_times -= 1
                await response.write(data[: faults.cut_at])
                request.transport.close()
            else:
                for at in range(0, len(data), CHUNK):
                    await response.write(data[at : at + CHUNK])
                await response.write_eof()
        except ConnectionError:
            pass
        return response

    async def upload(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        who = Ident(**parts)
        data = await request.read()
        stored = self.packages.get(str(who))
        if stored is not None:
            return web.Response(status=409, body=b"", headers={routes.X_CHECKSUM: stored.checksum})
        if hashlib.blake2b(data, digest_size=32).hexdigest() != request.query["checksum"]:
            return web.Response(status=422, body=b"ds:up:3")
        self.add_bytes(data, who, (), "unstable")
        return web.Response(status=201, body=b"")

    async def package_channels(self, _request: web.Request, parts: dict[str, str]) -> web.Response:
        stored = self.packages.get(str(Ident(**parts)))
        names = [] if stored is None else sorted(stored.channels, reverse=True)
        return self._json(
            [{"name": name, "created_at": "2026-01-01T00:00:00.000000", "promoted_at": "2026-01-02T00:00:00.000000"} for name in names]
        )

    async def channel_list(self, _request: web.Request, parts: dict[str, str]) -> web.Response:
        return self._json([{"name": name} for name in sorted(self.channels.get(parts["origin"], set()))])

    async def channel_create(self, _request: web.Request, parts: dict[str, str]) -> web.Response:
        names = self.channels.setdefault(parts["origin"], {"stable", "unstable"})
        if parts["channel"] in names:
            return web.Response(status=409, body=b"")
        names.add(parts["channel"])
        return web.Response(status=201, body=b"")

    async def promote(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        return self._move(parts, add=True)

    async def demote(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        return self._move(parts, add=False)

    def _move(self, parts: dict[str, str], *, add: bool) -> web.Response:
        channel = parts.pop("channel")
        stored = self.packages.get(str(Ident(**parts)))
        if not add and channel == "unstable":
            return web.Response(status=403, body=b"")
        if stored is None or channel not in self.channels.get(parts["origin"], set()):
            return web.Response(status=404, body=b"")
        if not add and channel not in stored.channels:
            return web.Response(status=400, body=b"")
        (stored.channels.add if add else stored.channels.remove)(channel)
        return web.Response(status=200, body=b"")

    async def search(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        families = sorted({str(each.ident.family) for each in self.packages.values() if parts["query"] in str(each.ident.family)})
        start = 0 if self.faults.circular_pages else int(request.query["range"])
        rows = [_ident(Ident.parse(text)) for text in families[start : start + routes.PAGE]]
        body = routes.page(rows, start=start, total=len(families))
        return self._json(body, routes.page_status(body))

    async def origin_create(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        name = (await request.json())["name"]
        if name in self.channels:
            return web.Response(status=409, body=b"")
        self.channels[name] = {"stable", "unstable"}
        return self._json({"name": name, "owner_id": "1", "default_package_visibility": "public"}, 201)

    async def origin_show(self, _request: web.Request, parts: dict[str, str]) -> web.Response:
        if parts["origin"] not in self.channels:
            return web.Response(status=404, body=b"")
        return self._json({"name": parts["origin"], "owner_id": "1", "owner_account": "ada", "default_package_visibility": "public"})

    async def key_list(self, _request: web.Request, parts: dict[str, str]) -> web.Response:
        names = sorted((KeyName.parse(text) for text in self.keys), key=str, reverse=True)
        return self._json([{"origin": key.name, "revision": key.revision, "location": ""} for key in names if key.name == parts["origin"]])

    async def key_upload(self, request: web.Request, parts: dict[str, str]) -> web.Response:
        if parts["origin"] not in self.channels:
            return web.Response(status=404, body=b"")
        name = f"{parts['origin']}-{parts['revision']}"
        if name in self.keys:
            return web.Response(status=409, body=b"")
        self.keys[name] = await request.text()
        return web.Response(status=201, body=b"")

    async def key_download(self, _request: web.Request, parts: dict[str, str]) -> web.Response:
        text = self.keys.get(f"{parts['origin']}-{parts['revision']}")
        if self.faults.key_text is not None:
            text = self.faults.key_text
        return web.Response(status=404, body=b"") if text is None else web.Response(text=text)


def _ident(who: Ident) -> dict[str, str | None]:
    return {"origin": who.origin, "name": who.name, "version": who.version, "release": who.release}


Handler = Callable[[Simulator, web.Request, dict[str, str]], Awaitable[web.StreamResponse]]
HANDLERS: tuple[tuple[routes.Route, Handler], ...] = (
    (routes.ORIGIN_CREATE, Simulator.origin_create),
    (routes.ORIGIN_SHOW, Simulator.origin_show),
    (routes.KEY_LIST, Simulator.key_list),
    (routes.KEY_UPLOAD, Simulator.key_upload),
    (routes.KEY_DOWNLOAD, Simulator.key_download),
    (routes.SEARCH, Simulator.search),
    (routes.UPLOAD, Simulator.upload),
    (routes.DOWNLOAD, Simulator.download),
    (routes.PACKAGE_CHANNELS, Simulator.package_channels),
    (routes.CHANNEL_LIST, Simulator.channel_list),
    (routes.CHANNEL_CREATE, Simulator.channel_create),
    (routes.CHANNEL_LATEST, Simulator.latest),
    (routes.CHANNEL_LATEST_OF_VERSION, Simulator.latest),
    (routes.CHANNEL_PACKAGE, Simulator.latest),
    (routes.PROMOTE, Simulator.promote),
    (routes.DEMOTE, Simulator.demote),
)


def trusting(directory: Path, *origins: str) -> KeyCache:
    """A key cache with the public keys of these origins."""
    cache = KeyCache(directory)
    for origin in origins:
        cache.store(key_of(origin).public)
    return cache
