"""A service's process, as the holder has it: asked for, signalled, and forgotten when it has ended.

Rules: a process is known by its start id, never by a number that may be another's; its end is told once, whoever says it first. The PID
file in the service directory is for hooks, nobody here reads it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hart import servicedir
from hart.errors import SteadError
from hart.files import write_atomic
from supervisor.attach import Exited
from supervisor.holder.protocol import Held, StartRequest
from supervisor.service.kit import Kit

if TYPE_CHECKING:
    from supervisor.host import Host

KILL, TERM = signal.SIGKILL, signal.SIGTERM


class Process:
    """The process of one service, past or present."""

    def __init__(self, host: Host, name: str) -> None:
        self._host, self._name = host, name
        self.pid: int | None = None
        self.start_id = ""
        self.containment = ""  # what holds it and its children together
        self.less: tuple[str, ...] = ()  # what of its limits and privileges could not be had
        self._expected = False  # the holder was asked, and has not answered
        self._ended: set[str] = set()
        self._ready = ""  # the start that said last that it is ready

    def expect(self) -> None:
        self.start_id, self._expected = "", True

    @property
    def said_ready(self) -> bool:
        """Whether the process that runs has said that it is ready; it may have been faster than the answer that it was started."""
        return self._ready != "" and self._ready == self.start_id

    def ready(self, start_id: str) -> bool:
        """Hear that one is ready; whether it is the process that counts."""
        self._ready = start_id
        return self.said_ready

    async def start(self, kit: Kit, args: Sequence[str] = ()) -> int:
        """Start it, with these arguments, and return its pid; ServiceError says why it could not be."""
        directory, account, contained = kit.service_dir, kit.account, kit.containment
        env, tmp = dict(kit.env), None
        if contained.private_tmp:
            tmp = str(await asyncio.to_thread(servicedir.fresh_tmp, directory, account))
            env["TMPDIR"] = tmp
        request = StartRequest(
            argv=[str(directory / "run"), *args],
            env=env,
            cwd=str(directory),
            uid=account.uid,
            gid=account.gid,
            groups=list(account.groups),
            log=str(directory / "logs" / "run.log"),
            log_keep=contained.log_keep,
            log_rate=contained.log_rate,
            limits=dict(contained.limits),
            no_new_privs=not contained.new_privileges,
            tmp=tmp,
            notify=str(directory / "notify") if kit.probes.notify else None,
            notify_fd=kit.probes.notify_fd,
        )
        try:
            held = await self._host.holder.start(self._name, request)
        finally:
            self._expected = False
        self.adopt(held)
        if held.start_id in self._ended:
            self.pid = None
        return held.pid

    def adopt(self, held: Held) -> None:
        """This is the process now."""
        self.start_id, self.pid = held.start_id, held.pid
        self.containment, self.less = held.containment, tuple(held.less)
        if held.ready:
            self._ready = held.start_id
        with suppress(SteadError):  # hooks use it; without it they fail and say so
            write_atomic(self._host.root.service(self._name) / "PID", f"{held.pid}\n".encode(), durable=False)

    async def _forget(self, start_id: str) -> None:
        with suppress(SteadError):  # it will not die, or the holder is gone: the next start meets either
            await self._host.holder.forget(self._name, start_id)

    async def signal(self, number: int) -> None:
        try:
            await self._host.holder.signal(self._name, self.start_id, number)
        except SteadError as error:
            self._host.journal.write("service", self._name, f"signal {number} was not sent: {error.cause}")

    async def ended(self, event: Exited, *, wait: bool) -> bool:
        """Hear of an end: have the holder forget it and what it left behind; whether it is news about the process that counts. `wait` until
        that is done; the next start comes after it in any case."""
        if event.start_id in self._ended:
            return False
        self._ended = {*list(self._ended)[-8:], event.start_id}
        forgetting = self._host.tasks.create_task(self._forget(event.start_id), name=f"{self._name} forget")
        if wait:
            await forgetting
        else:
            await asyncio.sleep(0)  # it is asked before anything that comes from here
        if event.start_id != self.start_id and not self._expected:
            return False
        self.start_id, self.pid = event.start_id, None
        with suppress(OSError):  # a disk that refuses, or a service that has put something else there
            (self._host.root.service(self._name) / "PID").unlink(missing_ok=True)
        return True
