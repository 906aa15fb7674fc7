"""Installing with closure: what goes in, in which order, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from depot import fetch
from depot.choice import Origin, cached_idents, choose, install_order
from depot.client import Depot
from depot.retry import Backoff
from depot.transport import Pace
from hart.artifact import sign_payload
from hart.errors import FormatError, InputError, NotFoundError, StorageError, TrustError, UnavailableError
from hart.ident import Ident
from hart.installed import InstalledTree
from hart.root import Root
from tests.depot.simulator import RELEASE, TARGET, Simulator, ident, key_of, make_package, trusting

APP, LIB, BASE = ident("acme/app"), ident("acme/lib"), ident("base/libc")
BRISK = Pace(connect_s=2, read_s=0.3, request_s=2, backoff=Backoff(tries=2, connect_tries=1, first_s=0.001))


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as made:
        yield made


class Host:
    """A root with its key cache, and one depot."""

    def __init__(self, directory: Path, simulator: Simulator, *trusted: str) -> None:
        self.made = directory / "made"
        self.tree = InstalledTree(Root(directory / "root"))
        self.keys = trusting(directory / "root/cache/keys", *trusted)
        self.simulator = simulator
        self.events: list[fetch.Event] = []

    def publish(self, name: str, *channels: str, **more: Any) -> Path:
        path = make_package(self.made, name, **more)
        self.simulator.add(path, *channels)
        return path

    def publish_app(self) -> None:
        """acme/app needs acme/lib needs base/libc, in this order in TDEPS."""
        self.publish("base/libc")
        self.publish("acme/lib", needs=(BASE,))
        self.publish("acme/app", needs=(LIB, BASE))

    async def install(self, wanted: str | Ident, *, channel: str = "stable", offline: bool = False, **more: Any) -> fetch.InstallReport:
        name = Ident.parse(wanted) if isinstance(wanted, str) else wanted
        common = {"channel": channel, "target": TARGET, "progress": self.events.append, **more}
        if offline:
            return await fetch.install(None, self.tree, self.keys, name, **common)
        async with Depot(self.simulator.url, pace=BRISK) as depot:
            return await fetch.install(depot, self.tree, self.keys, name, **common)

    async def install_file(self, path: Path, **more: Any) -> fetch.InstallReport:
        async with Depot(self.simulator.url, pace=BRISK) as depot:
            return await fetch.install_file(depot, self.tree, self.keys, path, target=TARGET, progress=self.events.append, **more)

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def installed(self) -> set[str]:
        return {str(package.ident) for package in self.tree.list()}

    def cached(self, who: Ident) -> Path:
        return self.tree.root.artifacts / who.archive_name(TARGET)


@pytest.fixture
def host(tmp_path: Path, simulator: Simulator) -> Host:
    return Host(tmp_path, simulator, "acme", "base")


# --- the choice and the order


OLD, NEW = ident("acme/app/1.0"), ident("acme/app/2.0")


@pytest.mark.parametrize(
    ("remote", "local", "ignore_local", "expected"),
    [
        (NEW, OLD, False, (NEW, Origin.DEPOT)),
        (OLD, NEW, False, (NEW, Origin.INSTALLED)),
        (OLD, NEW, True, (OLD, Origin.DEPOT)),
        (OLD, OLD, False, (OLD, Origin.DEPOT)),
        (None, OLD, False, (OLD, Origin.INSTALLED)),
        (None, OLD, True, None),
        (OLD, None, False, (OLD, Origin.DEPOT)),
        (None, None, False, None),
    ],
)
def test_what_is_installed_wins_only_when_strictly_newer(
    remote: Ident | None, local: Ident | None, *, ignore_local: bool, expected: tuple[Ident, Origin] | None
) -> None:
    """Packages 5.4, step 2, as a table."""
    choice = choose(remote, local, channel="stable", ignore_local=ignore_local)
    assert (None if choice is None else (choice.ident, choice.origin)) == expected


@given(st.permutations(range(6)), st.data())
def test_every_package_comes_after_what_it_needs(order: list[int], data: st.DataObject) -> None:
    """Whatever the graph without circles looks like."""
    idents = [ident(f"acme/p{number}") for number in order]
    needs = {each: data.draw(st.lists(st.sampled_from(idents[:at]), unique=True)) if at else [] for at, each in enumerate(idents)}
    ordered = install_order(needs)
    assert sorted(map(str, ordered)) == sorted(map(str, idents))
    for at, each in enumerate(ordered):
        assert set(needs[each]) <= set(ordered[:at])


def test_a_circle_of_needs_is_refused() -> None:
    """No order exists; the circle is named."""
    with pytest.raises(FormatError, match="circle"):
        install_order({APP: [LIB], LIB: [APP]})


def test_cached_names_are_read_with_dashes_in_every_part() -> None:
    """The newest first; what does not fit is left out; a similar name may be in it, since only the content can tell."""
    names = [f"acme-app-{version}-{RELEASE}-{TARGET}.hart" for version in ("1.0", "2.0-rc1", "10.0")]
    names += ["acme-app.hart", f"acme-application-1.0-{RELEASE}-{TARGET}.hart", f"acme-app-1.0-{RELEASE}-other.hart"]
    found = cached_idents(names, Ident.parse("acme/app"), TARGET)
    assert [each.version for each in found] == ["10.0", "2.0-rc1", "1.0"]
    assert [each.version for each in cached_idents(names, Ident.parse("acme/app/1.0"), TARGET)] == ["1.0"]


# --- the way


@pytest.mark.asyncio
async def test_a_package_comes_with_all_that_it_needs_and_last(host: Host) -> None:
    """Closure deepest first; a second call finds it installed and asks for no artifact."""
    host.publish_app()
    report = await host.install("acme/app")
    assert report.new == [BASE, LIB, APP]
    assert report.package.ident == APP
    assert host.installed == {str(BASE), str(LIB), str(APP)}
    before = len(host.simulator.asked("/download"))
    again = await host.install("acme/app")
    assert (again.new, again.package.ident) == ([], APP)
    assert len(host.simulator.asked("/download")) == before == 3


@pytest.mark.asyncio
async def test_what_is_installed_is_not_fetched(host: Host) -> None:
    """A dependency that is there already is left alone."""
    host.publish_app()
    await host.install("acme/lib")
    report = await host.install("acme/app")
    assert report.new == [APP]
    assert len(host.simulator.asked("/download")) == 3


@pytest.mark.asyncio
async def test_the_exact_releases_of_tdeps_are_taken(host: Host) -> None:
    """A newer dependency in the channel does not change what was frozen at the build."""
    host.publish_app()
    host.publish("acme/lib/9.0")
    await host.install("acme/app")
    assert "acme/lib/9.0/" + RELEASE not in host.installed


@pytest.mark.asyncio
async def test_the_channel_decides_and_the_newest_in_it_wins(host: Host) -> None:
    """1.0 in stable, 2.0 in next."""
    host.publish("acme/app/1.0")
    host.publish("acme/app/2.0", "next")
    assert (await host.install("acme/app")).package.ident.version == "1.0"
    assert (await host.install("acme/app", channel="next")).package.ident.version == "2.0"
    stays = await host.install("acme/app")
    assert (stays.package.ident.version, stays.choice.origin) == ("2.0", Origin.INSTALLED)
    assert (await host.install("acme/app", ignore_local=True)).package.ident.version == "1.0"


@pytest.mark.asyncio
async def test_a_fully_qualified_ident_needs_no_channel(host: Host) -> None:
    """It is taken as it is, also when only unstable has it."""
    host.publish("acme/app", "unstable")
    report = await host.install(APP)
    assert report.new == [APP]
    assert report.choice.origin is Origin.ASKED


@pytest.mark.asyncio
async def test_a_missing_package_says_in_which_channels_it_is(host: Host) -> None:
    """The error's next command works."""
    host.publish("acme/app", "next")
    with pytest.raises(NotFoundError, match=r"is not in channel stable, but in next") as caught:
        await host.install("acme/app")
    assert caught.value.next == "stead pkg install acme/app --channel next"
    with pytest.raises(NotFoundError, match="in no channel"):
        await host.install("acme/nothing")


