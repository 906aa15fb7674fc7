"""`make demo` itself: as root and as a user without privileges, a first time and again."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.story import running_under

PROJECT = Path(__file__).parents[2]
NOBODY = 65534
pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(900)]


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a login shell would have, and how this host reaches its package indexes."""
    kept = re.compile(r"PIP_|UV_|NPM_|npm_|SSL_|REQUESTS_|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY")
    passed = {name: value for name, value in os.environ.items() if kept.match(name)}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return passed | {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb"} | more


def test_the_demo_checks_every_claim_and_builds_nothing_twice(tmp_path: Path) -> None:
    """As whoever runs the tests: exit 0, every claim checked; the second time no step of a build runs."""
    run = [sys.executable, str(PROJECT / "examples/demo/demo.py")]
    env = environment(tmp_path, STEAD_DEMO_DIR=str(tmp_path / "demo"))
    claims = set()
    for number in (1, 2):
        done = subprocess.run(run, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\x1b[" not in done.stdout + done.stderr, "colour where nobody looks"
        claims.add(re.findall(r"All (\d+) claims checked", done.stdout)[0])
        assert not running_under(tmp_path), "left running"
        artifacts = list((tmp_path / "demo/build/cache/artifacts").glob("*.hart"))
        assert len(artifacts) == 3, f"run {number} built {artifacts}"
    assert len(claims) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="whoever runs this has no privileges: the test above is this test")
def test_make_demo_works_for_a_user_without_privileges(tmp_path: Path) -> None:
    """A clone in that user's home, the README's command, no file of root's in reach."""
    home = Path("/tmp") / f"stead-demo-{os.getpid()}"
    home.mkdir(mode=0o755)
    try:
        clone = home / "project"
        files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True, text=True).stdout.split("\0")
        for name in filter(None, files):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, clone / name)
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        done = subprocess.run(
            ["make", "demo"],
            cwd=clone,
            env=environment(home),
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=850,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "claims checked" in done.stdout
        assert not running_under(home), "left running"
    finally:
        shutil.rmtree(home)
