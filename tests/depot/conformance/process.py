"""`stead depot serve` as a real process: started, reached, killed."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 60.0  # for a loaded machine; a start takes half a second


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """TERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def peak_kib(self) -> int:
        """The most memory that it ever had resident (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def stead(*args: str) -> list[str]:
    return [sys.executable, "-m", "stead", *args]


def token(data: Path, *scopes: str) -> str:
    """A token of alice's, made by the command."""
    wanted = [part for scope in scopes for part in ("--scope", scope)]
    command = stead("depot", "token", "create", "--data", str(data), "--account", "alice", "--json", *wanted)
    done = subprocess.run(command, capture_output=True, check=True, timeout=START_S)
    return str(json.loads(done.stdout)["token"])


@contextmanager
def served(data: Path, *args: str, largest_file: int | None = None) -> Iterator[Served]:
    """A server on a free port, ready. Killed at the end of the block if it still runs. `largest_file`: RLIMIT_FSIZE in bytes."""
    log = data.with_name(f"{data.name}.log")

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    with log.open("ab") as stderr:
        command = stead("depot", "serve", "--data", str(data), "--port", "0", "--json", *args)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, preexec_fn=limit)  # noqa: PLW1509  it only sets a limit
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        lines: list[bytes] = []
        while not lines or lines[-1].strip() != b"}":
            line = process.stdout.readline()
            assert line, f"the server did not start: {log.read_text()}"
            lines.append(line)
        watchdog.cancel()
        yield Served(process, json.loads(b"".join(lines))["url"], log)
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
