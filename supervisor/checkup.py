"""The probes of `stead doctor`: facts of this host, gathered without changing anything and in bounded time. What they mean: doctor.py."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import pwd
import re
import resource
import signal
import ssl
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from hart.errors import SteadError, UnavailableError
from hart.keys import KeyCache, KeyKind
from hart.root import Root
from supervisor import clock, control
from supervisor.doctor import PORTS, Disk, Facts, KeyFile, Port
from supervisor.settings import Settings, own_version

DEPOT_S: Final = 5.0  # for the depot to answer: a person waits
SYSTEMCTL_S: Final = 5.0
PR_GET_CHILD_SUBREAPER: Final = 37
TIME_ERROR: Final = 5  # of adjtimex(2): the clock is not synchronised
LISTENING: Final = "0A"  # in /proc/net/tcp
SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def gather(root: Root, environ: Mapping[str, str]) -> Facts:
    """Everything, in a few seconds at most."""
    settings, cache = Settings(root=root), KeyCache.choose(root, environ)
    facts: dict[str, Any] = {
        "now": clock.wall(),
        "newest": newest(root.sup),
        "synchronised": synchronised(),
        "disks": tuple(disks(root, cache)),
        "pidfd": pidfd(),
        "subreaper": subreaper(),
        "kernel": kernel(platform.release()),
        "socket_path": str(settings.control),
        "ring_chosen": environ.get("STEAD_RING") or environ.get("HAB_RING") or "",
        "version": own_version(),
        **cgroups(),
        **key_facts(cache),
        **root_facts(root),
        **ca_facts(environ),
        **supervisor_facts(settings),
        **systemd_facts(),
    }
    facts |= limit_facts(facts["holder_pid"])
    facts["ports"] = tuple(ports(facts.pop("own_pids")))
    facts |= depot_facts(environ.get("STEAD_DEPOT_URL") or environ.get("HAB_BLDR_URL") or "", environ.get("STEAD_PROXY") or None)
    return Facts(**facts)


def newest(sup: Path) -> float | None:
    """Modification time of the newest file that the supervisor keeps; of a few of them, which it writes often."""
    times = []
    for path in (sup, sup / "journal.jsonl", sup / "specs", sup / "running", sup / "held", sup / "ring"):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times, default=None)


def synchronised() -> bool | None:
    """What adjtimex(2) says, asked without changing anything."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, modes = 0
    call = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    found = call(buffer) if call is not None else -1
    return None if found < 0 else found != TIME_ERROR


def disks(root: Root, cache: KeyCache) -> Iterator[Disk]:
    """The file systems of the root, its artifacts and the key cache, each once."""
    seen = set()
    for path in (root.path, root.artifacts, root.path / "svc", root.sup, cache.path):
        there = next(above for above in (path, *path.parents) if above.exists())
        with suppress(OSError):
            device = there.stat().st_dev
            if device not in seen:
                seen.add(device)
                found = os.statvfs(there)
                inodes = found.f_favail if found.f_files else None
                read_only = bool(found.f_flag & os.ST_RDONLY)
                yield Disk(path=str(there), free=found.f_bavail * found.f_frsize, inodes=inodes, read_only=read_only)


def limit_facts(holder_pid: int | None) -> dict[str, Any]:
    """The limits that services inherit: the holder's, where it can be seen, else our own."""
    for pid, name in ((holder_pid, "the holder"), (0, "this command")):
        if pid is not None:
            with suppress(OSError):
                nofile, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                nproc, _ = resource.prlimit(pid, resource.RLIMIT_NPROC)
                return {"nofile": whole(nofile), "nproc": whole(nproc), "limits_of": name}
    return {}


def whole(limit: int) -> int:
    return 1 << 62 if limit == resource.RLIM_INFINITY else limit


