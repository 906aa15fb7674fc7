"""What every catalog must do, run against SQLite; and what SQLite in particular must."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depot import access, audit
from depot.access import Role, Scope
from depot.catalog import Account, Catalog, NewPackage, Package, Reader, Wanted, Writer
from depot.database import SqliteCatalog, open_catalog
from depot.sqlite_writer import words
from hart.errors import ConflictError, StorageError, UnavailableError
from hart.ident import VERSION, Ident
from hart.version import compare_versions

T = TypeVar("T")
LINUX, ARM = "x86_64-linux", "aarch64-linux"


@asynccontextmanager
async def catalog(directory: Path) -> AsyncIterator[SqliteCatalog]:
    opened = await asyncio.to_thread(open_catalog, directory / "depot.sqlite")
    try:
        yield opened
    finally:
        await opened.close()


def new(text: str, target: str = LINUX, **fields: object) -> NewPackage:
    made = NewPackage(
        ident=Ident.parse(text), target=target, checksum="00" * 32, size=1, key_name="acme-20260102030405", package_type="Standard",
        is_a_service=True, deps=("core/glibc/1/20260101000000",), tdeps=(), build_deps=(), build_tdeps=(), exposes=(80,), manifest="m",
        config="c",
    )  # fmt: skip
    return replace(made, **fields)  # type: ignore[arg-type]


def release(number: int) -> str:
    return f"{20260101000000 + number}"


class Story:
    """Changes by alice, one microsecond apart."""

    def __init__(self, kept: Catalog) -> None:
        self.kept = kept
        self._ticks = itertools.count(1_000_000)
        self.alice = Account(id=0, name="alice", created_us=0)

    async def start(self) -> None:
        self.alice = await self.change(lambda writer: writer.ensure_account("alice"))
        await self.change(lambda writer: writer.add_origin("acme", self.alice.id))

    async def change(self, act: object) -> object:  # the test says what comes back
        return await self.kept.write(act, by="alice", at_us=next(self._ticks))  # type: ignore[arg-type]

    async def publish(self, text: str, target: str = LINUX, **fields: object) -> Package:
        made = await self.change(lambda writer: writer.add_package(new(text, target, **fields), self.alice.id))
        assert isinstance(made, Package)
        return made

    async def promote(self, package: Package, channel: str) -> bool:
        def act(writer: Writer) -> bool:
            into = writer.reader.channel("acme", channel) or writer.add_channel("acme", channel, self.alice.id)
            return writer.promote(into, package)

        return bool(await self.change(act))

    async def latest(self, text: str, channel: str | None = None, target: str = LINUX) -> str | None:
        found = await self.kept.read(lambda reader: reader.latest(Ident.parse(text), target, channel=channel))
        return str(found.ident) if found else None


@asynccontextmanager
async def story(directory: Path) -> AsyncIterator[Story]:
    async with catalog(directory) as kept:
        told = Story(kept)
        await told.start()
        yield told


@pytest.mark.asyncio
async def test_an_origin_begins_with_its_owner_and_two_channels(tmp_path: Path) -> None:
    """And there is only one of it."""
    async with story(tmp_path) as told:
        found = await told.kept.read(lambda reader: reader.origin("acme"))
        assert found is not None
        assert (found.owner, found.visibility, found.key_name, found.package_count) == ("alice", "public", None, 0)
        assert await told.kept.read(lambda reader: reader.role(told.alice.id, "acme")) is Role.OWNER
        assert await told.kept.read(lambda reader: reader.role(told.alice.id, "evil")) is None
        assert await told.kept.read(lambda reader: reader.channels("acme")) == ["stable", "unstable"]
        with pytest.raises(ConflictError):
            await told.change(lambda writer: writer.add_origin("acme", told.alice.id))


@pytest.mark.asyncio
async def test_a_package_comes_back_as_it_went_in(tmp_path: Path) -> None:
    """Every field; it is in unstable."""
    async with story(tmp_path) as told:
        made = await told.publish("acme/web/1.0/20260101000000", exposes=(80, 443), manifest="é\x00\n")
        again = await told.kept.read(lambda reader: reader.package(made.ident, LINUX))
        assert again == made
        assert made.new == new("acme/web/1.0/20260101000000", exposes=(80, 443), manifest="é\x00\n")
        assert made.channels == ("unstable",)


@pytest.mark.asyncio
async def test_a_published_ident_is_never_published_again(tmp_path: Path) -> None:
    """For one target; another target of the same ident is another package."""
    async with story(tmp_path) as told:
        await told.publish("acme/web/1.0/20260101000000")
        with pytest.raises(ConflictError):
            await told.publish("acme/web/1.0/20260101000000", checksum="11" * 32)
        await told.publish("acme/web/1.0/20260101000000", ARM)
        page = await told.kept.read(lambda reader: reader.page(Wanted(origin="acme"), start=0, count=50))
        assert [(row.platforms, row.channels) for row in page.rows] == [((ARM, LINUX), ("unstable",))]


@pytest.mark.asyncio
async def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a row nor an audit entry."""
    async with story(tmp_path) as told:
        before = await told.kept.read(lambda reader: reader.audit_head())

        def fail(writer: Writer) -> None:
            writer.add_package(new("acme/web/1.0/20260101000000"), told.alice.id)
            raise ConflictError("it", "fails after its first half")

        with pytest.raises(ConflictError):
            await told.change(fail)
        assert await told.latest("acme/web") is None
        assert await told.kept.read(lambda reader: reader.audit_head()) == before


