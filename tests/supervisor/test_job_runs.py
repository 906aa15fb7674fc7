"""Jobs with real processes: run once, by schedule, and with supervisors and holders that die under them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hart.errors import ConflictError, FormatError, UsageError
from hart.root import Root
from supervisor.service import job as job_files
from tests.supervisor.test_cli import STEAD, stead
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = pytest.mark.slow

JOB = "t/job/1.0/20260101000000"
# Notes that it runs, waits until `go` is there when it is told to, and exits as it is told to.
RUN = """#!/bin/sh
echo "run $*" >> {{pkg.svc_data_path}}/notes
echo "output of $*"
case "$1" in
  wait) while ! test -e {{pkg.svc_data_path}}/go; do sleep 0.02; done; exit "${2:-0}";;
  signal) kill -"$2" $$;;
  *) exit "${1:-0}";;
esac
"""
FILES = {"hooks/run": RUN, "service.toml": "", "config/service.json": ""}


def lay(root: Root, ident: str = JOB, **hooks: str) -> None:
    lay_package(root, ident, files={**FILES, **{f"hooks/{name.replace('_', '-')}": text for name, text in hooks.items()}})


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    root = Root(tmp_path_factory.mktemp("jobs") / "root")
    lay(root)
    lay(root, "t/broken/1.0/20260101000000", init="#!/bin/sh\necho no luck; exit 4\n")
    lay(root, "t/after/1.0/20260101000000", post_stop="#!/bin/sh\necho after >> {{pkg.svc_data_path}}/notes\n")
    with supervised(root) as host:
        yield host


def notes(host: Supervised, name: str) -> list[str]:
    path = host.root.service(name) / "data" / "notes"
    return path.read_text().splitlines() if path.exists() else []


def once(root: Root, *arguments: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "STEAD_ROOT": str(root.path)}
    return subprocess.Popen([STEAD, "svc", "run-once", *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def book(host: Supervised, name: str) -> list[str]:
    return [str(run.outcome) for run in job_files.read(host.settings.jobs, name).runs]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("t/job", "--name", "fine"), 0, "ok: exited with code 0"),
        (("t/job", "--name", "three", "--", "3"), 3, "failed: exited with code 3"),
        (("t/job", "--name", "killed", "--", "signal", "KILL"), 137, "failed: ended by SIGKILL"),
        (("t/job", "--name", "slow", "--timeout", "0.3", "--", "wait"), 124, "timed out: ended by SIGTERM: it ran longer than 0.3 s"),
        (("t/broken",), 126, "not run: the init hook exited with code 4: no luck"),
        (("t/job", "--name", "alone", "--timeout", "0.3", "--requires-ready", "nobody"), 126, "not run: it did not begin within 0.3 s"),
        (("t/nothing", "--url", "http://127.0.0.1:1"), 125, "127.0.0.1:1"),
        (("nothing",), 125, "is not loaded"),
        (("t/job", "--nmae", "x"), 125, "no such option"),
        (("t/job", "--name", "../x"), 125, "is not a name"),
    ],
)
def test_run_once_passes_on_what_the_job_ended_with(shared: Supervised, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = stead(shared.root, "svc", "run-once", *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_job_is_forgotten_when_it_is_done_and_its_log_and_result_are_kept(shared: Supervised) -> None:
    done = stead(shared.root, "svc", "run-once", "t/after", "--json", "--", "7", "two words")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["exit_code"], answer["outcome"], answer["code"]) == (7, 7, "failed", 7)
    assert notes(shared, "after") == ["run 7 two words", "after"], "what comes after it is waited for"
    shared.until("it is forgotten", lambda: "after" not in {row["service"] for row in shared.ask("status")})
    assert not (shared.root.sup / "specs" / "after.spec").exists()
    assert "output of 7 two words" in stead(shared.root, "svc", "logs", "after").stdout
    again = shared.ask("run once", id=answer["id"], ident="t/after", args=["7"])
    assert (again["exit_code"], len(notes(shared, "after"))) == (7, 2), "asking for the same run begins no other"


def test_bad_requests_change_nothing(shared: Supervised) -> None:
    with pytest.raises(FormatError, match="id is not"):
        shared.ask("run once", id="../../x", ident="t/job")
    for options, why in (({"every": "1x"}, "is not a duration"), ({"cron": "a b"}, "five fields"), ({"overlap": "skip"}, "of no use")):
        with pytest.raises(FormatError, match=why):
            shared.load("t/job", name="bad", **options)
    assert not (shared.root.sup / "specs" / "bad.spec").exists()


@pytest.mark.parametrize("who", ["supervisor", "holder"])
def test_a_run_outlives_who_watches_it(root: Root, who: str) -> None:
    """Killed while it runs: it is neither run again nor lost. Only the holder knows an exit code, so with a new one it is not known."""
    lay(root)
    with supervised(root) as host:
        asked = once(root, "t/job", "--", "wait", "5")
        host.until("it runs", lambda: notes(host, "job") == ["run wait 5"])
        if who == "supervisor":
            host.kill_supervisor()
        else:
            host.process.kill()
            host.process.wait()
            with supervised(root) as after:
                end(after)
                assert (asked.wait(60), book(after, "job")) == (125, ["unknown"])
            return
        end(host)
        assert (asked.wait(60), notes(host, "job")) == (5, ["run wait 5"])
        assert book(host, "job") == ["failed"]


def end(host: Supervised) -> None:
    """Let the run end, and see that it is known."""
    host.until_state("job", "running")
    (host.root.service("job") / "data" / "go").touch()
    host.until("its end is known", lambda: book(host, "job")[-1] != "begun")
    assert notes(host, "job") == ["run wait 5"]


def test_a_run_that_ends_while_no_supervisor_lives_is_found(root: Root) -> None:
    lay(root)
    with supervised(root) as host:
        asked = once(root, "t/job", "--", "wait", "5")
        host.until("it runs", lambda: notes(host, "job") == ["run wait 5"])
        pid = host.ask("sup status")["pid"]
        os.kill(pid, signal.SIGSTOP)
        (root.service("job") / "data" / "go").touch()
        held = root.sup / "held" / "job.json"
        host.until("the holder knows its end", lambda: '"running": false' in held.read_text())
        os.kill(pid, signal.SIGKILL)
        assert asked.wait(60) == 5
        assert notes(host, "job") == ["run wait 5"]


@pytest.mark.parametrize("begun", [1, 4])
def test_a_supervisor_that_is_killed_among_many_jobs_neither_doubles_nor_loses_one(root: Root, begun: int) -> None:
    """They are asked for, prepared, begun, running and ending when it dies: each runs once, and each command gets its job's code."""
    lay(root)
    with supervised(root) as host:
        names = [f"job-{number}" for number in range(8)]
        asked = [once(root, "t/job", "--name", name, "--", str(number + 10)) for number, name in enumerate(names)]
        host.until("some have begun", lambda: sum(len(notes(host, name)) for name in names) >= begun)
        host.kill_supervisor()
        assert [each.wait(90) for each in asked] == [10 + number for number in range(8)]
        assert [notes(host, name) for name in names] == [[f"run {number + 10}"] for number in range(8)]


