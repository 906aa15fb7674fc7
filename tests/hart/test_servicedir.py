"""A service's directories."""

import os
import stat
from pathlib import Path

import pytest

from hart.account import own_account
from hart.errors import StorageError
from hart.servicedir import OURS, THEIRS, make_directories


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


def test_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    """Whoever may write there must not move our writing elsewhere."""
    (tmp_path / "web").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "web" / "config").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="in the way"):
        make_directories(tmp_path / "web", own_account())
