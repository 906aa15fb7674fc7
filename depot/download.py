"""Fetch one artifact into a directory: resumed, bounded, checked.

Rules: only bytes whose BLAKE2b-256 is the one that the package's record names get the artifact's name; never more than the declared
length (or DOWNLOAD_MAX) is written; a body that trickles is cut; what a cut left is resumed, and thrown away when it turns out wrong. The
file name is ours, never the depot's. That the bytes are the origin's is checked later, by signature (`hart/artifact.py`): the record is
the depot's own claim. Threats S09, S17. The HTTP side is a port (`Opens`), filled by `depot/client.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from depot.part import Part
from depot.retry import too_slow
from hart.console import Progress
from hart.errors import LimitError, StorageError, TrustError, UnavailableError
from hart.files import make_dirs
from hart.limits import CHUNK, DOWNLOAD_LOCK_S, DOWNLOAD_MAX, DOWNLOAD_RATE_MIN, DOWNLOAD_WINDOW_S

T = TypeVar("T")
LOCK_POLL_S = 0.1  # how often a part that somebody else holds is looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the record says about the file. `thing` names it in messages; `size` None where the depot does not say."""

    thing: str
    name: str
    checksum: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """An open answer: bytes from `offset` on, `length` of them where declared."""

    offset: int
    length: int | None
    blocks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How much and how slow: bytes, bytes a second over seconds, seconds of waiting for the lock."""

    size: int = DOWNLOAD_MAX
    rate_min: float = DOWNLOAD_RATE_MIN
    window_s: float = DOWNLOAD_WINDOW_S
    lock_s: float = DOWNLOAD_LOCK_S


Opens = Callable[[int], AbstractAsyncContextManager[Body]]  # open the body from this offset on; a depot may start at 0 instead
Waits = Callable[[UnavailableError, bool], Awaitable[None]]  # wait before the next try (True: there was progress), or raise the error


async def download(wanted: Wanted, into: Path, opens: Opens, wait: Waits, progress: Progress, *, caps: Caps) -> Path:
    """The file's path, once it is whole and durable there; at once when it is there already with the right checksum."""
    make_dirs(into)
    part = await _lock(wanted, into, caps)
    try:
        if await _to_the_end(lambda: _is_there(part.target, wanted.checksum)):
            part.discard()
            return part.target
        await _to_the_end(part.resume)
        while not await _complete(part, wanted, opens, progress, caps, wait):
            pass
        return await _to_the_end(part.finish)
    except BaseException as error:
        if part.size == 0 or isinstance(error, StorageError | TrustError | LimitError):
            part.discard()  # wrong bytes are of no use later, and a full disk must not stay full of half files
        raise
    finally:
        part.close()


async def _to_the_end(call: Callable[[], T]) -> T:
    """Run in a thread; when we are cancelled, only after it has ended: it uses the part's descriptor, which we are about to close."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def _lock(wanted: Wanted, into: Path, caps: Caps) -> Part:
    """Own the part, after whoever downloads the same file now."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + caps.lock_s
    while (part := Part.acquire(into, wanted.name)) is None:
        if clock() > deadline:
            raise UnavailableError(
                wanted.thing, "another process has been downloading it for too long", next=f"see who has {into / wanted.name} open: fuser"
            )
        await asyncio.sleep(LOCK_POLL_S)
    return part


def _is_there(path: Path, checksum: str) -> bool:
    from hart.artifact import checksum as checksum_of

    return path.is_file() and checksum_of(path) == checksum


async def _complete(part: Part, wanted: Wanted, opens: Opens, progress: Progress, caps: Caps, wait: Waits) -> bool:
    """One try. True: the part is whole. False: try again, after the wait. Raises what no further try can mend."""
    before = part.size
    if wanted.size is not None and before > wanted.size:
        part.restart()
        before = 0
    if before and part.checksum == wanted.checksum:  # an earlier run was ended between the last byte and the name
        return True
    try:
        resumed = await _receive(part, wanted, opens, progress, caps)
    except UnavailableError as error:
        if error.data.get("restart"):
            part.restart()
        await wait(error, part.size - before >= CHUNK)
        return False
    if part.checksum == wanted.checksum:
        return True
    if resumed:  # the old bytes may be to blame: once more from the start, where only the depot can be
        part.restart()
        return False
    raise TrustError(
        wanted.thing,
        "the depot sent other bytes than its record names (checksum)",
        next="do not install it; tell the depot's operator (`stead depot verify`)",
        expected=wanted.checksum,
        got=part.checksum,
    )


async def _receive(part: Part, wanted: Wanted, opens: Opens, progress: Progress, caps: Caps) -> bool:
    """Append what is missing; returns whether bytes of an earlier try were kept."""
    clock = asyncio.get_running_loop().time
    async with opens(part.size) as body:
        if body.offset != part.size:
            part.restart()
        if body.offset not in (0, part.size):
            raise UnavailableError(wanted.thing, "the depot sent another range than asked for")
        kept = part.size > 0
        total = _total(wanted, body, caps)
        cap = caps.size if total is None else total
        progress(part.size, total)
        started, received = clock(), 0
        async for block in body.blocks:
            if part.size + len(block) > cap:
                raise LimitError(wanted.thing, f"the depot sends more than the {cap} bytes that are allowed", next="do not install it")
            part.write(block)
            received += len(block)
            progress(part.size, total)
            if too_slow(received, clock() - started, rate_min=caps.rate_min, window_s=caps.window_s):
                raise UnavailableError(wanted.thing, f"the download is slower than {caps.rate_min:g} bytes a second")
        if total is not None and part.size < total:
            raise UnavailableError(wanted.thing, f"the download was cut at {part.size} of {total} bytes")
    return kept


def _total(wanted: Wanted, body: Body, caps: Caps) -> int | None:
    """The declared length of the whole file; raises when it cannot be right."""
    total = wanted.size if body.length is None else body.offset + body.length
    if total is None:
        return None
    if wanted.size is not None and total != wanted.size:
        raise TrustError(wanted.thing, f"the depot's record says {wanted.size} bytes, its answer {total}", next="do not install it")
    if total > caps.size:
        raise LimitError(wanted.thing, f"is {total} bytes, more than the {caps.size} that a package may have")
    return total
