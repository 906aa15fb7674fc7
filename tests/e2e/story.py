"""The story of the demo in stages, each built on the one before and run once per session, in whatever order the tests ask."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.ports import free_port

PROJECT = Path(__file__).parents[2]
STEAD = str(Path(sys.executable).with_name("stead"))
DEADLINE_S = 60.0


@dataclass
class Done:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def stead(*args: str, env: dict[str, str], stdin: str = "", cwd: Path | None = None, timeout: float = 300) -> Done:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    done = subprocess.run(
        [STEAD, *args], input=stdin, capture_output=True, text=True, env=kept | env, cwd=cwd, check=False, timeout=timeout
    )
    return Done(done.returncode, done.stdout, done.stderr)


def until(what: str, check: Callable[[], object]) -> None:
    """Wait for an event with a deadline; what cannot be reached yet is not true yet."""
    deadline = time.monotonic() + DEADLINE_S
    last: object = "false"
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return
        except (OSError, ValueError, KeyError, AssertionError) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}; last: {last!r}")


def ask(url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    with urllib.request.urlopen(url, data, timeout=5) as answer:
        page: dict[str, Any] = json.load(answer)
        return page


def running_under(*places: Path) -> list[str]:
    """Command lines of processes that name one of these directories, or stand in one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = (process / "cwd").readlink()
        except OSError:
            continue
        if any(str(place) in words or where.is_relative_to(place) for place in places):
            found.append(f"{process.name} {words}")
    return found


