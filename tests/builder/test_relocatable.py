"""Searching a tree for the place it was built at."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.relocatable import held, search
from hart.limits import CHUNK

NEEDLE = b"/tmp/root/pkgs/"


def test_files_and_links_are_found_and_skipped_names_are_not(tmp_path: Path) -> None:
    """Only names at the top are skipped: metafiles."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").write_bytes(b"\x7fELF" + b"\0" * 100 + NEEDLE + b"me")
    (tmp_path / "bin/PATH").write_bytes(NEEDLE)
    (tmp_path / "PATH").write_bytes(NEEDLE)
    (tmp_path / "clean").write_bytes(b"/tmp/root/pkgs")
    (tmp_path / "link").symlink_to("/tmp/root/pkgs/me/x/1/2")
    (tmp_path / "dirlink").symlink_to("/tmp/root/pkgs/me/x/1/2", target_is_directory=True)
    found = search(tmp_path, [NEEDLE, b"nowhere"], skip={"PATH"})
    assert found.files == (("dirlink", "link", "bin/PATH", "bin/tool"), ())


@given(st.integers(min_value=-20, max_value=5), st.booleans())
def test_a_needle_across_two_reads_is_found(offset: int, there: bool) -> None:
    """Wherever it lies around the border between pieces."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        data = bytearray(CHUNK * 2)
        start = CHUNK + offset
        data[start : start + len(NEEDLE)] = NEEDLE
        if not there:
            data[start] = 0
        file.write(data)
        file.flush()
        assert held(Path(file.name), [NEEDLE]) == [there]
