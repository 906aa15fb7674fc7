"""Channels over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from depot import routes
from hart.target import Target
from tests.depot.conformance.artifacts import RELEASE, artifact, ident
from tests.depot.conformance.house import House, house, parts

pytestmark = pytest.mark.asyncio


async def heads(depot: House, channel: str, target: str = "x86_64-linux") -> list[str]:
    answer = await depot.ask(routes.CHANNEL_HEADS, query={"target": target}, origin="acme", channel=channel)
    assert answer.status == 200
    assert (answer.json["channel"], answer.json["target"]) == (channel, target)
    return ["/".join(row.values()) for row in answer.json["data"]]


async def test_channels_are_listed_in_byte_order_without_sandboxes(tmp_path: Path) -> None:
    """Also those of an origin that nobody knows: none."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for name in ("LTS-2024", "bar", "bldr-1"):
            made = await depot.ask(routes.CHANNEL_CREATE, token=token, origin="acme", channel=name)
            assert made.status == 201
            assert set(made.json) == {"id", "owner_id", "name", "created_at", "updated_at", "origin"}
        listed = await depot.ask(routes.CHANNEL_LIST, origin="acme")
        assert listed.json == [{"name": name} for name in ("LTS-2024", "bar", "stable", "unstable")]
        everything = await depot.ask(routes.CHANNEL_LIST, query={"sandbox": "true"}, origin="acme")
        assert {"name": "bldr-1"} in everything.json
        assert (await depot.ask(routes.CHANNEL_LIST, origin="nobody")).json == []


async def test_creating_and_deleting_a_channel_is_for_maintainers(tmp_path: Path) -> None:
    """401 for nobody and for anybody else; stable and unstable stay."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        stranger = await depot.token("mallory")
        for route in (routes.CHANNEL_CREATE, routes.CHANNEL_DELETE):
            for wrong in (None, stranger, await depot.token("alice", "promote:acme/other")):
                assert (await depot.ask(route, token=wrong, origin="acme", channel="rc")).status == 401
        assert (await depot.ask(routes.CHANNEL_CREATE, token=token, origin="acme", channel="rc")).status == 201
        assert (await depot.ask(routes.CHANNEL_CREATE, token=token, origin="acme", channel="rc")).status == 409
        assert (await depot.ask(routes.CHANNEL_CREATE, token=token, origin="acme", channel="_x")).status == 422
        assert (await depot.ask(routes.CHANNEL_DELETE, token=token, origin="acme", channel="stable")).status == 403
        assert (await depot.ask(routes.CHANNEL_DELETE, origin="acme", channel="stable")).status == 401
        assert (await depot.ask(routes.CHANNEL_DELETE, token=token, origin="acme", channel="rc")).status == 200
        assert (await depot.ask(routes.CHANNEL_DELETE, token=token, origin="acme", channel="rc")).status == 404


async def test_promote_and_demote_move_the_newest_of_a_channel(tmp_path: Path) -> None:
    """Promoting twice is fine; demoting what is not there is 400."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        old, new = artifact(tmp_path / "w", ident(version="1.0")), artifact(tmp_path / "w", ident(version="2.0"))
        for made in (old, new):
            assert (await depot.upload(made, token)).status == 201
            assert (await depot.promote(made, "stable", token)).status == 200
        assert (await depot.promote(new, "stable", token)).status == 200
        latest = await depot.ask(routes.CHANNEL_LATEST, origin="acme", channel="stable", name="web")
        assert latest.json["ident"]["version"] == "2.0"
        assert latest.headers["Cache-Control"] == routes.NO_CACHE
        demote = {"query": {"target": "x86_64-linux"}, "channel": "stable", **parts(new.ident)}
        assert (await depot.ask(routes.DEMOTE, token=token, **demote)).status == 200
        assert (await depot.ask(routes.DEMOTE, token=token, **demote)).status == 400
        latest = await depot.ask(routes.CHANNEL_LATEST, origin="acme", channel="stable", name="web")
        assert latest.json["ident"]["version"] == "1.0"
        assert (await depot.ask(routes.CHANNEL_PACKAGE, channel="stable", **parts(new.ident))).status == 404
        assert (await depot.ask(routes.CHANNEL_LATEST_OF_VERSION, origin="acme", channel="stable", name="web", version="2.0")).status == 404


async def test_promotion_is_refused_to_others_and_for_what_is_missing(tmp_path: Path) -> None:
    """401 for both nobody and somebody else; 404 for a missing channel, package or target of it."""
    async with house(tmp_path) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w")
        await depot.upload(made, token)
        for wrong in (None, await depot.token("mallory"), await depot.token("alice", "publish:acme", "promote:acme/rc")):
            answer = await depot.ask(routes.PROMOTE, token=wrong, channel="stable", **parts(made.ident))
            assert answer.status == 401
        assert await heads(depot, "stable") == []
        assert (await depot.promote(made, "nowhere", token)).status == 404
        assert (await depot.promote(artifact(tmp_path / "w", ident("db")), "stable", token)).status == 404
        on_arm = {"target": "aarch64-linux"}
        assert (await depot.ask(routes.PROMOTE, token=token, query=on_arm, channel="stable", **parts(made.ident))).status == 404
        vms = {"target": "vax-vms"}
        assert (await depot.ask(routes.PROMOTE, token=token, query=vms, channel="stable", **parts(made.ident))).status == 422


