"""Kill the supervisor, the holder and services again and again, and count what is lost, doubled or wrongly killed: it must be nothing.

    python benchmarks/kill_loops.py [--supervisor N] [--holder N] [--services N] [--minutes M] [--seed S] [--json]

Each loop runs so many kills, or for so many minutes, whichever is first; 0 leaves it out. What must hold is checked after every kill, and
the first thing that does not ends the run with its seed. Times are told, and are no reason to fail. tests/e2e/test_kill_loops.py runs
the same loops shortly.

supervisor   KILL, SEGV, ABRT, and out of memory where a memory group can be had, with 20 services that count into their logs and answer
             a client all the time: same processes, no answer missing, every number in the log once, ready again in the end
holder       KILL, also while services are started, stopped and restarted; then it is started again, as systemd does. Each service holds a
             lock that a second copy would miss; strangers, two of whom old records name, note every signal
services     KILL to random ones of 50 that have lived: each is running again in the end, started once for each death
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hart.errors import SteadError, UnavailableError
from hart.root import Root
from hart.target import host_target
from supervisor import control
from supervisor.holder import cgroup, procfs
from supervisor.settings import Settings

STEAD = str(Path(sys.executable).with_name("stead"))
DEADLINE_S = 60.0
RELEASE = "1.0/20260101000000"
STARVE_EVERY = 10  # kills: it takes seconds until the kernel gives up
LIVED = ("--service-restart-cooldown-period=1", "--service-min-backoff-period=0.05", "--service-max-backoff-period=0.2")
LIVED_S = 1.2  # up for longer than that is started again at once, with these settings

# Counts into its log, answers with its pid, and notes when it is not alone. Arguments: its data directory.
BEAT = """
import fcntl, os, socket, sys
data = sys.argv[1]
alone = open(f"{data}/alone", "a")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    with open(f"{data}/twice", "a") as twice:
        twice.write(f"{os.getpid()}\\n")
listening = socket.create_server(("127.0.0.1", 0))
listening.settimeout(0.02)
with open(f"{data}/up.new", "w") as up:
    up.write(f"{os.getpid()} {listening.getsockname()[1]}")
os.rename(f"{data}/up.new", f"{data}/up")
number = 0
while True:
    number += 1
    print("line", number, flush=True)
    try:
        connection, _ = listening.accept()
        connection.sendall(str(os.getpid()).encode())
        connection.close()
    except TimeoutError:
        pass
"""
BEAT_RUN = "#!/bin/sh\nexec {python} -S -E {package}/beat.py {data}\n"
SLEEP_RUN = "#!/bin/sh\necho $$ > {data}/up\nexec sleep 100000\n"

# A stranger: says when it is there, notes every signal that it can, and goes on.
STRANGER = """
import signal, sys, time
def note(number, frame):
    with open(sys.argv[1], "a") as notes:
        notes.write(f"{number}\\n")
for number in range(1, signal.NSIG):
    try:
        signal.signal(number, note)
    except (OSError, ValueError):
        pass
print("up", flush=True)
while True:
    time.sleep(100)
