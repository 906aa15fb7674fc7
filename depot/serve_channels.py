"""Requests about channels: lists, the newest in them, promote and demote.

Rules: who lacks a right to a channel gets 401 also when known, as Builder answers; demoting from `unstable` is 403 before anything else.
Source: reference: depot API 1.5. Not here: what channels are (depot/channels.py).
"""

from __future__ import annotations

from aiohttp import web

from depot import answers, channels, routes
from depot.access import Need, Verb
from depot.answers import answer, empty
from depot.call import Call
from depot.catalog import Channel, Package, Reader, Wanted, Writer
from depot.serve_packages import list_pages, package_answer
from hart.errors import NotFoundError, UsageError


async def channel_list(call: Call) -> web.Response:
    origin, sandbox = call.part("origin"), call.flag("sandbox")
    names = await call.read(lambda reader: reader.channels(origin))
    return answer([{"name": name} for name in channels.listed(names, sandbox=sandbox)])


async def channel_create(call: Call) -> web.Response:
    origin, name = call.part("origin"), call.part("channel")
    token = await call.check(Need(Verb.PROMOTE, origin, name), hide=True)
    channels.check_name(name)
    made = await call.write(lambda writer: writer.add_channel(origin, name, token.account_id), token)
    return answer(answers.channel(made), status=201)


async def channel_delete(call: Call) -> web.Response:
    origin, name = call.part("origin"), call.part("channel")
    token = await call.check(Need(Verb.PROMOTE, origin, name), hide=True)
    channels.check_delete(name)
    await call.write(lambda writer: writer.delete_channel(_channel(writer.reader, origin, name)), token)
    return empty()


async def list_packages(call: Call) -> web.Response:
    info = call.request.match_info
    distinct = call.flag("distinct")
    wanted = Wanted(origin=info["origin"], channel=info["channel"], name=info.get("name"), version=info.get("version"), distinct=distinct)
    return await list_pages(call, wanted)


async def heads(call: Call) -> web.Response:
    """The newest of each name: how a mirror or a fleet asks about a whole channel at once."""
    target = call.asked_target()
    if target is None:
        raise UsageError("query `target`", "is missing")
    origin, channel = call.part("origin"), call.part("channel")
    newest = await call.read(lambda reader: reader.heads(origin, channel, target))
    return answer({"channel": channel, "target": str(target), "data": [answers.ident(ident) for ident in newest]})


async def latest(call: Call) -> web.Response:
    ident, target, channel = call.ident(), call.target(), call.part("channel")
    return await package_answer(call, lambda reader: reader.latest(ident, target, channel=channel), brief=False, cache=routes.NO_CACHE)


async def package(call: Call) -> web.Response:
    ident, target, channel = call.ident(), call.target(), call.part("channel")
    return await package_answer(call, lambda reader: reader.package(ident, target, channel=channel), brief=False, cache=routes.NO_CACHE)


async def promote(call: Call) -> web.Response:
    origin, name = call.part("origin"), call.part("channel")
    token = await call.check(Need(Verb.PROMOTE, origin, name), hide=True)
    ident, target = call.ident(), call.target()

    def change(writer: Writer) -> bool:
        found = writer.reader.package(ident, target)
        return writer.promote(_channel(writer.reader, origin, name), _there(found, call))

    await call.write(change, token)
    return empty()


async def demote(call: Call) -> web.Response:
    origin, name = call.part("origin"), call.part("channel")
    channels.check_demote(name)
    token = await call.check(Need(Verb.PROMOTE, origin, name), hide=True)
    ident, target = call.ident(), call.target()

    def change(writer: Writer) -> None:
        found = writer.reader.package(ident, target, channel=name)
        if found is None:
            raise UsageError(f"{ident} for {target}", f"is not in channel {name}")
        writer.demote(_channel(writer.reader, origin, name), found)

    await call.write(change, token)
    return empty()


async def promote_all(call: Call) -> web.Response:
    origin, source, target = await _both(call)
    channels.check_promote_all(source, target)
    token = await call.check(Need(Verb.PROMOTE, origin, target), hide=True)
    await call.write(lambda writer: writer.promote_all(*_pair(writer, origin, source, target, token.account_id)), token)
    return empty()


async def demote_all(call: Call) -> web.Response:
    origin, source, target = await _both(call)
    channels.check_demote_all(source, target)
    token = await call.check(Need(Verb.PROMOTE, origin, target), hide=True)
    await call.write(lambda writer: writer.demote_all(*_pair(writer, origin, source, target, token.account_id)), token)
    return empty()


async def _both(call: Call) -> tuple[str, str, str]:
    """Origin, source and target of a request about whole channels; anonymous ones are refused before they learn anything."""
    await call.check(Need(Verb.READ), hide=True)
    target = call.request.query.get("channel")
    if target is None:
        raise UsageError("query `channel`", "is missing")
    return call.part("origin"), call.part("channel"), channels.check_name(target)


def _pair(writer: Writer, origin: str, source: str, target: str, account_id: int) -> tuple[Channel, Channel]:
    """Both channels; the target is made when it is missing."""
    existing = writer.reader.channel(origin, target)
    return _channel(writer.reader, origin, source), existing or writer.add_channel(origin, target, account_id)


def _channel(reader: Reader, origin: str, name: str) -> Channel:
    found = reader.channel(origin, name)
    if found is None:
        raise NotFoundError(f"channel {name} of {origin}", "does not exist")
    return found


def _there(found: Package | None, call: Call) -> Package:
    if found is None:
        raise NotFoundError(call.request.path, "is not published here")
    return found
