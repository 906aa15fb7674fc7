"""hart.installed: installing, looking, verifying, removing; each attack leaves the tree as it was."""

from __future__ import annotations

import fcntl
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hart.artifact import sign_bytes
from hart.errors import ConflictError, FormatError, NotFoundError, SteadError, StorageError, TrustError, UsageError
from hart.filelist import mark_of
from hart.ident import Ident
from hart.installed import InstalledPackage, InstalledTree, Problem, install_hooks_due
from hart.keyfile import KeyName
from hart.metafiles import Metadata
from hart.root import Root
from hart.staging import STAGED, Staging
from hart.target import Target, host_target
from tests.hart import hostile
from tests.hart.building import KEY, OTHER, ident, make_artifact, metadata, names, trust, unprivileged, write_tree

WEB, LIB = ident("web"), ident("lib")


@pytest.fixture
def tree(tmp_path: Path) -> InstalledTree:
    return InstalledTree(Root(tmp_path / "root"))


def nothing_there(tree: InstalledTree) -> bool:
    """No release and no leftover; empty parents and the lock do not count."""
    return not any((path.is_file() and path.name != ".lock") or STAGED.fullmatch(path.name) for path in tree.root.path.rglob("*"))


def install(tree: InstalledTree, directory: Path, meta: Metadata, files: Mapping[str, bytes | str] | None = None) -> InstalledPackage:
    return tree.install(make_artifact(directory, meta, files), trust)


# --- installing


def test_an_artifact_becomes_an_installed_package(tree: InstalledTree, tmp_path: Path) -> None:
    """At <root>/pkgs/O/N/V/R, with its metadata under this root, verified file by file."""
    meta = metadata(WEB, path=(f"/hab/pkgs/{WEB}/bin",), runtime_path=(f"/hab/pkgs/{WEB}/bin",))
    package = tree.install(make_artifact(tmp_path, meta), trust, expect=WEB.family)
    assert package.path == tmp_path / "root/pkgs/acme/web/1.0/20260102030405"
    assert package.metadata.path == (f"{package.path}/bin",)
    assert (package.path / "bin/run").read_bytes().startswith(b"#!/bin/sh")
    assert stat.S_IMODE(package.path.stat().st_mode) == 0o755
    assert tree.verify(package, trust) == []
    assert tree.list() == [package]
    assert names(package.path.parent) == ["20260102030405"]


def test_installing_again_changes_nothing(tree: InstalledTree, tmp_path: Path) -> None:
    """The release that is there stays the same directory."""
    artifact = make_artifact(tmp_path, metadata(WEB))
    before = tree.install(artifact, trust).path.stat()
    assert tree.install(artifact, trust).path.stat() == before