"""


class BrokenError(Exception):
    """Something that must hold does not."""


def must(good: object, what: str) -> None:
    if not good:
        raise BrokenError(what)


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with suppress(UnavailableError):
            if true():
                return
        must(time.monotonic() < deadline, f"not in {DEADLINE_S:g} s: {what}")
        time.sleep(0.005)


@dataclass(slots=True)
class Report:
    """What one loop did. Times in seconds."""

    kills: dict[str, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.kills[what] = self.kills.get(what, 0) + 1

    def row(self) -> dict[str, Any]:
        ordered = sorted(self.times)
        times = {}
        if ordered:
            times = {
                "median_ms": round(statistics.median(ordered) * 1000, 1),
                "p99_ms": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000, 1),
                "worst_ms": round(ordered[-1] * 1000, 1),
            }
        return {"kills": dict(self.kills), **times, **self.facts}


class Host:
    """A root with services, and the holder that runs on it now."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.root = Root(directory / "root")
        self.settings = Settings(root=self.root)
        self.arguments = arguments
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.token = secrets.token_hex(8)

    def launch(self) -> None:
        """Start a holder, as systemd would, and wait until its supervisor answers."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
        command = [
            STEAD,
            "sup",
            "run",
            f"--root={self.root.path}",
            "--listen-gossip=127.0.0.1:0",
            "--listen-http=127.0.0.1:0",
            *self.arguments,
        ]
        with self.log.open("ab") as log:
            while True:
                self.process = subprocess.Popen(
                    command, stdout=log, stderr=log, env=environ | {"LC_KILL": self.token}, start_new_session=True
                )
                began = time.monotonic()
                while self.process.poll() is None and not self.answers() and time.monotonic() < began + DEADLINE_S:
                    time.sleep(0.005)
                if self.process.poll() is None:
                    must(self.answers(), "no supervisor answers")
                    return
                must(
                    self.process.returncode in (1, 6), f"the holder ended with {self.process.returncode}\n{self.tail()}"
                )  # the old one answers still

    def answers(self) -> bool:
        try:
            return bool(self.ask("sup status")["pid"])
        except SteadError:
            return False

    def ask(self, command: str, **fields: Any) -> Any:
        return control.ask(self.settings.control, {"command": command, **fields}, lambda _: None)

    def lay(self, name: str, run: str, **files: str) -> None:
        ident = f"t/{name}/{RELEASE}"
        package = self.root.path / "pkgs" / ident
        texts = {"IDENT": f"{ident}\n", "TARGET": f"{host_target()}\n", "BUILD_ROOT": f"{self.root.path}\n", **files}
        texts["hooks/run"] = run.format(python=sys.executable, package=package, data=self.data(name))
        for path, text in texts.items():
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            (package / path).write_text(text)

    def data(self, name: str) -> Path:
        return self.root.service(name) / "data"

    def up(self, name: str) -> list[int]:
        """What a service wrote when it was up: its pid, and its port if it has one."""
        with suppress(OSError, ValueError):
            return [int(word) for word in (self.data(name) / "up").read_text().split()]
        return []

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["service"]: row for row in self.ask("status")}

    def load(self, names: list[str]) -> None:
        for name in names:
            self.ask("load", ident=f"t/{name}", options={}, wait_s=0)
        until(lambda: all(row["state"] == "ready" for row in self.rows().values()) and all(map(self.up, names)), "all are ready")

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        mark = f"LC_KILL={self.token}".encode()
        for pid in procfs.living(lambda found: mark in procfs.read(f"/proc/{found.pid}/environ")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def host(*arguments: str) -> Iterator[Host]:
    with TemporaryDirectory(prefix="stead-kill-") as directory:
        made = Host(Path(directory), *arguments)
        try:
            yield made
        except BrokenError as error:
            raise BrokenError(f"{error}\n{made.tail()}") from error
        finally:
            made.stop()


class Client(threading.Thread):
    """Asks one service after the other, all the time."""

    def __init__(self, one: Host, names: list[str]) -> None:
        super().__init__(daemon=True)
        self.places = {name: one.up(name) for name in names}
        self.answers, self.failures = 0, list[str]()
        self.ended = threading.Event()

    def run(self) -> None:
        while True:
            for name, (pid, port) in self.places.items():
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                        said = connection.makefile("rb").read().decode()
                    if said != str(pid):
                        self.failures.append(f"{name}: process {said} answers instead of {pid}")
                    self.answers += 1
                except OSError as error:
                    self.failures.append(f"{name}: {error}")
                if self.ended.wait(0.002):
                    return


class Clock:
    """When a loop is over."""

    def __init__(self, count: int, minutes: float) -> None:
        self.left, self.until = count, time.monotonic() + minutes * 60

    def __iter__(self) -> Iterator[int]:
        number = 0
        while number < self.left and time.monotonic() < self.until:
            yield number
            number += 1


# --- the supervisor


def kill_supervisors(count: int, *, minutes: float = 1e6, services: int = 20, seed: int = 0) -> Report:
    """BrokenError when a service, an answer or a line was lost."""
    report, chance = Report(), random.Random(seed)  # noqa: S311  which one is killed
    names = [f"s{number}" for number in range(services)]
    with host() as one, memory_group(one) as starve:
        for name in names:
            one.lay(name, BEAT_RUN, **{"beat.py": BEAT})
        one.launch()
        one.load(names)
        before = {name: row["pid"] for name, row in one.rows().items()}
        client = Client(one, names)
        client.start()
        ways: list[tuple[str, Callable[[int], None]]] = [
            (each.name, lambda pid, each=each: os.kill(pid, each))
            for each in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)  # type: ignore[misc]
        ]
        for number in Clock(count, minutes):
            pid = one.ask("sup status")["pid"]
            name, kill = ways[number % len(ways)]
            if starve is not None and number % STARVE_EVERY == 1:
                name, kill = "out of memory", starve
            kill(pid)
            began = time.monotonic()
            until(lambda pid=pid: one.ask("sup status")["pid"] != pid, "the next supervisor answers")  # type: ignore[misc]
            report.times.append(time.monotonic() - began)
            report.count(name)
            rows = one.rows()
            must({each: row["pid"] for each, row in rows.items()} == before, f"other processes after kill {number}: {rows}")
            must(not client.failures, f"after kill {number}: {client.failures[:3]}")
            if chance.random() < 0.3:  # else it is killed again while it still settles
                until(lambda: all(row["state"] == "ready" for row in one.rows().values()), "all are ready again")
        until(lambda: all(row["state"] == "ready" for row in one.rows().values()), "all are ready in the end")
        client.ended.set()
        client.join()
        must(not client.failures, str(client.failures[:3]))
        must({name: row["restarts"] for name, row in one.rows().items()} == dict.fromkeys(names, 0), "something was started again")
        report.facts = {"answers": client.answers, "failures": 0, "services": services}
        one.stop()
        lines = sum(count_lines(one, name) for name in names)
        report.facts |= {"lines": lines, "lines_lost": 0}
    return report


def count_lines(one: Host, name: str) -> int:
    """How many lines a service's log has; BrokenError unless each number is there once, in order."""
    from supervisor.logfile import all_lines

    numbers = [int(line.rpartition(b" ")[2]) for line in all_lines(one.root.service(name) / "logs" / "run.log") if b" line " in line]
    must(numbers == list(range(1, len(numbers) + 1)), f"{name}: lines are lost or doubled among {len(numbers)}")
    must(not (one.data(name) / "twice").exists(), f"{name} ran twice")
    return len(numbers)


