"""The root and what lies under it (hart/root.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import UsageError
from hart.ident import Ident
from hart.root import Root


def test_the_option_wins_over_the_environment_over_hab() -> None:
    """`--root`, then STEAD_ROOT, then /hab; an empty one is none."""
    assert Root.choose("/a", {"STEAD_ROOT": "/b"}).path == Path("/a")
    assert Root.choose(None, {"STEAD_ROOT": "/b"}).path == Path("/b")
    assert Root.choose("", {"STEAD_ROOT": ""}).path == Path("/hab")


@pytest.mark.parametrize("text", ["/srv/../opt/stead", "//opt/stead", "/opt//stead/", "/opt/./stead"])
def test_one_directory_has_one_text(text: str) -> None:
    """The root is baked into packages, and compared as text there."""
    assert str(Root.choose(text, {}).path) == "/opt/stead"


def test_a_relative_root_is_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is absolute whatever was typed."""
    monkeypatch.chdir(tmp_path)
    assert Root.choose("tree", {}).path == tmp_path / "tree"


@pytest.mark.parametrize("text", ["/opt:/stead", "/opt/\nstead", "/opt/\x1b[2J", "/opt/\x00"])
def test_a_root_that_would_break_a_path_is_refused(text: str) -> None:
    """Package directories are joined by `:` in PATH and stand on lines of metafiles."""
    with pytest.raises(UsageError):
        Root.choose(text, {})


def test_each_thing_has_its_place() -> None:
    """Habitat's layout under /hab."""
    root = Root(Path("/hab"))
    assert str(root.package(Ident.parse("core/redis/4.0.14/20200403012345"))) == "/hab/pkgs/core/redis/4.0.14/20200403012345"
    assert str(root.pkgs) == "/hab/pkgs"
    assert str(root.artifacts) == "/hab/cache/artifacts"
    assert str(root.keys) == "/hab/cache/keys"
    assert str(root.sources) == "/hab/cache/src"
    assert str(root.sup) == "/hab/sup/default"
    assert str(root.service("redis")) == "/hab/svc/redis"
    assert str(root.user_config("redis")) == "/hab/user/redis/config/user.toml"


def test_a_package_has_a_place_only_when_it_is_fully_known() -> None:
    """An ident without release names many."""
    with pytest.raises(AssertionError):
        Root(Path("/hab")).package(Ident.parse("core/redis"))
