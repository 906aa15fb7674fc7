"""Memory: publishing, downloading, verifying and installing a package of 300 MB, each process below 120 MB."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.story import until
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SIZE = 300_000_000
BOUND = 120_000_000

# A process of its own for each command, which tells at its end how much was resident at the worst moment (VmHWM, in kB).
MEASURED = """
import atexit, pathlib, re, sys
import stead
mine = pathlib.Path("/proc/self/status")
atexit.register(lambda: pathlib.Path(sys.argv[1]).write_text(re.search(r"VmHWM:\\s+(\\d+)", mine.read_text())[1]))
stead.main(sys.argv[2:])
"""

PACKED = """
import pathlib, random, sys
from hart.artifact import sign_payload
from hart import archive
from tests.hart.building import KEY, ident, metadata, write_tree
home, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
tree, large = home / "tree", ident("large")
tree.mkdir()
write_tree(tree, {"bin/x": b"#!/bin/sh\\n"}, metadata(large), signed=False)
chance = random.Random(1)
with (tree / "blob").open("wb") as blob:
    for _ in range(size // 1_000_000):
        blob.write(chance.randbytes(1_000_000))
with (home / "payload").open("wb") as out:
    archive.pack(tree, large, out, mtime=1_700_000_000, level=0)
sign_payload(home / "payload", home / "large.hart", KEY)
(home / "key.pub").write_text(KEY.public.text())
"""


class Measuring:
    """Runs commands one at a time and keeps the worst resident size of each, in bytes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.peaks: dict[str, int] = {}

    def command(self, name: str, *args: str, **env: str) -> list[str]:
        return [sys.executable, "-c", MEASURED, str(self.home / f"{name}.peak"), *args]

    def environment(self, root: str, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
        return kept | {"STEAD_ROOT": str(self.home / root)} | more

    def run(self, name: str, *args: str, root: str, stdin: str = "", **env: str) -> str:
        done = subprocess.run(
            self.command(name, *args),
            env=self.environment(root, **env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.note(name)
        return done.stdout

    def note(self, name: str) -> None:
        self.peaks[name] = int((self.home / f"{name}.peak").read_text()) * 1024


def test_a_package_of_300_mb_goes_all_the_way_in_less_than_120_mb(tmp_path: Path) -> None:
    """Everything streams: no process holds a package in memory."""
    subprocess.run([sys.executable, "-c", PACKED, str(tmp_path), str(SIZE)], check=True, timeout=300, cwd=Path(__file__).parents[2])
    artifact, key = str(tmp_path / "large.hart"), (tmp_path / "key.pub").read_text()
    assert Path(artifact).stat().st_size > SIZE
    measuring = Measuring(tmp_path)
    url = f"http://127.0.0.1:{free_port()}"
    serve = measuring.command("serve", "depot", "serve", "--listen", url.removeprefix("http://"))
    with (tmp_path / "depot.log").open("wb") as log:
        server = subprocess.Popen(serve, env=measuring.environment("depot"), stdout=log, stderr=log)
    try:
        until("the depot answers", lambda: urllib.request.urlopen(f"{url}/v1/status", timeout=5).status == 200)
        token = measuring.run("token", "depot", "token", "create", "--account", "a", root="depot").strip()
        publisher = {"STEAD_DEPOT_URL": url, "STEAD_TOKEN": token}
        measuring.run("create", "origin", "create", "acme", root="publisher", **publisher)
        for root in ("publisher", "host"):
            measuring.run("import", "origin", "key", "import", root=root, stdin=key)
        measuring.run("upload", "pkg", "upload", artifact, root="publisher", **publisher)
        measuring.run("promote", "pkg", "promote", "acme/large/1.0/20260102030405", "stable", root="publisher", **publisher)
        measuring.run("install", "pkg", "install", "acme/large", root="host", STEAD_DEPOT_URL=url)
        measuring.run("verify", "pkg", "verify", artifact, root="host")
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0, (tmp_path / "depot.log").read_text()
    measuring.note("serve")
    installed = next((tmp_path / "host" / "pkgs").glob("*/*/*/*/blob"))
    assert installed.stat().st_size == SIZE
    print({name: f"{peak / 1e6:.0f} MB" for name, peak in measuring.peaks.items()})
    assert {name: peak for name, peak in measuring.peaks.items() if peak > BOUND} == {}