@pytest.mark.asyncio
@settings(max_examples=15, deadline=None)
@given(versions=st.lists(st.text(st.sampled_from("019.-ab"), min_size=1, max_size=5).filter(VERSION.fullmatch), max_size=8))
async def test_the_newest_is_the_greatest_version_then_the_greatest_release(
    tmp_path_factory: pytest.TempPathFactory, versions: list[str]
) -> None:
    """As `hart.version` orders them, for any texts."""
    async with story(tmp_path_factory.mktemp("catalog")) as told:
        for number, version in enumerate(versions):
            await told.publish(f"acme/web/{version}/{release(number)}")
        found = await told.latest("acme/web")
        if not versions:
            assert found is None
            return
        assert found is not None
        chosen = Ident.parse(found)
        assert chosen.version is not None
        assert all(compare_versions(chosen.version, version) >= 0 for version in versions)
        equals = [number for number, version in enumerate(versions) if compare_versions(version, chosen.version) == 0]
        assert chosen.release == release(max(equals))
        of_version = await told.latest(f"acme/web/{versions[0]}")
        assert of_version == f"acme/web/{versions[0]}/{release(max(n for n, version in enumerate(versions) if version == versions[0]))}"


@pytest.mark.asyncio
async def test_the_newest_of_a_channel_is_among_those_that_were_promoted(tmp_path: Path) -> None:
    """And of the asked target only."""
    async with story(tmp_path) as told:
        old = await told.publish("acme/web/1.0/20260101000000")
        await told.publish("acme/web/2.0/20260101000000")
        arm = await told.publish("acme/web/3.0/20260101000000", ARM)
        for package in (old, arm):
            assert await told.promote(package, "stable")
        assert await told.latest("acme/web", "unstable") == "acme/web/2.0/20260101000000"
        assert await told.latest("acme/web", "stable") == "acme/web/1.0/20260101000000"
        assert await told.latest("acme/web", "stable", ARM) == "acme/web/3.0/20260101000000"
        assert await told.latest("acme/web", "nowhere") is None
        assert await told.latest("acme/other", "stable") is None


@pytest.mark.asyncio
async def test_latest_is_one_index_lookup(tmp_path: Path) -> None:
    """Whatever the number of packages: SQLite must not sort or scan for it."""
    async with story(tmp_path) as told:
        await told.publish("acme/web/1.0/20260101000000")
        asked: list[str] = []

        def ask(reader: Reader) -> None:
            reader._connection.set_trace_callback(asked.append)  # type: ignore[attr-defined]
            for text in ("acme/web", "acme/web/1.0"):
                for channel in (None, "unstable"):
                    assert reader.latest(Ident.parse(text), LINUX, channel=channel) is not None

        await told.kept.read(ask)
        plans = [question for question in asked if "sort_key DESC" in question]
        assert len(plans) == 4
        with sqlite3.connect(tmp_path / "depot.sqlite") as connection:
            for question in plans:
                steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
                assert not any("SCAN" in step or "TEMP B-TREE" in step for step in steps), steps
        connection.close()


