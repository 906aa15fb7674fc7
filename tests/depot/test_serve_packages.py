"""Packages over HTTP: publish, describe, list, search."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from depot import routes
from hart.ident import Ident
from hart.target import Target
from tests.depot.conformance.artifacts import RELEASE, Artifact, artifact, ident
from tests.depot.conformance.house import House, house, parts

pytestmark = pytest.mark.asyncio

HAB = {"User-Agent": "hab/1.6.1/20260101000000 (aarch64-linux; 6.1.0)"}
# What Habitat's client or its tools read from a package (reference: depot API 1.4).
FIELDS = {
    "id", "owner_id", "name", "ident", "ident_array", "checksum", "manifest", "config", "target", "deps", "tdeps", "build_deps",
    "build_tdeps", "exposes", "visibility", "created_at", "updated_at", "origin", "package_type", "channels", "is_a_service",
}  # fmt: skip


async def publish(depot: House, token: str, made: Artifact) -> Artifact:
    answer = await depot.upload(made, token)
    assert answer.status == 201, answer
    return made


async def test_an_upload_answers_201_with_the_place_of_the_package(tmp_path: Path) -> None:
    """Location and body as the API has them."""
    async with house(tmp_path) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w")
        answer = await depot.upload(made, token)
        assert answer.status == 201
        assert answer.data == f"/pkgs/{made.ident}/download".encode()
        assert answer.headers["Location"] == f"/v1/depot/pkgs/{made.ident}/download?target=x86_64-linux"
        assert await depot.get(answer.headers["Location"]) == 200


async def test_an_upload_may_be_chunked(tmp_path: Path) -> None:
    """Habitat's client never sends a length."""

    async def pieces(data: bytes) -> object:
        for at in range(0, len(data), 700):
            yield data[at : at + 700]

    async with house(tmp_path) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w", content=b"x" * 10_000)
        assert (await depot.upload(made, token, data=pieces(made.data))).status == 201


async def test_an_upload_is_for_members_with_the_scope(tmp_path: Path) -> None:
    """401 for nobody, 403 for anybody else; nothing is stored."""
    async with house(tmp_path) as depot:
        await depot.acme()
        made = artifact(tmp_path / "w")
        assert (await depot.upload(made, None)).status == 401
        for account, scope in (("mallory", "admin"), ("alice", "read"), ("alice", "publish:other"), ("alice", "promote:*")):
            assert (await depot.upload(made, await depot.token(account, scope))).status == 403, (account, scope)
        assert depot.blobs() == []
        assert (await depot.upload(made, await depot.token("alice", "publish:acme"))).status == 201


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"checksum": ""}, 400),
        ({"checksum": "0" * 63}, 400),
        ({"checksum": "0" * 64}, 422),
        ({"target": "vax-vms"}, 422),
        ({"target": "aarch64-linux"}, 422),
        ({"forced": "perhaps"}, 400),
    ],
)
async def test_an_upload_with_a_wrong_query_is_refused(tmp_path: Path, query: dict[str, str], status: int) -> None:
    """And nothing is stored."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        assert (await depot.upload(artifact(tmp_path / "w"), token, **query)).status == status
        assert depot.blobs() == []


async def test_refusals_carry_builders_texts(tmp_path: Path) -> None:
    """Habitat's client shows them."""
    async with house(tmp_path) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w")
        assert (await depot.upload(made, token, checksum="0" * 64)).data == b"ds:up:3"
        assert (await depot.upload(made, token, at=ident("other"))).data == b"ds:up:6"
        explained = await depot.ask(
            routes.UPLOAD, token=token, data=b"junk", query={"checksum": made.checksum}, headers={"Accept": routes.PROBLEM_JSON},
            **parts(made.ident),
        )  # fmt: skip
        assert explained.status == 422
        assert "has checksum" in routes.problem_text(explained.json)


