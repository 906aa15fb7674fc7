"""What is wrong with a host, as far as it concerns Stead: a table of checks over facts. Pure; facts are gathered in checkup.py.

Rules: a finding says what is so, why it matters and what helps; the fix is a command where there is one. What could not be found out is
no fault. `bad`: something does not work or will not, `warn`: it works, with less or until something happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from hart.limits import GIB, HOLDER_SERVICES, MIB, UNIX_PATH

SANE: Final = (datetime(2025, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp())
BACK_S: Final = 120.0  # our newest file may be this far ahead of the clock
SKEW_S: Final = (60.0, 3600.0)  # against the depot's clock: worth a look; tokens and certificates fail
FREE_LOW: Final = (1 * GIB, 128 * MIB)  # bytes free: a package or two, and then nothing can be written
FREE_INODES: Final = (20_000, 1_000)
NOFILE: Final = 3 * HOLDER_SERVICES + 100  # what a holder with all its services needs
NPROC: Final = 1024  # a user below it cannot run many services


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    level: Level
    what: str
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Bytes and inodes that an ordinary user may still take; `inodes` None where the file system has no such number."""

    path: str
    free: int
    inodes: int | None
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """`owner` of the socket that listens there: its process, or "" for nobody, or "?" for one that we may not see."""

    number: int
    protocol: str
    owner: str
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    path: str
    secret: bool
    mode: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the probes found; None where they could not."""

    now: float
    newest: float | None = None  # modification time of the newest file of the supervisor's own
    synchronised: bool | None = None
    disks: tuple[Disk, ...] = ()
    nofile: int | None = None
    nproc: int | None = None
    limits_of: str = "this command"
    kernel: tuple[int, int] = (0, 0)
    pidfd: bool | None = None
    subreaper: bool | None = None
    cgroup: str = ""  # v2, hybrid, v1, or nothing
    cgroup_writable: bool | None = None
    containment: str = ""  # what the running holder says that it holds services together with
    socket_path: str = ""
    ports: tuple[Port, ...] = ()
    key_cache: str = ""
    key_cache_mode: int | None = None  # None: it is not there
    keys: tuple[KeyFile, ...] = ()
    keys_problem: str = ""
    rings: tuple[str, ...] = ()
    ring_chosen: str = ""
    ca_file: str = ""
    ca_problem: str = ""
    root: str = ""
    root_mode: int | None = None  # None: it is not there
    root_owner: str = ""
    root_writable: bool = True
    depot: str = ""  # empty: none is configured
    depot_problem: str = ""
    depot_skew_s: float | None = None
    version: str = ""
    supervisor: str = ""  # its version, empty: it does not run
    supervisor_problem: str = ""
    holder_pid: int | None = None
    complaints: tuple[str, ...] = ()
    systemd: bool = False
    unit: dict[str, str] | None = None  # properties of stead.service


def clock(facts: Facts) -> Iterator[Finding]:
    shown = datetime.fromtimestamp(facts.now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if 0 <= facts.now < 1e11 else f"{facts.now:g} s"
    why = "certificates, tokens and the order of releases depend on it"
    set_it = "timedatectl set-ntp true, or start chrony"
    if not SANE[0] <= facts.now < SANE[1]:
        yield Finding("clock", Level.BAD, f"it is {shown}, which cannot be", why, set_it)
    elif facts.newest is not None and facts.newest - facts.now > BACK_S:
        back = facts.newest - facts.now
        yield Finding("clock", Level.BAD, f"it was set back: it is {shown}, and a file of ours is {back:.0f} s younger", why, set_it)
    elif facts.synchronised is None:
        yield Finding("clock", Level.OK, f"it is {shown}; the kernel does not say whether it is synchronised")
    elif not facts.synchronised:
        yield Finding("clock", Level.WARN, f"it is {shown}, and nothing keeps it right", why, set_it)
    else:
        yield Finding("clock", Level.OK, f"it is {shown}, and synchronised")


def disk(facts: Facts) -> Iterator[Finding]:
    why = "what is not written is lost: logs, updates, what the supervisor remembers"
    for each in facts.disks:
        few = each.inodes is not None and each.inodes < FREE_INODES[0]
        level = Level.WARN if each.free < FREE_LOW[0] or few else Level.OK
        if each.free < FREE_LOW[1] or (each.inodes is not None and each.inodes < FREE_INODES[1]):
            level = Level.BAD
        what = f"{each.path}: {size(each.free)} free" + (f", {each.inodes} inodes" if each.inodes is not None else "")
        if each.read_only:
            yield Finding(
                "disk", Level.BAD, f"{each.path} is mounted read-only", why, f"dmesg | tail says why; mount -o remount,rw {each.path}"
            )
        elif level is not Level.OK:
            yield Finding("disk", level, what, why, "stead pkg uninstall ORIGIN/NAME --keep-latest 2; cache/artifacts may be deleted")
        else:
            yield Finding("disk", level, what)


def limits(facts: Facts) -> Iterator[Finding]:
    if facts.nofile is not None:
        low = facts.nofile < NOFILE
        yield Finding(
            "open files",
            Level.WARN if low else Level.OK,
            f"{facts.limits_of} may have {facts.nofile} open",
            f"the holder needs three for each service, {NOFILE} for {HOLDER_SERVICES}" if low else "",
            "LimitNOFILE=65536 in the unit, or ulimit -n 65536 before stead sup run" if low else "",
        )
    if facts.nproc is not None:
        low = facts.nproc < NPROC
        yield Finding(
            "processes",
            Level.WARN if low else Level.OK,
            f"{facts.limits_of} may have {facts.nproc}" if facts.nproc < 1 << 40 else "no limit",
            "all services of one user share it" if low else "",
            "LimitNPROC=infinity and TasksMax=infinity in the unit, or ulimit -u unlimited" if low else "",
        )


def kernel(facts: Facts) -> Iterator[Finding]:
    release = ".".join(map(str, facts.kernel))
    if facts.pidfd is False:
        yield Finding("kernel", Level.BAD, f"{release} has no pidfd", "a process could be mistaken for another", "Linux 5.4 or newer")
    elif facts.subreaper is False:
        yield Finding("kernel", Level.BAD, f"{release} has no subreaper", "orphans of services would be lost", "Linux 5.4 or newer")
    else:
        groups = "" if facts.kernel >= (6, 9) else "; groups are signalled by number, which 6.9 makes needless"
        yield Finding("kernel", Level.OK, f"{release}, with pidfd and subreaper{groups}")
    less = "without one, a process that leaves its session and clears its environment escapes its service's stop; no memory or cpu limits"
    if facts.containment and not facts.containment.startswith("session only"):
        yield Finding("cgroups", Level.OK, f"the holder uses {facts.containment}")
    elif not facts.cgroup:
        yield Finding("cgroups", Level.WARN, "there are none", less, "mount -t cgroup2 none /sys/fs/cgroup")
    elif facts.cgroup_writable:
        yield Finding("cgroups", Level.OK, f"{facts.cgroup}, and ours to divide")
    else:
        yield Finding("cgroups", Level.WARN, f"{facts.cgroup}, not ours to divide", less, "Delegate=yes in the unit, or run as root")


def sockets(facts: Facts) -> Iterator[Finding]:
    if len(facts.socket_path.encode()) > UNIX_PATH:
        yield Finding(
            "socket",
            Level.WARN,
            f"{facts.socket_path} has {len(facts.socket_path.encode())} bytes",
            f"an address holds {UNIX_PATH}: Stead goes round that through /proc, other tools cannot",
            "a shorter root: --root DIR",
        )


PORTS: Final = {
    (9631, "tcp"): (Level.WARN, "the gateway takes the next free port, and templates see another one", "stead sup run --listen-http"),
    (9638, "tcp"): (Level.BAD, "the ring's members compare what they know over it", "stead sup run --listen-gossip"),
    (9638, "udp"): (Level.BAD, "the ring's members find out over it who is there", "stead sup run --listen-gossip"),
    (9636, "tcp"): (Level.WARN, "a depot of this host would listen there", "stead depot serve --listen"),
}


def ports(facts: Facts) -> Iterator[Finding]:
    for port in facts.ports:
        level, why, option = PORTS[port.number, port.protocol]
        name = f"{port.number}/{port.protocol}"
        if not port.owner:
            yield Finding("port", Level.OK, f"{name} is free")
        elif port.ours:
            yield Finding("port", Level.OK, f"{name} is {port.owner}")
        elif level is Level.BAD and not facts.rings:
            yield Finding("port", Level.WARN, f"{name} is taken: {port.owner}", f"{why}; another port is taken while there is no ring key")
        else:
            who = "a process that you may not see" if port.owner == "?" else port.owner
            yield Finding("port", level, f"{name} is taken: {who}", why, f"stop it, or choose another address: {option} ADDRESS:PORT")


def keys(facts: Facts) -> Iterator[Finding]:
    if facts.keys_problem:
        yield Finding("keys", Level.BAD, facts.keys_problem, "no package can be verified, no ring joined", f"ls -la {facts.key_cache}")
        return
    if facts.key_cache_mode is None:
        yield Finding(
            "keys", Level.WARN, f"{facts.key_cache} is not there", "no package can be installed", "stead origin key download ORIGIN"
        )
        return
    if facts.key_cache_mode & 0o022:
        yield Finding(
            "keys",
            Level.BAD,
            f"{facts.key_cache} can be written by others",
            "whoever adds a key there decides what is trusted",
            f"chmod 700 {facts.key_cache}",
        )
    bad = 0
    for key in facts.keys:
        if key.problem:
            bad += 1
            yield Finding("keys", Level.BAD, f"{key.path}: {key.problem}", "it is not used", f"remove it, or import it again: {key.path}")
        elif key.secret and key.mode & 0o077:
            bad += 1
            why = "whoever reads it can sign packages, or join the ring"
            yield Finding("keys", Level.BAD, f"{key.path} can be read by others", why, f"chmod 400 {key.path}")
    if not bad:
        yield Finding("keys", Level.OK, f"{len(facts.keys)} in {facts.key_cache}, each readable, none open to others")


def ring(facts: Facts) -> Iterator[Finding]:
    if not facts.rings:
        yield Finding("ring", Level.OK, "no ring key: this host is alone, on loopback")
    elif len(facts.rings) > 1 and not facts.ring_chosen:
        yield Finding(
            "ring",
            Level.BAD,
            f"there are keys of several: {', '.join(facts.rings)}",
            "stead sup run does not guess",
            "stead sup run --ring NAME, or STEAD_RING",
        )
    elif facts.ring_chosen and facts.ring_chosen not in facts.rings:
        what = f"STEAD_RING is {facts.ring_chosen}, and there is no key of it"
        yield Finding("ring", Level.BAD, what, "stead sup run ends with 5", "stead ring key import < FILE")
    else:
        yield Finding("ring", Level.OK, f"a key of {facts.ring_chosen or facts.rings[0]}")


def tls(facts: Facts) -> Iterator[Finding]:
    if facts.ca_problem:
        yield Finding("tls", Level.BAD, f"{facts.ca_file}: {facts.ca_problem}", "no depot can be reached over https", "set SSL_CERT_FILE")


def root(facts: Facts) -> Iterator[Finding]:
    if facts.root_mode is None:
        yield Finding("root", Level.WARN, f"{facts.root} is not there yet", "it is made when something is installed")
        return
    if facts.root_mode & 0o002:
        yield Finding(
            "root",
            Level.BAD,
            f"{facts.root} can be written by everybody",
            "anybody could put another tree in the place of what services run",
            f"chmod o-w {facts.root}",
        )
    elif not facts.root_writable:
        why = "nothing can be installed or loaded by you"
        yield Finding("root", Level.WARN, f"{facts.root} belongs to {facts.root_owner}", why, "run as its owner, or choose --root DIR")
    else:
        yield Finding("root", Level.OK, f"{facts.root}, of {facts.root_owner}")


def depot(facts: Facts) -> Iterator[Finding]:
    if not facts.depot:
        yield Finding("depot", Level.OK, "none is configured (STEAD_DEPOT_URL)")
        return
    if facts.depot_problem:
        why = "services go on; updates and installations wait"
        yield Finding("depot", Level.BAD, f"{facts.depot}: {facts.depot_problem}", why, f"curl -sv {facts.depot}/v1/status")
        return
    skew = facts.depot_skew_s
    if skew is None or abs(skew) < SKEW_S[0]:
        yield Finding("depot", Level.OK, f"{facts.depot} answers")
        return
    level = Level.BAD if abs(skew) >= SKEW_S[1] else Level.WARN
    what = f"{facts.depot} answers, and its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
    yield Finding("depot", level, what, "tokens and certificates expire by the clock", "timedatectl set-ntp true, on whichever is wrong")


def supervisor(facts: Facts) -> Iterator[Finding]:
    if facts.supervisor_problem:
        yield Finding(
            "supervisor",
            Level.BAD,
            facts.supervisor_problem,
            "services go on, nobody decides about them",
            "kill its process: the holder starts another",
        )
    elif not facts.supervisor:
        yield Finding("supervisor", Level.WARN, "it does not run", "services are not restarted, checked or updated", "stead sup run")
    elif facts.supervisor != facts.version:
        why = "the files were replaced under it"
        yield Finding(
            "supervisor", Level.WARN, f"it is {facts.supervisor}, installed is {facts.version}", why, "kill PID of stead sup status"
        )
    else:
        yield Finding("supervisor", Level.OK, f"{facts.supervisor}, holder {facts.holder_pid}")
    for complaint in facts.complaints:
        yield Finding("spec", Level.BAD, complaint, "the service goes on as it was", "mend the file, or stead svc unload NAME")


def systemd(facts: Facts) -> Iterator[Finding]:
    if not facts.systemd or facts.unit is None:
        return
    if (mode := facts.unit.get("KillMode", "")) != "process":
        why = "when the holder dies, systemd kills all services with it"
        yield Finding("systemd", Level.BAD, f"stead.service has KillMode={mode}", why, "stead sup unit > /etc/systemd/system/stead.service")
    elif facts.unit.get("Delegate") != "yes":
        why = "the holder may not divide its cgroup, so services are contained by session only"
        yield Finding("systemd", Level.WARN, "stead.service has no Delegate=yes", why, "stead sup unit > /etc/systemd/system/stead.service")
    else:
        yield Finding("systemd", Level.OK, "stead.service has KillMode=process and Delegate=yes")


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    clock,
    disk,
    limits,
    kernel,
    sockets,
    ports,
    keys,
    ring,
    tls,
    root,
    depot,
    supervisor,
    systemd,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the table's order."""
    return [finding for check in CHECKS for finding in check(facts)]


def size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:.0f} MiB"