@pytest.mark.asyncio
async def test_downloads_of_a_closure_go_side_by_side_but_not_all_at_once(host: Host) -> None:
    """Twelve dependencies: all arrive."""
    needs = tuple(ident(f"acme/d{number:02}") for number in range(12))
    for need in needs:
        host.publish(str(need.family))
    host.publish("acme/app", needs=needs)
    report = await host.install("acme/app")
    assert report.new[-1] == APP
    assert len(report.new) == 13


@pytest.mark.asyncio
async def test_a_dependency_that_is_nowhere_leaves_the_rest_whole(host: Host) -> None:
    """Nothing half: what the package needs and is missing keeps the package out."""
    host.publish("base/libc")
    host.publish("acme/app", needs=(LIB, BASE))
    with pytest.raises(NotFoundError, match="acme/lib"):
        await host.install("acme/app")
    assert str(APP) not in host.installed


@pytest.mark.asyncio
async def test_a_failed_install_goes_on_where_it_stopped(host: Host) -> None:
    """What was downloaded stays in the cache; the second call fetches the rest."""
    host.publish_app()
    host.simulator.faults.lost = {str(BASE)}
    with pytest.raises(NotFoundError):
        await host.install("acme/app")
    assert host.installed == set()
    host.simulator.faults.lost = set()
    report = await host.install("acme/app")
    assert report.new == [BASE, LIB, APP]
    assert len([path for path in host.simulator.asked("/download") if "/app/" in path]) == 1


