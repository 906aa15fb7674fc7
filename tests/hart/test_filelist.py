"""hart.filelist: the list of checksums, and a tree against it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hart.errors import FormatError
from hart.filelist import compare, files_list, parse_files_list

PREFIX = "/hab/pkgs/acme/web/1.0/20260102030405"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("bin/run", "lib/a", "lib-x", "MANIFEST", "FILES", "lib/MANIFEST"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        path.chmod(0o644)
    (tmp_path / "link").symlink_to("lib-x")
    return tmp_path


def test_the_list_is_habitats(tree: Path) -> None:
    """Regular files sorted as bytes, BLAKE2b-256, two spaces, absolute path; not MANIFEST and FILES at the top (packages 3.2)."""
    lines = files_list(tree, PREFIX).decode().splitlines()
    assert [line[66:] for line in lines] == [f"{PREFIX}/{name}" for name in ("bin/run", "lib-x", "lib/MANIFEST", "lib/a")]
    assert lines[1] == hashlib.blake2b(b"lib-x", digest_size=32).hexdigest() + f"  {PREFIX}/lib-x"


def test_reading_the_list_gives_relative_paths(tree: Path) -> None:
    """And a tree that nobody touched has no problems."""
    listed = parse_files_list(files_list(tree, PREFIX), PREFIX, thing="x")
    assert set(listed) == {"bin/run", "lib-x", "lib/MANIFEST", "lib/a"}
    assert compare(tree, listed) == []


@pytest.mark.parametrize(
    "line", [b"nonsense", b"00  /x", b"0" * 64 + b" /one/space", b"0" * 64 + b"  " + PREFIX.encode() + b"0/f", b"\xff"]
)
def test_a_list_about_something_else_is_refused(line: bytes) -> None:
    """The list of another package says nothing about this one."""
    with pytest.raises(FormatError):
        parse_files_list(line, PREFIX, thing="x")


def test_changed_missing_extra_and_writable_files_are_told(tree: Path) -> None:
    """Each by its name; a link in the place of a file is a missing file; what an install writes is no surprise."""
    listed = parse_files_list(files_list(tree, PREFIX), PREFIX, thing="x")
    (tree / "bin/run").write_text("changed")
    (tree / "lib/a").unlink()
    (tree / "lib/a").symlink_to("../lib-x")
    (tree / "new").write_text("extra")
    (tree / "lib-x").chmod(0o666)
    (tree / "INSTALL_HOOK_STATUS").write_text("0")
    problems = {problem.path: problem.cause for problem in compare(tree, listed)}
    assert set(problems) == {"bin/run", "lib/a", "new", "lib-x"}
    assert "other content" in problems["bin/run"]
    assert "missing" in problems["lib/a"]
    assert "not in the signed list" in problems["new"]
    assert "mode" in problems["lib-x"]
