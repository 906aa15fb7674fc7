"""Control groups: a group of its own for each start of a service, so that nothing it forks gets away or takes more than its share.

Rules:
- Version 2 where its controllers, or no others, are ours to use; version 1 where that is what there is; else nothing, and why is said.
- Groups are made below the one that we were started in: `<ours>/stead-<state directory>/<service>.<start>`. Nobody else's group is
  written to, and a group without a record is removed only when it is empty, never killed.
- Version 2 wants a group with controllers below it empty: we move to the leaf `stead-holder`. Under systemd it must have put us there
  (`DelegateSubgroup=`): it cannot start a next holder in a group that has controllers below.
- What cannot be had is said and not fatal. Who joins a group does it itself (`spawn.py`): version 1 has no lock to wait for then.

Format: Linux, admin-guide/cgroup-v2.rst and cgroup-v1/. The functions at the top are pure.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hart.limits import CGROUP_FREEZE_S
from supervisor.holder import procfs

LEAF = "stead-holder"
LIMITED = ("pids", "memory", "cpu")  # controllers that hold a limit; the words of a request's limits too
V1 = ("freezer", *LIMITED)  # the first that is there says who belongs
CPU_PERIOD_US = 100_000  # the kernel's own
UNLIMITED = 1 << 60  # version 1 says "none" by a number near 2^63


def own_groups(mountinfo: str, membership: str) -> tuple[str | None, dict[str, str]]:
    """The directory of our own group in version 2 (None: not mounted, or not within reach), and those of version 1 by controller."""
    paths: dict[str, str] = {}
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        paths |= dict.fromkeys(names.split(","), path)
    v2: str | None = None
    v1: dict[str, str] = {}
    for line in mountinfo.splitlines():
        head, dash, tail = line.partition(" - ")
        fields, kinds = head.split(), tail.split()
        if not dash or len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        for name in [""] if kinds[0] == "cgroup2" else [name for name in kinds[2].split(",") if name in V1]:
            directory = _below(_unescaped(fields[4]), _unescaped(fields[3]), paths.get(name))
            if directory is None:
                continue
            if name:
                v1[name] = directory
            else:
                v2 = directory
    return v2, v1


def _below(point: str, root: str, path: str | None) -> str | None:
    """Where a group is seen through a mount of `root` at `point`; None when it is outside of it, or gone."""
    if path is None or path.startswith("/..") or path.endswith(" (deleted)"):
        return None
    root = root.rstrip("/")
    if path != root and not path.startswith(f"{root}/"):
        return None
    directory = point + path[len(root) :].rstrip("/")
    return directory.removesuffix(f"/{LEAF}")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def choose(v2: Collection[str] | None, v1: Collection[str]) -> int:
    """The version to use, 0 for none. `v2` are the controllers that we can give to groups there (None: no groups), `v1` likewise."""
    if v2:
        return 2
    return 1 if v1 else 2 if v2 is not None else 0


def settings(limits: Mapping[str, float], version: int) -> list[tuple[str, str, str]]:
    """The controller, the file and its content for each limit. Memory counts with swap: a limit that swaps hurts the others too."""
    found: list[tuple[str, str, str]] = []
    if (pids := limits.get("pids")) is not None:
        found.append(("pids", "pids.max", f"{int(pids)}"))
    if (memory := limits.get("memory")) is not None:
        files = ("memory.max", "memory.swap.max") if version == 2 else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        found += [("memory", files[0], f"{int(memory)}"), ("memory", files[1], "0" if version == 2 else f"{int(memory)}")]
    if (cpu := limits.get("cpu")) is not None:
        quota = max(1000, int(cpu * CPU_PERIOD_US))
        if version == 2:
            found.append(("cpu", "cpu.max", f"{quota} {CPU_PERIOD_US}"))
        else:
            found += [("cpu", "cpu.cfs_period_us", f"{CPU_PERIOD_US}"), ("cpu", "cpu.cfs_quota_us", f"{quota}")]
    return found


def counter(text: str, name: str) -> int:
    """The number that stands beside a name in memory.events or memory.oom_control; 0 without it."""
    found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def out_of_memory(killed: int, limit: int | None) -> str:
    """How an end by the kernel's out-of-memory killer is told; empty when it killed nobody."""
    if not killed:
        return ""
    return f"out of memory ({'the host, or what contains it, had no more' if limit is None else f'limit {size(limit)}'})"


