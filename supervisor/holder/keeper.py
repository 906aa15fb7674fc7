"""The services that are held: start, signal, forget, adopt; their ends and their logs.

Rules: one process a service. What an ended one left behind is killed when it is forgotten or replaced, not before: until then its
zombie keeps its pid, group and session from anybody else. A start is refused while leftovers of the former one will not die, since two
copies are worse than none. Not here: the socket (`doorway.py`), the supervisor's own process (`overseer.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from hart.limits import HOLDER_SERVICES, LOG_PIPE, LOG_REST_S, NOTIFY_REST_S
from supervisor.holder import procfs
from supervisor.holder.cgroup import Site
from supervisor.holder.logpipe import LogPipe, make_pipe
from supervisor.holder.loop import Loop
from supervisor.holder.process import GONE, Process, adopt
from supervisor.holder.protocol import SERVICE, Held, StartRequest, to_dict
from supervisor.holder.readiness import Ear, discard, open_again, open_ear
from supervisor.holder.registry import Record, Registry, as_adopted, as_ended, as_ready
from supervisor.holder.spawn import SpawnError, spawn

LOG, EAR = "log ", "ear "  # in the names of descriptors that are handed over


class RefusedError(Exception):
    """A request that cannot be carried out; the text is the reply's error."""


class Keeper:
    """`tell` gets every event of a process, `say` what a person should read."""

    def __init__(
        self, registry: Registry, loop: Loop, site: Site, boot_id: str, tell: Callable[[dict[str, Any]], None], say: Callable[[str], None]
    ) -> None:
        self._registry = registry
        self._loop = loop
        self._site = site
        self._boot_id = boot_id
        self._tell = tell
        self._say = say
        self._processes: dict[str, Process] = {}
        self._logs: dict[str, LogPipe] = {}
        self._handed: dict[str, int] = {}
        self._ears: dict[str, Ear] = {}  # of those that are still to say that they are ready
        self._strange: set[str] = set()  # starts of which it was said that somebody else spoke for them

    def hand_over(self) -> dict[str, int]:
        """Descriptors for the next image of this process, by name."""
        ears = {f"{EAR}{service}": ear.fileno() for service, ear in self._ears.items()}
        return {f"{LOG}{service}": log.hand_over() for service, log in self._logs.items()} | ears

    def adopt_all(self, fds: Mapping[str, int]) -> None:
        """Take over what an earlier holder left, and what an earlier image of this process handed over; NewerRecordError before anything
        was touched."""
        self._handed = {name: fd for name, fd in fds.items() if name.startswith((LOG, EAR))}
        records, complaints = self._registry.load()
        for complaint in complaints:
            self._say(complaint)
        for service, record in records.items():
            process = adopt(record, self._boot_id)
            if process is None:
                self._remove_orphans(service, record)
            else:
                self._adopt(service, process)
        for name, fd in self._handed.items():  # it had ended, and its last words are in the file
            self._say(f"{name[len(LOG) :]}: its {name[: len(LOG)]}was handed over, and there is no such process")
            os.close(fd)
        self._site.tidy(path for process in self._processes.values() for path in process.record.groups)

    def known(self) -> set[int]:
        """Our own children whose status somebody waits for."""
        return {process.pid for process in self._processes.values() if process.ours}

    def running(self) -> list[str]:
        return [service for service, process in self._processes.items() if process.running]

    def list(self) -> list[dict[str, Any]]:
        return [to_dict(process.record.held) for process in self._processes.values()]

    def start(self, service: str, request: StartRequest) -> dict[str, Any]:
        """Start one; its Held. RefusedError when it runs already, or cannot be started."""
        if not SERVICE.match(service):
            raise RefusedError("not a name for a service")
        former = self._processes.get(service)
        if former is not None:
            if former.running:
                raise RefusedError(f"runs already as pid {former.pid}")
            self._drop(service, former)
        if len(self._processes) >= HOLDER_SERVICES:
            raise RefusedError(f"{HOLDER_SERVICES} services are held already")
        start_id, started_at = os.urandom(16).hex(), time.time()  # noqa: TID251  the shell reads the clock: people read it
        told = {} if request.notify is None else {"NOTIFY_SOCKET": request.notify}
        request = replace(request, env={**request.env, **told, procfs.MARK: start_id})
        ready_pipe = None if request.notify_fd is None else f"{request.log}.ready"
        records: list[Record] = []

        group, missing = self._site.make(f"{service}.{start_id[:12]}", request.limits)

        def commit(pid: int, start_time: int, less: list[str]) -> None:
            held = Held(
                service=service,
                start_id=start_id,
                pid=pid,
                boot_id=self._boot_id,
                start_time=start_time,
                started_at=started_at,
                running=True,
                containment=self._site.describe(),
                less=[*missing, *less],
            )
            record = Record(held=held, log=request.log, log_rate=request.log_rate, log_keep=request.log_keep, argv=request.argv)
            records.append(replace(record, groups=list(group.paths), notify=request.notify, ready_pipe=ready_pipe, uid=request.uid))
            self._registry.save(records[0])

        with ExitStack() as undo:
            undo.callback(group.remove)
            try:
                pipe = make_pipe(request.log, request.uid, request.gid)
                log = LogPipe(request.log, rate=request.log_rate, keep=request.log_keep)
            except OSError as error:
                raise RefusedError(f"log {request.log}: {error.strerror}") from error
            undo.callback(log.close)
            try:
                ear = open_ear(request.notify, ready_pipe, request.uid, request.gid)
            except OSError as error:
                raise RefusedError(f"{request.notify or ready_pipe}: {error.strerror}") from error
            if ear is not None:
                undo.callback(ear.close)
            try:
                kept = ear.fileno() if ear is not None and request.notify is not None else None
                _, pidfd = spawn(request, commit, pipe=pipe, groups=group.paths, kept=kept, ready_pipe=ready_pipe)
            except SpawnError as error:
                with suppress(OSError):  # a record whose process is gone is dropped by the next holder as well
                    self._registry.drop(service)
                raise RefusedError(str(error)) from error
            undo.pop_all()
        self._hold(service, Process(records[0], pidfd, ours=True), log, ear)
        return to_dict(records[0].held)

    def signal(self, service: str, start_id: str, signum: int, *, group: bool) -> bool:
        process = self._processes.get(service)
        if process is None or process.record.held.start_id != start_id:
            return False
        return process.send(signum, group=group)

    def forget(self, service: str, start_id: str) -> None:
        """Drop an ended one; one that is not held is forgotten already. RefusedError while it, or what it left, lives."""
        process = self._processes.get(service)
        if process is None or process.record.held.start_id != start_id:
            return
        if process.running:
            raise RefusedError(f"runs as pid {process.pid}")
        self._drop(service, process)

    def signal_all(self, signum: int) -> None:
        for process in self._processes.values():
            if process.running:
                process.send(signum, group=True)

    def end_all(self) -> None:
        """Kill whatever is left of everything, and forget it."""
        for service, process in list(self._processes.items()):
            left = process.sweep()
            if left:
                self._say(f"{service}: pid {left} does not die: it hangs in the kernel")
            elif process.running:
                self._ended(service)
            with suppress(RefusedError):
                self._drop(service, process)
        self._site.close()

    def _hold(self, service: str, process: Process, log: LogPipe | None, ear: Ear | None) -> None:
        self._processes[service] = process
        if ear is not None:
            self._ears[service] = ear
            self._loop.watch(ear.fileno(), lambda: self._hear(service))
        if log is not None:
            self._logs[service] = log
            self._loop.watch(log.fileno(), lambda: self._drain(log))
        if process.pidfd != GONE:
            self._loop.watch(process.pidfd, lambda: self._ended(service))

    def _drain(self, log: LogPipe) -> None:
        if log.drain():
            self._loop.rest(log.fileno(), LOG_REST_S)

    def _hear(self, service: str) -> None:
        """It says something about its readiness; or somebody does."""
        process, ear = self._processes[service], self._ears[service]
        held = process.record.held
        said = ear.hear(process.owns)
        if said.strange is not None and held.start_id not in self._strange:
            self._strange.add(held.start_id)
            self._say(f"{service}: a notification of pid {said.strange} does not count: not of this service, or gone before it was read")
        if said.status:
            self._tell({"event": "status", "service": service, "start_id": held.start_id, "text": said.status})
        if not said.ready:
            self._loop.rest(ear.fileno(), NOTIFY_REST_S)
            return
        process.record = as_ready(process.record)
        try:
            self._registry.save(process.record)
        except OSError as error:
            self._say(f"{service}: that it is ready is not recorded: {error.strerror}")
        self._deafen(service, held.start_id)
        self._tell({"event": "ready", "service": service, "start_id": held.start_id})

    def _deafen(self, service: str, start_id: str) -> None:
        """It has nothing more to say that is of interest."""
        self._strange.discard(start_id)
        ear = self._ears.pop(service, None)
        if ear is not None:
            self._loop.unwatch(ear.fileno())
            ear.close()

    def _ended(self, service: str) -> None:
        process = self._processes[service]
        self._loop.unwatch(process.pidfd)
        self._deafen(service, process.record.held.start_id)
        process.learn_end()
        log = self._logs.get(service)
        if log is not None:
            log.drain(LOG_PIPE)  # its last words are in the file before anybody is told
        held = process.record.held
        self._tell(
            {
                "event": "exited",
                "service": service,
                "start_id": held.start_id,
                "code": held.code,
                "signal": held.signal,
                "unknown": held.unknown,
                "cause": held.cause,
            }
        )
        try:
            self._registry.save(process.record, durable=False)
        except OSError as error:
            self._say(f"{service}: its end is not recorded: {error.strerror}")

    def _drop(self, service: str, process: Process) -> None:
        left = process.sweep()
        if left:
            raise RefusedError(f"what the former process left behind does not die: pid {', '.join(map(str, left))}")
        try:
            self._registry.drop(service)
        except OSError as error:
            raise RefusedError(f"its record cannot be removed: {error.strerror}") from error
        process.release()
        del self._processes[service]
        self._deafen(service, process.record.held.start_id)
        log = self._logs.pop(service, None)
        if log is not None:
            self._loop.unwatch(log.fileno())
            log.drain(LOG_PIPE)
            log.close()

    def _adopt(self, service: str, process: Process) -> None:
        held = process.record.held
        if not process.ours:
            process.record = as_adopted(process.record)
        process.group.thaw()
        record, pipe, log = process.record, self._handed.pop(f"{LOG}{service}", None), None
        if record.log is not None and (held.running or pipe is not None):
            try:
                log = LogPipe(record.log, held.pid, rate=record.log_rate, keep=record.log_keep, pipe=pipe)
            except OSError as error:
                self._say(f"{service}: its output is lost: {record.log}: {error.strerror}")
        self._hold(service, process, log, self._ear_of(service, process))
        self._say(f"{service}: goes on as pid {held.pid}" if held.running else f"{service}: had ended")

    def _ear_of(self, service: str, process: Process) -> Ear | None:
        """Of one that is adopted; None when it has ended, or was ready already and its end is only to be shut."""
        record, end = process.record, self._handed.pop(f"{EAR}{service}", None)
        if not record.held.running:
            discard(record.notify, record.ready_pipe)
            if end is not None:
                os.close(end)
            return None
        try:
            ear, complaint = open_again(record.notify, record.ready_pipe, record.uid, record.held.pid, process.pidfd, end=end)
        except OSError as error:
            if not record.held.ready:
                self._say(f"{service}: it cannot say that it is ready: {record.notify or record.ready_pipe}: {error.strerror}")
            return None
        if ear is not None and record.held.ready:
            ear.close()
            return None
        if complaint:
            self._say(f"{service}: {complaint}")
        return ear

    def _remove_orphans(self, service: str, record: Record) -> None:
        if record.held.boot_id == self._boot_id:
            left = Process(as_ended(record), GONE, ours=False)
            if pids := left.sweep():
                self._processes[service] = left  # a start must not pass it by
                self._say(f"{service}: what it left behind does not die: pid {', '.join(map(str, pids))}")
                return
            left.release()
        discard(record.notify, record.ready_pipe)
        self._registry.drop(service)
        self._say(f"{service}: ended while no holder was there (pid {record.held.pid} is gone or another's)")
