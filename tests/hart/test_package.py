"""hart.package: what a file says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import FormatError, NotFoundError
from hart.package import read_artifact
from tests.hart.building import KEY, ident, make_artifact, metadata

VECTORS = Path(__file__).parent.parent / "vectors" / "hart"


def test_an_artifact_shows_its_header_and_metadata(tmp_path: Path) -> None:
    """Nothing is verified: this works without any key."""
    meta = metadata(ident())
    path = make_artifact(tmp_path, meta)
    found = read_artifact(path)
    assert found.metadata == meta
    assert found.header.key == KEY.key
    assert (found.path, found.size) == (path, path.stat().st_size)


def test_habitats_packages_are_shown() -> None:
    """A real one with dependencies."""
    found = read_artifact(VECTORS / "neurosis-testapp3-0.1.0-20190327162559-x86_64-linux.hart")
    assert str(found.metadata.ident) == "neurosis/testapp3/0.1.0/20190327162559"
    assert found.metadata.tdeps[0].name in {"testapp2", "glibc"}
    assert not found.metadata.is_service


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    """A missing file, a corrupt header, a signed file that is no archive."""
    with pytest.raises(NotFoundError):
        read_artifact(tmp_path / "nowhere")
    with pytest.raises(FormatError):
        read_artifact(VECTORS / "bogus_and_corrupt.hart")
    path = make_artifact(tmp_path, metadata(ident()))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\n\n") + 2] + b"no archive at all")
    with pytest.raises(FormatError, match="damaged"):
        read_artifact(path)