@pytest.mark.asyncio
async def test_promoting_twice_and_demoting_twice_change_nothing_the_second_time(tmp_path: Path) -> None:
    """And are not audited then."""
    async with story(tmp_path) as told:
        made = await told.publish("acme/web/1.0/20260101000000")
        assert await told.promote(made, "rc")
        head = await told.kept.read(lambda reader: reader.audit_head())
        assert not await told.promote(made, "rc")
        assert await told.kept.read(lambda reader: reader.audit_head()) == head

        def demote(writer: Writer) -> bool:
            channel = writer.reader.channel("acme", "rc")
            assert channel is not None
            return writer.demote(channel, made)

        assert await told.change(demote)
        assert not await told.change(demote)
        assert await told.latest("acme/web", "rc") is None
        assert await told.latest("acme/web", "unstable") is not None


@pytest.mark.asyncio
async def test_whole_channels_move_in_one_transaction(tmp_path: Path) -> None:
    """Promote all adds what is missing; demote all takes out exactly what is in the source."""
    async with story(tmp_path) as told:
        one, two = await told.publish("acme/web/1.0/20260101000000"), await told.publish("acme/db/1.0/20260101000000")
        for package in (one, two):
            await told.promote(package, "rc")
        await told.promote(one, "stable")

        def move(verb: str) -> int:
            def act(writer: Writer) -> int:
                source, target = writer.reader.channel("acme", "rc"), writer.reader.channel("acme", "stable")
                assert source is not None
                assert target is not None
                return int(getattr(writer, verb)(source, target))

            return act  # type: ignore[return-value]

        assert await told.change(move("promote_all")) == 1
        assert await told.kept.read(lambda reader: [str(ident) for ident in reader.heads("acme", "stable", LINUX)]) == [
            "acme/db/1.0/20260101000000",
            "acme/web/1.0/20260101000000",
        ]
        assert await told.change(move("demote_all")) == 2
        assert await told.kept.read(lambda reader: list(reader.heads("acme", "stable", LINUX))) == []


@pytest.mark.asyncio
async def test_deleting_a_channel_keeps_its_packages(tmp_path: Path) -> None:
    """Only their places in it go."""
    async with story(tmp_path) as told:
        made = await told.publish("acme/web/1.0/20260101000000")
        await told.promote(made, "rc")

        def delete(writer: Writer) -> None:
            channel = writer.reader.channel("acme", "rc")
            assert channel is not None
            writer.delete_channel(channel)

        await told.change(delete)
        again = await told.kept.read(lambda reader: reader.package(made.ident, LINUX))
        assert again is not None
        assert again.channels == ("unstable",)


@pytest.mark.asyncio
async def test_lists_are_in_byte_order_and_paged_without_gaps(tmp_path: Path) -> None:
    """Of an origin, a name, a version, a channel; names once when asked for distinct ones."""
    async with story(tmp_path) as told:
        texts = [f"acme/{name}/{version}/{release(0)}" for name in ("web", "web-admin", "Db") for version in ("1.0", "1.10", "1.9")]
        for text in texts:
            await told.promote(await told.publish(text), "rc")

        async def listed(wanted: Wanted, count: int = 2) -> list[str]:
            rows: list[str] = []
            while True:
                start = len(rows)
                page = await told.kept.read(lambda reader, at=start: reader.page(wanted, start=at, count=count))
                rows += ["/".join(filter(None, (row.origin, row.name, row.version, row.release))) for row in page.rows]
                if not page.rows:
                    assert page.total == len(rows)
                    return rows

        assert await listed(Wanted(origin="acme", newest_text_first=True)) == sorted(texts, reverse=True)
        assert await listed(Wanted(origin="acme", name="web")) == sorted(text for text in texts if text.startswith("acme/web/"))
        assert await listed(Wanted(origin="acme", name="web", version="1.1")) == []
        assert await listed(Wanted(origin="acme", name="web", version="1.10")) == [f"acme/web/1.10/{release(0)}"]
        assert await listed(Wanted(origin="acme", channel="rc", name="Db")) == sorted(text for text in texts if "Db" in text)
        assert await listed(Wanted(origin="acme", channel="stable")) == []
        assert await listed(Wanted(origin="acme", distinct=True)) == ["acme/Db", "acme/web", "acme/web-admin"]
        assert await listed(Wanted(terms=("admin",), distinct=True)) == ["acme/web-admin"]


