"""The rules that machines hold: import directions, pure cores, packaging, no addresses in locks."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PLANTED = {
    "the ground imports a wing": ("hart/ident.py", "import depot.client\n"),
    "a wing imports the other": ("builder/plan.py", "import supervisor.census\n"),
    "a wing imports the depot's server": ("supervisor/context.py", "import depot.server\n"),
    "a core does I/O": ("supervisor/service/state.py", "import asyncio\n"),
    "a core reads the clock": ("supervisor/census.py", "import time\n"),
}


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    program = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(program, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in ("hart", "builder", "depot", "supervisor"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("stead.py", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_import_is_found(name: str, copied: Path) -> None:
    """A contract that passes whatever is planted checks nothing."""
    file, line = PLANTED[name]
    source = (copied / file).read_text()
    head, _, rest = source.partition("from __future__ import annotations\n")
    (copied / file).write_text(f"{head}from __future__ import annotations\n{line}{rest}")
    done = lint_imports(copied)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


@pytest.mark.slow
def test_the_wheel_holds_exactly_our_top_level_names(tmp_path: Path) -> None:
    """ADR 2: plain top-level names are safe only while we know which they are."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("stead-*.whl")
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"stead.py", "hart", "builder", "depot", "supervisor"}
    assert "builder/lib/plan.bash" in zipfile.ZipFile(wheel).namelist()


def test_locks_pin_by_hash_and_name_no_address() -> None:
    """Every dependency is pinned by hash; where it is fetched from is the host's business."""
    for lock in (PROJECT / "requirements").glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        requirements = text.replace("\\\n", " ").splitlines()
        pinned = [line for line in requirements if line and not line.startswith((" ", "#"))]
        assert pinned
        assert all("==" in line and "--hash=sha256:" in line for line in pinned), lock.name


def test_nothing_imports_the_roof() -> None:
    """`stead.py` is the top: what it imports must not import it. (import-linter cannot take a module as a root.)"""
    importing = re.compile(r"^\s*(?:import stead\b|from stead\b)", re.MULTILINE)
    for wing in ("hart", "builder", "depot", "supervisor"):
        for file in (PROJECT / wing).rglob("*.py"):
            assert not importing.search(file.read_text()), file
