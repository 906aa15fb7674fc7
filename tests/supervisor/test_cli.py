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
def test_config_is_merged_explained_compared_and_reverted(host: Supervised, tmp_path: Path) -> None:
    file = tmp_path / "change.toml"
    file.write_text('stubborn = true\npassword = "hunter2"\n')
    for text in ('word = "one"\n', 'word = "two"\n'):
        done = stead(host.root, "config", "apply", "web.blue", "-m", "a try", stdin=text)
        assert (done.returncode, "nobody runs web.blue" in done.stderr) == (0, True), done.stderr
    done = stead(host.root, "config", "apply", "web.blue", str(file))
    assert "version 3 of web.blue is applied" in done.stderr
    assert "nothing is new: version 3" in stead(host.root, "config", "apply", "web.blue", str(file)).stderr
    assert stead(host.root, "config", "apply", "web.blue", "--expect", "2", stdin="a = 1").returncode == 6
    assert stead(host.root, "config", "apply", "web.blue", "two", "three").returncode == 2
    assert stead(host.root, "config", "apply", "web.blue", "--replace", "--unset", "word").returncode == 2
    assert stead(host.root, "config", "apply", "web.blue", "--unset", "password").returncode == 0
    rows = json.loads(stead(host.root, "config", "history", "web.blue", "--json").stdout)["rows"]
    assert [(row["version"], row["why"], row["changed"]) for row in rows] == [
        (4, "", ["password"]),
        (3, "", ["password", "stubborn"]),
        (2, "a try", ["word"]),
        (1, "a try", ["word"]),
    ]
    assert "a try" in stead(host.root, "config", "history", "web.blue").stdout
    diff = stead(host.root, "config", "diff", "web.blue", "1", "2")
    assert (diff.stdout, "no schema of it is known here" in diff.stderr) == ('word: "one" → "two"\n', True)
    assert stead(host.root, "config", "diff", "web.blue", "1", "2", "3").returncode == 2
    assert stead(host.root, "config", "diff", "web.blue", "9").returncode == 5
    assert "version 5 of web.blue is applied" in stead(host.root, "config", "revert", "web.blue", "1").stderr
    assert stead(host.root, "config", "show", "web.blue", "--effective").stdout == 'word = "one"\n'
    why = stead(host.root, "config", "show", "web.blue", "--why", "word").stdout
    assert why == 'version 5 of web.blue\t"one"\twins\n'
    assert stead(host.root, "config", "show", "web.blue", "--why", "wrod").returncode == 5


@pytest.mark.slow
def test_files_are_uploaded_listed_and_removed(host: Supervised, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("a\n")
    there = host.root.service("web") / "files" / "list.txt"
    done = stead(host.root, "file", "upload", "web.default", str(file))
    assert (done.returncode, "list.txt of web.default is version 1, 2 bytes" in done.stderr) == (0, True), done.stderr
    host.until("it is there", there.exists)
    assert "nothing is new" in stead(host.root, "file", "upload", "web.default", str(file)).stderr
    assert stead(host.root, "file", "upload", "web.default", "1", str(file)).returncode == 6
    assert stead(host.root, "file", "upload", "web.default", "7", str(file), "--name", "other.txt").returncode == 0
    rows = json.loads(stead(host.root, "file", "list", "web.default", "--json").stdout)["rows"]
    assert [(row["name"], row["version"], row["size"]) for row in rows] == [("list.txt", 1, 2), ("other.txt", 7, 2)]
    assert stead(host.root, "file", "list", "web.default").stdout.startswith("list.txt\t1\t2\t")
    for name in ("list.txt", "other.txt"):
        assert stead(host.root, "file", "remove", "web.default", name).returncode == 0
    host.until("it is gone", lambda: not there.exists())
    assert stead(host.root, "file", "remove", "web.default", "list.txt").returncode == 5


@pytest.mark.parametrize("arguments", [["--name", "../x"], ["--name", ".x"], ["--name", "a/b"], ["--name", ""], ["--name", "x" * 129]])
def test_a_files_name_is_checked_before_anybody_is_asked(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "x").write_text("")
    done = stead(Root(tmp_path), "file", "upload", "web.default", str(tmp_path / "x"), *arguments)
    assert (done.returncode, "file name" in done.stderr, "Traceback" in done.stderr) == (3, True, False)


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