def size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} B"


def held_back(*, systemd: bool, delegated: bool) -> str:
    """Why controllers must not be enabled below our group; empty when they may."""
    return "systemd has not set DelegateSubgroup=stead-holder" if systemd and not delegated else ""


# --- one group


@dataclass(slots=True)
class Group:
    """One group of processes; a directory in each hierarchy, the first says who belongs. Without directories it is no group."""

    paths: Sequence[str]

    def pids(self) -> list[int] | None:
        """Who belongs, dead leaders too; None when there is no group that says so."""
        if not self.paths:
            return None
        try:
            return [pid for path in _tree(self.paths[0]) for pid in _numbers(f"{path}/cgroup.procs") if pid]
        except OSError:
            return None

    def holds(self, pid: int) -> bool:
        return bool(self.paths) and belongs(procfs.read(f"/proc/{pid}/cgroup").decode(errors="replace"), self.paths[0])

    def kill(self) -> None:
        """KILL to everybody. No fork escapes: version 2 kills at once, version 1 stops them first."""
        if not self.paths:
            return
        first = self.paths[0]
        if os.path.exists(f"{first}/cgroup.kill"):  # noqa: PTH110  pathlib is memory that we save
            _put(f"{first}/cgroup.kill", "1")
            return
        freezes = _put(f"{first}/freezer.state", "FROZEN") or _put(f"{first}/cgroup.freeze", "1")
        if not freezes:
            for path in self.paths:
                _put(f"{path}/pids.max", "0")
        until = time.monotonic() + CGROUP_FREEZE_S
        while freezes and time.monotonic() < until and not self._frozen():
            time.sleep(0.001)
        still = freezes and self._frozen()
        for pid in self.pids() or ():
            if still:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)  # who is frozen does not end, so the number is its
            else:
                procfs.send(pid, signal.SIGKILL, lambda found: self.holds(found.pid))
        self.thaw()

    def thaw(self) -> None:
        """Let them run, if a holder died while it killed them."""
        if self.paths:
            _put(f"{self.paths[0]}/freezer.state", "THAWED")
            _put(f"{self.paths[0]}/cgroup.freeze", "0")

    def remove(self) -> None:
        """The directories of a group whose processes are gone."""
        for top in self.paths:
            for path in reversed(_tree(top)):
                with suppress(OSError):
                    os.rmdir(path)  # noqa: PTH106  as above

    def oom(self) -> str:
        """What to say of members that the kernel killed for want of memory."""
        for path in self.paths:
            killed = counter(_text(f"{path}/memory.events") + _text(f"{path}/memory.oom_control"), "oom_kill")
            limit = (_text(f"{path}/memory.max") or _text(f"{path}/memory.limit_in_bytes")).strip()
            if said := out_of_memory(killed, int(limit) if limit.isdecimal() and int(limit) < UNLIMITED else None):
                return said
        return ""

    def _frozen(self) -> bool:
        first = self.paths[0]
        return _text(f"{first}/freezer.state").strip() == "FROZEN" or counter(_text(f"{first}/cgroup.events"), "frozen") == 1


def belongs(membership: str, path: str) -> bool:
    """Whether /proc/PID/cgroup names our group at `path`, or one below it: its last two names are nobody else's."""
    name = f"/{'/'.join(path.split('/')[-2:])}/"
    return any(name in f"{line}/" for line in membership.splitlines())


# --- where groups are made