async def test_a_second_upload_is_409_with_the_checksum_of_the_first(tmp_path: Path) -> None:
    """Same bytes or others."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        first = await publish(depot, token, artifact(tmp_path / "w"))
        for made in (first, artifact(tmp_path / "w", content=b"other")):
            answer = await depot.upload(made, token)
            assert (answer.status, answer.data, answer.headers[routes.X_CHECKSUM]) == (409, b"", first.checksum)


async def test_a_body_over_the_cap_is_413_and_leaves_nothing(tmp_path: Path) -> None:
    """With and without a length."""

    async def pieces(data: bytes) -> object:
        yield data

    async with house(tmp_path, max_upload=1000) as depot:
        token, made = await depot.acme(), artifact(tmp_path / "w", content=os.urandom(5000))
        assert (await depot.upload(made, token)).status == 413
        assert (await depot.upload(made, token, data=pieces(made.data))).status == 413
        await depot.idle()
        assert depot.blobs() == []


async def test_a_package_has_every_field_that_clients_read(tmp_path: Path) -> None:
    """Ids are strings, times naive, dependencies idents; long texts only in channels."""
    dep = Ident("core", "glibc", "2.36", RELEASE)
    async with house(tmp_path) as depot:
        token = await depot.acme()
        of = {"deps": (dep,), "tdeps": (dep,), "exposes": (80,), "default_config": "port = 80\n", "svc_user": "root", "is_service": True}
        made = await publish(depot, token, artifact(tmp_path / "w", **of))
        shown = await depot.ask(routes.PACKAGE, **parts(made.ident))
        assert shown.status == 200
        body = shown.json
        assert FIELDS | {"size"} == set(body)
        assert isinstance(body["id"], str)
        assert isinstance(body["owner_id"], str)
        assert body["ident"] == {"origin": "acme", "name": "web", "version": "1.0", "release": RELEASE}
        assert body["ident_array"] == ["acme", "web", "1.0", RELEASE]
        assert body["deps"] == body["tdeps"] == [{"origin": "core", "name": "glibc", "version": "2.36", "release": RELEASE}]
        assert (body["exposes"], body["target"], body["package_type"], body["is_a_service"]) == ([80], "x86_64-linux", "Standard", True)
        assert (body["checksum"], body["size"], body["channels"]) == (made.checksum, len(made.data), ["unstable"])
        assert (body["manifest"], body["config"]) == ("", "")
        assert len(body["created_at"]) == len("2026-01-01T00:00:00.000000")
        assert shown.headers["Cache-Control"] == routes.CACHE_YEAR
        assert "ETag" not in shown.headers  # the artifact's checksum would stay while the channels change
        inside = (await depot.ask(routes.CHANNEL_PACKAGE, channel="unstable", **parts(made.ident))).json
        assert (inside["manifest"], inside["config"]) == ("# made for a test\n", "port = 80\n")


async def test_the_latest_is_by_version_then_release_and_by_target(tmp_path: Path) -> None:
    """Query first, then the User-Agent, then x86_64-linux."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for of, target in (
            (ident(version="1.9"), Target.X86_64_LINUX),
            (ident(version="1.10", release="20260101000000"), Target.X86_64_LINUX),
            (ident(version="1.10", release="20260101000001"), Target.X86_64_LINUX),
            (ident(version="1.10-rc1"), Target.X86_64_LINUX),
            (ident(version="2.0"), Target.AARCH64_LINUX),
        ):
            await publish(depot, token, artifact(tmp_path / "w", of, target=target))

        async def latest(query: dict[str, str] | None = None, headers: dict[str, str] | None = None, **more: str) -> str:
            route = routes.LATEST_OF_VERSION if more else routes.LATEST
            answer = await depot.ask(route, query=query, headers=headers, origin="acme", name="web", **more)
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == routes.NO_CACHE
            return "/".join(answer.json["ident_array"])

        assert await latest() == "acme/web/1.10/20260101000001"
        assert await latest({"target": "aarch64-linux"}) == f"acme/web/2.0/{RELEASE}"
        assert await latest(headers=HAB) == f"acme/web/2.0/{RELEASE}"
        assert await latest({"target": "x86_64-linux"}, HAB) == "acme/web/1.10/20260101000001"
        assert await latest(version="1.9") == f"acme/web/1.9/{RELEASE}"


async def test_what_is_not_there_is_404_and_empty(tmp_path: Path) -> None:
    """Names that cannot exist too; lists are empty instead."""
    async with house(tmp_path) as depot:
        for path in (
            "/depot/pkgs/acme/web/latest",
            "/depot/pkgs/ACME/web/latest",
            f"/depot/pkgs/acme/web/1/{RELEASE}",
            "/depot/pkgs/acme/web/1/x",
            f"/depot/pkgs/acme/web/1/{RELEASE}/download",
        ):
            answer = await depot.ask(path)
            assert (answer.status, answer.data) == (404, b""), path
        for path in ("/depot/pkgs/acme", "/depot/pkgs/ACME/x", "/depot/pkgs/acme/web/1", "/depot/pkgs/search/x"):
            answer = await depot.ask(path)
            assert (answer.status, answer.json) == (200, {"range_start": 0, "range_end": 0, "total_count": 0, "data": []}), path
        assert (await depot.ask("/depot/pkgs/acme/web/versions")).json == []
        assert (await depot.ask(f"/depot/pkgs/acme/web/1/{RELEASE}/channels")).json == []
        assert (await depot.ask("/depot/pkgs/acme/web/latest", query={"target": "vax-vms"})).status == 422


