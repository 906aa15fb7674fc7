"""A healthy service beside a hostile one, and what is seen of it, its supervisor and its holder meanwhile."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hart.limits import MIB
from hart.root import Root
from supervisor import control
from supervisor.holder import procfs
from tests.supervisor.workshop import Supervised, lay_package

CALM = "t/calm/1.0/20260101000000"
STEAD = str(Path(sys.executable).with_name("stead"))
GROWTH_MAX = 20 * MIB  # that a hostile service may cost the supervisor, at the worst moment
ANSWER_S = 10.0  # who is silent for that long does not answer
SERVER = """
import os, socket, sys
from pathlib import Path

port = Path(sys.argv[2]) / "port"
port.unlink(missing_ok=True)
listening = socket.create_server(("127.0.0.1", 0))
port.with_suffix(".new").write_text(str(listening.getsockname()[1]))
port.with_suffix(".new").rename(port)
while True:
    connection, _ = listening.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""
READY = "[ready]\nexec = 'test -e {{pkg.svc_data_path}}/port'\ninterval_s = 0.05\n"


def lay_calm(root: Root) -> None:
    lay_package(root, CALM, files={"service.py": SERVER, "service.toml": READY})


class Witness:
    """Looks all the time; `__enter__`'s facts are what must still hold at the end."""

    def __init__(self, host: Supervised) -> None:
        self.host = host
        facts = host.ask("sup status")
        self.supervisor, self.holder = int(facts["pid"]), int(facts["holder_pid"])
        self.calm = int(host.row("calm")["pid"])
        self.port = int((host.root.service("calm") / "data" / "port").read_text())
        self.asked = 0
        self.slowest_s = 0.0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while True:
            began = time.monotonic()
            try:
                if (said := call(self.port)) != str(self.calm):
                    self.failed.append(f"process {said} answered instead of {self.calm}")
                self.host.ask("status", name="calm")
            except (OSError, control.UnavailableError) as error:
                self.failed.append(str(error))
            self.asked += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if self._stop.wait(0.05):
                return

    def begin(self) -> None:
        self.before = {pid: begin_peak(pid) for pid in (self.supervisor, self.holder)}
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        grown = {pid: peak(pid) - before for pid, before in self.before.items()}
        print(f"asked {self.asked} times, the slowest answer {self.slowest_s:.2f} s; supervisor +{grown[self.supervisor] / MIB:.1f} MiB")
        assert self.failed == [], self.host.log()[-4000:]
        facts = self.host.ask("sup status")
        assert (facts["pid"], facts["holder_pid"]) == (self.supervisor, self.holder), self.host.log()[-4000:]
        assert self.host.row("calm")["pid"] == self.calm
        assert grown[self.supervisor] <= GROWTH_MAX
        assert grown[self.holder] <= GROWTH_MAX
        (row,) = stead(self.host.root, "svc", "status", "calm", "--json")
        assert (row["state"], row["pid"]) == ("ready", self.calm)


@contextmanager
def undisturbed(host: Supervised) -> Iterator[Witness]:
    """What happens inside costs the healthy service no request and no restart, and supervisor and holder no more than GROWTH_MAX."""
    witness = Witness(host)
    witness.begin()
    try:
        yield witness
    except BaseException:
        witness._stop.set()
        raise
    witness.end()


def call(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
        connection.settimeout(ANSWER_S)
        return connection.recv(100).decode()


def answers(host: Supervised) -> bool:
    """Whether the healthy service does, as the process that the supervisor has."""
    try:
        return call(int((host.root.service("calm") / "data" / "port").read_text())) == str(host.row("calm")["pid"])
    except OSError:
        return False


def stead(root: Root, *arguments: str) -> Any:
    """The command line's answer as JSON."""
    done = subprocess.run([STEAD, *arguments, f"--root={root.path}"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def begin_peak(pid: int) -> int:
    """Forget the most that a process had resident; what it has now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


def peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def carriers(*marks: str) -> list[int]:
    """Living processes with one of these in their command line."""
    return procfs.living(lambda found: any(mark.encode() in procfs.read(f"/proc/{found.pid}/cmdline") for mark in marks))
