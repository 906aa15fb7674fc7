"""Stead beside runit, s6 and supervisord in one run: crash to running again, memory by number of services, processor when idle.

    apt-get install runit s6 supervisor     what is not there is left out, and said
    python benchmarks/supervisors.py [--json] [--kills N] [--services N] [--idle SECONDS]

Each side runs the same services: a shell that writes its pid and becomes `sleep`. All have their defaults. A service is killed with KILL
after it has been up for longer than ten seconds, since all hold back one that dies young; the time runs until another process has
written its pid. The sides take turns, so that a slow moment of the machine meets all.

Memory is the proportional set size of everything that supervises: a page that two processes share counts once. Stead keeps a rotated log of
each service; runit and s6 do so by one more process a service, so they are measured without and with it. It says what was measured and
fails nothing: a busy machine is not an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hart.errors import UnavailableError
from hart.root import Root
from hart.target import host_target
from supervisor import control
from supervisor.holder import procfs
from supervisor.settings import Settings

STEAD = str(Path(sys.executable).with_name("stead"))
LIVED_S = 11.0  # Stead starts at once what had been up for ten seconds, the others for one
DEADLINE_S = 60.0
RUN = "#!/bin/sh\necho $$ > {file}\nexec sleep 100000\n"
SUPERVISORD = "[supervisord]\nnodaemon=true\nlogfile={top}/log\npidfile={top}/pid\nchildlogdir={top}\n"
PROGRAM = "[program:s{number}]\ncommand={top}/s{number}/run\nautorestart=true\n"


class Side(Protocol):
    """One supervisor with its services."""

    def pid_file(self, number: int) -> Path: ...
    def supervising(self) -> list[int]: ...


def written_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {DEADLINE_S:g} s: {what}")
        time.sleep(0.0003)


def crash(path: Path) -> float:
    """Seconds from the KILL of a service to its next process."""
    before = written_pid(path)
    assert before is not None
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)
    until(lambda: written_pid(path) not in (before, None), f"{path} is written again")
    return time.monotonic() - began


class Stead:
    """A supervisor of its own with services `s0`, `s1` …"""

    def __init__(self, directory: Path, services: int) -> None:
        self.root = Root(directory / "root")
        self.settings = Settings(root=self.root)
        for number in range(services):
            self._lay(number)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
        with (directory / "log").open("wb") as log:
            command = [STEAD, "sup", "run", f"--root={self.root.path}", "--listen-gossip=127.0.0.1:0", "--listen-http=127.0.0.1:0"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)
        until(lambda: self.ask("sup status") is not None, "the supervisor answers")
        for number in range(services):
            self.ask("load", ident=f"t/s{number}", options={}, wait_s=0)
        until(lambda: all(written_pid(self.pid_file(number)) for number in range(services)), "all services run")

    def _lay(self, number: int) -> None:
        ident = f"t/s{number}/1.0/20260101000000"
        package = self.root.path / "pkgs" / ident
        (package / "hooks").mkdir(parents=True)
        (package / "IDENT").write_text(f"{ident}\n")
        (package / "TARGET").write_text(f"{host_target()}\n")
        (package / "BUILD_ROOT").write_text(f"{self.root.path}\n")
        (package / "hooks" / "run").write_text(RUN.format(file=self.pid_file(number)))

    def pid_file(self, number: int) -> Path:
        return self.root.service(f"s{number}") / "data" / "up"

    def supervising(self) -> list[int]:
        facts = self.ask("sup status")
        return [facts["holder_pid"], facts["pid"]]

    def ask(self, command: str, **fields: Any) -> Any:
        try:
            return control.ask(self.settings.control, {"command": command, **fields}, lambda _: None)
        except UnavailableError:
            if command != "sup status":
                raise
            return None

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Peer:
    """runsvdir, s6-svscan or supervisord over as many services, with a logger for each where the name says so."""

    def __init__(self, name: str, top: Path, services: int) -> None:
        self.top = top
        program, _, logger = name.partition(" + ")
        for number in range(services):
            self._lay(number, logger)
        command = {"runit": ["runsvdir", str(top)], "s6": ["s6-svscan", "-c", "500", str(top)]}.get(program)
        if command is None:
            (top / "conf").write_text(SUPERVISORD.format(top=top) + "".join(PROGRAM.format(top=top, number=n) for n in range(services)))
            command = ["supervisord", "-c", str(top / "conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until(lambda: all(written_pid(self.pid_file(number)) for number in range(services)), f"{name} has started all")
        self.services = services

    def _lay(self, number: int, logger: str) -> None:
        service = self.top / f"s{number}"
        service.mkdir()
        scripts = {service / "run": RUN.format(file=self.pid_file(number))}
        if logger:
            (service / "log").mkdir()
            (service / "main").mkdir()
            command = f"exec {logger} {'-tt ' if logger == 'svlogd' else 't '}{service}/main"
            scripts[service / "log" / "run"] = f"#!/bin/sh\n{command}\n"
        for path, text in scripts.items():
            path.write_text(text)
            path.chmod(0o755)

    def pid_file(self, number: int) -> Path:
        return self.top / f"s{number}" / "up"

    def supervising(self) -> list[int]:
        """The one that was started, and what it started that is no service."""
        services = {written_pid(self.pid_file(number)) for number in range(self.services)}
        return [pid for pid in family(self.process.pid) if pid not in services]

    def stop(self) -> None:
        everybody = family(self.process.pid)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        for pid in everybody:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def family(top: int) -> list[int]:
    """A process and all below it."""
    parents = {pid: found.ppid for pid in procfs.processes() if (found := procfs.stat(pid)) and not found.dead}
    found = [top]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


PEERS = {"runit": "runsvdir", "s6": "s6-svscan", "supervisord": "supervisord", "runit + svlogd": "svlogd", "s6 + s6-log": "s6-log"}


@contextmanager
def side(name: str, services: int) -> Iterator[Side]:
    with TemporaryDirectory(prefix="stead-bench-") as directory:
        made = Stead(Path(directory), services) if name == "stead" else Peer(name, Path(directory), services)
        try:
            yield made
        finally:
            made.stop()


def there(names: list[str]) -> list[str]:
    return [name for name in names if name == "stead" or shutil.which(PEERS[name])]


def restarts(kills: int) -> dict[str, Any]:
    """Milliseconds from crash to next process: median, 90th percentile, worst, and the median's ratio to runit's."""
    with ExitStack() as stack:
        sides = {name: stack.enter_context(side(name, kills)) for name in there(["stead", "runit", "s6", "supervisord"])}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        time.sleep(LIVED_S)
        for number in range(kills):
            for name, one in sides.items():
                taken[name].append(crash(one.pid_file(number)) * 1000)
    runit = statistics.median(taken["runit"]) if "runit" in taken else None
    return {
        name: {
            "median_ms": round(statistics.median(times), 1),
            "p90_ms": round(sorted(times)[len(times) * 9 // 10], 1),
            "worst_ms": round(max(times), 1),
            "ratio": round(statistics.median(times) / runit, 2) if runit else None,
        }
        for name, times in taken.items()
    }


def footprint(name: str, services: int, idle_s: float) -> dict[str, float]:
    """KiB of everything that supervises, processes, and processor milliseconds in a second of doing nothing."""
    with side(name, services) as one:
        time.sleep(LIVED_S)  # what loading has begun is over
        pids = one.supervising()
        before = sum(map(processor_s, pids))
        time.sleep(idle_s)
        used = sum(map(processor_s, pids)) - before
        sizes = [memory_kib(pid) for pid in pids]
        return {
            "pss_kib": sum(size["Pss"] for size in sizes),
            "rss_kib": sum(size["Rss"] for size in sizes),
            "processes": len(pids),
            "idle_ms_per_s": round(used * 1000 / idle_s, 2) if idle_s else 0.0,
        }


def memory_kib(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def footprints(most: int, idle_s: float) -> dict[str, Any]:
    few = max(1, most // 5)
    found: dict[str, Any] = {}
    for name in there(["stead", *PEERS]):
        one, many = footprint(name, few, 0.0), footprint(name, most, idle_s)
        found[name] = {
            **many,
            "few_pss_kib": one["pss_kib"],
            "kib_per_service": round((many["pss_kib"] - one["pss_kib"]) / (most - few), 1),
        }
    return {"services": most, "few": few, "sides": found}


def show(results: Mapping[str, Any]) -> None:
    print(f"{'crash to next process':<24}{'median':>11}{'90 %':>11}{'worst':>11}{'to runit':>10}")
    for name, row in results["restart"].items():
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{name:<24}{row['median_ms']:>8} ms{row['p90_ms']:>8} ms{row['worst_ms']:>8} ms{ratio:>10}")
    memory = results["memory"]
    print(f"\n{memory['services']} services{'memory':>22}{'at ' + str(memory['few']):>12}{'a service':>12}{'processes':>11}{'idle':>13}")
    for name, row in memory["sides"].items():
        sizes = f"{row['pss_kib'] / 1024:>20.1f} MiB{row['few_pss_kib'] / 1024:>8.1f} MiB{row['kib_per_service']:>8} KiB"
        print(f"{name:<16}{sizes}{row['processes']:>11}{row['idle_ms_per_s']:>8} ms/s")
    for name in PEERS:
        if name not in memory["sides"]:
            print(f"{name}: not installed, left out")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS")
    given = parser.parse_args()
    results = {"restart": restarts(given.kills), "memory": footprints(given.services, given.idle)}
    if given.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()
