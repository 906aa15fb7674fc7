"""A service's directories."""

import os
import stat
from pathlib import Path

import pytest

from hart.account import own_account
from hart.errors import StorageError
from hart.servicedir import OURS, THEIRS, differing, make_directories, missing_directories, put


def test_directories_have_habitats_modes_whatever_the_umask_says(tmp_path: Path) -> None:
    """Supervisor 2.5: 0755 for what is ours, 0770 for what is the service's."""
    before = os.umask(0o077)
    try:
        make_directories(tmp_path / "svc" / "web", own_account())
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "svc" / "web").iterdir()}
    assert modes == dict.fromkeys(OURS, 0o755) | dict.fromkeys(THEIRS, 0o770)


def test_what_exists_keeps_its_mode(tmp_path: Path) -> None:
    """A service may have changed what is its own."""
    make_directories(tmp_path / "web", own_account())
    (tmp_path / "web" / "data").chmod(0o700)
    make_directories(tmp_path / "web", own_account())
    assert stat.S_IMODE((tmp_path / "web" / "data").stat().st_mode) == 0o700


def test_what_a_kill_left_half_made_is_finished(tmp_path: Path) -> None:
    """A directory appears with its owner and mode or not at all."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / ".data.new").mkdir(mode=0o700)
    make_directories(tmp_path / "web", own_account())
    assert stat.S_IMODE((tmp_path / "web" / "data").stat().st_mode) == 0o770
    assert not list((tmp_path / "web").glob(".*"))


def test_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    """Whoever may write there must not move our writing elsewhere."""
    (tmp_path / "web").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "web" / "config").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="in the way"):
        make_directories(tmp_path / "web", own_account())


def test_what_is_the_same_is_not_written_and_what_vanished_is_removed(service: Path) -> None:
    """A file that the service made itself stays."""
    account = own_account()
    put(service, {"config/a": b"1", "config/b": b"1"}, account, before=[])
    (service / "config" / "own").write_text("mine")
    first = (service / "config" / "a").stat().st_ino
    put(service, {"config/a": b"1"}, account, before=["config/a", "config/b", "config/never/was"])
    assert (service / "config" / "a").stat().st_ino == first
    assert sorted(path.name for path in (service / "config").iterdir()) == ["a", "own"]


@pytest.fixture
def service(tmp_path: Path) -> Path:
    made = tmp_path / "svc" / "web"
    make_directories(made, own_account())
    return made


@pytest.mark.parametrize("theirs", ["config", "config_install"])
def test_a_link_in_the_services_own_directory_leads_nowhere(tmp_path: Path, service: Path, theirs: str) -> None:
    """It belongs to the service's user, who must not make us write elsewhere."""
    outside = tmp_path / "etc"
    outside.mkdir()
    (outside / "passwd").write_text("root")
    (service / theirs / "file").symlink_to(outside / "passwd")
    (service / theirs / "sub").symlink_to(outside)
    put(service, {f"{theirs}/file": b"evil"}, own_account(), before=[])
    assert (outside / "passwd").read_text() == "root"
    assert (service / theirs / "file").read_bytes() == b"evil"
    with pytest.raises(StorageError):
        put(service, {f"{theirs}/sub/passwd": b"evil"}, own_account(), before=[])
    put(service, {}, own_account(), before=[f"{theirs}/sub/passwd"])
    assert (outside / "passwd").read_text() == "root"


def test_a_directory_in_the_place_of_a_file_is_named(service: Path) -> None:
    """The whole path, not the last part of it or the number of a descriptor."""
    (service / "hooks" / "run").mkdir()
    with pytest.raises(StorageError) as caught:
        put(service, {"hooks/run": b"x"}, own_account(), before=[])
    assert caught.value.thing == str(service / "hooks" / "run")
    assert list((service / "hooks").iterdir()) == [service / "hooks" / "run"], "a temporary file is left"


def test_what_differs_from_what_was_put_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    """Edited, deleted, opened to others, replaced by a link: each with what is the matter."""
    web, account = tmp_path / "web", own_account()
    rendered = {"run": b"r", "hooks/init": b"i", "config/a": b"a", "config/b": b"b", "config/deep/c": b"c", "config/d": b"d"}
    make_directories(web, account)
    put(web, rendered, account, before=())
    assert differing(web, rendered, account) == {}
    (web / "config/a").write_bytes(b"A")
    (web / "config/b").unlink()
    (web / "config/deep/c").unlink()
    (web / "config/deep").rmdir()
    (web / "config/d").unlink()
    (web / "config/d").symlink_to(web / "config/a")
    (web / "hooks/init").chmod(0o777)
    expected = {
        "config/a": "has other content",
        "config/b": "is missing",
        "config/d": "is no regular file",
        "config/deep/c": "is missing",
        "hooks/init": "has mode 0777 instead of 0755",
    }
    assert differing(web, rendered, account) == expected
    assert differing(web, rendered, account) == expected
    put(web, {path: rendered[path] for path in expected}, account, before=(), anew=expected)
    assert differing(web, rendered, account) == {}
    assert (web / "config/a").read_bytes() == b"a"
    assert differing(tmp_path / "none", {"run": b"r"}, account) == {"run": "is missing"}


def test_missing_directories_are_told(tmp_path: Path) -> None:
    web = tmp_path / "web"
    assert missing_directories(web) == [".", *OURS, *THEIRS]
    make_directories(web, own_account())
    (web / "data").rmdir()
    assert missing_directories(web) == ["data"]