def test_a_flipped_byte_anywhere_is_refused_before_anything_is_written(tree: InstalledTree, tmp_path: Path) -> None:
    """S01: header, signature, payload."""
    artifact = make_artifact(tmp_path, metadata(WEB), {"f": b"1"})
    good = artifact.read_bytes()
    for at in range(0, len(good), 7):
        artifact.write_bytes(good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1 :])
        with pytest.raises(SteadError):
            tree.install(artifact, trust)
    for cut in (0, 10, len(good) // 2, len(good) - 1):
        artifact.write_bytes(good[:cut])
        with pytest.raises(SteadError):
            tree.install(artifact, trust)
    assert not tree.root.path.exists()


def test_a_payload_is_not_decompressed_before_it_is_verified(tree: InstalledTree, tmp_path: Path) -> None:
    """A bomb with a foreign signature is a matter of trust, not of limits."""
    artifact = tmp_path / "bomb.hart"
    signed = sign_bytes(b"something else", KEY)
    artifact.write_bytes(signed[: signed.index(b"\n\n") + 2] + hostile.archive(hostile.file(hostile.HERE + "z", bytes(40 * 2**20))))
    with pytest.raises(TrustError):
        tree.install(artifact, trust)


def test_a_key_of_another_origin_is_refused(tree: InstalledTree, tmp_path: Path) -> None:
    """S04: a good signature by a known key that may not sign for this origin."""
    artifact = make_artifact(tmp_path, metadata(WEB), key=OTHER)
    with pytest.raises(TrustError, match="may not sign for acme"):
        tree.install(artifact, trust)
    assert nothing_there(tree)


def test_an_unknown_key_is_refused(tree: InstalledTree, tmp_path: Path) -> None:
    """What the key cache says about it goes to the caller."""

    def knows_nobody(key: KeyName) -> object:
        raise NotFoundError(f"key {key}", "is not trusted")

    with pytest.raises(NotFoundError, match="is not trusted"):
        tree.install(make_artifact(tmp_path, metadata(WEB)), knows_nobody)  # type: ignore[arg-type]


def test_another_package_than_expected_is_refused(tree: InstalledTree, tmp_path: Path) -> None:
    """S22: a depot that answers with another package, even one of the same origin."""
    artifact = make_artifact(tmp_path, metadata(WEB))
    for wanted in (LIB.family, ident(version="2.0"), ident(release="20260102030406")):
        with pytest.raises(TrustError, match="another package"):
            tree.install(artifact, trust, expect=wanted)
    assert nothing_there(tree)


def test_an_archive_of_another_release_than_its_ident_is_refused(tree: InstalledTree, tmp_path: Path) -> None:
    """S15: IDENT of one package, files of another."""
    payload = hostile.archive(
        hostile.file(hostile.HERE + "TARGET", str(host_target()).encode()),
        hostile.file(hostile.HERE + "RELOCATABLE", b"yes"),
        hostile.file(hostile.HERE + "IDENT", str(hostile.IDENT).encode()),
        hostile.file("hab/pkgs/core/glibc/2/20200101000000/lib/libc.so", b"evil"),
    )
    (tmp_path / "a.hart").write_bytes(sign_bytes(payload, KEY))
    with pytest.raises(FormatError, match="lies outside"):
        tree.install(tmp_path / "a.hart", trust)
    assert nothing_there(tree)


def test_another_target_is_refused(tree: InstalledTree, tmp_path: Path) -> None:
    """It would not run."""
    other = next(target for target in Target if target != host_target())
    with pytest.raises(UsageError, match=f"is built for {other}"):
        install(tree, tmp_path, metadata(WEB, target=other))


def test_a_package_for_another_root_is_refused_with_the_way_out(tree: InstalledTree, tmp_path: Path) -> None:
    """Its files name the root that it was built for."""
    artifact = make_artifact(tmp_path, metadata(WEB, relocatable=False))
    with pytest.raises(UsageError, match="is built for the root /hab") as caught:
        tree.install(artifact, trust)
    assert "--root /hab" in caught.value.next
    fitting = make_artifact(tmp_path, metadata(LIB, relocatable=False, build_root=str(tree.root.path)))
    assert tree.install(fitting, trust).ident == LIB
    moving = make_artifact(tmp_path, metadata(ident("m"), build_root="/elsewhere", path=(f"/elsewhere/pkgs/{ident('m')}/bin",)))
    package = tree.install(moving, trust)
    assert package.metadata.path == (f"{package.path}/bin",)
    assert tree.verify(package, trust) == []


def test_missing_dependencies_are_named(tree: InstalledTree, tmp_path: Path) -> None:
    """All of them, before anything is unpacked."""
    needs = [LIB, ident("db")]
    artifact = make_artifact(tmp_path, metadata(WEB, needs))
    with pytest.raises(NotFoundError, match=f"{needs[0]}, {needs[1]}") as caught:
        tree.install(artifact, trust)
    assert caught.value.data["missing"] == [str(need) for need in needs]
    assert nothing_there(tree)
    for need in needs:
        install(tree, tmp_path, metadata(need))
    assert [member.ident for member in tree.closure(tree.install(artifact, trust))] == [WEB, *needs]


@pytest.mark.parametrize("change", ["target", "root", "needs", "ident", "none"])
def test_a_foreign_archive_is_judged_by_the_same_rules(tree: InstalledTree, tmp_path: Path, change: str) -> None:
    """Its metafiles lie anywhere, so they are read from what was unpacked, which goes when it does not fit."""
    files = {
        "bin/run": "x",
        "IDENT": str(LIB if change == "ident" else WEB),
        "TARGET": str(next(target for target in Target if target != host_target()) if change == "target" else host_target()),
        "RELOCATABLE": "no" if change == "root" else "yes",
        "TDEPS": str(LIB) if change == "needs" else "",
    }
    payload = hostile.archive(*[hostile.file(hostile.HERE + name, text.encode()) for name, text in files.items()])
    (tmp_path / "a.hart").write_bytes(sign_bytes(payload, KEY))
    if change == "none":
        assert tree.install(tmp_path / "a.hart", trust).ident == WEB
        return
    why = {"target": "is built for", "root": "for the root /hab", "needs": "not installed", "ident": "IDENT says"}
    with pytest.raises(SteadError, match=why[change]):
        tree.install(tmp_path / "a.hart", trust)
    assert nothing_there(tree)


def test_an_archive_without_a_release_is_refused(tree: InstalledTree, tmp_path: Path) -> None:
    """Empty, for macOS, or with idents that no package has."""
    for members in ([], [hostile.file("opt/" + hostile.HERE + "IDENT")], [hostile.file("hab/pkgs/acme/web/../20260102030405/x")]):
        (tmp_path / "a.hart").write_bytes(sign_bytes(hostile.archive(*members), KEY))
        with pytest.raises(FormatError):
            tree.install(tmp_path / "a.hart", trust)
    assert nothing_there(tree)


def test_a_damaged_release_in_the_way_is_replaced(tree: InstalledTree, tmp_path: Path) -> None:
    """Empty, or without its IDENT: nobody counts it as installed."""
    release = tree.root.package(WEB)
    release.mkdir(parents=True)
    (release / "half").touch()
    assert tree.list() == []
    package = install(tree, tmp_path, metadata(WEB))
    assert not (release / "half").exists()
    assert tree.list() == [package]
    assert names(release.parent) == [release.name]


def test_a_release_of_another_target_in_the_way_is_a_conflict(tree: InstalledTree, tmp_path: Path) -> None:
    """It is complete, so it is somebody's."""
    other = next(target for target in Target if target != host_target())
    release = tree.root.package(WEB)
    release.mkdir(parents=True)
    write_tree(release, {}, metadata(WEB, target=other))
    assert tree.list() == []
    assert tree.find(WEB) is None
    with pytest.raises(ConflictError, match="is installed for"):
        install(tree, tmp_path, metadata(WEB))


def test_what_is_no_file_is_refused_without_waiting(tree: InstalledTree, tmp_path: Path) -> None:
    """A pipe would block for ever."""
    os.mkfifo(tmp_path / "pipe.hart")
    for path, error in ((tmp_path / "pipe.hart", FormatError), (tmp_path, SteadError), (tmp_path / "nowhere.hart", NotFoundError)):
        with pytest.raises(error):
            tree.install(path, trust)


def test_dropped_setuid_bits_are_told(tree: InstalledTree, tmp_path: Path) -> None:
    """A person should know why sudo does not work."""
    told: list[str] = []
    payload = hostile.archive(
        hostile.file(hostile.HERE + "IDENT", str(hostile.IDENT).encode()),
        hostile.file(hostile.HERE + "TARGET", str(host_target()).encode()),
        hostile.file(hostile.HERE + "RELOCATABLE", b"yes"),
        hostile.file(hostile.HERE + "bin/sudo", mode=b"0004755\0"),
    )
    (tmp_path / "a.hart").write_bytes(sign_bytes(payload, KEY))
    tree.install(tmp_path / "a.hart", trust, report=told.append)
    assert told == [f"{hostile.IDENT}: setuid, setgid and sticky bits were dropped from bin/sudo"]


class Meddled(InstalledTree):
    """A tree where somebody does something between verifying and unpacking."""

    def __init__(self, root: Root, act: Callable[[], object]) -> None:
        super().__init__(root)
        self.act = act

    def _authorise(self, key: KeyName, ident_: Ident, expect: Ident | None) -> None:
        super()._authorise(key, ident_, expect)
        self.act()


def test_a_file_swapped_after_verification_is_not_the_one_that_is_unpacked(tmp_path: Path) -> None:
    """S18: the path is opened once."""
    good = make_artifact(tmp_path / "good", metadata(WEB), {"f": b"good"})
    evil = make_artifact(tmp_path / "evil", metadata(WEB), {"f": b"evil"})
    tree = Meddled(Root(tmp_path / "root"), lambda: evil.replace(good))
    assert (tree.install(good, trust).path / "f").read_bytes() == b"good"


def test_a_file_rewritten_after_verification_is_refused(tmp_path: Path) -> None:
    """S18: the bytes are hashed again while they are unpacked."""
    good = make_artifact(tmp_path / "good", metadata(WEB), {"f": os.urandom(50_000)})
    evil = make_artifact(tmp_path / "evil", metadata(WEB), {"f": os.urandom(50_000)}).read_bytes()

    def rewrite() -> None:
        with good.open("r+b") as out:
            out.write(evil)
            out.truncate()

    tree = Meddled(Root(tmp_path / "root"), rewrite)
    with pytest.raises(TrustError, match="changed after it was verified"):
        tree.install(good, trust)
    assert nothing_there(tree)


def test_a_dependency_removed_while_unpacking_is_noticed(tmp_path: Path) -> None:
    """The last look is under the lock that an uninstall needs."""
    tree = InstalledTree(Root(tmp_path / "root"))
    install(tree, tmp_path, metadata(LIB))
    artifact = make_artifact(tmp_path, metadata(WEB, [LIB]))

    class Late(InstalledTree):
        def _put_in_place(self, staging: Staging, metadata: Metadata) -> InstalledPackage:
            tree.uninstall(LIB)
            return super()._put_in_place(staging, metadata)

    with pytest.raises(NotFoundError, match="needs what is not installed"):
        Late(tree.root).install(artifact, trust)
    assert nothing_there(tree)


def test_nothing_is_removed_while_dependencies_are_checked(tree: InstalledTree, tmp_path: Path) -> None:
    """Install holds the tree's lock shared from the check to the rename, uninstall alone: each keeps the other out."""
    seen: list[str] = []

    def kept_out(mode: int) -> None:
        with (tree.root.pkgs / ".lock").open("rb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, mode | fcntl.LOCK_NB)

    class Watched(InstalledTree):
        def _complete(self, ident: Ident) -> InstalledPackage | None:
            if self.root.package(ident).exists():
                kept_out(fcntl.LOCK_EX)
                seen.append("install")
            return super()._complete(ident)

        def _remove(self, ident: Ident) -> None:
            kept_out(fcntl.LOCK_SH)
            seen.append("uninstall")
            super()._remove(ident)

    watched = Watched(tree.root)
    watched.install(make_artifact(tmp_path, metadata(WEB)), trust)
    watched.uninstall(WEB)
    assert seen == ["install", "uninstall"]


def test_a_refused_install_leaves_no_empty_parents(tree: InstalledTree, tmp_path: Path) -> None:
    """Found out while unpacking, when they were made already."""
    payload = hostile.archive(hostile.file(hostile.HERE + "IDENT", b"acme/other/1/20260102030405"), hostile.file("hab/pkgs/x"))
    (tmp_path / "x.hart").write_bytes(sign_bytes(payload, KEY))
    with pytest.raises(FormatError, match="lies outside"):
        tree.install(tmp_path / "x.hart", trust)
    assert names(tree.root.pkgs) == []


def test_many_installs_of_one_package_at_once_agree(tree: InstalledTree, tmp_path: Path) -> None:
    """S17: one wins, the others use it; no leftovers, no errors."""
    artifact = make_artifact(tmp_path, metadata(WEB), {f"d{number}/f": os.urandom(100) for number in range(50)})
    done: list[object] = []

    def one() -> None:
        try:
            done.append(tree.install(artifact, trust).path)
        except Exception as error:  # noqa: BLE001  whatever it is, the test shows it
            done.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [tree.root.package(WEB)] * 6
    assert tree.verify(tree.get(WEB), trust) == []
    assert names(tree.root.package(WEB).parent) == [WEB.release]


def test_leftovers_of_killed_installs_are_swept_by_the_next_one(tree: InstalledTree, tmp_path: Path) -> None:
    """Anywhere in the tree."""
    left = tree.root.package(LIB).with_name(f".hab-pkg-install-{LIB.release}-{'a' * 12}.stead")
    (left / "bin").mkdir(parents=True)
    assert tree.list() == []
    install(tree, tmp_path, metadata(WEB))
    assert names(tree.root.pkgs / "acme") == ["web"]


# --- looking


def test_the_newest_that_satisfies_is_found(tree: InstalledTree, tmp_path: Path) -> None:
    """By version order, not by text; lists are oldest first."""
    idents = [
        ident(version=version, release=release)
        for version, release in (("1.10", "20260101000000"), ("1.9", "20260102000000"), ("1.9", "20260103000000"))
    ]
    for of in idents:
        install(tree, tmp_path, metadata(of))
    assert tree.get(WEB.family).ident == idents[0]
    assert tree.get(Ident("acme", "web", "1.9")).ident == idents[2]
    assert [package.ident for package in tree.list()] == [idents[1], idents[2], idents[0]]
    assert [package.ident for package in tree.list(Ident("acme", "web", "1.9"))] == idents[1:]
    assert tree.find(LIB) is None
    with pytest.raises(NotFoundError) as caught:
        tree.get(LIB.family)
    assert caught.value.next == "stead pkg install acme/lib"


def test_strangers_in_the_tree_are_no_packages(tree: InstalledTree) -> None:
    """Files, odd names, a release whose IDENT is another's, one with a directory in the place of a metafile."""
    pkgs = tree.root.pkgs
    write = tree.root.package(WEB)
    write.mkdir(parents=True)
    write_tree(write, {}, metadata(LIB))
    (pkgs / "README").touch()
    damaged = tree.root.package(LIB)
    damaged.mkdir(parents=True)
    write_tree(damaged, {}, metadata(LIB), signed=False)
    (damaged / "DEPS").mkdir()
    (pkgs / "acme" / "web" / "1.0" / "notes").mkdir()
    (pkgs / "Upper" / "x" / "1" / "20260102030405").mkdir(parents=True)
    assert tree.list() == []
    assert InstalledTree(Root(pkgs / "nowhere")).list() == []


def test_what_we_may_not_look_at_is_told(tree: InstalledTree, tmp_path: Path) -> None:
    """Leaving it out would let go what it needs."""
    for closed in (tree.root.pkgs / "acme", tree.root.package(WEB).parent, tree.root.package(WEB)):
        tree.root.package(WEB).mkdir(parents=True, exist_ok=True)
        with unprivileged(tmp_path):
            closed.chmod(0o000)
            for look in (tree.list, lambda: tree.find(WEB), lambda: tree.uninstall(WEB)):
                with pytest.raises(StorageError, match="permission denied"):
                    look()
            closed.chmod(0o755)


def test_others_cannot_take_the_lock_of_the_tree(tree: InstalledTree, tmp_path: Path) -> None:
    """Who may open a file may lock it for ever: no install would ever end."""
    install(tree, tmp_path, metadata(WEB))
    assert stat.S_IMODE((tree.root.pkgs / ".lock").stat().st_mode) == 0o600


def test_the_environment_of_an_old_package_is_composed(tree: InstalledTree, tmp_path: Path) -> None:
    """Before RUNTIME_PATH there was PATH of the package and of all that it needs."""
    install(tree, tmp_path, metadata(LIB, path=(f"/hab/pkgs/{LIB}/bin",)))
    web = install(tree, tmp_path, metadata(WEB, [LIB], path=(f"/hab/pkgs/{WEB}/bin",), runtime_environment={"A": "1"}))
    path = f"{tree.root.package(WEB)}/bin:{tree.root.package(LIB)}/bin"
    assert tree.environment(web, {"PATH": "/usr/bin", "HOME": "/"}) == {"PATH": f"{path}:/usr/bin", "HOME": "/", "A": "1"}


def test_files_are_found_by_their_exact_name(tree: InstalledTree, tmp_path: Path) -> None:
    """Links count, directories and parts of names do not."""
    web = install(tree, tmp_path, metadata(WEB), {"bin/x": b"", "lib/x": "../bin/x", "bin/xx": b"", "d/x/y": b""})
    assert [str(path.relative_to(web.path)) for _, path in tree.provides("x")] == ["bin/x", "lib/x"]
    assert list(tree.provides("x", LIB.family)) == []


def test_install_hooks_are_due_until_they_have_succeeded(tree: InstalledTree, tmp_path: Path) -> None:
    """INSTALL_HOOK_STATUS holds the exit code (packages 5.4)."""
    web = install(tree, tmp_path, metadata(WEB), {"hooks/install": b"exit 0"})
    lib = install(tree, tmp_path, metadata(LIB))
    assert install_hooks_due(web)
    assert not install_hooks_due(lib)
    for status, due in (("1\n", True), ("0\n", False)):
        (web.path / "INSTALL_HOOK_STATUS").write_text(status)
        assert install_hooks_due(web) is due
    assert tree.verify(web, trust) == []


# --- verifying


def test_verifying_tells_changed_missing_and_extra_files(tree: InstalledTree, tmp_path: Path) -> None:
    """Against the signed list that the package brought."""
    web = install(tree, tmp_path, metadata(WEB), {"bin/a": b"a", "bin/b": b"b"})
    (web.path / "bin/a").write_bytes(b"A")
    (web.path / "bin/b").unlink()
    (web.path / "bin/c").touch()
    assert [problem.path for problem in tree.verify(web, trust)] == ["bin/a", "bin/b", "bin/c"]


def test_a_link_or_directory_in_the_place_of_the_list_is_a_problem(tree: InstalledTree, tmp_path: Path) -> None:
    """Like every other thing that happened to the files of a package."""
    package = install(tree, tmp_path, metadata(WEB))
    listed = package.path / "FILES"
    listed.rename(tmp_path / "FILES")
    listed.symlink_to(tmp_path / "FILES")
    assert tree.verify(package, trust) == [Problem("FILES", "is a link, where a package has a file")]
    listed.unlink()
    listed.mkdir()
    assert tree.verify(package, trust) == [Problem("FILES", "is a directory, where a package has a file")]


def test_a_list_that_is_gone_damaged_or_signed_by_others_is_a_problem(tree: InstalledTree, tmp_path: Path) -> None:
    """Whoever changes files could change the list."""
    web = install(tree, tmp_path, metadata(WEB))
    files = web.path / "FILES"
    good = files.read_bytes()
    body = good[good.index(b"\n\n") + 2 :]
    for changed in (
        good + b"0" * 64 + b"  /hab/pkgs/x\n",
        good.replace(b"HART-1", b"HART-2"),
        sign_bytes(body, OTHER),
        sign_bytes(b"x", KEY),
    ):
        files.write_bytes(changed)
        assert [problem.path for problem in tree.verify(web, trust)] == ["FILES"]
    files.unlink()
    assert tree.verify(web, trust) == [Problem("FILES", "is not there: the package has no signed list of files to compare with")]


def test_a_damaged_release_is_replaced_at_once_and_nothing_is_left_over(
    tree: InstalledTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a file of it open keeps that; its name always has a whole release, where the file system can exchange two names."""
    artifact = make_artifact(tmp_path, metadata(WEB), {"bin/a": b"good"})
    for can_exchange in (True, False):
        web = tree.install(artifact, trust)
        (web.path / "bin/a").write_bytes(b"bad")
        (web.path / "bin/extra").touch()
        with (web.path / "bin/a").open("rb") as running:
            if not can_exchange:
                monkeypatch.setattr("hart.staging.exchange_directories", lambda _one, _other: False)
            assert tree.install(artifact, trust, expect=WEB, again=True) == web
            assert running.read() == b"bad"
        assert (web.path / "bin/a").read_bytes() == b"good"
        assert tree.verify(web, trust) == []
        assert not [path for path in web.path.parent.iterdir() if path != web.path], "no staging directory"


def test_what_is_gone_is_installed_again(tree: InstalledTree, tmp_path: Path) -> None:
    """The whole release, or one of its metafiles."""
    artifact = make_artifact(tmp_path, metadata(WEB), {"bin/a": b"a"})
    web = tree.install(artifact, trust, again=True)
    (web.path / "IDENT").unlink()
    assert tree.find(WEB) is None
    assert tree.install(artifact, trust, again=True) == web == tree.find(WEB)


def test_a_refused_artifact_leaves_a_damaged_release_as_it_is(tree: InstalledTree, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path, metadata(WEB), {"bin/a": b"a"})
    web = tree.install(artifact, trust)
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"x")
    with pytest.raises(TrustError):
        tree.install(artifact, trust, again=True)
    assert (web.path / "bin/a").read_bytes() == b"a"


def test_whoever_verifies_in_the_background_may_rest_after_each_block(tree: InstalledTree, tmp_path: Path) -> None:
    web = install(tree, tmp_path, metadata(WEB), {"bin/a": b"a" * 1000})
    sizes: list[int] = []
    assert tree.verify(web, trust, pause=sizes.append) == []
    assert 1000 in sizes


def test_the_mark_of_a_tree_changes_with_every_file(tree: InstalledTree, tmp_path: Path) -> None:
    """Then it is hashed again; a mark that stays the same says that nobody wrote anything."""
    web = install(tree, tmp_path, metadata(WEB), {"bin/a": b"a", "bin/b": b"b"})
    marks = [mark_of(web.path)]
    assert mark_of(web.path) == marks[0]
    (web.path / "bin/a").write_bytes(b"A")
    marks.append(mark_of(web.path))
    (web.path / "bin/b").chmod(0o777)
    marks.append(mark_of(web.path))
    (web.path / "bin/c").touch()
    marks.append(mark_of(web.path))
    (web.path / "bin/c").unlink()
    assert len({*marks}) == 4


# --- removing


def test_uninstalling_removes_what_only_that_package_needed(tree: InstalledTree, tmp_path: Path) -> None:
    """And the empty directories above, in an order that is safe to kill."""
    install(tree, tmp_path, metadata(LIB))
    install(tree, tmp_path, metadata(ident("db")))
    install(tree, tmp_path, metadata(WEB, [LIB]))
    removed = tree.uninstall(WEB.family)
    assert removed.packages == (WEB, LIB)
    assert [package.ident for package in tree.list()] == [ident("db")]
    assert names(tree.root.pkgs / "acme") == ["db"]


def test_a_needed_package_is_not_uninstalled(tree: InstalledTree, tmp_path: Path) -> None:
    """The error names who needs it."""
    install(tree, tmp_path, metadata(LIB))
    install(tree, tmp_path, metadata(WEB, [LIB]))
    with pytest.raises(ConflictError, match=f"is needed by {WEB}"):
        tree.uninstall(LIB.family)
    assert [package.ident for package in tree.dependants(LIB)] == [WEB]
    assert len(tree.list()) == 2


def test_a_dry_run_removes_nothing(tree: InstalledTree, tmp_path: Path) -> None:
    """But says what would go."""
    install(tree, tmp_path, metadata(WEB))
    assert tree.uninstall(WEB, dry_run=True).packages == (WEB,)
    assert len(tree.list()) == 1


def test_keeping_the_latest_removes_the_older_ones(tree: InstalledTree, tmp_path: Path) -> None:
    """What is needed or pinned among them is kept and told."""
    releases = [ident(version=version) for version in ("1.0", "1.1", "1.2", "1.10")]
    for of in releases:
        install(tree, tmp_path, metadata(of))
    install(tree, tmp_path, metadata(LIB, [releases[1]]))
    removed = tree.uninstall(WEB.family, keep_latest=1, pinned=[releases[0]])
    assert removed.packages == (releases[2],)
    assert [(kept.ident, kept.needed_by) for kept in removed.kept] == [(releases[0], ()), (releases[1], (LIB,))]
    assert tree.uninstall(WEB.family, keep_latest=9).packages == ()


def test_a_service_that_the_supervisor_runs_is_not_uninstalled(tree: InstalledTree, tmp_path: Path) -> None:
    """Its spec pins it, and what it needs."""
    install(tree, tmp_path, metadata(LIB))
    install(tree, tmp_path, metadata(WEB, [LIB]))
    specs = tree.root.sup / "specs"
    specs.mkdir(parents=True)
    (specs / "web.spec").write_text('ident = "acme/web"\n')
    with pytest.raises(ConflictError, match="used by the supervisor") as caught:
        tree.uninstall(WEB)
    assert caught.value.next == "stead svc unload acme/web"
    (specs / "web.spec").unlink()
    assert tree.uninstall(WEB, exclude=[LIB.family]).packages == (WEB,)


def test_uninstalling_what_is_not_there(tree: InstalledTree) -> None:
    """A typo, most of the time."""
    with pytest.raises(NotFoundError, match="is not installed"):
        tree.uninstall(WEB.family)
    assert not tree.root.path.exists()


# --- what can only be seen from outside

CHILD = """
import sys
from pathlib import Path
from hart.ident import Ident
from hart.installed import InstalledTree
from hart.root import Root
from tests.hart.building import trust
tree = InstalledTree(Root(Path(sys.argv[1])))
"""


def child(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", CHILD + script, *map(str, arguments)]


@pytest.mark.slow
def test_a_disk_that_refuses_more_leaves_no_part(tree: InstalledTree, tmp_path: Path) -> None:
    """S17: the largest file that may be written stands for a full disk; the package fits the moment there is room."""
    artifact = make_artifact(tmp_path, metadata(WEB), {"a": b"small", "large": os.urandom(500_000)})
    script = """
import resource
from hart.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    tree.install(Path(sys.argv[2]), trust)
except StorageError as error:
    print("refused:", error.cause)
"""
    done = subprocess.run(child(script, tree.root.path, artifact), check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused: file too large\n"
    assert nothing_there(tree)
    assert tree.verify(tree.install(artifact, trust), trust) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_any_moment_leaves_a_package_absent_or_whole(tree: InstalledTree, tmp_path: Path) -> None:
    """S16: kill -9 fifty times, while installing and while uninstalling; the next install sweeps."""
    chance = random.Random(16)
    artifact = make_artifact(tmp_path, metadata(WEB), {f"d{number % 20}/f{number}": chance.randbytes(4000) for number in range(400)})
    script = """
act = {"install": lambda: tree.install(Path(sys.argv[3]), trust), "uninstall": lambda: tree.uninstall(Ident.parse("acme/web"))}[sys.argv[2]]
print("ready", flush=True)
sys.stdin.readline()
act()
print("done", flush=True)
"""

    def run(verb: str, delay_s: float | None) -> tuple[bool, float]:
        """Whether it came to its end, and how long that took, before it was killed after `delay_s`."""
        with subprocess.Popen(
            child(script, tree.root.path, verb, artifact), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            started = time.monotonic()
            process.stdin.write("go\n")
            process.stdin.flush()
            if delay_s is not None:
                time.sleep(delay_s)
                process.kill()
            ended = process.stdout.readline() == "done\n"
            return ended, time.monotonic() - started

    took = {verb: run(verb, None)[1] for verb in ("install", "uninstall")}
    outcomes: set[tuple[str, bool]] = set()
    for _ in range(50):
        verb = "uninstall" if tree.find(WEB) else "install"
        ended, _ = run(verb, chance.uniform(0, took[verb] * 1.1))
        packages = tree.list()
        for package in packages:
            assert tree.verify(package, trust) == []
        assert not ended or bool(packages) == (verb == "install")
        outcomes.add((verb, ended))
    assert ("install", False) in outcomes
    if tree.find(WEB):
        tree.uninstall(WEB)
    tree.install(artifact, trust)
    assert names(tree.root.package(WEB).parent) == [WEB.release]
    assert not [path for path in tree.root.path.rglob("*") if STAGED.fullmatch(path.name)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_stays_constant_for_a_package_of_300_megabytes(tree: InstalledTree, tmp_path: Path) -> None:
    """Pack, sign, verify and install stay below 120 MB each, measured as the peak of a process of its own."""
    megabytes = 300
    top = tmp_path / "tree"
    write_tree(top, {}, metadata(WEB), signed=False)
    with (top / "large").open("wb") as out:
        for number in range(megabytes):
            if number % 5 == 0:  # five times the same: as compressible as programs are
                block = os.urandom(2**20)
            out.write(block)
    peak = """
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""
    steps = {
        "pack": """
from hart.archive import pack
with open(sys.argv[3], "wb") as out:
    pack(Path(sys.argv[2]), Ident.parse(sys.argv[4]), out, mtime=0)
""",
        "sign": """
from hart.artifact import sign_payload
from tests.hart.building import KEY
sign_payload(Path(sys.argv[3]), Path(sys.argv[5]), KEY)
""",
        "verify": "from hart.artifact import verify\nwith open(sys.argv[5], 'rb') as stream: verify(stream, trust, thing='x')",
        "install": "tree.install(Path(sys.argv[5]), trust)",
    }
    peaks = {}
    for name, step in steps.items():
        command = child(f"{peak}\n{step}\nprint(peak())", tree.root.path, top, tmp_path / "payload", WEB, tmp_path / "a.hart")
        peaks[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert max(peaks.values()) < 120_000_000, peaks
    assert (tree.get(WEB).path / "large").stat().st_size == megabytes * 2**20
