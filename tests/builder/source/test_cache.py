"""Sources by the hash of their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from builder.source.cache import SourceCache


def test_a_file_is_found_by_its_bytes_and_keeps_its_name(tmp_path: Path) -> None:
    """Read-only, below its own hash."""
    cache = SourceCache(tmp_path / "src")
    (tmp_path / "a").write_bytes(b"data")
    path, sha256 = cache.add(tmp_path / "a", "web-1.0.tgz")
    assert sha256 == hashlib.sha256(b"data").hexdigest()
    assert path == tmp_path / "src/sha256" / sha256[:2] / sha256
    assert path.stat().st_mode & 0o222 == 0
    assert cache.find(sha256) == path
    assert cache.name(sha256) == "web-1.0.tgz"
    assert cache.find("0" * 64) is None
    assert cache.name("0" * 64) == ""


def test_a_damaged_file_is_dropped(tmp_path: Path) -> None:
    """Bit rot, or somebody who writes there: it is fetched again instead of used."""
    cache = SourceCache(tmp_path / "src")
    (tmp_path / "a").write_bytes(b"data")
    path, sha256 = cache.add(tmp_path / "a", "a")
    path.chmod(0o644)
    path.write_bytes(b"evil")
    assert cache.find(sha256) is None
    assert not path.exists()