@pytest.mark.asyncio
async def test_two_installs_at_once_both_succeed(host: Host) -> None:
    """S17: one package, one download, both say that it is there."""
    host.publish_app()
    first, second = await asyncio.gather(host.install("acme/app"), host.install("acme/app"))
    assert first.package.ident == second.package.ident == APP
    assert len(host.simulator.asked("/download")) == 3


# --- keys and trust


@pytest.mark.asyncio
async def test_a_key_that_is_not_here_is_never_fetched_silently(simulator: Simulator, tmp_path: Path) -> None:
    """The error names the key and the command; the depot is not even asked for the key; the artifact waits in the cache."""
    host = Host(tmp_path, simulator)
    host.publish("acme/app")
    simulator.add_key(key_of("acme"))
    with pytest.raises(TrustError, match="public key acme-") as caught:
        await host.install("acme/app")
    assert "stead origin key download acme" in caught.value.next
    assert simulator.asked("/keys") == []
    assert host.installed == set()
    host.keys.store(key_of("acme").public)
    await host.install("acme/app")
    assert len(simulator.asked("/download")) == 1


@pytest.mark.asyncio
async def test_trust_on_first_use_tells_the_fingerprint_and_keeps_the_key(simulator: Simulator, tmp_path: Path) -> None:
    """Only when asked for, once for each key."""
    host = Host(tmp_path, simulator)
    host.publish_app()
    for origin in ("acme", "base"):
        simulator.add_key(key_of(origin))
    await host.install("acme/app", trust_depot_keys=True)
    told = {str(event.key): event.fingerprint for event in host.told(fetch.KeyTrusted)}
    assert told == {str(key_of(origin).key): key_of(origin).public.fingerprint for origin in ("acme", "base")}
    assert {str(entry.key) for entry in host.keys.list()} == set(told)


@pytest.mark.asyncio
async def test_fetch_refuses_a_depot_key_that_did_not_sign_the_package(simulator: Simulator, tmp_path: Path) -> None:
    """Trust on first use still wants a valid signature, and keeps no key that gave none."""
    host = Host(tmp_path, simulator)
    host.publish("acme/app")
    simulator.add_key(key_of("acme", seed=1))
    with pytest.raises(TrustError):
        await host.install("acme/app", trust_depot_keys=True)
    assert host.keys.list() == []
    assert host.installed == set()


@pytest.mark.asyncio
async def test_fetch_refuses_a_key_under_another_name(simulator: Simulator, tmp_path: Path) -> None:
    """The depot answers the question for acme's key with evil's."""
    host = Host(tmp_path, simulator)
    host.publish("acme/app")
    simulator.faults.key_text = key_of("evil").public.text()
    with pytest.raises(TrustError, match="the depot sent another one: evil"):
        await host.install("acme/app", trust_depot_keys=True)
    assert host.keys.list() == []


def test_a_file_that_another_origin_s_key_signed_is_refused_when_it_is_read(tmp_path: Path) -> None:
    """S04, also where nobody says which package it should be, as before an upload."""
    made = make_package(tmp_path, "acme/app", key=key_of("evil"))
    with pytest.raises(TrustError, match="evil"):
        fetch.open_artifact(made, None, key_of("evil").public, None)