def test_a_package_is_found_by_origin_name_and_their_parts() -> None:
    """As Builder's text search splits hyphenated words."""
    assert words("acme-corp", "Web-admin") == ["acme", "acme-corp", "admin", "corp", "web", "web-admin"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("terms", "names"),
    [
        (("we",), ["web", "web-admin"]),
        (("acme", "web"), ["web", "web-admin"]),
        (("acm", "web"), []),
        (("acme", "adm"), ["web-admin"]),
        (("%",), []),
        (("web-",), ["web-admin"]),
        (("eb",), []),
    ],
)
async def test_a_search_takes_whole_words_and_the_last_ones_beginning(tmp_path: Path, terms: tuple[str, ...], names: list[str]) -> None:
    """Signs of LIKE mean nothing."""
    async with story(tmp_path) as told:
        for name in ("web", "web-admin", "db"):
            await told.publish(f"acme/{name}/1.0/{release(0)}")
        page = await told.kept.read(lambda reader: reader.page(Wanted(terms=terms, distinct=True), start=0, count=50))
        assert [row.name for row in page.rows] == names


@pytest.mark.asyncio
async def test_versions_count_releases_and_name_the_newest(tmp_path: Path) -> None:
    """In descending byte order of the version."""
    async with story(tmp_path) as told:
        for text, target in (("1.0", LINUX), ("1.0", ARM), ("1.9", LINUX), ("1.10", LINUX)):
            await told.publish(f"acme/web/{text}/{release(0)}", target)
        await told.publish(f"acme/web/1.0/{release(1)}")
        rows = await told.kept.read(lambda reader: reader.versions("acme", "web"))
        assert [(row.version, row.release_count, row.latest, row.platforms) for row in rows] == [
            ("1.9", 1, release(0), (LINUX,)),
            ("1.10", 1, release(0), (LINUX,)),
            ("1.0", 2, release(1), (ARM, LINUX)),
        ]


@pytest.mark.asyncio
async def test_keys_are_kept_by_revision_and_never_replaced(tmp_path: Path) -> None:
    """The newest is first."""
    async with story(tmp_path) as told:
        for revision in ("20260101000000", "20260201000000"):
            await told.change(lambda writer, at=revision: writer.add_key("acme", at, f"text {at}"))
        with pytest.raises(ConflictError):
            await told.change(lambda writer: writer.add_key("acme", "20260101000000", "other"))
        assert await told.kept.read(lambda reader: reader.key_revisions("acme")) == ["20260201000000", "20260101000000"]
        assert await told.kept.read(lambda reader: reader.key("acme", "20260101000000")) == "text 20260101000000"
        assert await told.kept.read(lambda reader: reader.key("evil", "20260101000000")) is None


@pytest.mark.asyncio
async def test_a_token_is_found_by_its_public_id_until_it_is_revoked(tmp_path: Path) -> None:
    """Only its digest is in the file (S28)."""
    async with story(tmp_path) as told:
        token = access.mint(b"0123456789", bytes(range(32)))
        presented = access.present(token)
        assert presented is not None
        scopes = (Scope.parse("publish:acme"), Scope.parse("read"))
        await told.change(lambda writer: writer.add_token(told.alice, presented, scopes, expires_us=5_000_000))
        found = await told.kept.read(lambda reader: reader.token(presented.public_id))
        assert found is not None
        assert (found.account, found.scopes, found.digest) == ("alice", scopes, presented.digest)
        assert await told.change(lambda writer: writer.revoke_token(presented.public_id)) is True
        assert await told.change(lambda writer: writer.revoke_token("nobody")) is False
        gone = await told.kept.read(lambda reader: reader.token(presented.public_id))
        assert gone is not None
        assert gone.revoked_us is not None
    secret = token.removeprefix("stead_")[16:].encode()
    assert secret not in await asyncio.to_thread((tmp_path / "depot.sqlite").read_bytes)


@pytest.mark.asyncio
async def test_every_change_is_in_the_chained_trail(tmp_path: Path) -> None:
    """In order, by whom, and whole."""
    async with story(tmp_path) as told:
        made = await told.publish("acme/web/1.0/20260101000000")
        await told.promote(made, "stable")
        rows = await told.kept.read(lambda reader: reader.audit(after=0, count=100))
        assert [entry.action for entry, _ in rows] == [
            "account.create", "origin.create", "channel.create", "channel.create", "package.publish", "package.promote",
        ]  # fmt: skip
        assert {entry.account for entry, _ in rows} == {"alice"}
        head = await told.kept.read(lambda reader: reader.audit_head())
        assert audit.first_break(rows, head) is None