def kernel(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def pidfd() -> bool:
    try:
        fd = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(fd, 0)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def subreaper() -> bool | None:
    call = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    return None if call is None else call(PR_GET_CHILD_SUBREAPER, ctypes.byref(ctypes.c_int()), 0, 0, 0) == 0


def cgroups() -> dict[str, Any]:
    """Which hierarchy there is, and whether we may make groups below our own."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    except (OSError, IndexError):
        return {}
    v2 = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    v1 = next((fields[1] for fields in mounts if fields[2] == "cgroup" and "pids" in fields[3].split(",")), None)
    kind = "v2" if v2 == "/sys/fs/cgroup" else "v1" if v1 else "v2, without controllers" if v2 else ""
    above = v2 if kind != "v1" else v1
    path = own.get("" if kind != "v1" else "pids", "/")
    return {"cgroup": kind, "cgroup_writable": above is not None and os.access(f"{above}{path}", os.W_OK)}


def ports(own_pids: frozenset[int]) -> Iterator[Port]:
    """Who listens at our ports, as far as we may see it."""
    listening = {key: inode for key, inode in sockets() if key in PORTS}
    owners = owners_of(set(listening.values()))
    for number, protocol in PORTS:
        inode = listening.get((number, protocol))
        pid = owners.get(inode) if inode is not None else None
        owner = "" if inode is None else "?" if pid is None else f"{command_of(pid)} ({pid})"
        yield Port(number=number, protocol=protocol, owner=owner, ours=pid in own_pids or "stead depot" in owner)


def sockets() -> Iterator[tuple[tuple[int, str], str]]:
    """(port, protocol) and inode of what listens on this host."""
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            for line in Path("/proc/net", name).read_text().splitlines()[1:]:
                fields = line.split()
                if name.startswith("udp") or fields[3] == LISTENING:
                    yield (int(fields[1].rpartition(":")[2], 16), name[:3]), fields[9]


def owners_of(inodes: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir() if inodes else ():
        if process.name.isdecimal():
            with suppress(OSError):
                for link in (process / "fd").iterdir():
                    with suppress(OSError):
                        if (match := SOCKET.fullmatch(str(link.readlink()))) and match[1] in inodes:
                            found[match[1]] = int(process.name)
    return found


def command_of(pid: int) -> str:
    try:
        return shown_command(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return "?"


def shown_command(cmdline: bytes) -> str:
    """The program and its first word, without paths and options; of an interpreter what it runs."""
    words = [Path(word).name for word in cmdline.decode(errors="replace").split("\0") if word and not word.startswith("-")]
    shown = words[1:] if len(words) > 1 and words[0].startswith("python") else words
    return " ".join(shown[:2]) or "?"


def key_facts(cache: KeyCache) -> dict[str, Any]:
    facts: dict[str, Any] = {"key_cache": str(cache.path)}
    try:
        facts["key_cache_mode"] = stat.S_IMODE(cache.path.stat().st_mode)
        entries = cache.list()
    except FileNotFoundError:
        return facts
    except (SteadError, OSError) as error:
        return facts | {"keys_problem": str(error), "key_cache_mode": 0}
    files = []
    for entry in entries:
        with suppress(OSError):
            mode = stat.S_IMODE(entry.path.stat().st_mode)
            files.append(KeyFile(path=str(entry.path), secret=entry.path.suffix != ".pub", mode=mode, problem=entry.problem))
    rings = sorted({entry.key.name for entry in entries if entry.kind is KeyKind.RING})
    return facts | {"keys": tuple(files), "rings": tuple(rings)}


def root_facts(root: Root) -> dict[str, Any]:
    try:
        found = root.path.stat()
    except OSError:
        return {"root": str(root.path)}
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = f"user {found.st_uid}"
    mode = stat.S_IMODE(found.st_mode)
    return {"root": str(root.path), "root_mode": mode, "root_owner": owner, "root_writable": os.access(root.path, os.W_OK)}


def ca_facts(environ: Mapping[str, str]) -> dict[str, Any]:
    """Whether what https trusts can be read; only where somebody named a file."""
    file = environ.get("SSL_CERT_FILE", "")
    problem = ""
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:  # ssl.SSLError is one
            problem = error.strerror or str(error)
    return {"ca_file": file, "ca_problem": problem}


def supervisor_facts(settings: Settings) -> dict[str, Any]:
    try:
        found = control.ask(settings.control, {"command": "sup status"}, lambda _: None)
    except UnavailableError as error:
        silent = "is not running" not in error.cause
        return {"holder_pid": None, "own_pids": frozenset(), "supervisor_problem": error.cause if silent else ""}
    except SteadError as error:
        return {"holder_pid": None, "own_pids": frozenset(), "supervisor_problem": str(error)}
    return {
        "supervisor": found["version"],
        "holder_pid": found["holder_pid"],
        "containment": str(found.get("containment", "")),
        "own_pids": frozenset({found["pid"], found["holder_pid"]}),
        "complaints": tuple(found["complaints"]),
    }


def systemd_facts() -> dict[str, Any]:
    """The properties of our unit, where systemd runs and has it."""
    if not Path("/run/systemd/system").is_dir():
        return {}
    asked = ["systemctl", "show", "stead.service", "--property=LoadState,KillMode,Delegate"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=SYSTEMCTL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {"systemd": True}
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {"systemd": True, "unit": found if found.get("LoadState") == "loaded" else None}


def depot_facts(url: str, proxy: str | None) -> dict[str, Any]:
    """Whether the depot answers, and what time it thinks that it is. Only where one is configured."""
    if not url:
        return {}
    try:
        answered = asyncio.run(date_of(f"{url.rstrip('/')}/v1/status", proxy))
    except TimeoutError:
        return {"depot": url, "depot_problem": f"no answer within {DEPOT_S:g} s"}
    except (OSError, ValueError) as error:
        return {"depot": url, "depot_problem": str(error) or type(error).__name__}
    return {"depot": url, "depot_skew_s": answered - clock.wall() if answered is not None else None}


async def date_of(url: str, proxy: str | None) -> float | None:
    """The Date of an answer, whatever its status; OSError or ValueError when there is none."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=DEPOT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, proxy=proxy, allow_redirects=False) as answer,
        ):
            date = answer.headers.get("Date")
    except aiohttp.ClientError as error:
        raise OSError(str(error)) from error
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
