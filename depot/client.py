"""A depot, seen from a client: one method for each thing it can be asked (asyncio).

Rules: an answer about something else than was asked for is refused; a record is a claim until the artifact's signature was checked.
Deadlines, sizes and further tries are in `depot/transport.py`, resuming in `depot/download.py`. Source: what Habitat's client does
(reference: depot API 2). Not here: what to install (`depot/fetch.py`), in which order to publish (`depot/upload.py`).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from depot import download as downloads
from depot import records, routes
from depot.channels import NAME as CHANNEL
from depot.channels import UNSTABLE
from depot.records import RemoteChannel, RemoteOrigin, RemotePackage
from depot.transport import Answer, Pace, Question, Retrying, Sleep, Transport
from hart.console import Progress
from hart.errors import ConflictError, FormatError, LimitError, NotFoundError, TrustError, UnavailableError, UsageError
from hart.ident import ORIGIN, Ident
from hart.limits import CHANNELS_ASKED_MAX, DEPOT_ANSWER_MAX, DEPOT_KEY_MAX, DEPOT_PAGES_MAX, SEARCH_TEXT_MAX

if TYPE_CHECKING:
    from hart.keys import KeyName


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """`new` False: the depot had the very same bytes already."""

    ident: Ident
    target: str
    checksum: str
    new: bool


def quiet(_done: int, _total: int | None, /) -> None:
    """Progress that nobody watches."""


def default_user_agent() -> str:
    """`stead/<version> (<target>; linux)`: the depot reads the target from it."""
    from importlib.metadata import PackageNotFoundError, version

    from hart.target import host_target

    try:
        ours = version("stead")
    except PackageNotFoundError:  # run from a checkout that was never installed
        ours = "0"
    return routes.user_agent(ours, str(host_target()), "linux")


class Depot:
    """One depot at one URL. `async with` it: the connections live as long as the block."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user_agent: str | None = None,
        proxy: str | None = None,
        pace: Pace | None = None,
        chance: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
        retrying: Retrying = lambda _error, _wait_s: None,
    ) -> None:
        self.url = routes.base_url(url)
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise UsageError("the depot's token", "has white space or characters that no token has", next="check STEAD_TOKEN")
        self.has_token = bool(token)
        headers = {"User-Agent": user_agent or default_user_agent()} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._transport = Transport(
            self.url,
            headers,
            proxy=proxy,
            pace=pace or Pace(),
            chance=chance or random.SystemRandom(),
            sleep=sleep,
            retrying=retrying,
        )

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._transport.close()

    # --- packages

    async def latest(self, ident: Ident, *, channel: str, target: str) -> RemotePackage | None:
        """The newest release in a channel that `ident` names, or None. TrustError: the answer is about something else."""
        parts = {"origin": ident.origin, "channel": _channel(channel), "name": ident.name}
        if ident.release is not None:
            route = routes.CHANNEL_PACKAGE
            parts |= {"version": str(ident.version), "release": ident.release}
        elif ident.version is not None:
            route = routes.CHANNEL_LATEST_OF_VERSION
            parts |= {"version": ident.version}
        else:
            route = routes.CHANNEL_LATEST
        thing = f"{ident} in channel {channel}"
        answer = await self._ask(route, parts, thing, query={"target": target}, accept=(200, 404))
        if answer.status == 404:
            return None
        record = records.package(answer.body, thing)
        if not record.ident.satisfies(ident) or record.target != target:
            raise TrustError(
                thing, f"the depot answered with {record.ident} for {record.target}", next="do not install it; tell the depot's operator"
            )
        return record

    async def package(self, ident: Ident, *, target: str) -> RemotePackage | None:
        """A fully qualified release's record, whatever channels it is in; None when the depot does not have it."""
        assert ident.is_full, ident  # every release is in unstable for ever: it answers for the whole depot, and by target
        return await self.latest(ident, channel=UNSTABLE, target=target)

    async def download(self, ident: Ident, *, target: str, into: Path, progress: Progress = quiet) -> Path:
        """Fetch a release's artifact into a directory; returns its path. Resumes. Raises NotFoundError, TrustError."""
        record = await self.package(ident, target=target)
        if record is None:
            raise NotFoundError(str(ident), f"the depot has no such release for {target}", next=f"stead pkg search {ident.name}")
        return await self.download_record(record, into=into, progress=progress)

    async def download_record(self, record: RemotePackage, *, into: Path, progress: Progress = quiet) -> Path:
        """As `download`, for a release whose record is known already."""
        ident = record.ident
        wanted = downloads.Wanted(
            thing=f"download of {ident}", name=ident.archive_name(record.target), checksum=record.checksum, size=record.size
        )
        question = Question(route=routes.DOWNLOAD, parts=_parts(ident), thing=wanted.thing, query={"target": record.target})
        failed = 0

        async def wait(error: UnavailableError, progressed: bool) -> None:
            nonlocal failed
            failed = 1 if progressed else failed + 1  # a line that cuts now and then still gets there: only tries in vain are counted
            await self._transport.wait(error, failed)

        def opens(offset: int) -> AbstractAsyncContextManager[downloads.Body]:
            return self._transport.open_body(question, wanted, offset)

        return await downloads.download(wanted, into, opens, wait, progress, caps=self._transport.pace.caps)

    async def upload(self, artifact: Path, *, channel: str | None = None, force: bool = False, progress: Progress = quiet) -> Uploaded:
        """Publish one artifact (without its dependencies: `depot/upload.py`), and promote it. ConflictError: the depot has other bytes."""
        from hart.artifact import checksum
        from hart.package import read_artifact

        meta = (await asyncio.to_thread(read_artifact, artifact)).metadata
        digest = await asyncio.to_thread(checksum, artifact)
        return await self.send(artifact, meta.ident, str(meta.target), digest, channel=channel, force=force, progress=progress)

    async def send(
        self,
        artifact: Path,
        ident: Ident,
        target: str,
        digest: str,
        *,
        channel: str | None = None,
        force: bool = False,
        progress: Progress = quiet,
    ) -> Uploaded:
        """As `upload`, for an artifact that was read already; `digest` is the BLAKE2b-256 of the file."""
        query = {"checksum": digest, "target": target} | ({"forced": "true"} if force else {})
        thing = f"upload of {ident}"
        question = Question(route=routes.UPLOAD, parts=_parts(ident), thing=thing, query=query, accept=(200, 201, 409))
        answer = await self._transport.send_file(question, artifact, progress)
        if answer.status == 409:
            await self._same_bytes(ident, target, digest, answer)
        if channel is not None:
            await self.publish_in(ident, channel, target)
        return Uploaded(ident=ident, target=target, checksum=digest, new=answer.status != 409)

    async def _same_bytes(self, ident: Ident, target: str, digest: str, answer: Answer) -> None:
        """After a 409: pass when the depot has what we have."""
        theirs = answer.headers.get(routes.X_CHECKSUM, "").lower()
        if not theirs:
            record = await self.package(ident, target=target)
            theirs = "" if record is None else record.checksum
        if theirs != digest:
            raise ConflictError(
                f"upload of {ident}",
                "the depot has this release with other content, and a release never changes",
                next="build it again: a new build gets a new release",
                depot=theirs,
                ours=digest,
            )

    async def channels(self, ident: Ident, target: str) -> list[RemoteChannel]:
        """The channels that a release is in; empty when the depot does not have it (it does not tell the two apart)."""
        assert ident.is_full, ident
        thing = f"channels of {ident}"
        answer = await self._ask(routes.PACKAGE_CHANNELS, _parts(ident), thing, query={"target": target})
        return records.channels(answer.body, thing)

    async def search(self, text: str, *, limit: int | None = None) -> list[Ident]:
        """Packages whose origin or name has the words of `text`, one ident each; `limit` cuts the list."""
        thing = f"search for {text[:80]!r}"
        found: list[Ident] = []
        if not text.strip().strip("."):
            raise UsageError(thing, "there is nothing to search for", next="stead pkg search redis")
        if len(text) > SEARCH_TEXT_MAX or not text.isprintable():
            raise UsageError(thing, "no package has such a name", next="stead pkg search redis")
        async for rows in self._pages(routes.SEARCH, {"query": text}, {"distinct": "true"}, thing):
            found.extend(records.ident(row, thing) for row in rows)
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    async def channels_with(self, ident: Ident, *, target: str) -> list[tuple[str, RemotePackage]]:
        """Each channel of the origin that has a release that `ident` names, with the newest: what to say when one channel has none."""
        thing = f"channels of origin {ident.origin}"
        answer = await self._ask(routes.CHANNEL_LIST, {"origin": ident.origin}, thing, accept=(200, 404))
        if answer.status == 404:  # a depot answers an empty list for an origin that it does not know
            raise self._no_depot(thing)
        names = [channel.name for channel in records.channels(answer.body, thing)]
        usable = [name for name in names if CHANNEL.fullmatch(name)][:CHANNELS_ASKED_MAX]
        heads = await asyncio.gather(*(self.latest(ident, channel=name, target=target) for name in usable))
        return [(name, head) for name, head in zip(usable, heads, strict=True) if head is not None]

    # --- channels

    async def create_channel(self, origin: str, channel: str) -> bool:
        """False when it was there already."""
        parts = {"origin": origin, "channel": _channel(channel)}
        answer = await self._ask(routes.CHANNEL_CREATE, parts, f"channel {channel} of {origin}", accept=(200, 201, 409))
        return answer.status != 409

    async def publish_in(self, ident: Ident, channel: str, target: str) -> None:
        """Promote, making the channel when it is missing. Every release is in unstable already."""
        if channel != UNSTABLE:
            await self.create_channel(ident.origin, channel)
            await self.promote(ident, channel, target)

    async def promote(self, ident: Ident, channel: str, target: str) -> None:
        """Put a release into a channel; being there already is fine. Raises NotFoundError for a missing channel or release."""
        parts = _parts(ident) | {"channel": _channel(channel)}
        await self._ask(routes.PROMOTE, parts, f"promotion of {ident} to {channel}", query={"target": target})

    async def demote(self, ident: Ident, channel: str, target: str) -> None:
        """Take a release out of a channel. Raises DeniedError for unstable, FormatError when it is not in the channel."""
        parts = _parts(ident) | {"channel": _channel(channel)}
        await self._ask(routes.DEMOTE, parts, f"demotion of {ident} from {channel}", query={"target": target})

    # --- origins and keys

    async def create_origin(self, name: str) -> None:
        """Raises ConflictError when it exists. Not sent twice after a doubtful end, since then we could not tell who made it."""
        body = json.dumps({"name": _origin(name)}).encode()
        await self._ask(routes.ORIGIN_CREATE, {}, f"origin {name}", accept=(200, 201), body=body, repeatable=False)

    async def origin(self, name: str) -> RemoteOrigin:
        """Raises NotFoundError."""
        answer = await self._ask(routes.ORIGIN_SHOW, {"origin": _origin(name)}, f"origin {name}")
        found = records.origin(answer.body, f"origin {name}")
        if found.name != name:
            raise TrustError(f"origin {name}", f"the depot answered with {found.name!r}", next="tell the depot's operator")
        return found

    async def public_keys(self, origin: str) -> list[KeyName]:
        """The names of an origin's public signing keys, newest first."""
        from hart.keys import KeyName

        thing = f"keys of origin {origin}"
        answer = await self._ask(routes.KEY_LIST, {"origin": _origin(origin)}, thing)
        return [KeyName(origin, revision) for revision in records.revisions(answer.body, thing)]

    async def public_key(self, key: KeyName) -> str:
        """A public key's text as the depot has it: nothing about it is checked here. Raises NotFoundError."""
        thing = f"public key {key}"
        parts = {"origin": _origin(key.name), "revision": key.revision}
        answer = await self._ask(routes.KEY_DOWNLOAD, parts, thing, cap=DEPOT_KEY_MAX)
        try:
            return answer.body.decode("ascii")
        except UnicodeDecodeError as error:
            raise FormatError(thing, "is not a key's text") from error

    async def upload_public_key(self, text: str) -> bool:
        """Publish a public signing key; False when the depot had it. Raises ConflictError when it has another one under that name."""
        from hart.keys import PublicSigningKey, parse_key

        key = parse_key(text)
        if not isinstance(key, PublicSigningKey):
            raise UsageError("key upload", "this is not a public signing key", next="stead origin key export ORIGIN")
        parts = {"origin": _origin(key.key.name), "revision": key.key.revision}
        thing = f"public key {key.key}"
        answer = await self._ask(routes.KEY_UPLOAD, parts, thing, accept=(200, 201, 409), body=key.text().encode())
        if answer.status != 409:
            return True
        theirs = parse_key(await self.public_key(key.key))
        if not isinstance(theirs, PublicSigningKey) or theirs.raw != key.raw:
            raise ConflictError(
                thing, "the depot has another key under this name", next="stead origin key generate ORIGIN, then upload that"
            )
        return False

    # --- asking

    async def _ask(
        self,
        route: routes.Route,
        parts: Mapping[str, str],
        thing: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
        body: bytes | None = None,
        cap: int = DEPOT_ANSWER_MAX,
        repeatable: bool = True,
    ) -> Answer:
        question = Question(
            route=route, parts=parts, thing=thing, query=query or {}, accept=accept, body=body, cap=cap, repeatable=repeatable
        )
        return await self._transport.ask(question)

    def _no_depot(self, thing: str) -> FormatError:
        """What 404 means where a depot always has an answer."""
        return FormatError(thing, f"there is no depot at {self.url}", next="is this URL a depot's? check --url or STEAD_DEPOT_URL")

    async def _pages(
        self, route: routes.Route, parts: Mapping[str, str], query: Mapping[str, str], thing: str
    ) -> AsyncIterator[tuple[object, ...]]:
        """The rows of each page, while there are more. A depot that does not get on is refused."""
        start = 0
        for _ in range(DEPOT_PAGES_MAX):
            answer = await self._ask(route, parts, thing, query={**query, "range": str(start)}, accept=(200, 206, 404))
            if answer.status == 404:
                raise self._no_depot(thing)
            page = records.page(answer.body, thing)
            yield page.rows
            if page.next_start is None:
                return
            if page.next_start <= start:
                raise FormatError(thing, "the depot's pages go in circles")
            start = page.next_start
        raise LimitError(thing, f"has more than {DEPOT_PAGES_MAX} pages", next="search for something more exact")


def _parts(ident: Ident) -> dict[str, str]:
    assert ident.is_full, ident
    return {"origin": ident.origin, "name": ident.name, "version": str(ident.version), "release": str(ident.release)}


def _channel(name: str) -> str:
    if not CHANNEL.fullmatch(name):
        raise UsageError(f"channel {name!r}", "is not a channel's name", next="letters, digits, `.`, `_` and `-`, for example stable")
    return name


def _origin(name: str) -> str:
    if not ORIGIN.fullmatch(name):
        raise UsageError(f"origin {name!r}", "is not an origin's name", next="lower-case letters, digits, `_` and `-`, for example acme")
    return name