@pytest.mark.asyncio
async def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    """And no log is left behind by a clean end."""
    async with story(tmp_path) as told:
        await told.publish("acme/web/1.0/20260101000000")
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["depot.sqlite"]
    async with catalog(tmp_path) as kept:
        assert await Story(kept).latest("acme/web") == "acme/web/1.0/20260101000000"


@pytest.mark.asyncio
async def test_the_file_is_written_with_full_durability(tmp_path: Path) -> None:
    """WAL, an fsync at every commit, references enforced; readers cannot write."""
    async with story(tmp_path) as told:

        def asked(name: str, of: object) -> object:
            return of._connection.execute(f"PRAGMA {name}").fetchone()[0]  # type: ignore[attr-defined]

        pragmas = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        found = await told.change(lambda writer: [asked(name, writer) for name in pragmas])
        assert found == ["wal", 2, 1, 0]
        assert await told.kept.read(lambda reader: asked("wal_autocheckpoint", reader)) == 0
        with pytest.raises(StorageError):
            await told.kept.read(lambda reader: reader._connection.execute("DELETE FROM audit"))  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_readers_go_on_while_a_change_is_under_way(tmp_path: Path) -> None:
    """A long transaction blocks nobody who reads, and is invisible until it commits."""
    import threading

    async with story(tmp_path) as told:
        begun, go = threading.Event(), threading.Event()

        def slow(writer: Writer) -> None:
            writer.add_package(new("acme/web/1.0/20260101000000"), told.alice.id)
            begun.set()
            assert go.wait(20)

        change = asyncio.ensure_future(told.change(slow))
        assert await asyncio.to_thread(begun.wait, 20)
        assert await told.latest("acme/web") is None
        go.set()
        await change
        assert await told.latest("acme/web") is not None


@pytest.mark.asyncio
async def test_a_damaged_catalog_is_refused_after_a_crash(tmp_path: Path) -> None:
    """Threats 4.1: a log that was left behind means an unclean stop, and then the whole file is looked at before anything is served."""
    path = tmp_path / "depot.sqlite"
    async with catalog(tmp_path) as opened:
        for number in range(60):
            await opened.write(lambda writer, number=number: writer.ensure_account(f"{number:090}"), by="x", at_us=1)
    with path.open("r+b") as file:
        at = file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    assert at > 4096
    (tmp_path / "depot.sqlite-wal").touch()
    with pytest.raises(StorageError, match="is damaged"):
        await asyncio.to_thread(open_catalog, path)


@pytest.mark.asyncio
async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older program must not touch it."""
    async with catalog(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "depot.sqlite") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(StorageError, match="schema 99"):
        await asyncio.to_thread(open_catalog, tmp_path / "depot.sqlite")


@pytest.mark.parametrize("content", [b"this is no database" * 100, b""])
def test_a_file_of_something_else_is_refused_or_taken_when_empty(tmp_path: Path, content: bytes) -> None:
    """Never overwritten."""
    path = tmp_path / "depot.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(StorageError):
            open_catalog(path)
        assert path.read_bytes() == content
        return
    asyncio.run(open_catalog(path).close())


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """It has tables, but not ours."""
    with sqlite3.connect(tmp_path / "depot.sqlite") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StorageError, match="something else"):
        open_catalog(tmp_path / "depot.sqlite")


@pytest.mark.asyncio
async def test_a_failed_disk_stops_all_later_changes(tmp_path: Path) -> None:
    """After an I/O error nobody knows what is on disk: never try again (threats 4.1)."""
    async with story(tmp_path) as told:
        failure = sqlite3.OperationalError("disk I/O error")
        failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

        def fail(_writer: Writer) -> None:
            raise failure

        with pytest.raises(StorageError) as caught:
            await told.change(fail)
        assert caught.value.data["disk_failed"] is True
        with pytest.raises(UnavailableError, match="read-only"):
            await told.publish("acme/web/1.0/20260101000000")
        assert await told.kept.read(lambda reader: reader.origin("acme")) is not None