@contextmanager
def memory_group(one: Host) -> Iterator[Callable[[int], None] | None]:
    """A way to have a process killed for want of memory; None where there is none."""
    v2, v1 = cgroup.own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    base = v1.get("memory")
    limit = "memory.limit_in_bytes"
    if base is None and v2 is not None and "memory" in (Path(v2) / "cgroup.subtree_control").read_text().split():
        base, limit = v2, "memory.max"
    group = Path(base or "/") / f"stead-kill-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text("0")  # the next page that it asks for
    except OSError:
        yield None
        return

    def starve(pid: int) -> None:
        (group / "cgroup.procs").write_text(f"{pid}\n")
        deadline = time.monotonic() + DEADLINE_S
        while procfs.stat(pid) is not None and time.monotonic() < deadline:
            with suppress(SteadError):  # it is to allocate something
                one.ask("status")
            if (found := procfs.stat(pid)) is None or found.dead:
                return

    try:
        yield starve
    finally:
        with suppress(OSError):
            group.rmdir()


# --- the holder


def kill_holders(count: int, *, minutes: float = 1e6, services: int = 5, seed: int = 0) -> Report:
    """BrokenError when a service ran twice or not at all, or when a stranger was signalled."""
    report, chance = Report(), random.Random(seed)  # noqa: S311  which one is killed
    names = [f"s{number}" for number in range(services)]
    with host("--service-min-backoff-period=0.05", "--service-max-backoff-period=0.2") as one, strangers(one, 3) as decoys:
        for name in names:
            one.lay(name, BEAT_RUN, **{"beat.py": BEAT})
        one.launch()
        one.load(names)
        wanted = dict.fromkeys(names, True)
        for number in Clock(count, minutes):
            asked = [(chance.choice(names), chance.choice(["start", "stop", "restart"])) for _ in range(chance.randrange(4))]
            threads = [threading.Thread(target=quietly, args=(one, what, name), daemon=True) for name, what in asked]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0, 0.15))
            assert one.process is not None
            one.process.kill()
            one.process.wait()
            report.count("SIGKILL with a command under way" if asked else "SIGKILL")
            plant(one, decoys, chance)
            began = time.monotonic()
            one.launch()
            report.times.append(time.monotonic() - began)
            for thread in threads:
                thread.join(DEADLINE_S)
            wanted = {name: row["desired"] == "up" for name, row in one.rows().items()}
            until(lambda wanted=wanted: settled(one, wanted), f"all is as wanted after kill {number}: {wanted}")  # type: ignore[misc]
            check_copies(one, wanted)
            for decoy, notes in decoys:
                must(decoy.poll() is None, f"a stranger was killed after kill {number}")
                must(not notes.exists(), f"a stranger was signalled after kill {number}")
            for name in names:
                if not wanted[name] and chance.random() < 0.5:
                    one.ask("start", name=name, wait_s=0)
        report.facts = {"services": services, "copies": 0, "strangers_signalled": 0}
    return report


