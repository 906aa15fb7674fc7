"""Drift with a real supervisor: what is changed by hand is put back, and what runs goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hart import archive
from hart.artifact import sign_bytes, sign_payload
from hart.filelist import files_list
from hart.installed import InstalledTree
from hart.keys import KeyCache
from hart.root import Root
from hart.target import host_target
from tests.supervisor.test_cli import stead
from tests.supervisor.workshop import lay_package, supervised
from tests.supervisor.workshop_depot import KEY

pytestmark = pytest.mark.slow

WEB = "t/web/1.0/20260101000000"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A host with the test service, installed from a signed artifact that is in its cache."""
    bench, root = Root(tmp_path / "bench"), Root(tmp_path / "root")
    ident = lay_package(bench, WEB, metafiles={"RELOCATABLE": "yes\n"})
    package = bench.package(ident)
    (package / "FILES").write_bytes(sign_bytes(files_list(package, str(package)), KEY))
    root.artifacts.mkdir(parents=True)
    artifact = root.artifacts / ident.archive_name(str(host_target()))
    with (tmp_path / "payload").open("wb") as out:
        archive.pack(package, ident, out, mtime=1_700_000_000, level=0)
    sign_payload(tmp_path / "payload", artifact, KEY)
    cache = KeyCache(root.keys)
    cache.store(KEY.public)
    InstalledTree(root).install(artifact, cache.public)
    return root


def spoil(root: Root) -> dict[str, Path]:
    """One of everything."""
    service, package = root.service("web"), InstalledTree(root).root.pkgs / WEB
    (service / "config" / "service.json").write_text('{"word": "by hand", "crash": true, "stubborn": false}')
    (service / "hooks" / "run").chmod(0o777)
    shutil.rmtree(service / "static")
    (package / "service.py").write_text("raise SystemExit('by hand')")
    return {"config": service / "config" / "service.json", "run": service / "hooks" / "run", "static": service / "static"}


def test_what_was_changed_by_hand_is_put_back_and_told_and_the_service_goes_on(root: Root) -> None:
    package = root.pkgs / WEB / "service.py"
    good = package.read_text()
    with supervised(root, "--verify-period=0") as host:
        pid = host.load("t/web")["pid"]
        well = stead(root, "verify", "--json")
        assert (well.returncode, json.loads(well.stdout)["findings"]) == (0, []), well.stdout
        places = spoil(root)
        only = stead(root, "verify", "--report-only", "--json")
        assert only.returncode == 12, only.stderr
        found = {(row["kind"], row["path"]): row["because"] for row in json.loads(only.stdout)["findings"]}
        assert found == {
            ("directory", "static"): "is missing",
            ("rendered file", "config/service.json"): "has other content",
            ("rendered file", "hooks/run"): "has mode 0777 instead of 0755",
            ("package", ""): "service.py has other content than the signed list says",
        }
        assert not places["static"].exists(), "nothing was changed"
        done = stead(root, "verify", "web")
        assert (done.returncode, "4 repaired, 0 not" in done.stderr) == (0, True), done.stdout + done.stderr
        assert json.loads(places["config"].read_text())["word"] == "first"
        assert places["static"].stat().st_mode & 0o777 == 0o770
        assert places["run"].stat().st_mode & 0o777 == 0o755
        assert package.read_text() == good
        assert stead(root, "verify").returncode == 0
        row = host.row("web")
        assert (row["pid"], row["restarts"], host.notes("web")) == (pid, 0, ["start first"])
        why = stead(root, "why", "web").stdout
        assert "rendered file config/service.json: has other content: put back" in why
        assert stead(root, "verify", "nobody").returncode == 5


def test_it_is_put_back_by_itself_at_an_interval(root: Root) -> None:
    """Without anybody who asks; also by a supervisor that found the service running."""
    package = root.pkgs / WEB / "service.py"
    good = package.read_text()
    with supervised(root, "--verify-period=1") as host:
        pid = host.load("t/web")["pid"]
        host.kill_supervisor()
        host.until_state("web", "ready")
        places = spoil(root)

        def as_it_was() -> bool:
            config = json.loads(places["config"].read_text())["word"] == "first"
            return config and places["static"].is_dir() and package.read_text() == good

        host.until("all is as it was put", as_it_was)
        assert host.row("web")["pid"] == pid


def test_what_cannot_be_installed_again_is_left_and_said(root: Root) -> None:
    """Nobody has the artifact: 12, and the way to help oneself; the service is not touched."""
    with supervised(root, "--verify-period=0", env={"STEAD_DEPOT_URL": "http://127.0.0.1:1"}) as host:
        pid = host.load("t/web")["pid"]
        shutil.rmtree(root.artifacts)
        (root.pkgs / WEB / "service.py").write_text("by hand")
        done = stead(root, "verify", "--json")
        (finding,) = json.loads(done.stdout)["findings"]
        assert (done.returncode, finding["outcome"]) == (12, "not repaired")
        assert "cannot be installed again" in finding["because"]
        (root.keys / f"{KEY.key}.pub").unlink()
        done = stead(root, "verify", "--json")
        (finding,) = json.loads(done.stdout)["findings"]
        assert (done.returncode, finding["outcome"], "cannot be checked" in finding["because"]) == (0, "noted", True)
        assert host.row("web")["pid"] == pid
