"""hart.staging and hart.kernel: directories that appear and vanish by one rename."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hart.errors import NotFoundError
from hart.files import fsync_dir
from hart.kernel import rename_directory, sync_tree
from hart.staging import STAGED, Staging, prune, remove_tree, sweep
from tests.hart.building import names, unprivileged


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return tmp_path / "pkgs" / "acme" / "web" / "1.0" / "20260102030405"


def test_a_staging_directory_is_private_and_becomes_the_release(release: Path) -> None:
    """0700 while it is filled, 0755 under its final name."""
    with Staging.beside(release) as staging:
        assert stat.S_IMODE(staging.path.stat().st_mode) == 0o700
        assert staging.path.parent == release.parent
        assert STAGED.fullmatch(staging.path.name)
        (staging.path / "f").write_text("1")
        staging.sync()
        assert staging.become(release)
    assert (release / "f").read_text() == "1"
    assert stat.S_IMODE(release.stat().st_mode) == 0o755
    assert names(release.parent) == [release.name]


def test_a_name_that_is_taken_is_not_replaced(release: Path) -> None:
    """Not even an empty directory; the staging directory goes."""
    release.mkdir(parents=True)
    with Staging.beside(release) as staging:
        (staging.path / "f").touch()
        assert not staging.become(release)
    assert names(release) == []
    assert names(release.parent) == [release.name]


def test_an_error_while_filling_leaves_nothing(release: Path) -> None:
    """Also where directories inside are read-only."""

    def fail() -> None:
        with Staging.beside(release) as staging:
            (staging.path / "d").mkdir(mode=0o555)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(release.parent) == []


def test_sweeping_removes_what_dead_makers_left_and_nothing_else(release: Path) -> None:
    """A live maker holds its lock; other names, also Habitat's own temporary directories, are not ours."""
    with Staging.beside(release) as alive:
        dead = Staging.beside(release)
        (dead.path / "half").touch()
        os.close(dead.fd)  # what the kernel does when the maker dies
        foreign = release.with_name(".hab-pkg-install-20260102030405Xy12Zw")
        foreign.mkdir()
        release.mkdir()
        top = release.parents[3]
        assert sweep(top) == [dead.path]
        assert sweep(top) == []
        assert {path.name for path in release.parent.iterdir()} == {alive.path.name, foreign.name, release.name}


def test_sweeping_prunes_parents_that_are_empty_now(release: Path) -> None:
    """A killed install of the only package leaves no empty tree."""
    os.close(Staging.beside(release).fd)
    top = release.parents[3]
    assert len(sweep(top)) == 1
    assert names(top) == []


def test_sweeping_follows_no_link(release: Path, tmp_path: Path) -> None:
    """A link with the name of a staging directory leads to what is not ours."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary" / "f").touch()
    release.parent.mkdir(parents=True)
    release.with_name(f".hab-pkg-install-{release.name}-{'0' * 12}.stead").symlink_to(tmp_path / "canary")
    assert sweep(release.parents[3]) == []
    assert (tmp_path / "canary" / "f").exists()


def test_taking_a_release_makes_it_vanish_at_once(release: Path) -> None:
    """Its name is free before the first file is deleted; taking what is not there gives nothing."""
    assert Staging.take(release) is None
    release.mkdir(parents=True)
    (release / "f").touch()
    taken = Staging.take(release)
    assert taken is not None
    with taken:
        assert not release.exists()
        assert (taken.path / "f").exists()
    assert names(release.parent) == []


def test_removing_follows_no_link_and_minds_no_mode(tmp_path: Path) -> None:
    """Read-only directories go, what links point to stays."""
    (tmp_path / "canary").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "link").symlink_to(tmp_path / "canary")
    (tree / "a" / "b" / "dir").symlink_to(tmp_path)
    (tree / "a" / "b").chmod(0o555)
    (tree / "a").chmod(0o500)
    remove_tree(tree)
    assert names(tmp_path) == ["canary"]


def test_pruning_stops_at_what_is_not_empty_and_at_the_top(tmp_path: Path) -> None:
    """Only empty directories, only below the top."""
    (tmp_path / "top" / "a" / "b").mkdir(parents=True)
    (tmp_path / "top" / "a" / "f").touch()
    prune(tmp_path / "top" / "a" / "b", tmp_path / "top")
    assert names(tmp_path / "top" / "a") == ["f"]
    (tmp_path / "top" / "a" / "f").unlink()
    prune(tmp_path / "top" / "a", tmp_path / "top")
    assert names(tmp_path / "top") == []


@pytest.mark.parametrize("call", ["renameat2", None])
def test_renaming_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str | None) -> None:
    """By the kernel's call, and by the fallback where there is none."""
    if call is None:
        monkeypatch.setattr("hart.kernel.LIBC", object())
    for name in ("a", "taken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    with pytest.raises(FileExistsError):
        rename_directory(tmp_path / "a", tmp_path / "taken")
    rename_directory(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path) == ["b", "taken"]
    with pytest.raises(FileNotFoundError):
        rename_directory(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("call", ["syncfs", None])
def test_syncing_walks_where_the_kernel_has_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str | None) -> None:
    """Files, directories and links of any tree; what cannot be opened is an error, not skipped."""
    if call is None:
        monkeypatch.setattr("hart.kernel.LIBC", object())
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("1")
    (tmp_path / "d" / "broken").symlink_to("nowhere")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        sync_tree(fd, tmp_path)
    finally:
        os.close(fd)
    if call is not None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            sync_tree(fd, tmp_path)


def test_parents_that_another_install_clears_away_are_made_again(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives up, or is second, removes the empty parents, also while somebody else is making them."""
    name_directory, cleared = release.parent.parent, []

    def cleared_once(path: Path) -> None:
        fsync_dir(path)
        if path == name_directory.parent and not cleared:
            cleared.append(path)
            prune(name_directory, release.parents[3])

    monkeypatch.setattr("hart.files.fsync_dir", cleared_once)
    with Staging.beside(release) as staging:
        assert staging.path.is_dir()
    assert cleared


def test_a_parent_that_cannot_be_made_is_named() -> None:
    """Not a race, however often it is tried."""
    with pytest.raises(NotFoundError, match=r"^/proc/nothing"):
        Staging.beside(Path("/proc/nothing/acme/web/1.0/20260102030405"))


def test_directories_that_their_author_closed_are_removed(tmp_path: Path) -> None:
    """An install hook may leave them; root would not notice, another owner cannot even look into them."""
    top = tmp_path / "top"
    for mode in (0o000, 0o300, 0o500):
        (top / f"{mode:o}" / "inner").mkdir(parents=True)
        (top / f"{mode:o}" / "inner" / "f").touch()
    (top / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir(mode=0o500)
    with unprivileged(tmp_path):
        for mode in (0o000, 0o300, 0o500):
            (top / f"{mode:o}" / "inner").chmod(mode)
            (top / f"{mode:o}").chmod(mode)
        top.chmod(0o000)
        remove_tree(top)
    assert names(tmp_path) == ["kept"]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o500
