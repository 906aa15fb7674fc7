"""`stead sup upgrade`: to another version and back, with real processes under a client's load."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from hart.errors import ServiceError
from hart.root import Root
from supervisor.attach import HolderClient
from tests.ports import free_port
from tests.supervisor.holder.test_succession import other_version
from tests.supervisor.workshop import lay_package, supervised

pytestmark = pytest.mark.slow

SERVER = """#!/bin/sh
exec python3 -c '
import http.server, itertools, threading, time
def count():
    for number in itertools.count(1):
        print(f"line {number}", flush=True)
        time.sleep(0.002)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
threading.Thread(target=count, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", {{cfg.port}}), Answer).serve_forever()
'
"""


class Load:
    """A client that asks all the time."""

    def __init__(self, port: int) -> None:
        self.url, self.answers, self.failures = f"http://127.0.0.1:{port}/", 0, list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    self.answers += answer.read() == b"ok"
            except OSError as error:
                self.failures.append(str(error))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def upgrade(program: str, root: Root) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("stead")), "sup", "upgrade", "--json", f"--root={root.path}", f"--python={program}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_another_version_takes_over_and_hands_back_and_no_service_notices(root: Root, tmp_path: Path) -> None:
    port = free_port()
    files = {
        "service.toml": f'[ready]\ntcp = "127.0.0.1:{port}"\n',
        "hooks/run": SERVER,
        "config/service.json": "",
        "default.toml": f"port = {port}\n",
    }
    lay_package(root, "t/web/1.0/20260101000000", files=files)
    lay_package(root, "t/db/1.0/20260101000000")
    with supervised(root) as host:
        rows = {name: host.load(f"t/{name}") for name in ("web", "db")}
        status = host.ask("sup status")
        with Load(port) as load:
            for version, program in (
                ("9.1", other_version(tmp_path, "9.1")),
                (status["version"], other_version(tmp_path, status["version"])),
            ):
                before = host.ask("sup status")
                done = upgrade(program, root)
                assert done.returncode == 0, done.stderr
                change = json.loads(done.stdout)
                assert (change["after"], change["holder_pid"], change["services"], change["ended"]) == (
                    version,
                    status["holder_pid"],
                    2,
                    [],
                )
                after = host.ask("sup status")
                assert (after["version"], after["holder_version"], after["holder_pid"]) == (version, version, status["holder_pid"])
                assert after["pid"] != before["pid"]
                for name, row in rows.items():
                    host.until_state(name, "ready")
                    assert (host.row(name)["pid"], host.row(name)["restarts"]) == (row["pid"], 0)
        assert load.answers > 50
        assert load.failures == []
        host.ask("stop", name="web")
        lines = (root.service("web") / "logs" / "run.log").read_text().splitlines()
        numbers = [int(line.rpartition(" ")[2]) for line in lines if " line " in line]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 500


def test_what_cannot_take_over_is_said_and_nothing_is_touched(root: Root, tmp_path: Path) -> None:
    """The holder of another root's version does not load; and where nothing runs there is nothing to upgrade."""
    program = other_version(tmp_path, "9.1")
    done = upgrade(program, root)
    assert done.returncode != 0
    assert "does not answer" in done.stderr
    lay_package(root, "t/db/1.0/20260101000000")
    with supervised(root) as host:
        row, status = host.load("t/db"), host.ask("sup status")
        supervisor = tmp_path / "9.1" / "supervisor"
        supervisor.unlink()
        (supervisor / "holder").mkdir(parents=True)
        (supervisor / "__init__.py").touch()
        (supervisor / "holder" / "__init__.py").touch()
        (supervisor / "holder" / "main.py").write_text("import nothing_like_this\n")

        async def ask() -> None:
            client = await HolderClient.connect(host.settings.holder)
            try:
                await client.replace(program)
            finally:
                await client.close()

        with pytest.raises(ServiceError, match="No module named 'nothing_like_this'"):
            asyncio.run(ask())
        after = host.ask("sup status")
        assert (after["pid"], after["holder_pid"], host.row("db")["pid"]) == (status["pid"], status["holder_pid"], row["pid"])
