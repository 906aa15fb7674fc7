"""One command of a build: its end, its log, what it may leave behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from builder import process
from builder.process import Ended, Log, tail
from hart.errors import BuildError


def run(tmp_path: Path, script: str, *, limit: int = 100_000, deadline_s: float = 60.0) -> tuple[Ended, str]:
    log = Log(tmp_path / "log", limit=limit)
    try:
        environ = {"PATH": os.environ["PATH"]}
        ended = process.run(["sh", "-c", script], cwd=tmp_path, environ=environ, log=log, deadline_s=deadline_s)
    finally:
        log.close()
    return ended, log.path.read_text()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return gone(pid)


def test_a_command_sees_only_what_it_is_given(tmp_path: Path) -> None:
    """Its own environment, no standard input, a fixed file mode mask."""
    ended, output = run(tmp_path, "env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; cat; umask")
    assert ended == Ended(0)
    assert output == f"PATH={os.environ['PATH']}\n0022\n"


def test_how_it_ended_is_said_in_words(tmp_path: Path) -> None:
    """Exit code, or the signal's name."""
    assert run(tmp_path, "exit 7")[0].words == "ended with exit code 7"
    assert run(tmp_path, "kill -9 $$")[0].words == "was killed by SIGKILL"


def test_a_command_that_is_not_there_is_a_build_error(tmp_path: Path) -> None:
    """With its name."""
    log = Log(tmp_path / "log")
    with pytest.raises(BuildError, match="cannot be run"):
        process.run(["/nowhere/tool"], cwd=tmp_path, environ={}, log=log)
    log.close()


def test_a_log_is_bounded_and_says_what_it_dropped(tmp_path: Path) -> None:
    """A step that prints for ever cannot fill the disk."""
    ended, output = run(tmp_path, "head -c 500000 /dev/zero | tr '\\0' x; echo; echo end >&2", limit=1000)
    assert ended == Ended(0)
    assert output.startswith("x" * 1000)
    assert "499005 more bytes were dropped" in output


def test_the_tail_is_printable(tmp_path: Path) -> None:
    """The last lines, without escape codes, cut to a width."""
    path = tmp_path / "log"
    path.write_bytes(b"first\n" * 50 + b"\x1b[31mred\n" + b"y" * 1000 + b"\n\xff\n")
    lines = tail(path, lines=4)
    assert lines == ["first", "�[31mred", "y" * 500, "�"]


@pytest.mark.slow
def test_what_a_command_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    """A background process of its group, that holds the log open, neither stays nor delays the end."""
    ended, _ = run(tmp_path, "sleep 300 & echo $! >pid")
    assert ended == Ended(0)
    assert wait_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_a_deadline_ends_a_command_that_ignores_term(tmp_path: Path) -> None:
    """TERM, then KILL, for the whole group."""
    ended, _ = run(tmp_path, "trap '' TERM; sleep 300 & echo $! >pid; wait; wait", deadline_s=1.0)
    assert ended.timed_out
    assert wait_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_an_interrupt_ends_the_group(tmp_path: Path) -> None:
    """Whatever stops us while a command runs, its processes are gone."""

    def stop() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            raise KeyboardInterrupt

    log = Log(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", "-c", "sleep 300 & echo $! >pid; wait"], cwd=tmp_path, environ=dict(os.environ), log=log, tick=stop)
    log.close()
    assert wait_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_term_is_an_interrupt_while_building(tmp_path: Path) -> None:
    """`kill` cleans up as Ctrl-C does."""
    import subprocess

    program = (
        "import os, signal\n"
        "from builder.process import interruptible\n"
        "try:\n"
        "    with interruptible():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "except KeyboardInterrupt:\n"
        "    print('cleaned', signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout == "cleaned True\n"


def test_a_daemon_ends_with_the_command_that_started_it(tmp_path: Path) -> None:
    """Also in a session of its own, and its own children; children that we had before are left alone."""
    import subprocess

    with subprocess.Popen(["sleep", "300"]) as ours:
        try:
            script = (
                "setsid sh -c 'setsid sleep 300 & echo $! >inner; echo $$ >outer; wait' >/dev/null 2>&1 & until test -s outer; do :; done"
            )
            assert run(tmp_path, script)[0] == Ended(0)
            assert [gone(int((tmp_path / name).read_text())) for name in ("outer", "inner")] == [True, True]
            assert ours.poll() is None
        finally:
            ours.kill()


def test_a_directory_that_a_step_removed_is_named(tmp_path: Path) -> None:
    """And not the program, which is there."""
    log = Log(tmp_path / "log")
    with pytest.raises(BuildError, match="is no directory any more"):
        process.run(["sh", "-c", "true"], cwd=tmp_path / "gone", environ={}, log=log)
    log.close()