@dataclass
class Story:
    """One origin, one depot, one host. Each stage is a property: asking for it makes all that come before it true."""

    home: Path
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ports = {"redis": free_port(), "guestbook": free_port()}
        self.page = f"http://127.0.0.1:{self.ports['guestbook']}/"

    # --- places and commands

    @property
    def build_env(self) -> dict[str, str]:
        return {"STEAD_ROOT": str(self.home / "build"), "STEAD_ORIGIN": "tale"}

    @property
    def host_env(self) -> dict[str, str]:
        return {"STEAD_ROOT": str(self.home / "host")}

    def ok(self, *args: str, env: dict[str, str], stdin: str = "") -> Done:
        done = stead(*args, env=env, stdin=stdin, cwd=self.home)
        assert done.code == 0, f"stead {' '.join(args)} ended with {done.code}\n{done.out}\n{done.err}"
        return done

    def spawn(self, *args: str, env: dict[str, str], log: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
        with (self.home / log).open("wb") as out:
            child = subprocess.Popen([STEAD, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=kept | env, cwd=self.home)
        self.children.append(child)
        return child

    def services(self) -> dict[str, dict[str, Any]]:
        return {row["service"]: row for row in self.ok("svc", "status", "--json", env=self.host_env).data}

    def close(self) -> None:
        while self.children:
            child = self.children.pop()
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=60)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    # --- stages

    @cached_property
    def key(self) -> str:
        """The origin's fingerprint."""
        self.ok("origin", "key", "generate", "tale", env=self.build_env)
        (fingerprint,) = {row["fingerprint"] for row in self.ok("origin", "key", "list", "--json", env=self.build_env).data}
        return str(fingerprint)

    def built(self, plan: Path) -> dict[str, Any]:
        assert self.key
        made: dict[str, Any] = self.ok("pkg", "build", str(plan), "--json", env=self.build_env).data
        return made

    @cached_property
    def redis(self) -> dict[str, Any]:
        return self.built(PROJECT / "plans" / "redis")

    @cached_property
    def guestbook(self) -> dict[str, Any]:
        return self.built(PROJECT / "plans" / "guestbook")

    @cached_property
    def depot(self) -> dict[str, str]:
        """The environment of a publisher."""
        url = f"http://127.0.0.1:{free_port()}"
        data = str(self.home / "depot")
        self.spawn("depot", "serve", "--data", data, "--listen", url.removeprefix("http://"), env=self.build_env, log="depot.log")
        until("the depot answers", lambda: urllib.request.urlopen(f"{url}/v1/status", timeout=5).status == 200)
        create = ("depot", "token", "create", "--data", data, "--account", "teller", "--scope", "admin", "--json")
        token = self.ok(*create, env=self.build_env).data["token"]
        env = self.build_env | {"STEAD_DEPOT_URL": url, "STEAD_TOKEN": token}
        self.ok("origin", "create", "tale", env=env)
        return env

    def published(self, made: dict[str, Any]) -> set[str]:
        """The channels that a package is in after upload and promotion."""
        self.ok("pkg", "upload", made["artifact"], env=self.depot)
        self.ok("pkg", "promote", made["ident"], "stable", env=self.depot)
        return {row["name"] for row in self.ok("pkg", "channels", made["ident"], "--json", env=self.depot).data}

    @cached_property
    def stable(self) -> dict[str, set[str]]:
        return {"redis": self.published(self.redis), "guestbook": self.published(self.guestbook)}

    @cached_property
    def host(self) -> subprocess.Popen[bytes]:
        """A supervisor that trusts the origin's key."""
        url = self.depot["STEAD_DEPOT_URL"]
        assert self.stable
        self.ok("origin", "key", "download", "tale", "--url", url, env=self.host_env)
        child = self.spawn("sup", "run", "--own-user", "--update-period", "1", "--url", url, env=self.host_env, log="supervisor.log")
        self.ok("sup", "status", "--wait", "30", env=self.host_env)
        return child

    @cached_property
    def loaded(self) -> dict[str, dict[str, Any]]:
        """Both services ready and healthy."""
        assert self.host
        for name, port in self.ports.items():
            self.ok("config", "apply", f"{name}.default", "1", "-", env=self.host_env, stdin=f"port = {port}\n")
        load = ("--channel", "stable", "--url", self.depot["STEAD_DEPOT_URL"], "--strategy", "at-once")
        self.ok("svc", "load", "tale/guestbook", *load, "--bind", "redis:redis.default", env=self.host_env)
        self.before_bind = self.services()["guestbook"]
        self.ok("svc", "load", "tale/redis", *load, env=self.host_env)
        until("both are healthy", lambda: [row["health"] for row in self.services().values()] == ["healthy"] * 2)
        return self.services()

    @cached_property
    def used(self) -> dict[str, Any]:
        assert self.loaded
        ask(self.page, {"name": "Ada"})
        return ask(self.page)

    @cached_property
    def reconfigured(self) -> dict[str, Any]:
        """The page after a change of its title, and the process ids before and after."""
        assert self.used
        before = self.services()["guestbook"]["pid"]
        text = f'port = {self.ports["guestbook"]}\ntitle = "Renamed"\n'
        self.ok("config", "apply", "guestbook.default", "2", "-", env=self.host_env, stdin=text)
        until("the title is new", lambda: ask(self.page)["title"] == "Renamed")
        return ask(self.page) | {"pids": (before, self.services()["guestbook"]["pid"])}

    @cached_property
    def second(self) -> dict[str, Any]:
        """What the page shows after a second release was promoted."""
        assert self.reconfigured
        plan = self.home / "plans" / "guestbook"
        shutil.copytree(PROJECT / "plans" / "guestbook", plan, ignore=shutil.ignore_patterns("results"))
        text = (plan / "plan.toml").read_text()
        assert 'version = "1.0.0"' in text
        (plan / "plan.toml").write_text(text.replace('version = "1.0.0"', 'version = "1.1.0"'))
        made = self.built(plan)
        self.published(made)
        release = "/".join(made["ident"].split("/")[2:])
        until("the page comes from the second release", lambda: ask(self.page)["release"] == release)
        until("it is healthy", lambda: self.services()["guestbook"]["health"] == "healthy")
        return ask(self.page) | {"installed": self.ok("pkg", "list", "tale/guestbook", "--json", env=self.host_env).data}

    @cached_property
    def stopped(self) -> int:
        """The supervisor's exit code after everything was stopped."""
        assert self.second
        self.ok("sup", "term", env=self.host_env)
        return self.host.wait(timeout=60)
