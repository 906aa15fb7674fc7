"""Origins, their keys, and who I am, over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from depot import routes
from hart.keys import generate_signing_pair
from tests.depot.conformance.artifacts import KEY, OTHER, STRANGER
from tests.depot.conformance.house import house

pytestmark = pytest.mark.asyncio


async def test_creating_an_origin_makes_its_owner(tmp_path: Path) -> None:
    """201 with the API's fields; then it is shown, and in the owner's list."""
    async with house(tmp_path) as depot:
        token = await depot.token()
        made = await depot.ask(routes.ORIGIN_CREATE, token=token, json={"name": "acme"})
        assert made.status == 201
        assert set(made.json) == {"owner_id", "name", "created_at", "updated_at", "default_package_visibility"}
        shown = await depot.ask(routes.ORIGIN_SHOW, origin="acme")
        assert shown.json == {
            "owner_id": made.json["owner_id"], "name": "acme", "private_key_name": None, "default_package_visibility": "public",
            "owner_account": "alice",
        }  # fmt: skip
        (mine,) = (await depot.ask(routes.USER_ORIGINS, token=token)).json
        assert (mine["name"], mine["package_count"]) == ("acme", "0")
        assert (await depot.ask(routes.USER_ORIGINS, token=await depot.token("bob"))).json == []


async def test_creating_an_origin_wants_an_admin_token_and_a_name(tmp_path: Path) -> None:
    """401, 403, 417, 409, 400; private ones are refused, since we would publish them."""
    async with house(tmp_path) as depot:
        token = await depot.token()
        for by, body, status in (
            (None, {"name": "acme"}, 401),
            (await depot.token("bob", "publish:*", "promote:*"), {"name": "acme"}, 403),
            (token, {"name": "Acme"}, 417),
            (token, {"name": "a/b"}, 417),
            (token, {}, 400),
            (token, {"name": "acme", "default_package_visibility": "private"}, 422),
            (token, {"name": "acme", "default_package_visibility": "public"}, 201),
            (token, {"name": "other", "default_package_visibility": None}, 201),
            (token, {"name": "acme"}, 409),
        ):
            assert (await depot.ask(routes.ORIGIN_CREATE, token=by, json=body)).status == status, body
        assert (await depot.ask(routes.ORIGIN_SHOW, origin="a")).status == 404


async def test_the_profile_names_the_account(tmp_path: Path) -> None:
    """Any token will do; none is 401."""
    async with house(tmp_path) as depot:
        shown = await depot.ask(routes.PROFILE, token=await depot.token("alice", "read"))
        assert (shown.json["name"], shown.json["id"]) == ("alice", "1")
        assert (await depot.ask(routes.PROFILE)).status == 401
        assert (await depot.ask(routes.USER_ORIGINS)).status == 401


async def test_a_key_is_uploaded_once_and_downloaded_as_it_is(tmp_path: Path) -> None:
    """Listed newest first; X-Filename as the client's cache names it."""
    newer = generate_signing_pair("acme", "20270101000000", seed=bytes([7]) * 32)
    async with house(tmp_path) as depot:
        token = await depot.acme()
        place = {"origin": "acme", "revision": newer.key.revision}
        made = await depot.ask(routes.KEY_UPLOAD, token=token, data=newer.public.text(), **place)
        assert (made.status, made.data) == (201, b"/origins/acme/keys/20270101000000")
        assert made.headers["Location"] == "/v1/depot/origins/acme/keys/20270101000000"
        listed = (await depot.ask(routes.KEY_LIST, origin="acme")).json
        assert listed == [
            {"origin": "acme", "revision": key.key.revision, "location": f"/origins/acme/keys/{key.key.revision}"} for key in (newer, KEY)
        ]
        for route, more in ((routes.KEY_LATEST, {}), (routes.KEY_DOWNLOAD, {"revision": newer.key.revision})):
            got = await depot.ask(route, origin="acme", **more)
            assert got.data.decode() == newer.public.text()
            assert got.headers[routes.X_FILENAME] == "acme-20270101000000.pub"
            assert got.headers["Cache-Control"] == routes.NO_CACHE
        assert (await depot.ask(routes.KEY_DOWNLOAD, origin="acme", revision="20000101000000")).status == 404
        assert (await depot.ask(routes.KEY_LATEST, origin="nobody")).status == 404
        assert (await depot.ask(routes.KEY_LIST, origin="nobody")).json == []


async def test_a_publisher_gets_409_for_a_known_key_but_cannot_bring_a_new_one(tmp_path: Path) -> None:
    """Habitat's client uploads the key before each package; a stolen publishing token must not add its own."""
    async with house(tmp_path) as depot:
        await depot.acme()
        robot = await depot.token("alice", "publish:acme")

        async def upload(token: str | None, text: str, revision: str) -> int:
            return (await depot.ask(routes.KEY_UPLOAD, token=token, data=text, origin="acme", revision=revision)).status

        assert await upload(robot, KEY.public.text(), KEY.key.revision) == 409
        assert await upload(robot, STRANGER.public.text(), STRANGER.key.revision) == 403
        assert await upload(None, KEY.public.text(), KEY.key.revision) == 401
        assert await upload(await depot.token("mallory"), KEY.public.text(), KEY.key.revision) == 403
        assert await upload(await depot.token("alice", "publish:other"), KEY.public.text(), KEY.key.revision) == 403


async def test_what_is_not_this_public_signing_key_is_refused(tmp_path: Path) -> None:
    """A secret key, another origin's, another revision's, junk: 422, and nothing is stored."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for text in (STRANGER.text(), OTHER.public.text(), KEY.public.text(), "junk", "", "x" * 10_000):
            answer = await depot.ask(routes.KEY_UPLOAD, token=token, data=text, origin="acme", revision=STRANGER.key.revision)
            assert answer.status in (413, 422), text[:20]
        assert len((await depot.ask(routes.KEY_LIST, origin="acme")).json) == 1
