"""Service packages for tests, laid out directly under a root, and one supervisor of its own to run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hart.ident import Ident
from hart.root import Root
from hart.target import host_target
from supervisor import control
from supervisor.settings import Settings

DEADLINE_S = 30.0

# A service that notes its starts and signals, and does what its configuration says.
SERVICE = r"""
import json, os, signal, sys, time
from pathlib import Path

config = json.loads(Path(sys.argv[1]).read_text())
data = Path(sys.argv[2])

def note(what):
    with (data / "notes").open("a") as notes:
        notes.write(f"{what} {os.getpid()}\n")

def term(number, frame):
    note("term")
    if not config.get("stubborn"):
        sys.exit(0)

def hup(number, frame):
    note("hup " + json.loads(Path(sys.argv[1]).read_text())["word"])

signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGHUP, hup)
(data / "up").unlink(missing_ok=True)
note("start " + config["word"])
print("hello from", config["word"], flush=True)
if config.get("crash"):
    sys.exit(7)
(data / "up").write_text(str(os.getpid()))
while True:
    signal.pause()
"""
RUN = "#!/bin/sh\nexec {{sh cfg.python}} {{sh pkg.path}}/service.py {{sh pkg.svc_config_path}}/service.json {{sh pkg.svc_data_path}}\n"


def config(more: str = "") -> str:
    """The service's config template, with more members."""
    return f'{{"word": {{{{toJson cfg.word}}}}, "crash": {{{{toJson cfg.crash}}}}, "stubborn": {{{{toJson cfg.stubborn}}}}{more} }}\n'


DEFAULT = f'word = "first"\ncrash = false\nstubborn = false\npython = {json.dumps(sys.executable)}\n'
READY = 'test "$(cat {{pkg.svc_data_path}}/up)" = "$(cat {{pkg.svc_pid_file}})"'
SERVICE_TOML = f"""
[ready]
exec = '{READY}'
interval_s = 0.05
deadline_s = 20
"""
RECONFIGURE = '#!/bin/sh\nkill -HUP "$(cat {{sh pkg.svc_pid_file}})"\n'


def lay_package(root: Root, ident: str, *, files: Mapping[str, str] | None = None, metafiles: Mapping[str, str] | None = None) -> Ident:
    """Install the test service as `ident`; `files` and `metafiles` are added to it, or replace its own."""
    parsed = Ident.parse_full(ident)
    content = {
        "service.py": SERVICE,
        "hooks/run": RUN,
        "config/service.json": config(),
        "service.toml": SERVICE_TOML,
        "default.toml": DEFAULT,
        "IDENT": f"{ident}\n",
        "TARGET": f"{host_target()}\n",
        "BUILD_ROOT": f"{root.path}\n",
        "TEMPLATES": "strict\n",
        "SHUTDOWN_TIMEOUT": "3\n",
        **(metafiles or {}),
        **(files or {}),
    }
    path = root.package(parsed)
    for name, text in content.items():
        if text:
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return parsed


class Supervised:
    """One supervisor with its holder, under a root of its own."""

    def __init__(self, root: Root, process: subprocess.Popen[bytes]) -> None:
        self.root, self.process = root, process
        self.settings = Settings(root=root)

    def ask(self, command: str, **fields: Any) -> Any:
        return control.ask(self.settings.control, {"command": command, **fields}, lambda _: None)

    def load(self, ident: str, *, wait_s: float = 20, force: bool = False, **options: Any) -> dict[str, Any]:
        row: dict[str, Any] = self.ask("load", ident=ident, wait_s=wait_s, force=force, options=options)
        return row

    def row(self, name: str) -> dict[str, Any]:
        row: dict[str, Any] = self.ask("status", name=name)[0]
        return row

    def apply(self, group: str, version: int, text: str, **fields: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.ask("config apply", group=group, version=version, body=text.encode(), **fields)
        return result

    def until(self, what: str, true: Callable[[], object]) -> None:
        """Wait for it, with a deadline; a supervisor that is just being started again is waited for."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                if true():
                    return
                last = ""
            except control.UnavailableError as error:
                last = str(error)
            assert self.process.poll() is None, f"the holder ended with {self.process.returncode}"
            assert time.monotonic() < deadline, f"not in {DEADLINE_S:g} s: {what} {last}\n{self.log()}"
            time.sleep(0.02)

    def until_state(self, name: str, state: str) -> dict[str, Any]:
        self.until(f"{name} is {state}", lambda: self.row(name)["state"] == state)
        return self.row(name)

    def until_listed(self, name: str, state: str) -> dict[str, Any]:
        """As until_state, for a service that is not known yet."""
        self.until(f"{name} is {state}", lambda: {row["service"]: row["state"] for row in self.ask("status")}.get(name) == state)
        return self.row(name)

    def kill_supervisor(self, pid: int | None = None) -> None:
        """kill -9, and wait for the next one."""
        killed = pid or self.ask("sup status")["pid"]
        os.kill(killed, signal.SIGKILL)
        self.until("another supervisor answers", lambda: self.ask("sup status")["pid"] != killed)

    def notes(self, name: str) -> list[str]:
        """What the service has noted, without pids."""
        path = self.root.service(name) / "data" / "notes"
        return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []

    def log(self) -> str:
        return (self.root.path / "supervisor.log").read_text()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def supervised(root: Root, *arguments: str, env: Mapping[str, str] | None = None, within: Sequence[str] = ()) -> Iterator[Supervised]:
    """`stead sup run` under this root; stopped at the end, with everything that it runs. `within`: a command that becomes it."""
    root.path.mkdir(parents=True, exist_ok=True)
    settings = [f"--root={root.path}", "--service-min-backoff-period=0.2", "--service-max-backoff-period=0.5", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    with (root.path / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [*within, str(Path(sys.executable).with_name("stead")), "sup", "run", *settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**clean, **(env or {})},
            start_new_session=True,
        )
    host = Supervised(root, process)
    try:
        host.until("the supervisor answers", lambda: host.ask("sup status"))
        yield host
    finally:
        host.stop()