@dataclass(slots=True)
class Site:
    """`bases` are the directories that our groups are made in: one for each hierarchy, with the controllers that it has."""

    version: int
    bases: Mapping[str, tuple[str, ...]]
    why: str  # why there are no groups, or no limits

    def make(self, name: str, limits: Mapping[str, float]) -> tuple[Group, list[str]]:
        """A group with these limits, and what of them could not be had. No groups at all is an empty one."""
        paths: list[str] = []
        missing: list[str] = []
        known: set[str] = set()
        for base, controllers in self.bases.items():
            path = f"{base}/{name}"
            try:
                with suppress(OSError):
                    os.rmdir(path)  # noqa: PTH106  as above; an old one may have limits that do not take the new ones
                with suppress(FileExistsError):
                    os.mkdir(path, 0o755)  # noqa: PTH102  as above
            except OSError as error:
                missing.append(f"no group {path}: {error.strerror}")
                continue
            paths.append(path)
            known.update(controllers)
            for controller, file, content in settings(limits, self.version):
                if controller in controllers and not _put(f"{path}/{file}", content) and "swap" not in file and "memsw" not in file:
                    missing.append(f"no {controller} limit: {path}/{file} does not take {content}")
        missing += [
            f"no {word} limit: {self.why or 'that controller is not here'}" for word in LIMITED if word in limits and word not in known
        ]
        return Group(paths), missing

    def describe(self) -> str:
        return f"cgroup v{self.version}" if self.version else f"session only: {self.why}"

    def tidy(self, keep: Iterable[str]) -> None:
        """Remove groups that no record names, if nobody is in them: a holder died between a group and its record."""
        kept = set(keep)
        for base in self.bases:
            for path in _tree(base)[:0:-1]:
                if not any(path == each or path.startswith(f"{each}/") for each in kept):
                    with suppress(OSError):
                        os.rmdir(path)  # noqa: PTH106  as above

    def close(self) -> None:
        """At the very end: remove what is empty."""
        for base in self.bases:
            with suppress(OSError):
                os.rmdir(base)  # noqa: PTH106  as above


def site_name(state: str) -> str:
    """The name of the directory that holds the groups of one state directory; never two of a host have the same."""
    here = os.stat(state)  # noqa: PTH116  as above
    return f"stead-{here.st_dev:x}-{here.st_ino:x}"


def find_site(state: str) -> Site:
    """Look where this process may make groups, and make the one that holds ours. Never raises: no site says why."""
    name = site_name(state)
    v2, v1 = own_groups(_text("/proc/self/mountinfo"), _text("/proc/self/cgroup"))
    why = "no cgroup file system is mounted here"
    bases: dict[str, tuple[str, ...]] = {}
    for controller, directory in sorted(v1.items(), key=lambda item: V1.index(item[0])):
        if fault := _make(f"{directory}/{name}"):
            why = fault
        else:
            bases[f"{directory}/{name}"] = (*bases.get(f"{directory}/{name}", ()), controller)
    given: tuple[str, ...] | None = None
    if v2 is not None:
        if fault := _make(f"{v2}/{name}"):
            why = fault
        else:
            given, why = _enable(v2, name)
    version = choose(given, bases)
    if version == 2:
        Site(1, bases, "").close()
        bases = {f"{v2}/{name}": given or ()}
    elif given is not None:
        Site(2, {f"{v2}/{name}": ()}, "").close()
    return Site(version, bases, why if version != 1 else "")


def _enable(directory: str, name: str) -> tuple[tuple[str, ...], str]:
    """Give the controllers that are there to our groups: those that we got, and why no more."""
    wanted = [word for word in LIMITED if word in _text(f"{directory}/cgroup.controllers").split()]
    if not wanted:
        return (), "no controller is delegated to us"
    delegated = _text("/proc/self/cgroup").rstrip().endswith(f"/{LEAF}")
    if why := held_back(systemd=os.path.isdir("/run/systemd/system"), delegated=delegated):  # noqa: PTH112  as above
        return (), why
    if not delegated and not _make(f"{directory}/{LEAF}"):
        _put(f"{directory}/{LEAF}/cgroup.procs", "0")
    got = [
        word for word in wanted if all(_put(f"{path}/cgroup.subtree_control", f"+{word}") for path in (directory, f"{directory}/{name}"))
    ]
    return tuple(got), "" if got == wanted else f"other processes are in {directory}, or it is not ours"


def _make(path: str) -> str:
    """Make a directory; why not, if not."""
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o755)  # noqa: PTH102  as above
    except OSError as error:
        return f"{os.path.dirname(path)}: {error.strerror}"  # noqa: PTH120  as above
    return "" if os.access(f"{path}/cgroup.procs", os.W_OK) else f"{path}: not ours to write"


def _tree(top: str) -> list[str]:
    """A group and all below it, parents first."""
    found = [top]
    for path in found:
        with suppress(OSError), os.scandir(path) as entries:
            found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return found


def _numbers(path: str) -> list[int]:
    with open(path, "rb", buffering=0) as file:
        return [int(word) for word in file.readall().split()]


def _text(path: str) -> str:
    return procfs.read(path).decode(errors="replace")


def _put(path: str, content: str) -> bool:
    """Whether the kernel took it. Never makes a file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, content.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
