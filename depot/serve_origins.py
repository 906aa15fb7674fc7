"""Requests about accounts, origins and their public signing keys.

Source: reference: depot API 1.1 to 1.3. A new key wants administrator rights, a known one is 409 for every publisher: Habitat's client
uploads the key before each package. Not here: secret keys, which this depot does not hold.
"""

from __future__ import annotations

from aiohttp import web

from depot import answers, routes
from depot.access import Need, Verb
from depot.answers import answer, empty
from depot.call import Call
from hart import limits
from hart.errors import ConflictError, DeniedError, FormatError, InputError, NotFoundError, UsageError
from hart.ident import ORIGIN
from hart.keys import KeyName, PublicSigningKey, parse_key


async def status(_call: Call) -> web.Response:
    return empty()


async def profile(call: Call) -> web.Response:
    token = await call.check(Need(Verb.READ))
    account = await call.read(lambda reader: reader.account(token.account_id))
    assert account is not None, "tokens refer to their account"
    return answer(answers.profile(account))


async def user_origins(call: Call) -> web.Response:
    token = await call.check(Need(Verb.READ))
    owned = await call.read(lambda reader: reader.origins_of(token.account_id))
    return answer([answers.origin_owned(origin) for origin in owned])


async def origin_create(call: Call) -> web.Response:
    token = await call.check(Need(Verb.ADMIN))
    body = await call.json()
    name = body.get("name")
    if not isinstance(name, str):
        raise UsageError("this request", "has no name for the origin")
    if not ORIGIN.fullmatch(name):
        raise InputError(f"origin {name!r}", "is not an origin name", next="use a-z, 0-9, `-` and `_`", status=417)
    if body.get("default_package_visibility") not in (
        None,
        "public",
    ):  # storing them as public instead would publish what was meant private
        raise InputError(f"origin {name}", "cannot be private", text="this depot has no private packages")
    made = await call.write(lambda writer: writer.add_origin(name, token.account_id), token)
    return answer(answers.origin_made(made), status=201)


async def origin_show(call: Call) -> web.Response:
    name = call.part("origin")
    found = await call.read(lambda reader: reader.origin(name))
    if found is None:
        raise NotFoundError(f"origin {name}", "does not exist")
    return answer(answers.origin_shown(found))


async def key_list(call: Call) -> web.Response:
    origin = call.part("origin")
    revisions = await call.read(lambda reader: reader.key_revisions(origin))
    rows = [{"origin": origin, "revision": revision, "location": f"/origins/{origin}/keys/{revision}"} for revision in revisions]
    return answer(rows)


async def key_latest(call: Call) -> web.Response:
    origin = call.part("origin")
    revisions = await call.read(lambda reader: reader.key_revisions(origin))
    return await _key(call, origin, revisions[0] if revisions else "latest")


async def key_download(call: Call) -> web.Response:
    return await _key(call, call.part("origin"), call.part("revision"))


async def _key(call: Call, origin: str, revision: str) -> web.Response:
    text = await call.read(lambda reader: reader.key(origin, revision))
    if text is None:
        raise NotFoundError(f"key {origin}-{revision}", "does not exist")
    name = f"{origin}-{revision}.pub"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        routes.X_FILENAME: name,
        "Cache-Control": routes.NO_CACHE,
    }
    return web.Response(text=text, headers=headers)


async def key_upload(call: Call) -> web.Response:
    origin, revision = call.part("origin"), call.part("revision")
    exists = await call.read(lambda reader: reader.key(origin, revision)) is not None
    try:
        token = await call.check(Need(Verb.ADMIN, origin))
    except DeniedError:
        if not exists:
            raise
        token = await call.check(Need(Verb.PUBLISH, origin))
    if exists:
        raise ConflictError(f"key {origin}-{revision}", "exists already")
    body = await call.text(limits.KEY_TEXT_MAX)
    try:
        key = parse_key(body)
    except InputError as error:
        raise FormatError(error.thing, error.cause, text="Invalid origin public key") from error
    if not isinstance(key, PublicSigningKey) or key.key != KeyName(origin, revision):
        raise FormatError(f"key {origin}-{revision}", "is not that public signing key", text="Invalid origin public key")
    await call.write(lambda writer: writer.add_key(origin, revision, key.text()), token)
    return web.Response(status=201, text=f"/origins/{origin}/keys/{revision}", headers={"Location": call.request.path})
