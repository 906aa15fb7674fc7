"""One held process after its exec: adopt it, signal it, learn its end, remove what it left behind.

Rules:
- Identity is (boot id, pid, start time), checked after a pidfd holds the process. A record that does not match is never signalled.
- Our own dead child stays a zombie until `release`: so its pid, group and session cannot be anybody else's while we may signal them.
- What a dead main process left behind is who is in its cgroup. Without one it is what carries its start id in the environment, and for our
  own child its group and session too: a process that leaves both and clears its environment gets away. Nothing else is ever signalled.
Not here: when to do which (`keeper.py`).
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from hart.limits import HOLDER_SWEEP_S
from supervisor.holder import procfs
from supervisor.holder.cgroup import Group
from supervisor.holder.registry import Record, as_ended

GONE = -1


@dataclass(slots=True)
class Process:
    """`pidfd` is GONE when the process had ended before this holder came; `ours` means that its status and its zombie are ours."""

    record: Record
    pidfd: int
    ours: bool

    @property
    def group(self) -> Group:
        return Group(self.record.groups)

    @property
    def pid(self) -> int:
        return self.record.held.pid

    @property
    def running(self) -> bool:
        return self.record.held.running

    def learn_end(self) -> None:
        """After the pidfd reported the end: note how, without reaping."""
        code = signum = None
        with suppress(ChildProcessError):  # another holder's child: its status went to init
            status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) if self.ours else None
            if status is not None:
                code, signum = (status.si_status, None) if status.si_code == os.CLD_EXITED else (None, status.si_status)
        cause = self.group.oom()
        if cause and signum != signal.SIGKILL:
            cause = f"the kernel had killed one of its processes: {cause}"
        self.record = as_ended(self.record, code=code, signal=signum, cause=cause)

    def send(self, signum: int, *, group: bool) -> bool:
        """Signal it while it runs, or after its end with `group` what it left behind. False when nothing was there."""
        if not self.running:
            return group and sum(procfs.send(pid, signum, self._is_left) for pid in self.left_behind()) > 0
        if not group:
            return _send(self.pidfd, signum)
        sent = self._send_group(signum)
        if signum == signal.SIGKILL:
            self.group.kill()  # also who has left the session
        return sent

    def left_behind(self) -> list[int]:
        """Pids of living processes that the dead main process left."""
        pids = self.group.pids()
        if pids is None:
            return procfs.living(self._is_left)
        return [pid for pid in pids if (found := procfs.stat(pid)) and not found.dead]

    def sweep(self) -> list[int]:
        """Kill the process and all that it left, and wait a moment for it to be gone. Returns the pids that would not die."""
        if self.pidfd != GONE:
            self._send_group(signal.SIGKILL)
        until = time.monotonic() + HOLDER_SWEEP_S
        while left := self.left_behind():
            if self.group.pids() is not None:
                self.group.kill()
            else:
                for pid in left:
                    procfs.send(pid, signal.SIGKILL, self._is_left)
            if time.monotonic() > until:
                return left
            time.sleep(0.002)
        return []

    def owns(self, pid: int) -> bool:
        """Whether a process that is still there, alive or not yet reaped, is one of this start's."""
        found = procfs.stat(pid) if pid > 0 else None
        return found is not None and (pid == self.pid or self._is_left(found))

    def release(self) -> None:
        """Reap it and let go: from here on its pid may be anybody's."""
        self.group.remove()
        if self.pidfd == GONE:
            return
        if self.ours:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED)
        os.close(self.pidfd)
        self.pidfd, self.ours = GONE, False

    def _is_left(self, found: procfs.Stat) -> bool:
        if self.record.groups and self.group.holds(found.pid):
            return True
        if found.start_time < self.record.held.start_time:
            return False
        reserved = self.ours or self.running
        if reserved and self.pid in (found.pgrp, found.session):
            return True
        return procfs.carries(found.pid, self.record.held.start_id)

    def _send_group(self, signum: int) -> bool:
        try:
            signal.pidfd_send_signal(self.pidfd, signum, None, procfs.PIDFD_SIGNAL_PROCESS_GROUP)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return False
            # Before Linux 6.9 only the number names the group: right while the leader's pid cannot be anybody else's.
            if not (self.ours or (self.running and _send(self.pidfd, 0))):
                return False
            try:
                os.killpg(self.pid, signum)
            except OSError:
                return False
        return True


def adopt(record: Record, boot_id: str) -> Process | None:
    """Hold a recorded process again; None when that very process is not there any more."""
    held = record.held
    if held.boot_id != boot_id:
        return None
    if not held.running:
        return Process(record, GONE, ours=False)
    try:
        pidfd = os.pidfd_open(held.pid)
    except OSError:
        return None
    found = procfs.stat(held.pid)  # after opening: from here on the pidfd keeps meaning what we look at
    ours = found is not None and found.ppid == os.getpid()
    if found is None or found.start_time != held.start_time or (found.dead and not ours):
        os.close(pidfd)
        return None
    return Process(record, pidfd, ours=ours)


def _send(pidfd: int, signum: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except OSError:
        return False
    return True
