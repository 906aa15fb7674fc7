"""Sources by name from the registries, through their ordinary clients."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from builder.plan import Pin, Scheme, Source, WheelOrSdist
from builder.source import debian
from builder.source.cache import SourceCache
from builder.source.fetch import obtain
from builder.source.scheme import Surroundings
from builder.source.tool import run_tool
from hart.errors import NotFoundError, PlanError, SteadError, TrustError, UnavailableError

SIX_WHEEL = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
SIX_SDIST = "1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926"


def around(tmp_path: Path, **environ: str) -> Surroundings:
    (tmp_path / "plan").mkdir(exist_ok=True)
    return Surroundings(plan_dir=tmp_path / "plan", cache=tmp_path / "src", environ=dict(os.environ) | environ)


def pin(scheme: Scheme, locator: str, sha256: str | None, kind: WheelOrSdist = WheelOrSdist.WHEEL) -> Source:
    return Source(pins=(Pin(scheme=scheme, locator=locator, sha256=sha256, format=kind),))


def learnt(source: Source, here: Surroundings) -> str:
    """The sha256 that the refusal of an unpinned source says."""
    with pytest.raises(PlanError) as caught:
        obtain(source, here, [].append)
    return str(caught.value.data["sha256"])


@pytest.mark.network
def test_a_wheel_comes_by_name(tmp_path: Path) -> None:
    """Its own file name is kept, since pip reads it."""
    got = obtain(pin(Scheme.PYPI, "six==1.16.0", SIX_WHEEL), around(tmp_path), [].append)
    assert got.filename == "six-1.16.0-py2.py3-none-any.whl"
    assert "six.py" in zipfile.ZipFile(got.path).namelist()
    again = obtain(pin(Scheme.PYPI, "six==1.16.0", SIX_WHEEL), around(tmp_path, PATH=""), [].append)
    assert again.filename == got.filename


@pytest.mark.network
def test_an_sdist_comes_by_name_without_running_its_setup(tmp_path: Path) -> None:
    """pip would run setup.py to read metadata: the file comes without that."""
    got = obtain(pin(Scheme.PYPI, "six==1.16.0", SIX_SDIST, WheelOrSdist.SDIST), around(tmp_path), [].append)
    assert got.filename == "six-1.16.0.tar.gz"


@pytest.mark.network
def test_pypi_teaches_a_missing_pin_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    """For wheels and sdists."""
    for kind, sha256 in ((WheelOrSdist.WHEEL, SIX_WHEEL), (WheelOrSdist.SDIST, SIX_SDIST)):
        assert learnt(pin(Scheme.PYPI, "six==1.16.0", None, kind), around(tmp_path)) == sha256
        with pytest.raises(TrustError, match=sha256):
            obtain(pin(Scheme.PYPI, "six==1.16.0", "0" * 63 + "1", kind), around(tmp_path), [].append)


@pytest.mark.network
def test_npm_packs_a_version(tmp_path: Path) -> None:
    """Learn the pin, then take it."""
    here = around(tmp_path)
    sha256 = learnt(pin(Scheme.NPM, "is-number@7.0.0", None), here)
    got = obtain(pin(Scheme.NPM, "is-number@7.0.0", sha256), here, [].append)
    assert got.filename == "is-number-7.0.0.tgz"


@pytest.mark.network
def test_debian_gives_the_upstream_tarball_without_privileges(tmp_path: Path) -> None:
    """From lists of its own, refreshed once: the second source needs no update."""
    here = around(tmp_path)
    sha256 = learnt(pin(Scheme.DEBIAN, "hello", None), here)
    updated = (tmp_path / "src/apt/updated").stat().st_mtime_ns
    SourceCache(here.cache).place(sha256).unlink()
    got = obtain(pin(Scheme.DEBIAN, "hello", sha256), here, [].append)
    assert got.filename.startswith("hello_")
    assert ".orig.tar." in got.filename
    assert (tmp_path / "src/apt/updated").stat().st_mtime_ns == updated
    wanted = Pin(scheme=Scheme.DEBIAN, locator="hello", sha256="0" * 64, debian_file="no-such-file.tar.gz")
    with pytest.raises(NotFoundError, match="its files are hello_"):
        obtain(Source(pins=(wanted,)), here, [].append)


@pytest.mark.network
@pytest.mark.parametrize(
    ("scheme", "locator"),
    [(Scheme.PYPI, "six==0.0.0.dev99"), (Scheme.NPM, "is-number@99.0.0"), (Scheme.DEBIAN, "hello=99:99-99")],
)
def test_a_version_that_is_not_there_is_not_found(tmp_path: Path, scheme: Scheme, locator: str) -> None:
    """Not "try later"."""
    with pytest.raises(NotFoundError):
        obtain(pin(scheme, locator, "0" * 64), around(tmp_path), [].append)


@pytest.mark.parametrize("scheme", [Scheme.NPM, Scheme.DEBIAN])
def test_a_missing_client_is_said_with_the_way_to_get_it(tmp_path: Path, scheme: Scheme) -> None:
    """npm and apt-get are not everywhere."""
    locator = {Scheme.NPM: "is-number@7.0.0", Scheme.DEBIAN: "hello"}[scheme]
    with pytest.raises(SteadError) as caught:
        obtain(pin(scheme, locator, "0" * 64), around(tmp_path, PATH=str(tmp_path)), [].append)
    assert caught.value.next


def test_clients_never_see_our_tokens(tmp_path: Path) -> None:
    """Their own settings pass, ours do not."""
    environ = {"PATH": os.environ["PATH"], "STEAD_TOKEN": "canary", "HAB_AUTH_TOKEN": "canary", "PIP_INDEX_URL": "kept"}
    code, output = run_tool(["env"], cwd=tmp_path, environ=environ, install="")
    assert code == 0
    assert "canary" not in output
    assert "PIP_INDEX_URL=kept" in output


def apt(tmp_path: Path, script: str) -> Surroundings:
    """An apt-get of our own on PATH, before the host's tools."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin/apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin/apt-get").chmod(0o755)
    return around(tmp_path, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_an_index_that_could_not_be_reached_is_asked_for_again(tmp_path: Path) -> None:
    """apt calls it a warning and ends well; taking that for a fresh index would spoil a whole day."""
    etc, state, work = tmp_path / "etc", tmp_path / "state", tmp_path / "work"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list").write_text("deb https://deb.example.org/debian stable main\n")
    work.mkdir()
    offline = apt(tmp_path, "echo 'W: Failed to fetch https://deb.example.org/ Temporary failure resolving'")
    for _ in range(2):
        with pytest.raises(UnavailableError, match="Temporary failure"):
            debian.prepare(state, etc, work, offline)
    online = apt(tmp_path, f"touch {state}/lists/deb_Sources; echo update >>{tmp_path}/calls")
    debian.prepare(state, etc, work, online)
    debian.prepare(state, etc, work, online)
    assert (tmp_path / "calls").read_text() == "update\n"
    os.utime(state / "updated", (0, 0))
    debian.prepare(state, etc, work, apt(tmp_path, "echo 'W: Failed to fetch'"))  # an old index still does