async def test_nothing_is_demoted_from_unstable_whoever_asks(tmp_path: Path) -> None:
    """403 before anything else is looked at."""
    async with house(tmp_path) as depot:
        assert (await depot.ask(routes.DEMOTE, channel="unstable", **parts(ident()))).status == 403


async def test_a_scope_for_one_channel_promotes_there_only(tmp_path: Path) -> None:
    """A build robot may promote to rc, never to stable."""
    async with house(tmp_path) as depot:
        owner, made = await depot.acme(), artifact(tmp_path / "w")
        await depot.upload(made, owner)
        await depot.ask(routes.CHANNEL_CREATE, token=owner, origin="acme", channel="rc")
        robot = await depot.token("alice", "promote:acme/rc")
        assert (await depot.promote(made, "rc", robot)).status == 200
        assert (await depot.promote(made, "stable", robot)).status == 401


async def test_the_heads_of_a_channel_are_the_newest_of_each_name(tmp_path: Path) -> None:
    """For one target, which must be named."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for of, target in (
            (ident("web", "1.9"), Target.X86_64_LINUX),
            (ident("web", "1.10"), Target.X86_64_LINUX),
            (ident("db", "3"), Target.X86_64_LINUX),
            (ident("web", "5"), Target.AARCH64_LINUX),
        ):
            await depot.upload(artifact(tmp_path / "w", of, target=target), token)
        assert await heads(depot, "unstable") == [f"acme/db/3/{RELEASE}", f"acme/web/1.10/{RELEASE}"]
        assert await heads(depot, "unstable", "aarch64-linux") == [f"acme/web/5/{RELEASE}"]
        assert await heads(depot, "nowhere") == []
        assert (await depot.ask(routes.CHANNEL_HEADS, origin="acme", channel="stable")).status == 400


async def test_whole_channels_are_promoted_and_demoted(tmp_path: Path) -> None:
    """The target is made when it is missing; unstable and the channel itself are refused."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for name in ("web", "db"):
            await depot.upload(artifact(tmp_path / "w", ident(name)), token)

        async def move(route: routes.Route, source: str, target: str, by: str | None = token) -> int:
            return (await depot.ask(route, token=by, query={"channel": target}, origin="acme", channel=source)).status

        assert await move(routes.PROMOTE_ALL, "unstable", "rc") == 200
        assert await heads(depot, "rc") == [f"acme/db/1.0/{RELEASE}", f"acme/web/1.0/{RELEASE}"]
        assert await move(routes.PROMOTE_ALL, "rc", "stable") == 200
        assert await move(routes.DEMOTE_ALL, "rc", "stable") == 200
        assert await heads(depot, "stable") == []
        assert await move(routes.PROMOTE_ALL, "rc", "rc") == 400
        assert await move(routes.PROMOTE_ALL, "rc", "unstable") == 400
        assert await move(routes.DEMOTE_ALL, "unstable", "rc") == 400
        assert await move(routes.PROMOTE_ALL, "nowhere", "stable") == 404
        others = (None, await depot.token("bob"), await depot.token("alice", "promote:acme/rc"), await depot.token("alice", "publish:acme"))
        for other in others:
            assert await move(routes.PROMOTE_ALL, "rc", "stable", other) == 401
            assert await move(routes.DEMOTE_ALL, "rc", "stable", other) == 401
        assert await heads(depot, "stable") == []
        assert await move(routes.PROMOTE_ALL, "unstable", "rc", others[2]) == 200
        assert (await depot.ask(routes.PROMOTE_ALL, token=token, origin="acme", channel="rc")).status == 400


async def test_lists_of_a_channel_are_ascending(tmp_path: Path) -> None:
    """Of a name and of a version too."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for of in (ident("web", "2"), ident("web", "1"), ident("db", "1")):
            await depot.upload(artifact(tmp_path / "w", of), token)
        place = {"origin": "acme", "channel": "unstable"}
        for route, more, wanted in (
            (routes.CHANNEL_PKGS, {}, ["db/1", "web/1", "web/2"]),
            (routes.CHANNEL_LIST_NAME, {"name": "web"}, ["web/1", "web/2"]),
            (routes.CHANNEL_LIST_VERSION, {"name": "web", "version": "2"}, ["web/2"]),
        ):
            answer = await depot.ask(route, **place, **more)
            assert [f"{row['name']}/{row['version']}" for row in answer.json["data"]] == wanted