async def test_one_package_is_described_for_its_own_target(tmp_path: Path) -> None:
    """An explicit target is obeyed; without one the client's own is preferred, then any."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        made = await publish(depot, token, artifact(tmp_path / "w", target=Target.AARCH64_LINUX))
        for query, status in (({"target": "aarch64-linux"}, 200), ({"target": "x86_64-linux"}, 404), (None, 200)):
            assert (await depot.ask(routes.PACKAGE, query=query, **parts(made.ident))).status == status


async def test_lists_are_paged_by_fifty_with_206_while_more_follows(tmp_path: Path) -> None:
    """Newest text first; `range` is an exact offset; a negative one is everything."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        offered = [artifact(tmp_path / "w", ident(release=f"{20260101000000 + number}")) for number in range(52)]
        await asyncio.gather(*(publish(depot, token, made) for made in offered))
        first = await depot.ask(routes.LIST_NAME, origin="acme", name="web")
        assert (first.status, first.json["range_end"], first.json["total_count"], len(first.json["data"])) == (206, 49, 52, 50)
        row = first.json["data"][0]
        expected = {"origin": "acme", "name": "web", "version": "1.0", "release": "20260101000051"}
        assert row == {**expected, "channels": ["unstable"], "platforms": ["x86_64-linux"]}
        rest = await depot.ask(routes.LIST_NAME, query={"range": "50"}, origin="acme", name="web")
        assert (rest.status, rest.json["range_start"], rest.json["range_end"], len(rest.json["data"])) == (200, 50, 51, 2)
        everything = await depot.ask(routes.LIST_ORIGIN, query={"range": "-1"}, origin="acme")
        assert (everything.status, len(everything.json["data"])) == (200, 52)
        names = await depot.ask(routes.LIST_ORIGIN, query={"distinct": "true"}, origin="acme")
        assert [(row["name"], row["version"], row["release"]) for row in names.json["data"]] == [("web", None, None)]
        channel = await depot.ask(routes.CHANNEL_PKGS, query={"range": "50"}, origin="acme", channel="unstable")
        assert [row["release"] for row in channel.json["data"]] == ["20260101000050", "20260101000051"]
        for wrong in ("abc", "1.5", "9" * 20):
            assert (await depot.ask(routes.LIST_ORIGIN, query={"range": wrong}, origin="acme")).status == 400


async def test_a_search_finds_names_by_words_and_beginnings(tmp_path: Path) -> None:
    """Distinct names, as Habitat's client asks."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        for name in ("web", "web-admin", "db"):
            await publish(depot, token, artifact(tmp_path / "w", ident(name)))
        for text, names in (("adm", ["web-admin"]), ("acme/w", ["web", "web-admin"]), ("WEB", ["web", "web-admin"]), ("x'--", [])):
            found = await depot.ask(routes.SEARCH.path(query=text), query={"distinct": "true"})
            assert [row["name"] for row in found.json["data"]] == names, text
        assert await depot.get("/v1/depot/pkgs/search/w%FF") == 422  # no text at all


async def test_versions_and_channels_of_a_package(tmp_path: Path) -> None:
    """Counts are strings, the newest release stands beside its version, channels in descending order."""
    async with house(tmp_path) as depot:
        token = await depot.acme()
        made = await publish(depot, token, artifact(tmp_path / "w"))
        assert (await depot.promote(made, "stable", token)).status == 200
        (row,) = (await depot.ask(routes.VERSIONS, origin="acme", name="web")).json
        assert (row["version"], row["release_count"], row["latest"], row["platforms"]) == ("1.0", "1", RELEASE, ["x86_64-linux"])
        places = (await depot.ask(routes.PACKAGE_CHANNELS, **parts(made.ident))).json
        assert [place["name"] for place in places] == ["unstable", "stable"]
        assert set(places[0]) == {"name", "created_at", "promoted_at"}


async def test_a_package_of_habitat_itself_is_taken(tmp_path: Path) -> None:
    """The vectors of Habitat's own fixtures, with their key and their kernel of metafiles."""
    from hart.keys import parse_key

    vectors = Path(__file__).parents[1] / "vectors"
    file = vectors / "hart" / "neurosis-testapp3-0.1.0-20190327162559-x86_64-linux.hart"
    key = (vectors / "keys" / "neurosis-20171211220037.pub").read_text()
    made = Artifact(Ident.parse_full("neurosis/testapp3/0.1.0/20190327162559"), Target.X86_64_LINUX, file.read_bytes())
    assert parse_key(key)
    async with house(tmp_path) as depot:
        token = await depot.token()
        await depot.ask(routes.ORIGIN_CREATE, token=token, json={"name": "neurosis"})
        uploaded = await depot.ask(routes.KEY_UPLOAD, token=token, data=key, origin="neurosis", revision="20171211220037")
        assert uploaded.status == 201
        answer = await depot.upload(made, token)
        assert answer.status == 201, answer
        found = await depot.ask(routes.CHANNEL_LATEST, channel="unstable", origin="neurosis", name="testapp3")
        assert found.json["checksum"] == made.checksum
        downloaded = await depot.ask(routes.DOWNLOAD, **parts(made.ident))
        assert downloaded.data == made.data
