"""Run a hook, or a probe's command, to its end or its deadline (reference: supervisor 3, weaknesses W11, W12, W16).

Rules: an own process group, no standard input, a clean environment, the service's user. One pipe for both output streams, drained while it
runs, so nothing can fill up. Past the cap output is counted and dropped; at the deadline the group is killed. What a hook leaves running is
left alone, but nobody waits for it. The end of the output is kept for the reason, all of it goes to `<svc>/logs/<hook>.log`, a time before
each line, rotated by size and day as the service's own log is.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hart.account import Account
from hart.limits import CHUNK, HOOK_LINGER_S, HOOK_LOG_KEEP, HOOK_LOG_MAX, HOOK_OUTPUT_MAX, HOOK_TAIL
from supervisor import clock
from supervisor.holder.logpipe import stamp, timestamp
from supervisor.holder.rotation import rotate

NAMES = frozenset(
    {
        "install",
        "uninstall",
        "init",
        "run",
        "post-run",
        "health-check",
        "ready",
        "reconfigure",
        "suitability",
        "file-updated",
        "pre-stop",
        "post-stop",
    }
)

OFTEN = frozenset({"probe", "ready", "health-check"})  # logged only when they have something to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a hook ended. `code` None: it was killed, at the deadline or by a signal, or could not be started."""

    code: int | None
    because: str  # "exited with code 3: last line of its output"
    seconds: float
    dropped: int = 0  # bytes over the cap

    @property
    def ok(self) -> bool:
        return self.code == 0


async def run(
    argv: Sequence[str],
    *,
    name: str,
    account: Account,
    env: Mapping[str, str],
    cwd: Path,
    log: Path | None,
    timeout_s: float,
    hide: Callable[[str], str] = str,
) -> Outcome:
    """Run `argv`. Never raises for what a hook does; cancelled, it kills the group and waits for it. `hide` takes secrets out of what is
    quoted of its output; its log has what it says."""
    began = clock.now()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    output = _Output(read_end, log, name)
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=dict(env),
                cwd=cwd,
                process_group=0,
                umask=0o022,
                **account.switches(),
            )
        except OSError as error:
            because = f"cannot be started: {error.strerror or error}"
            output.note(because)
            return Outcome(code=None, because=because, seconds=clock.now() - began)
        finally:
            os.close(write_end)
        output.begin()
        code, timed_out = await _wait(process, timeout_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(output.ended, HOOK_LINGER_S)
        seconds = clock.now() - began
        because = f"killed after {timeout_s:g} s" if timed_out else how_it_ended(code)
        if code != 0 or output.tail or name not in OFTEN:
            output.note(f"{because}, {seconds:.2f} s" + (f", {output.dropped} bytes of output dropped" if output.dropped else ""))
        if code != 0 and (last := output.last_line(hide)):
            because = f"{because}: {last}"
        return Outcome(code=code if code >= 0 and not timed_out else None, because=because, seconds=seconds, dropped=output.dropped)
    finally:
        output.close()


async def _wait(process: asyncio.subprocess.Process, timeout_s: float) -> tuple[int, bool]:
    timed_out = False
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, timed_out


def how_it_ended(code: int | None, signum: int | None = None, cause: str = "") -> str:
    """`code` as subprocess gives it (negative: a signal), or code and signal as the holder does, with what it knows beyond that."""
    if cause:
        return f"{how_it_ended(code, signum)}: {cause}"
    if signum is None and code is not None and code < 0:
        signum = -code
    if signum is not None:
        with suppress(ValueError):
            return f"ended by {signal.Signals(signum).name}"
        return f"ended by signal {signum}"
    return "ended, nobody knows how" if code is None else f"exited with code {code}"


class _Output:
    """The read end of a hook's pipe, its log, and the tail of what was written."""

    def __init__(self, fd: int, log: Path | None, name: str) -> None:
        os.set_blocking(fd, False)
        self.fd, self.name = fd, name
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.log = _open_log(log) if log is not None else None
        self.tail = b""
        self.written = self.dropped = self.column = 0
        self.full = self.reading = False

    def begin(self) -> None:
        self.reading = True
        asyncio.get_running_loop().add_reader(self.fd, self._readable)

    def _readable(self) -> None:
        try:
            block = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return
        if not block:
            self._stop()
            return
        self.tail = (self.tail + block)[-HOOK_TAIL:]
        kept = self._fitting(block)
        self.dropped += len(block) - len(kept)
        self._append(kept)

    def _fitting(self, block: bytes) -> bytes:
        """What of it the cap has room for, times included: before short lines they are ten times what the hook writes."""
        kept, prefix = b"" if self.full else block, timestamp(clock.wall())
        while kept and self.written + len(stamp(kept, self.column, prefix)[0]) > HOOK_OUTPUT_MAX:
            kept = kept[: len(kept) // 2]
        self.full = len(kept) < len(block)
        return kept

    def _append(self, data: bytes) -> None:
        text, self.column = stamp(data, self.column, timestamp(clock.wall()))
        self.written += len(text)
        if self.log is not None and text:
            with suppress(OSError):  # a full disk costs the log, not the hook
                os.write(self.log, text)

    def _stop(self) -> None:
        if self.reading:
            asyncio.get_running_loop().remove_reader(self.fd)
            self.reading = False
        if not self.ended.done():
            self.ended.set_result(None)

    def note(self, text: str) -> None:
        """Our own line, told apart by its mark."""
        if self.log is None:
            return
        self._append((b"\n" if self.column else b"") + f"# {self.name} {text}\n".encode())

    def close(self) -> None:
        self._stop()
        os.close(self.fd)
        if self.log is not None:
            os.close(self.log)

    def last_line(self, hide: Callable[[str], str]) -> str:
        """Hidden before it is cut: half of a secret is not known as one."""
        lines = [line.strip() for line in hide(self.tail.decode(errors="replace")).splitlines() if line.strip()]
        return lines[-1][-300:] if lines else ""


def _open_log(path: Path) -> int | None:
    """Append; past its size, or when it is of an earlier day, the file is rotated first. The directory is ours, the file is not followed if
    it is a link."""
    with suppress(OSError):
        with suppress(FileNotFoundError):
            found = path.lstat()
            if found.st_size >= HOOK_LOG_MAX or clock.day(found.st_mtime) < clock.day(clock.wall()):
                rotate(str(path), HOOK_LOG_KEEP - HOOK_LOG_MAX - HOOK_OUTPUT_MAX)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    return None
