"""A crashed service is running again: Stead's holder and supervisor beside runit's runsv and s6's s6-supervise, in one run.

    apt-get install runit s6     what is not there is left out
    python benchmarks/restart.py [--json] [--rounds N] [--idle SECONDS]

Each side keeps one service that writes its pid and sleeps. It is killed with KILL, and the time runs until another process has written
its pid. The sides take turns, so that a slow moment of the machine meets all, and each service has been up for longer than a second before
it is killed, since the others hold back a service that dies sooner. Stead runs twice: with its first wait after a failure set to a
hundredth of a second (what the machinery costs) and as it is by default (the wait of half a second to a second is the rule).

Then the footprint: resident memory of holder and supervisor with 1 and with 20 services that do nothing, and the processor time that both
take in so many seconds. It says what was measured and fails nothing: figures of a busy machine are not an error.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hart.errors import UnavailableError
from hart.root import Root
from hart.target import host_target
from supervisor import control
from supervisor.settings import Settings

STEAD = str(Path(sys.executable).with_name("stead"))
UP_S = 1.3  # longer than the second for which runsv and s6-supervise hold back
DEADLINE_S = 30.0
FORGIVING = "--service-restart-cooldown-period=1"  # each crash is a first one
QUICK = ("--service-min-backoff-period=0.01", "--service-max-backoff-period=0.01", FORGIVING)
RUN = "#!/bin/sh\necho $$ > {file}.new\nmv {file}.new {file}\nexec sleep 100000\n"


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
        time.sleep(0.0005)


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

    def __init__(self, directory: Path, services: int, *arguments: str) -> None:
        self.root = Root(directory / "root")
        self.settings = Settings(root=self.root)
        for number in range(services):
            self._lay(f"s{number}")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [STEAD, "sup", "run", f"--root={self.root.path}", *arguments], stdout=log, stderr=log, env=environ, start_new_session=True
            )
        until(lambda: self.ask("sup status") is not None, "the supervisor answers")
        for number in range(services):
            self.ask("load", ident=f"t/s{number}", options={}, wait_s=DEADLINE_S)

    def _lay(self, name: str) -> None:
        ident = f"t/{name}/1.0/20260101000000"
        package = self.root.path / "pkgs" / ident
        (package / "hooks").mkdir(parents=True)
        (package / "IDENT").write_text(f"{ident}\n")
        (package / "TARGET").write_text(f"{host_target()}\n")
        (package / "BUILD_ROOT").write_text(f"{self.root.path}\n")
        (package / "hooks" / "run").write_text(RUN.format(file=self.pid_file(name)))

    def pid_file(self, name: str = "s0") -> Path:
        return self.root.service(name) / "data" / "up"

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


@contextmanager
def stead(services: int, *arguments: str) -> Iterator[Stead]:
    with TemporaryDirectory() as directory:
        made = Stead(Path(directory), services, *arguments)
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def peer(program: str) -> Iterator[Path]:
    """One service under runsv or s6-supervise; the file that it writes its pid to."""
    with TemporaryDirectory() as directory:
        service = Path(directory) / "service"
        service.mkdir()
        file = Path(directory) / "up"
        run = service / "run"
        run.write_text(RUN.format(file=file))
        run.chmod(0o755)
        process = subprocess.Popen([program, str(service)], start_new_session=True)
        try:
            until(lambda: written_pid(file) is not None, f"{program} has started it")
            yield file
        finally:
            process.terminate()  # both take it for "stop, and end"
            process.wait()
            if (left := written_pid(file)) is not None and Path(f"/proc/{left}").exists():
                os.kill(left, signal.SIGKILL)


def restarts(rounds: int) -> dict[str, Any]:
    """Milliseconds of each side: median, worst, and the median's ratio to runsv's."""
    with ExitStack() as stack:
        files = {
            "stead": stack.enter_context(stead(1, *QUICK)).pid_file(),
            "stead, default wait": stack.enter_context(stead(1, FORGIVING)).pid_file(),
        }
        for program in ("runsv", "s6-supervise"):
            if shutil.which(program):
                files[program] = stack.enter_context(peer(program))
        taken: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(rounds):
            for name, file in files.items():
                time.sleep(UP_S)
                taken[name].append(crash(file))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        name: {
            "median_ms": round(medians[name] * 1000, 1),
            "worst_ms": round(max(times) * 1000, 1),
            "ratio": round(medians[name] / medians["runsv"], 2) if "runsv" in medians else None,
        }
        for name, times in taken.items()
    }


def footprint(services: int, idle_s: float) -> dict[str, Any]:
    """Resident KiB, and processor milliseconds in a second of doing nothing."""
    with stead(services) as host:
        facts = host.ask("sup status")
        pids = {"holder": facts["holder_pid"], "supervisor": facts["pid"]}
        time.sleep(2)  # what loading has begun is over
        before = {name: processor_s(pid) for name, pid in pids.items()}
        time.sleep(idle_s)
        return {
            name: {"rss_kib": resident_kib(pid), "idle_ms_per_s": round((processor_s(pid) - before[name]) * 1000 / idle_s, 2)}
            for name, pid in pids.items()
        }


def resident_kib(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0])


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(results: Mapping[str, Any]) -> None:
    print(f"{'crash to next process':<24}{'median':>10}{'worst':>10}{'to runsv':>10}")
    for name, row in results["restart"].items():
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{name:<24}{row['median_ms']:>7} ms{row['worst_ms']:>7} ms{ratio:>10}")
    for services, processes in results["footprint"].items():
        for name, row in processes.items():
            print(f"{services:>3} services  {name:<11}{row['rss_kib'] / 1024:>7.1f} MiB{row['idle_ms_per_s']:>8} ms of processor a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS")
    given = parser.parse_args()
    results = {"restart": restarts(given.rounds), "footprint": {str(count): footprint(count, given.idle) for count in (1, 20)}}
    if given.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()