def test_a_scheduled_job_runs_again_and_again_and_shows_it(root: Root) -> None:
    lay(root)
    with supervised(root) as host:
        row = host.load("t/job", name="tick", every="1s", wait_s=20)
        assert (row["state"], row["schedule"], row["last_run"]) == ("scheduled", "every 1s", None)
        host.until("it has run twice", lambda: len(notes(host, "tick")) >= 2)
        host.until("it is shown", lambda: "last: ok" in host.row("tick")["because"])
        assert host.row("tick")["next_run"] is not None
        host.kill_supervisor()
        before = len(notes(host, "tick"))
        host.until("it goes on", lambda: len(notes(host, "tick")) > before)
        assert host.ask("stop", name="tick")["state"] == "down"
        shown = stead(root, "svc", "status", "tick").stdout
        assert "ok: exited with code 0" in shown
        host.load("t/job", name="tick", force=True, every="1h")
        host.until_state("tick", "scheduled")
        runs = len(notes(host, "tick"))
        assert stead(root, "svc", "run-once", "tick", "--", "6").returncode == 6
        assert (len(notes(host, "tick")), host.row("tick")["runs"][-1]["code"]) == (runs + 1, 6)
        assert "next run at" in host.row("tick")["because"], "it was run beside its schedule"
        with pytest.raises(UsageError, match="is loaded with its own channel"):
            host.ask("run once", id="0123456789", ident="tick", options={"channel": "x"})


@pytest.mark.parametrize(("overlap", "outcome"), [("skip", ["begun"]), ("replace", ["stopped", "begun"])])
def test_a_run_that_is_due_while_one_goes_on(root: Root, overlap: str, outcome: list[str]) -> None:
    run = RUN.replace('"$1"', "wait").replace("{{pkg.svc_data_path}}/go", "{{pkg.svc_data_path}}/go")
    lay_package(root, JOB, files={**FILES, "hooks/run": run})
    with supervised(root) as host:
        host.load("t/job", every="1s", overlap=overlap)
        host.until("two were due", lambda: host.row("job")["skipped"] or len(notes(host, "job")) > 1)
        assert book(host, "job")[: len(outcome)] == outcome
        with pytest.raises(ConflictError, match="runs already"):
            host.ask("run once", id="0123456789", ident="job")
        assert host.ask("unload", name="job")["state"] == "down"
        assert "begun" not in book(host, "job")


def test_a_service_becomes_a_job_and_a_job_a_service(root: Root) -> None:
    lay_package(root, "t/web/1.0/20260101000000")
    with supervised(root) as host:
        host.load("t/web")
        with pytest.raises(ConflictError, match="is a service, which runs all the time"):
            host.ask("run once", id="0123456789", ident="t/web")
        host.load("t/web", force=True, cron="0 3 * * *", time_zone="Europe/Berlin")
        host.until_state("web", "scheduled")
        row: dict[str, Any] = host.load("t/web", force=True, every="")
        assert row["state"] == "ready"
        assert host.notes("web") == ["start first", "term", "start first"]
