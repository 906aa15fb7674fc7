"""Requests about packages: lists, search, one package, publishing.

Source: reference: depot API 1.4. Two answers are stricter than Builder's: an explicit `target=` of a single package is obeyed (Builder
ignores it there and may describe another target's package), and everything about an upload is checked before anything is kept.
Not here: the bytes of a download (depot/serve_download.py), the order of publishing (depot/publish.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from aiohttp import web

from depot import answers, routes
from depot.access import Need, Verb
from depot.answers import answer
from depot.call import Call
from depot.catalog import Package, Reader, Wanted
from depot.publish import Offer
from hart import limits
from hart.errors import FormatError, NotFoundError, UsageError

_CHECKSUM = re.compile(r"[0-9a-f]{64}")


async def list_packages(call: Call) -> web.Response:
    """All releases of an origin, a name or a version. `range` is an exact offset here; a negative one means everything."""
    info, start = call.request.match_info, call.start()
    distinct = call.flag("distinct")
    wanted = Wanted(
        origin=info["origin"], name=info.get("name"), version=info.get("version"), distinct=distinct, newest_text_first=not distinct
    )
    count = routes.PAGE if start >= 0 else limits.LIST_ALL
    return await _page(call, wanted, start=max(start, 0), shown=max(start, 0), count=count)


async def search(call: Call) -> web.Response:
    try:
        unquote_to_bytes(call.request.raw_path.partition("?")[0]).decode()
    except UnicodeDecodeError as error:
        raise FormatError("this search", "is not percent-encoded UTF-8") from error
    terms = tuple(call.part("query").lower().replace("/", " ").split())[: limits.SEARCH_TERMS]
    return await list_pages(call, Wanted(terms=terms or ("",), distinct=call.flag("distinct")))


async def list_pages(call: Call, wanted: Wanted) -> web.Response:
    """The page that `range` falls into; it reports the raw `range` as its start, as Builder does."""
    start = max(call.start(), 0)
    return await _page(call, wanted, start=start // routes.PAGE * routes.PAGE, shown=start, count=routes.PAGE)


async def _page(call: Call, wanted: Wanted, *, start: int, shown: int, count: int) -> web.Response:
    found = await call.read(lambda reader: reader.page(wanted, start=start, count=count))
    return answers.paged(found, start=shown)


async def versions(call: Call) -> web.Response:
    origin, name = call.part("origin"), call.part("name")
    rows = await call.read(lambda reader: reader.versions(origin, name))
    return answer([answers.version(row, origin, name) for row in rows])


async def latest(call: Call) -> web.Response:
    ident, target = call.ident(), call.target()
    return await package_answer(call, lambda reader: reader.latest(ident, target), brief=True, cache=routes.NO_CACHE)


async def package(call: Call) -> web.Response:
    ident, asked, target = call.ident(), call.asked_target(), call.target()

    def find(reader: Reader) -> Package | None:
        found = reader.package(ident, target)
        return found if found is not None or asked is not None else reader.package(ident, None)

    return await package_answer(call, find, brief=True, cache=routes.CACHE_YEAR)


async def package_answer(call: Call, find: Callable[[Reader], Package | None], *, brief: bool, cache: str) -> web.Response:
    """The package that `find` finds, else 404. Also for channels."""
    found = await call.read(find)
    if found is None:
        raise NotFoundError(call.request.path, "is not published here")
    return answer(answers.package(found, brief=brief), headers={"Cache-Control": cache})


async def package_channels(call: Call) -> web.Response:
    ident, target = call.ident(), call.target()

    def places(reader: Reader) -> list[dict[str, str]]:
        found = reader.package(ident, target)
        return [answers.membership(place) for place in reader.memberships(found.id)] if found else []

    return answer(await call.read(places))


async def upload(call: Call) -> web.Response:
    try:
        ident = call.ident()
    except NotFoundError as error:
        raise FormatError(error.thing, error.cause, text="Invalid package identifier") from error
    token = await call.check(Need(Verb.PUBLISH, ident.origin))
    checksum = call.request.query.get("checksum", "").lower()
    if not _CHECKSUM.fullmatch(checksum):
        raise UsageError("query `checksum`", "is not a BLAKE2b-256 of 64 hexadecimal digits")
    offer = Offer(ident=ident, target=call.asked_target(), checksum=checksum, forced=call.flag("forced"))
    announced = call.request.content_length
    made = await call.depot.publisher.publish(offer, call.body(), by=token, announced=announced)
    path = routes.DOWNLOAD.path(**{part: call.part(part) for part in ("origin", "name", "version", "release")})
    headers = {"Location": f"{call.depot.settings.prefix}{path}?target={made.new.target}", routes.X_CHECKSUM: made.new.checksum}
    return web.Response(status=201, text=f"/pkgs/{ident}/download", headers=headers)
