"""A stand for real holders: start them, kill them, count what is left. Every process it leads to carries its token and is removed."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hart.errors import SteadError
from supervisor.attach import HolderClient
from supervisor.holder import cgroup, procfs
from supervisor.holder.protocol import StartRequest

DEADLINE_S = 20.0
SLEEPING_SUPERVISOR = ("/bin/sleep", "100000")  # the tests' own client decides


class Stand:
    """One state directory, and the holder that runs on it now."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.token = secrets.token_hex(8)
        self.number = f"{secrets.randbelow(10**9) + 10**9}"  # a time for sleep(1) that nobody else waits for
        self.holder: subprocess.Popen[str] | None = None
        self._clients: list[HolderClient] = []

    @property
    def socket(self) -> Path:
        return self.state / "holder.sock"

    def log(self, service: str) -> Path:
        return self.state / "log" / f"{service}.log"

    def launch(self, supervisor: tuple[str, ...] = SLEEPING_SUPERVISOR) -> subprocess.Popen[str]:
        """Start a holder without waiting for it."""
        command = [sys.executable, "-P", "-m", "supervisor.holder.main", "--state", str(self.state), "--supervisor", *supervisor]
        with (self.state / "holder.err").open("a") as errors:
            self.holder = subprocess.Popen(command, env={**os.environ, "STAND": self.token}, stderr=errors, text=True)
        return self.holder

    async def client(self) -> HolderClient:
        """Connected to the present holder, and not to one before it."""
        assert self.holder is not None
        until = time.monotonic() + DEADLINE_S
        while True:
            client = None
            try:
                client = await HolderClient.connect(self.socket)
                self._clients.append(client)
                if (await client.hello()).pid == self.holder.pid:
                    return client
            except SteadError:
                if time.monotonic() > until or self.holder.poll() is not None:
                    raise AssertionError(f"no holder: {self.said()}") from None
            if client is not None:
                await client.close()
            await asyncio.sleep(0.01)

    def request(self, *argv: str, **others: object) -> StartRequest:
        values = {"argv": list(argv), "env": {"STAND": self.token, "PATH": "/usr/bin:/bin"}, "cwd": "/", "log": str(self.log("web"))}
        return StartRequest(**{**values, **others})  # type: ignore[arg-type]

    def sleeper(self) -> StartRequest:
        """A service that can be counted: one process, no fork, no shell."""
        return self.request("/bin/sleep", self.number)

    def shell(self, script: str, **others: object) -> StartRequest:
        return self.request("/bin/sh", "-c", script, **others)

    def sleepers(self) -> list[int]:
        """Living copies of the sleeper."""
        wanted = f"/bin/sleep\0{self.number}\0".encode()
        return procfs.living(lambda found: procfs.read(f"/proc/{found.pid}/cmdline") == wanted)

    def stranger(self) -> subprocess.Popen[bytes]:
        """A process that no holder has to do with."""
        return subprocess.Popen(["/bin/sleep", self.number], start_new_session=True)

    def kill_holder(self) -> None:
        assert self.holder is not None
        self.holder.kill()
        self.holder.wait(DEADLINE_S)

    def said(self) -> str:
        return (self.state / "holder.err").read_text()

    async def clear(self) -> None:
        """Close every client, kill the holder, and until none is left whoever carries the token."""
        for client in self._clients:
            await client.close()
        if self.holder is not None:
            self.kill_holder()
        mark = f"STAND={self.token}".encode()
        until = time.monotonic() + DEADLINE_S
        while left := procfs.living(lambda found: mark in procfs.read(f"/proc/{found.pid}/environ")):
            assert time.monotonic() < until, left
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
        remove_groups(self.state)


def remove_groups(state: Path) -> None:
    """What a killed holder leaves to the next one, and there is none."""
    v2, v1 = cgroup.own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    for base in {v2, *v1.values()} - {None}:
        top = Path(f"{base}/{cgroup.site_name(str(state))}")
        for group in [*top.glob("*"), top]:
            with suppress(OSError):
                group.rmdir()


async def eventually(reached: Callable[[], bool], what: str) -> None:
    """Wait for a fact with a deadline."""
    until = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < until, what
        await asyncio.sleep(0.01)
