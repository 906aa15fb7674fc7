"""`stead ring key …`: one command makes a ring's key, another host takes it as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def stead(root: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stead", *words, "--root", str(root)], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_key_goes_from_host_to_host(tmp_path: Path) -> None:
    """generate, export, import, list: the same fingerprint on both, and the file is nobody else's to read."""
    made = json.loads(stead(tmp_path / "a", "ring", "key", "generate", "prod", "--json").stdout)
    text = stead(tmp_path / "a", "ring", "key", "export", "prod").stdout
    assert text.startswith("SYM-SEC-1\nprod-")
    assert stead(tmp_path / "b", "ring", "key", "import", stdin=text).returncode == 0
    listed = json.loads(stead(tmp_path / "b", "ring", "key", "list", "--json").stdout)
    assert [row["fingerprint"] for row in listed] == [made["fingerprint"]]
    assert Path(listed[0]["path"]).stat().st_mode & 0o077 == 0


def test_a_ring_without_a_key_and_a_name_that_no_key_can_have_are_told(tmp_path: Path) -> None:
    missing = stead(tmp_path, "ring", "key", "export", "prod")
    assert (missing.returncode, missing.stdout) == (5, "")
    assert "stead ring key generate prod" in missing.stderr
    wrong = stead(tmp_path, "ring", "key", "generate", "../x")
    assert wrong.returncode == 3
    assert "Traceback" not in wrong.stderr
