"""`stead sup run` as process 1 of a PID namespace, as in a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hart.root import Root
from tests.supervisor.workshop import DEADLINE_S, Supervised, lay_package

pytestmark = pytest.mark.slow

WEB = "t/web/1.0/20260101000000"
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]
# An orphan in a session of its own, which ends when it is told to; and one that stays.
ORPHANS = """
import os, sys, time
from pathlib import Path
data = Path(sys.argv[1])
for name in ("ends", "stays"):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (data / f"{name}.new").write_text(os.readlink("/proc/self"))
            os.rename(data / f"{name}.new", data / name)
            while name == "stays" or not (data / "end").exists():
                time.sleep(0.02)
        os._exit(0)
    os.wait()
"""
RUN = (
    "#!/bin/sh\n{{sh cfg.python}} {{sh pkg.path}}/orphans.py {{sh pkg.svc_data_path}}\n"
    "exec {{sh cfg.python}} {{sh pkg.path}}/service.py {{sh pkg.svc_config_path}}/service.json {{sh pkg.svc_data_path}}\n"
)


def may_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


needs_namespaces = pytest.mark.skipif(not may_unshare(), reason="needs to make PID namespaces")


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def below(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *below(child))]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Container(Supervised):
    """`process` is unshare, outside; `init` the holder, as the outside counts."""

    @property
    def init(self) -> int:
        (pid,) = children(self.process.pid)
        return pid


@contextmanager
def contained(root: Root) -> Iterator[Container]:
    program = [*UNSHARE, str(Path(sys.executable).with_name("stead")), "sup", "run", f"--root={root.path}", WEB]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    with (root.path / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean, start_new_session=True)
    host = Container(root, process)
    try:
        host.until_listed("web", "ready")
        yield host
    finally:
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)  # process 1: the kernel ends the others with it
        process.wait(timeout=DEADLINE_S)


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while left := [pid for pid in pids if state(pid)]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.02)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root(tmp_path / "root")
    lay_package(root, WEB, files={"hooks/run": RUN, "orphans.py": ORPHANS})
    return root


@needs_namespaces
def test_process_1_reaps_orphans_and_stops_everything_at_term(root: Root) -> None:
    """The duties of init: no zombie stays, TERM ends the services properly, nothing outlives process 1, exit code 0."""
    with contained(root) as host:
        init = host.init
        assert host.ask("sup status")["holder_pid"] == 1
        data = root.service("web") / "data"
        everybody = below(init)
        assert len(everybody) >= 4, "the supervisor, the service, two orphans"
        orphans = [pid for pid in children(init) if b"orphans.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(orphans) == 2, "they are process 1's now"
        (data / "end").touch()
        host.until("the orphan that ended is reaped", lambda: sum(bool(state(pid)) for pid in orphans) == 1)
        assert [pid for pid in below(init) if state(pid) == "Z"] == []
        os.kill(init, signal.SIGTERM)
        assert host.process.wait(timeout=60) == 0
        assert host.notes("web") == ["start first", "term"]
        wait_gone(everybody)


@needs_namespaces
def test_a_container_that_was_killed_starts_again_on_its_volume(root: Root) -> None:
    """The records name pids of another namespace, which are others' here: nothing is taken over, nobody is signalled, each runs once."""
    with contained(root) as host:
        everybody = below(host.init)
        os.kill(host.init, signal.SIGKILL)
        host.process.wait(timeout=DEADLINE_S)
        wait_gone(everybody)
    (root.service("web") / "data" / "up").unlink()
    with contained(root) as host:
        programs = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below(host.init)]
        assert sum(b"service.py" in program for program in programs) == 1
        assert host.notes("web") == ["start first", "start first"]
        os.kill(host.init, signal.SIGTERM)
        assert host.process.wait(timeout=60) == 0
