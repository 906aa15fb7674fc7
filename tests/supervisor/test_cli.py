"""The verbs as people type them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hart.root import Root
from tests.supervisor.workshop import Supervised, lay_package, supervised

STEAD = str(Path(sys.executable).with_name("stead"))
WEB = "t/web/1.0/20260101000000"


def stead(root: Root, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    return subprocess.run(
        [STEAD, *arguments],
        env={**clean, "STEAD_ROOT": str(root.path)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    root = Root(tmp_path_factory.mktemp("cli") / "root")
    lay_package(root, WEB, files={"hooks/init": "#!/bin/sh\necho initialised\n"})
    with supervised(root, WEB) as made:
        made.until_listed("web", "ready")
        yield made


@pytest.mark.slow
def test_sup_run_with_an_ident_loads_it(host: Supervised) -> None:
    done = stead(host.root, "svc", "status", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["service"], row["release"], row["state"], row["ready"]) == ("web", WEB, "ready", True)
    assert row["ident"] == WEB


@pytest.mark.slow
def test_a_second_supervisor_of_a_root_is_refused(host: Supervised) -> None:
    done = stead(host.root, "sup", "run")
    assert (done.returncode, "runs already" in done.stderr) == (6, True)


@pytest.mark.slow
def test_status_shows_why(host: Supervised) -> None:
    done = stead(host.root, "svc", "status", "web")
    assert done.returncode == 0
    assert "ready: the ready probe passed" in done.stdout
    assert stead(host.root, "svc", "status", "nobody").returncode == 5
    facts = json.loads(stead(host.root, "sup", "status", "--json").stdout)
    assert (facts["services"], facts["ready"]) == (1, 1)


@pytest.mark.slow
def test_logs_of_the_service_and_of_its_hooks(host: Supervised) -> None:
    assert "hello from" in stead(host.root, "svc", "logs", "web").stdout
    assert "initialised" in stead(host.root, "svc", "logs", "web", "--hook", "init").stdout
    assert stead(host.root, "svc", "logs", "web", "--hook", "post-stop").returncode == 5
    assert stead(host.root, "svc", "logs", "other").returncode == 5


@pytest.mark.slow
def test_config_is_applied_from_standard_input_and_shown(host: Supervised) -> None:
    dry = stead(host.root, "config", "apply", "web.default", "1", "--dry-run", stdin='word = "dry"\n')
    assert (dry.returncode, dry.stdout) == (0, 'web  word: "first" → "dry"\n')
    done = stead(host.root, "config", "apply", "web.default", "1", "-", "--json", stdin='word = "cli"\n')
    assert json.loads(done.stdout)["effects"][0]["effect"] == "restart"
    again = stead(host.root, "config", "apply", "web.default", "1", stdin='word = "cli"\n')
    assert (again.returncode, "as version 2" in again.stderr) == (6, True)
    shown = stead(host.root, "config", "show", "web", "--origins")
    assert "word\tcli\tversion 1 of web.default" in shown.stdout
    assert 'word = "cli"' in stead(host.root, "config", "show", "web.default").stdout
    assert stead(host.root, "config", "show", "other.default").returncode == 5


@pytest.mark.slow
def test_stop_and_start_wait_for_the_result(host: Supervised) -> None:
    assert json.loads(stead(host.root, "svc", "stop", "t/web", "--json").stdout)["state"] == "down"
    assert host.row("web")["state"] == "down"
    started = stead(host.root, "svc", "start", "web")
    assert (started.returncode, started.stdout, started.stderr) == (
        0,
        "",
        "web: ready: the ready probe passed: the probe's command exited with code 0\n",
    )
    assert host.row("web")["state"] == "ready"
    again = stead(host.root, "svc", "load", "t/web")
    assert (again.returncode, "--force" in again.stderr) == (6, True)


@pytest.mark.parametrize("command", ["svc status", "svc stop web", "config show web", "sup term", "svc load t/web", "sup status"])
def test_without_a_supervisor_the_command_says_how_to_start_one(tmp_path: Path, command: str) -> None:
    done = stead(Root(tmp_path), *command.split())
    assert done.returncode == 7
    assert f"stead sup run --root {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    ["sup run --update-period 0", "sup run --service-min-backoff-period 9 --service-max-backoff-period 1", "svc load x/y -s rolling"],
)
def test_values_out_of_range_are_usage_errors(tmp_path: Path, command: str) -> None:
    done = stead(Root(tmp_path), *command.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root may read everything: needs setpriv to be somebody else")
def test_a_log_that_may_not_be_read_is_no_fault_of_ours(tmp_path: Path) -> None:
    """Another user's service: the error says whose file it is about."""
    log = Root(tmp_path).service("web") / "logs" / "run.log"
    log.parent.mkdir(parents=True)
    log.write_text("secret\n")
    log.chmod(0)
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*drop, STEAD, "svc", "logs", "web", "--root", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (9, ""), done.stderr
    assert f"{log}: permission denied" in done.stderr
