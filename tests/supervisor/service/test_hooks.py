"""Hooks are bounded in time and output, and block nobody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hart.account import own_account
from hart.limits import HOOK_LOG_MAX, HOOK_OUTPUT_MAX
from supervisor.logfile import is_stamped, text_of
from supervisor.service import hooks

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  what is waited for is another process
            await asyncio.sleep(0.01)


async def run(script: str, tmp_path: Path, timeout_s: float = 20.0, hide: Callable[[str], str] = str) -> hooks.Outcome:
    return await hooks.run(
        ["/bin/sh", "-c", script],
        name="init",
        account=own_account(),
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        log=tmp_path / "init.log",
        timeout_s=timeout_s,
        hide=hide,
    )


async def test_code_reason_and_log(tmp_path: Path) -> None:
    outcome = await run("echo out; echo broken >&2; exit 3", tmp_path)
    assert (outcome.code, outcome.because) == (3, "exited with code 3: broken")
    lines = (tmp_path / "init.log").read_bytes().splitlines()
    assert all(is_stamped(line) for line in lines)
    assert [text_of(line) for line in lines[:2]] == [b"out", b"broken"]
    assert b"# init exited with code 3" in lines[2]


async def test_the_whole_group_is_killed_at_the_deadline(tmp_path: Path) -> None:
    outcome = await run("sleep 1000 & echo $! > child; wait", tmp_path, timeout_s=0.5)
    assert (outcome.code, outcome.because) == (None, "killed after 0.5 s")
    child = int((tmp_path / "child").read_text())
    await until(lambda: not is_running(child))


async def test_a_flood_on_both_streams_is_capped_and_cannot_block(tmp_path: Path) -> None:
    """W12: Habitat reads one stream to its end before the other. The times before short lines count: they are most of the log."""
    outcome = await run("yes | head -c 3000000; yes | head -c 3000000 >&2", tmp_path)
    assert outcome.code == 0
    log = (tmp_path / "init.log").read_bytes()
    assert len(log) < HOOK_OUTPUT_MAX + 1000
    *kept, note = [text_of(line) for line in log.splitlines(keepends=True)]
    assert note.endswith(f"{outcome.dropped} bytes of output dropped\n".encode())
    assert sum(map(len, kept)) + outcome.dropped - 6_000_000 in (0, 1), "our note begins a line of its own"


async def test_a_child_that_keeps_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    outcome = await run("sleep 30 & echo $! > child; exit 0", tmp_path)
    assert outcome.code == 0
    assert outcome.seconds < 20
    os.kill(int((tmp_path / "child").read_text()), 9)


async def test_a_signal_and_a_missing_interpreter_are_reasons(tmp_path: Path) -> None:
    assert (await run("kill -9 $$", tmp_path)).because == "ended by SIGKILL"
    outcome = await hooks.run([str(tmp_path / "none")], name="x", account=own_account(), env={}, cwd=tmp_path, log=None, timeout_s=5)
    assert (outcome.code, outcome.ok) == (None, False)
    assert "cannot be started" in outcome.because


async def test_called_off_it_is_killed_and_gone(tmp_path: Path) -> None:
    task = asyncio.ensure_future(run("echo $$ > pid; sleep 1000", tmp_path))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(int((tmp_path / "pid").read_text()))


async def test_what_is_quoted_of_a_hook_is_without_secrets_also_where_it_is_cut(tmp_path: Path) -> None:
    """Its own log has what it says."""
    secret = "s3cret" * 20
    line = f"{secret} {'x' * 200} {secret}"
    outcome = await run(f"echo {line}; exit 3", tmp_path, hide=lambda text: text.replace(secret, "***"))
    assert outcome.because == f"exited with code 3: *** {'x' * 200} ***"
    assert line in (tmp_path / "init.log").read_text()


async def test_a_large_log_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "init.log").write_bytes(b"x" * HOOK_LOG_MAX)
    await run("echo new", tmp_path)
    assert (tmp_path / "init.log.1").stat().st_size == HOOK_LOG_MAX
    assert text_of((tmp_path / "init.log").read_bytes()).startswith(b"new")


async def test_a_log_of_an_earlier_day_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "init.log").write_bytes(b"old\n")
    os.utime(tmp_path / "init.log", (1e9, 1e9))
    await run("echo new", tmp_path)
    await run("echo newer", tmp_path)
    assert (tmp_path / "init.log.1").read_bytes() == b"old\n"
    assert (tmp_path / "init.log").read_bytes().count(b"new") == 2
