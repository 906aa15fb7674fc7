"""The steps of a plan.toml that are our own work."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from builder import process
from builder.plan import Pin, Scheme, Source
from builder.recipe import verify
from builder.reporter import Reporter
from builder.source.fetch import Obtained
from hart.errors import TrustError
from tests.builder.workshop import Workshop


def test_a_source_that_changed_in_the_cache_since_it_was_fetched_is_refused(tmp_path: Path) -> None:
    """It is hashed again just before it is unpacked."""
    sha256 = hashlib.sha256(b"right").hexdigest()
    pin = Pin(scheme=Scheme.NPM, locator="a@1.0.0", sha256=sha256)
    file = tmp_path / "a.tgz"
    obtained = Obtained(file, "a.tgz", sha256, pin, Source(pins=(pin,)))
    log = process.Log(tmp_path / "log")
    file.write_bytes(b"right")
    verify([obtained], Reporter(quiet=True).tee(log))
    file.write_bytes(b"wrong")
    with pytest.raises(TrustError, match="changed in the source cache"):
        verify([obtained], Reporter(quiet=True).tee(log))
    log.close()


def test_steps_see_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of the process nor what the options carry, but PATH."""
    workshop = Workshop(tmp_path)
    monkeypatch.setenv("STEAD_TOKEN", "of-the-process")
    folder = workshop.plan("[package]\nname = 'top'\nversion = '1'\n[steps]\nbuild = 'env; ! env | grep of-the'\n")
    built = workshop.build(folder, environ={**workshop.options.environ, "HAB_AUTH_TOKEN": "of-the-options"})
    assert built.logs is not None
    assert "pkg_name=top" in (built.logs / "01-build.log").read_text()
