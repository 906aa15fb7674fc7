"""The gate: a process begins after its record is on disk, or never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.holder.procfs import children
from supervisor.holder.protocol import StartRequest
from supervisor.holder.spawn import SpawnError, spawn


def request(*argv: str) -> StartRequest:
    return StartRequest(argv=list(argv), env={}, cwd="/", log="/dev/null")


def possessions() -> tuple[list[int], int]:
    """Our children, dead or alive, and how many descriptors we have."""
    return children(), sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_the_record_is_made_before_the_program_begins(tmp_path: Path) -> None:
    """While `commit` runs the process is there, named by pid and start time, and has run nothing."""
    begun = tmp_path / "begun"
    seen: list[tuple[int, int, bool, list[int]]] = []
    pid, pidfd = spawn(
        request("/bin/sh", "-c", f"echo x > {begun}"),
        lambda pid, start_time, _: seen.append((pid, start_time, begun.exists(), children())),
        pipe=None,
    )
    try:
        assert os.waitid(os.P_PIDFD, pidfd, os.WEXITED).si_status == 0  # type: ignore[union-attr]
        ((recorded, start_time, was_begun, ours),) = seen
        assert (recorded, was_begun, begun.exists()) == (pid, False, True)
        assert start_time > 0
        assert pid in ours
    finally:
        os.close(pidfd)


def test_a_holder_killed_while_it_records_leaves_nothing_that_runs(tmp_path: Path) -> None:
    """The gate closes with its holder, and the child ends without having run the program."""
    begun = tmp_path / "begun"
    script = (
        "import os, sys; from supervisor.holder.spawn import spawn; from supervisor.holder.protocol import StartRequest;"
        "request = StartRequest(argv=['/bin/sh', '-c', 'echo x > ' + sys.argv[1]], env={}, cwd='/', log='/dev/null');"
        "spawn(request, lambda pid, *_: (print(pid, flush=True), os.kill(os.getpid(), 9)), pipe=None)"
    )
    killed = subprocess.run([sys.executable, "-P", "-c", script, str(begun)], capture_output=True, text=True, timeout=20, check=False)
    # The child held our pipe too, so run() returned after its end as well.
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert int(killed.stdout) > 0
    assert not begun.exists()


def test_a_record_that_cannot_be_written_keeps_the_program_from_running(tmp_path: Path) -> None:
    """ENOSPC in the registry: the reason is told, and no child, zombie or descriptor stays."""
    begun = tmp_path / "begun"
    before = possessions()

    def full(pid: int, start_time: int, less: list[str]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SpawnError, match="cannot record it: No space left"):
        spawn(request("/bin/sh", "-c", f"echo x > {begun}"), full, pipe=None)
    assert not begun.exists()
    assert possessions() == before


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["/no/such"], "exec: No such file or directory: /no/such"),
        (["/etc/passwd"], "exec: Permission denied"),
        (["/tmp"], "exec: Permission"),
    ],
)
def test_a_failed_exec_names_step_and_reason(argv: list[str], why: str) -> None:
    """And leaves no child."""
    before = possessions()
    with pytest.raises(SpawnError, match=why):
        spawn(request(*argv), lambda *_: None, pipe=None)
    assert possessions() == before