def quietly(one: Host, what: str, name: str) -> None:
    """A command that the kill may cut off."""
    with suppress(SteadError, OSError):
        if what == "restart":
            one.ask("stop", name=name, wait_s=5)
        one.ask("start" if what == "restart" else what, name=name, wait_s=5)


def settled(one: Host, wanted: Mapping[str, bool]) -> bool:
    rows = one.rows()
    return all(rows[name]["state"] == ("ready" if up else "down") for name, up in wanted.items())


def check_copies(one: Host, wanted: Mapping[str, bool]) -> None:
    """Exactly one process of what is wanted, none of what is not."""
    for name, up in wanted.items():
        last = f"{one.data(name)}\0".encode()
        pids = procfs.living(lambda found, last=last: procfs.read(f"/proc/{found.pid}/cmdline").endswith(last))  # type: ignore[misc]
        must(len(pids) == (1 if up else 0), f"{name} is to be {'up' if up else 'down'}, and has the processes {pids}")
        must(not (one.data(name) / "twice").exists(), f"{name} ran twice at a time")


@contextmanager
def strangers(one: Host, count: int) -> Iterator[list[tuple[subprocess.Popen[bytes], Path]]]:
    """Processes that nobody here has to do with, and where each notes the signals that it gets."""
    made: list[tuple[subprocess.Popen[bytes], Path]] = []
    try:
        for number in range(count):
            notes = one.log.with_name(f"stranger{number}")
            process = subprocess.Popen([sys.executable, "-c", STRANGER, str(notes)], stdout=subprocess.PIPE, start_new_session=True)
            assert process.stdout is not None
            process.stdout.readline()
            made.append((process, notes))
        yield made
    finally:
        for process, _ in made:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def plant(one: Host, decoys: list[tuple[subprocess.Popen[bytes], Path]], chance: random.Random) -> None:
    """Old records that name strangers: of a number that is another's now, and of before a reboot."""
    held = one.root.sup / "held"
    for name, (process, _), boot, shift in (("ghost", decoys[0], None, -7), ("reborn", decoys[1], "0" * 8 + secrets.token_hex(14), 0)):
        found = procfs.stat(process.pid)
        assert found is not None
        record = {
            "format": 1,
            "log": None,
            "argv": ["/bin/false"],
            "held": {
                "service": f"{name}{chance.randrange(3)}",
                "start_id": secrets.token_hex(16),
                "pid": process.pid,
                "boot_id": boot or procfs.boot_id(),
                "start_time": found.start_time + shift,
                "started_at": 0.0,
                "running": chance.random() < 0.7,
            },
        }
        (held / f"{record['held']['service']}.json").write_text(json.dumps(record))  # type: ignore[index]


