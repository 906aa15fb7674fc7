"""The unit files: as documented, and as `stead sup unit` prints them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hart.errors import UsageError
from supervisor.unit import FILES, PROGRAM, unit_text

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
DOCUMENTED = dict(re.findall(r"^`/etc/systemd/system/([\w.-]+)`[^`]*```ini\n(.*?)^```$", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", ["stead.service", "stead-depot.service"])
def test_the_documents_show_the_files_that_are_shipped(name: str) -> None:
    assert (FILES / name).read_text() == DOCUMENTED[name]
    assert {file.name for file in FILES.iterdir() if file.suffix == ".service"} == set(DOCUMENTED)


def test_the_services_outlive_the_holder_and_are_the_holders_to_contain() -> None:
    """Any other KillMode takes the services with the holder; without Delegate systemd moves what the holder has divided."""
    lines = (FILES / "stead.service").read_text().splitlines()
    assert {"KillMode=process", "Delegate=yes", "OOMPolicy=continue", "StartLimitIntervalSec=0"} <= set(lines)


def test_a_unit_is_printed_with_the_paths_of_the_host() -> None:
    text = unit_text(depot=False, program="/usr/local/bin/stead", root="/srv/hab", url="")
    assert "ExecStart=/usr/local/bin/stead sup run\n" in text
    assert "Environment=STEAD_ROOT=/srv/hab\n" in text
    assert "example.org" not in text
    assert "STEAD_DEPOT_URL=https://d.test/\n" in unit_text(depot=False, program="/s", root="/r", url="https://d.test/")
    assert "ExecStart=/s depot serve" in unit_text(depot=True, program="/s", root="/r", url="")
    assert PROGRAM not in text


@pytest.mark.parametrize("root", ["/a b", "/a\nExecStart=/bin/evil", "/a%n", "/a$b", "/a'b"])
def test_what_systemd_would_read_otherwise_is_refused(root: str) -> None:
    with pytest.raises(UsageError):
        unit_text(depot=False, program="/s", root=root, url="")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("depot", [False, True])
def test_systemd_accepts_what_is_printed(depot: bool, tmp_path: Path) -> None:
    """Every line means something to systemd; one does only from 254 on, and the unit says so."""
    file = tmp_path / ("stead-depot.service" if depot else "stead.service")
    file.write_text(unit_text(depot=depot, program="/bin/true", root="/hab", url="https://depot.test"))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=60, check=False)
    version = int(
        subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout.split()[1]
    )
    newer = "Unknown key 'DelegateSubgroup'" if version < 254 else "?"
    ours = [line for line in (done.stdout + done.stderr).splitlines() if file.name in line and newer not in line]
    assert (done.returncode, ours) == (0, []), done.stderr