@pytest.mark.asyncio
async def test_a_pinned_key_is_not_replaced_by_the_depot_s(host: Host) -> None:
    """S02: the depot's own key under the same name changes nothing, with or without permission to fetch."""
    evil = key_of("acme", seed=1)
    data = make_package(host.made, "acme/app", key=evil).read_bytes()
    host.simulator.add_bytes(data, APP, (), "stable")
    host.simulator.add_key(evil)
    with pytest.raises(TrustError):
        await host.install("acme/app", trust_depot_keys=True)
    assert host.installed == set()
    assert not host.cached(APP).exists()


@pytest.mark.asyncio
async def test_fetch_refuses_a_trusted_key_of_another_origin(host: Host) -> None:
    """S04: base's key is trusted, but not for acme."""
    data = make_package(host.made, "acme/app", key=key_of("base")).read_bytes()
    host.simulator.add_bytes(data, APP, (), "stable")
    with pytest.raises(TrustError, match="may not sign for acme"):
        await host.install("acme/app")
    assert host.installed == set()


@pytest.mark.asyncio
@pytest.mark.parametrize("at", [0, 20, 100, 250, -1])
async def test_fetch_refuses_a_flipped_bit_that_the_depot_stands_for(host: Host, at: int) -> None:
    """S01: the record's checksum fits the damaged bytes; the signature does not. What stays in the cache does no harm."""
    good = make_package(host.made, "acme/app").read_bytes()
    data = bytearray(good)
    data[at] ^= 1
    host.simulator.add_bytes(bytes(data), APP, (), "stable")
    with pytest.raises((TrustError, FormatError)):
        await host.install("acme/app", trust_depot_keys=True)
    assert host.installed == set()
    host.simulator.add_bytes(good, APP, (), "stable")
    assert (await host.install("acme/app")).new == [APP]


@pytest.mark.asyncio
async def test_fetch_refuses_another_package_under_the_wanted_name(host: Host) -> None:
    """Mix-up: acme/lib's bytes, rightly signed, offered as acme/app."""
    host.simulator.add_bytes(make_package(host.made, "acme/lib").read_bytes(), APP, (), "stable")
    with pytest.raises(TrustError, match="another package: acme/lib"):
        await host.install("acme/app")
    assert host.installed == set()
    assert not host.cached(APP).exists()


@pytest.mark.asyncio
async def test_fetch_refuses_an_older_release_under_a_newer_name(host: Host) -> None:
    """Downgrade: the record says 2.0, the bytes are 1.0's."""
    host.simulator.add_bytes(make_package(host.made, "acme/app/1.0").read_bytes(), ident("acme/app/2.0"), (), "stable")
    with pytest.raises(TrustError, match=r"acme/app/1\.0"):
        await host.install("acme/app")
    assert host.installed == set()


