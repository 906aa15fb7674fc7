"""The bytes of an artifact: Range, ETag, Content-Length, and no damaged file that ends as if it were whole.

Rules: a blob is found by the checksum in its package row, never by a name from the request. The first whole read of a blob is hashed on the
way, and its last block held back until the hash is right; otherwise the connection is cut. After that, for an hour and as long as the file
is the same one, its bytes go by sendfile. Parts (Range) are not hashed: whoever puts them together checks the whole.
A reader that is slower than the lowest rate is cut off.
Source: threats S32, RFC 9110 13 and 14. Not here: which package (depot/catalog.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO

from aiohttp import web

from depot import routes
from depot.call import Call
from depot.catalog import Package
from depot.log import log
from hart import limits
from hart.errors import FormatError, NotFoundError

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def parse_range(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for: None means all of them; an empty range cannot be satisfied (416).

    What is malformed, in other units or in several parts is ignored, as RFC 9110 allows.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return range(max(size - int(found[2]), 0), size)
    start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size
    if found[2] and stop <= start:
        return None
    return range(start, min(stop, size)) if start < size else range(0)


class Proven:
    """Which files were hashed lately and found whole. Bounded; forgets after an hour, or when the file is another one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._files: OrderedDict[str, tuple[tuple[int, int, int], float]] = OrderedDict()

    def holds(self, checksum: str, status: os.stat_result) -> bool:
        identity, since = self._files.get(checksum, ((0, 0, 0), 0.0))
        return identity == _identity(status) and self._clock() - since < limits.PROVEN_S

    def add(self, checksum: str, status: os.stat_result) -> None:
        self._files[checksum] = (_identity(status), self._clock())
        self._files.move_to_end(checksum)
        if len(self._files) > limits.PROVEN:
            self._files.popitem(last=False)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


PROVEN = web.AppKey("proven", Proven)


async def download(call: Call) -> web.StreamResponse:
    ident, target = call.ident(), call.target()
    if target not in call.depot.settings.targets:
        raise FormatError(f"target {target}", "is not served by this depot")
    found = await call.read(lambda reader: reader.package(ident, target))
    if found is None:
        raise NotFoundError(call.request.path, "is not published here")
    if _unchanged(call.request, found):
        return web.Response(status=304, headers=_headers(found))
    blob = await asyncio.to_thread(call.depot.store.blobs.open, found.new.checksum)
    try:
        return await _send(call, found, blob)
    finally:
        blob.close()


def _unchanged(request: web.Request, found: Package) -> bool:
    wanted = request.headers.get("If-None-Match")
    tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")} if wanted else set()
    return bool(tags & {routes.etag(found.new.checksum), "*"})


def _headers(found: Package) -> dict[str, str]:
    name = found.ident.archive_name(found.new.target)
    quoted = re.sub(r'["\\]', "_", name)
    return {
        "Content-Disposition": f'attachment; filename="{quoted}"',
        routes.X_FILENAME: name,
        routes.X_CHECKSUM: found.new.checksum,
        "ETag": routes.etag(found.new.checksum),
        "Cache-Control": routes.CACHE_YEAR,
        "Accept-Ranges": "bytes",
    }


async def _send(call: Call, found: Package, blob: BinaryIO) -> web.StreamResponse:
    request, size = call.request, found.new.size
    status = os.fstat(blob.fileno())
    if status.st_size != size:
        log("blob.damaged", checksum=found.new.checksum, size=status.st_size, expected=size)
        raise NotFoundError(f"blob {found.new.checksum}", "is damaged", status=500)
    whole = range(size)
    wanted = parse_range(request.headers.get("Range"), size)
    if wanted is not None and request.headers.get("If-Range", routes.etag(found.new.checksum)) != routes.etag(found.new.checksum):
        wanted = None
    if wanted is not None and not wanted:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    part = whole if wanted is None else wanted
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=_headers(found))
    response.content_type = routes.OCTET_STREAM
    response.content_length = len(part)
    if wanted is not None:
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    proven = request.app[PROVEN]
    async with asyncio.timeout(limits.DOWNLOAD_GRACE_S + len(part) / limits.DOWNLOAD_SLOWEST):
        if part != whole or proven.holds(found.new.checksum, status):
            await _copy(request, blob, part)
        elif await _copy_hashing(response, blob, found.new.checksum):
            proven.add(found.new.checksum, status)
        else:
            log("blob.damaged", checksum=found.new.checksum, package=str(found.ident))
            if request.transport is not None:
                request.transport.abort()  # a body that stops short is an error to every client; one that ends well is not
            return response
        await response.write_eof()
    return response


async def _copy(request: web.Request, blob: BinaryIO, part: range) -> None:
    if request.transport is None:
        raise ConnectionResetError("the client has gone")
    await asyncio.get_running_loop().sendfile(request.transport, blob, part.start, len(part))


async def _copy_hashing(response: web.StreamResponse, blob: BinaryIO, checksum: str) -> bool:
    """Send all but the last block while hashing, then the last one if the hash is right; whether it was."""
    digest = hashlib.blake2b(digest_size=32)

    def next_block() -> bytes:
        block = blob.read(limits.CHUNK)
        digest.update(block)
        return block

    held = await asyncio.to_thread(next_block)
    while block := await asyncio.to_thread(next_block):
        await response.write(held)
        held = block
    if digest.hexdigest() != checksum:
        return False
    await response.write(held)
    return True