# --- services


def kill_services(count: int, *, minutes: float = 1e6, services: int = 50, seed: int = 0) -> Report:
    """BrokenError when a service is not started again, or more often than it died."""
    report, chance = Report(), random.Random(seed)  # noqa: S311  which one is killed
    names = [f"s{number}" for number in range(services)]
    with host(*LIVED) as one:
        for name in names:
            one.lay(name, SLEEP_RUN)
        one.launch()
        one.load(names)
        deaths = dict.fromkeys(names, 0)
        since = dict.fromkeys(names, time.monotonic())
        awaited: dict[str, tuple[int, float]] = {}  # pid and time of those that were killed
        for _ in Clock(count, minutes):
            name = pick(names, awaited, since, chance)
            while name is None:
                look(one, awaited, since, report)
                time.sleep(0.001)
                name = pick(names, awaited, since, chance)
            (pid,) = one.up(name)
            awaited[name] = pid, time.monotonic()
            os.kill(pid, signal.SIGKILL)
            deaths[name] += 1
            report.count("SIGKILL")
            look(one, awaited, since, report)
        deadline = time.monotonic() + DEADLINE_S
        while awaited:
            must(time.monotonic() < deadline, f"forgotten: {sorted(awaited)}")
            look(one, awaited, since, report)
            time.sleep(0.001)
        until(lambda: all(row["state"] == "ready" for row in one.rows().values()), "all are ready in the end")
        restarts = {name: row["restarts"] for name, row in one.rows().items()}
        must(restarts == deaths, f"started again as often as they died: {restarts} against {deaths}")
        report.facts = {"services": services, "forgotten": 0}
    return report


def pick(names: list[str], awaited: Mapping[str, object], since: Mapping[str, float], chance: random.Random) -> str | None:
    """One that runs and has lived; at most four are away at a time."""
    now = time.monotonic()
    lived = [name for name in names if name not in awaited and now - since[name] > LIVED_S] if len(awaited) < 4 else []
    return chance.choice(lived) if lived else None


def look(one: Host, awaited: dict[str, tuple[int, float]], since: dict[str, float], report: Report) -> None:
    now = time.monotonic()
    for name, (pid, killed) in list(awaited.items()):
        up = one.up(name)
        if up and up != [pid]:
            report.times.append(now - killed)
            since[name] = now
            del awaited[name]
        else:
            must(now - killed < DEADLINE_S, f"{name} is not started again")


LOOPS: dict[str, Callable[..., Report]] = {"supervisor": kill_supervisors, "holder": kill_holders, "services": kill_services}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--supervisor", type=int, default=1000, metavar="N")
    parser.add_argument("--holder", type=int, default=500, metavar="N")
    parser.add_argument("--services", type=int, default=100_000, metavar="N")
    parser.add_argument("--minutes", type=float, default=1e6, metavar="M", help="at most, each loop")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, Any] = {"seed": given.seed}
    for name, loop in LOOPS.items():
        count = getattr(given, name)
        if count:
            try:
                found[name] = loop(count, minutes=given.minutes, seed=given.seed).row()
            except BrokenError as error:
                print(f"seed {given.seed}, {name}: {error}", file=sys.stderr)
                return 1
            if not given.json:
                print(f"{name}: {json.dumps(found[name])}", flush=True)
    if given.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
