"""Limits of a service, from its package and from its operator, as a supervisor with real processes has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hart.errors import FormatError
from hart.limits import MIB
from hart.root import Root
from supervisor.service.spec import ServiceSpec
from tests.supervisor.workshop import SERVICE_TOML, lay_package, supervised

pytestmark = pytest.mark.slow

WEB = "t/web/1.0/20260101000000"
LIMITS = 'private_tmp = true\n[limits]\nmemory = "256 MiB"\nnofile = 300\n[logs]\nkeep = "2 MiB"\n'
GREEDY = '#!/bin/sh\nexec python3 -c "kept = bytearray(300 << 20)"\n'


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def test_limits_come_from_the_package_and_the_operator_and_are_shown(root: Root) -> None:
    """A changed limit is a restart; a wrong one is refused and nothing is touched; what could not be had is said."""
    lay_package(root, WEB, files={"service.toml": LIMITS + SERVICE_TOML})
    with supervised(root) as host:
        row = host.load("t/web", limits=["pids=100"])
        assert "memory 256 MiB" in row["containment"]
        assert "nofile 300" in row["containment"]
        assert "pids 100" in row["containment"]
        assert row["containment"].startswith(host.ask("sup status")["containment"])
        assert "Max open files            300                  300" in Path(f"/proc/{row['pid']}/limits").read_text()
        assert any("private /tmp" in line for line in row["less"]) == str(root.path).startswith(("/tmp/", "/var/tmp/"))
        assert f"TMPDIR={root.service('web')}/tmp" in Path(f"/proc/{row['pid']}/environ").read_text().split("\0")
        held = json.loads((root.sup / "held" / "web.json").read_text())
        assert held["log_keep"] == 2 * MIB
        with pytest.raises(FormatError, match="memory '5' is not between"):
            host.load("t/web", force=True, limits=["memory=5"])
        with pytest.raises(FormatError, match="'disk' is not a limit"):
            host.load("t/web", force=True, limits=["disk=5"])
        assert host.row("web")["pid"] == row["pid"]
        again = host.load("t/web", force=True, limits=["pids=", "nofile=200"])
        assert again["pid"] != row["pid"]
        assert "nofile 200, pids 8192" in again["containment"]
        spec = ServiceSpec.parse((root.path / "sup/default/specs/web.spec").read_text(), thing="it")
        assert spec.limits == {"nofile": 200}
        host.kill_supervisor()
        host.until_state("web", "ready")
        assert host.row("web")["containment"] == again["containment"]


def test_a_service_that_was_killed_for_its_memory_says_so(root: Root) -> None:
    lay_package(root, WEB, files={"service.toml": "", "hooks/run": GREEDY, "config/service.json": ""})
    with supervised(root) as host:
        host.load("t/web", wait_s=0, limits=["memory=64MiB"])
        host.until("it has ended", lambda: host.row("web")["failures"] > 0)
        if any("memory" in line for line in host.row("web")["less"]):
            pytest.skip("; ".join(host.row("web")["less"]))
        host.until("it says why", lambda: "ended by SIGKILL: out of memory (limit 64 MiB)" in str(host.row("web")["why"]))


def test_privileges_are_not_gained_unless_the_operator_says_so(root: Root) -> None:
    lay_package(root, WEB)
    with supervised(root) as host:
        for wanted in (False, True):
            row = host.load("t/web", force=True, new_privileges=wanted)
            assert f"NoNewPrivs:\t{int(not wanted)}" in Path(f"/proc/{row['pid']}/status").read_text()