@pytest.mark.asyncio
async def test_fetch_decompresses_nothing_that_is_not_verified(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """S14: a bomb signed by nobody never reaches the decompressor."""
    import hart.archive

    def read(*_: object, **__: object) -> None:
        raise AssertionError("decompressed before the signature was checked")

    monkeypatch.setattr(hart.archive, "read_metafiles", read)
    payload, out = host.made / "bomb", host.made / "bomb.hart"
    host.made.mkdir(parents=True)
    payload.write_bytes(b"\xfd7zXZ\0" + bytes(100))
    sign_payload(payload, out, key_of("acme", seed=1))
    host.simulator.add_bytes(out.read_bytes(), APP, (), "stable")
    with pytest.raises(TrustError):
        await host.install("acme/app")


# --- the cache


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", ["flipped", "short", "other"])
async def test_a_damaged_file_in_the_cache_is_fetched_again(host: Host, damage: str) -> None:
    """It is told, removed, and replaced."""
    path = host.publish("acme/app")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    wrong = {"flipped": bytes(data), "short": path.read_bytes()[:-20], "other": make_package(host.made, "acme/lib").read_bytes()}
    host.tree.root.artifacts.mkdir(parents=True)
    host.cached(APP).write_bytes(wrong[damage])
    report = await host.install("acme/app")
    assert report.new == [APP]
    assert [event.path for event in host.told(fetch.CacheDropped)] == [host.cached(APP)]
    assert host.cached(APP).read_bytes() == path.read_bytes()


@pytest.mark.asyncio
async def test_a_good_file_in_the_cache_is_not_fetched(host: Host) -> None:
    """What a build left there, for example."""
    path = host.publish("acme/app")
    host.tree.root.artifacts.mkdir(parents=True)
    host.cached(APP).write_bytes(path.read_bytes())
    await host.install("acme/app")
    assert host.simulator.asked("/download") == []


@pytest.mark.asyncio
async def test_offline_takes_the_newest_of_cache_and_installed(host: Host) -> None:
    """No depot is asked; a damaged or similar name in the cache is passed over, and stays."""
    host.tree.root.artifacts.mkdir(parents=True)
    for name in ("acme/app/1.0", "acme/app/2.0", "base/libc"):
        needs = () if name == "base/libc" else (BASE,)
        host.cached(ident(name)).write_bytes(make_package(host.made, name, needs=needs).read_bytes())
    host.cached(ident("acme/app/3.0")).write_bytes(b"rubbish")
    host.cached(ident("acme/app-x/9.0")).write_bytes(make_package(host.made, "acme/app-x/9.0").read_bytes())
    report = await host.install("acme/app", offline=True)
    assert report.new == [BASE, ident("acme/app/2.0")]
    assert report.choice.origin is Origin.CACHE
    assert host.cached(ident("acme/app/3.0")).exists()
    again = await host.install("acme/app", offline=True)
    assert (again.new, again.choice.origin) == ([], Origin.INSTALLED)
    with pytest.raises(NotFoundError, match="neither installed nor"):
        await host.install("acme/other", offline=True)
    assert host.simulator.requests == []


# --- files


@pytest.mark.asyncio
async def test_a_file_is_installed_with_what_the_depot_has_for_it(host: Host) -> None:
    """The package itself was never published."""
    host.publish("base/libc")
    host.publish("acme/lib", needs=(BASE,))
    path = make_package(host.made, "acme/app", needs=(LIB, BASE), file_name="renamed.hart")
    report = await host.install_file(path)
    assert report.new == [BASE, LIB, APP]
    assert report.choice.origin is Origin.FILE
    assert (await host.install_file(path)).new == []


@pytest.mark.asyncio
async def test_a_file_signed_by_another_origin_is_refused(host: Host) -> None:
    """S04, for files."""
    with pytest.raises(TrustError, match="may not sign"):
        await host.install_file(make_package(host.made, "acme/app", key=key_of("base")))
    assert host.installed == set()


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [b"", b"hello", b"HART-1\n", bytes(1000)])
async def test_a_file_that_is_no_artifact_is_refused(host: Host, tmp_path: Path, content: bytes) -> None:
    """A format error, no traceback."""
    path = tmp_path / "x.hart"
    path.write_bytes(content)
    with pytest.raises(InputError):
        await host.install_file(path)


# --- trouble


@pytest.mark.asyncio
async def test_an_unreachable_depot_leaves_what_is_installed(host: Host) -> None:
    """S59: the error is unavailable; nothing was touched."""
    host.publish_app()
    await host.install("acme/app")
    host.simulator.faults.hang_times = 9
    with pytest.raises(UnavailableError):
        await host.install("acme/app")
    assert host.installed == {str(BASE), str(LIB), str(APP)}


@pytest.mark.asyncio
async def test_a_cut_connection_in_the_closure_is_resumed(host: Host) -> None:
    """Range for a dependency, too."""
    host.publish_app()
    host.simulator.faults.cut_at, host.simulator.faults.cut_times = 80, 1
    assert (await host.install("acme/app")).new == [BASE, LIB, APP]


@pytest.mark.asyncio
async def test_a_full_disk_is_a_storage_error_and_leaves_no_part(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """S17: ENOSPC while downloading."""
    import errno

    host.publish("acme/app")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("depot.part.os.write", full)
    with pytest.raises(StorageError, match="no space left"):
        await host.install("acme/app")
    assert list(host.tree.root.artifacts.iterdir()) == []
    assert host.installed == set()


@pytest.mark.asyncio
async def test_two_packages_that_need_each_other_are_refused(host: Host) -> None:
    """A circle cannot have been built; nothing goes in."""
    host.publish("acme/lib", needs=(APP,))
    host.publish("acme/app", needs=(LIB,))
    with pytest.raises(FormatError, match="circle"):
        await host.install("acme/app")
    assert host.installed == set()


@pytest.mark.asyncio
async def test_an_endless_closure_ends(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package needs one more: cut at the cap."""
    monkeypatch.setattr(fetch, "CLOSURE_MAX", 5)
    for number in range(8):
        host.publish(f"acme/p{number}", needs=(ident(f"acme/p{number + 1}"),))
    with pytest.raises(InputError, match="more than 5"):
        await host.install("acme/p0")
    assert host.installed == set()
