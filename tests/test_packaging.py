"""What an installed Stead brings: the names of ADR 2 and no others."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import stead

PROJECT = Path(stead.__file__).parent


@pytest.mark.slow
def test_the_wheel_has_exactly_the_names_that_we_claim(tmp_path: Path) -> None:
    """Another top-level name could overwrite somebody else's package; a missing one breaks a verb."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, capture_output=True, timeout=120, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    assert {name.parts[0] for name in names} == {
        "stead.py",
        "hart",
        "builder",
        "depot",
        "supervisor",
        f"stead-{stead.__version__}.dist-info",
    }
    source = {path.relative_to(PROJECT) for wing in ("hart", "builder", "depot", "supervisor") for path in (PROJECT / wing).rglob("*.*")}
    assert {path for path in source if "__pycache__" not in path.parts} <= names, "data files too"
