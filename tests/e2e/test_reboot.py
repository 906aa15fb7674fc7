"""A host that lost its power, or whose pids came round again: old records name strangers, who must not notice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hart.root import Root
from supervisor.holder import procfs
from tests.supervisor.workshop import lay_package, supervised

pytestmark = pytest.mark.slow

WEB = "t/web/1.0/20260101000000"
STRANGER = """
import os, signal, sys
told = open(sys.argv[1], "ab", buffering=0)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, lambda number, _: told.write(b"%d\\n" % number))
told.write(b"here\\n")
while True:
    signal.pause()
"""


class Stranger:
    """A process of a session of its own that notes every signal."""

    def __init__(self, notes: Path, **env: str) -> None:
        self.notes = notes
        self.process = subprocess.Popen(
            [sys.executable, "-c", STRANGER, str(notes)], env={"PATH": os.environ["PATH"], **env}, start_new_session=True
        )
        while not (notes.exists() and notes.read_text()):
            assert self.process.poll() is None

    @property
    def start_time(self) -> int:
        found = procfs.stat(self.process.pid)
        assert found is not None
        return found.start_time

    def assert_undisturbed(self) -> None:
        assert (self.process.poll(), self.notes.read_text()) == (None, "here\n")


@contextmanager
def stranger(notes: Path, **env: str) -> Iterator[Stranger]:
    made = Stranger(notes, **env)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def lose_power(root: Root) -> dict[Path, dict[str, Any]]:
    """Run a service, and kill everything at once; the records that are left."""
    with supervised(root) as host:
        pids = [host.load("t/web")["pid"], host.ask("sup status")["pid"]]
        held = [procfs.stat(pid) for pid in pids]
        host.process.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        host.process.wait(30)
    for found in held:
        assert found is not None
        while (now := procfs.stat(found.pid)) and now.start_time == found.start_time and not now.dead:
            pass
    return {path: json.loads(path.read_text()) for path in (root.sup / "held" / "web.json", root.sup / "supervisor.json")}


@contextmanager
def in_groups(pid: int, groups: list[str]) -> Iterator[None]:
    """Where the machine has them: the groups of an old record are somebody else's now."""
    for group in groups:
        Path(group).mkdir(parents=True, exist_ok=True)
        Path(group, "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        for group in groups:
            Path(group).parent.parent.joinpath("cgroup.procs").write_text(str(pid))
            with suppress(OSError):
                Path(group).rmdir()
                Path(group).parent.rmdir()


@pytest.mark.parametrize("other", ["boot", "start time"])
def test_old_records_are_of_the_dead_and_what_is_wanted_runs_once(tmp_path: Path, other: str) -> None:
    """After a reboot all of a record may fit but the boot: pid, start time, mark and group. Before one, a pid alone says nothing."""
    root = Root(tmp_path / "root")
    lay_package(root, WEB)
    records = lose_power(root)
    with ExitStack() as stack:
        strangers = []
        for path, record in records.items():
            held = record["held"]
            marks = {"STEAD_START_ID": held["start_id"]} if other == "boot" else {}
            found = stack.enter_context(stranger(tmp_path / f"{path.stem}.signals", **marks))
            strangers.append(found)
            held["pid"] = found.process.pid
            if other == "boot":
                held |= {"boot_id": "00000000-0000-4000-8000-000000000000", "start_time": found.start_time}
                stack.enter_context(in_groups(found.process.pid, record.get("groups", [])))
            path.write_text(json.dumps(record))
        with supervised(root) as host:
            pid = host.until_listed("web", "ready")["pid"]
            assert pid not in [found.process.pid for found in strangers]
            assert host.notes("web") == ["start first", "start first"]
            os.kill(pid, signal.SIGKILL)
            host.until("it was started again", lambda: host.row("web")["restarts"] > 0)
            host.until_state("web", "ready")
            host.kill_supervisor()
            assert host.ask("stop", name="web")["state"] == "down"
        for found in strangers:
            found.assert_undisturbed()
