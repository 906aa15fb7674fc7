"""`make demo`: the main job on real software, from plans to running services, each claim checked as it is made.

Every act is the `stead` command that a person would type, and is shown. What is kept between runs lies under `.demo/build` (the
origin key, sources and artifacts: nothing is built twice); everything else starts empty. Ends with 0 only if every claim was checked;
stops what it started.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("STEAD_DEMO_DIR", PROJECT / ".demo")).resolve()
BUILD, DEPOT, HOST, LOGS = HOME / "build", HOME / "depot", HOME / "host", HOME / "logs"
STEAD = [str(Path(sys.executable).with_name("stead"))]
ORIGIN = "demo"
WAIT_S = 60.0  # for one claim to come true; a service on a loaded machine may take its time, a broken one should not take ours
WIDTH = min(shutil.get_terminal_size().columns, 100)
TERMINAL = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class ClaimError(Exception):
    """Something that this demo says did not hold."""


class Demo:
    """Prints what happens, runs commands, checks claims, and stops what was started."""

    def __init__(self) -> None:
        self.started_s = time.monotonic()
        self.steps = 0
        self.claims = 0
        self.children: list[subprocess.Popen[bytes]] = []

    # --- what people see

    def paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if TERMINAL else text

    def step(self, title: str, why: str) -> None:
        self.steps += 1
        seconds = time.monotonic() - self.started_s
        print(f"\n{self.paint('1;36', f'{self.steps}. {title}')}  {self.paint('2', f'[{seconds:.0f} s]')}", flush=True)
        for line in textwrap.wrap(why, WIDTH, initial_indent="   ", subsequent_indent="   "):
            print(self.paint("2", line), flush=True)

    def claim(self, text: str) -> None:
        """Said only after it was checked."""
        self.claims += 1
        lines = textwrap.wrap(
            text, WIDTH, initial_indent="   ok ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
        )
        print("\n".join(lines).replace("ok", self.paint("32", "ok"), 1), flush=True)

    # --- acts

    def stead(self, *args: str, root: Path, stdin: str | None = None, show: bool = True, **env: str) -> str:
        """Run one command; its data (stdout) is returned, its talk (stderr) goes through to the reader if the command is shown."""
        if show:
            self.show(*args, stdin=stdin)
        done = subprocess.run(
            [*STEAD, *args],
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HOME,
            env=environment(root, **env),
            check=False,
            timeout=600,
        )
        if done.returncode != 0:
            raise ClaimError(f"stead {shlex.join(args)} ended with {done.returncode}")
        return done.stdout

    def look(self, *args: str, root: Path) -> None:
        """Run one command whose data is for the reader: it goes to the terminal, or wherever ours goes."""
        self.show(*args)
        check(subprocess.run([*STEAD, *args], cwd=HOME, env=environment(root), check=False, timeout=60).returncode == 0, "it failed")

    def show(self, *args: str, stdin: str | None = None) -> None:
        fed = f" <<< {shlex.quote(stdin.strip())}" if stdin is not None else ""
        short = [argument.replace(f"{HOME}/", "").replace(f"{PROJECT}/", "") for argument in args]
        print(f"   {self.paint('1', '$ stead')} {self.paint('1', shlex.join(short) + fed)}", flush=True)

    def serve(self, *args: str, root: Path, log: str) -> subprocess.Popen[bytes]:
        """Start a server in the background; it is stopped by `stop` whatever happens."""
        self.show(*args)
        with (LOGS / log).open("wb") as out:
            child = subprocess.Popen([*STEAD, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=HOME, env=environment(root))
        self.children.append(child)
        return child

    def until(self, what: str, check: Callable[[], object]) -> None:
        """Wait until `check` is true; not yet reachable counts as not yet true."""
        deadline = time.monotonic() + WAIT_S
        while True:
            last: object = None
            try:
                if check():
                    return
            except (OSError, ValueError, KeyError, ClaimError) as error:
                last = error
            for child in self.children:
                if child.poll() is not None:
                    raise ClaimError(f"{shlex.join(map(str, child.args))} ended with {child.returncode}; see {LOGS}")  # type: ignore[arg-type]
            if time.monotonic() > deadline:
                raise ClaimError(f"waited {WAIT_S:.0f} s in vain until {what}" + (f" ({last})" if last else ""))
            time.sleep(0.1)

    def stop(self) -> None:
        """The last thing started is stopped first: TERM, and KILL for what does not listen."""
        while self.children:
            child = self.children.pop()
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def environment(root: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    return kept | {"STEAD_ROOT": str(root), "STEAD_ORIGIN": ORIGIN} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(url: str, form: dict[str, str] | None = None) -> dict[str, object]:
    """One request to the web application; its JSON answer."""
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    with urllib.request.urlopen(url, data, timeout=5) as answer:  # noqa: S310  a loopback URL that this file made
        page: dict[str, object] = json.load(answer)
        return page


def services(demo: Demo) -> dict[str, dict[str, object]]:
    rows = json.loads(demo.stead("svc", "status", "--json", root=HOST, show=False))
    return {row["service"]: row for row in rows}


def leftovers() -> list[str]:
    """Processes that still have to do with the demo's directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = str((process / "cwd").readlink())
            if str(HOST) in words or str(DEPOT) in words or where.startswith((str(HOST), str(DEPOT))):
                found.append(f"{process.name} {words}")
    return found


def build(demo: Demo, plan: Path) -> str:
    made = json.loads(demo.stead("pkg", "build", str(plan), "--if-changed", "--json", root=BUILD))
    demo.stead("pkg", "verify", made["artifact"], root=BUILD)
    demo.claim(f"{made['ident']} is built and its signature verifies ({made['artifact_size'] / 1e6:.1f} MB)")
    ident: str = made["ident"]
    return ident


def publish(demo: Demo, ident: str, depot: dict[str, str]) -> None:
    artifact = BUILD / "cache" / "artifacts" / f"{ident.replace('/', '-')}-{target()}.hart"
    demo.stead("pkg", "upload", str(artifact), root=BUILD, **depot)
    demo.stead("pkg", "promote", ident, "stable", root=BUILD, **depot)
    rows = json.loads(demo.stead("pkg", "channels", ident, "--json", root=BUILD, show=False, **depot))
    channels = {row["name"] for row in rows}
    check(channels >= {"unstable", "stable"}, f"{ident} is in {channels}")
    demo.claim(f"{ident} is in the channels unstable and stable")


def target() -> str:
    return f"{os.uname().machine}-linux"


def check(true: object, otherwise: str) -> None:
    if not true:
        raise ClaimError(otherwise)


def second_release() -> Path:
    """The guestbook's plan as a developer would change it: another version, and the page says how many have signed."""
    plan = HOME / "plans" / "guestbook"
    shutil.rmtree(plan, ignore_errors=True)
    shutil.copytree(PROJECT / "plans" / "guestbook", plan, ignore=shutil.ignore_patterns("results"))
    edit(plan / "plan.toml", 'version = "1.0.0"', 'version = "1.1.0"')
    edit(
        plan / "app" / "guestbook.py",
        '"entries": entries,',
        '"entries": entries,\n                "signed": book.llen("guestbook:entries"),',
    )
    return plan


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    check(text.count(old) == 1, f"{path}: {old!r} is not there exactly once")
    path.write_text(text.replace(old, new))


@dataclass(frozen=True)
class Ports:
    """Where the two services listen: free ones, so that a redis of yours is left alone."""

    web: int
    redis: int

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.web}/"


def story(demo: Demo) -> None:
    """The steps, in their order; each checks what it claims."""
    ports = Ports(web=free_port(), redis=free_port())
    fingerprint = have_a_key(demo)
    redis, guestbook = build_both(demo)
    depot = start_depot(demo)
    publish_both(demo, redis, guestbook, depot)
    supervisor = start_supervisor(demo, depot["STEAD_DEPOT_URL"], fingerprint)
    load_both(demo, depot["STEAD_DEPOT_URL"], ports)
    visitor = use(demo, ports)
    reconfigure(demo, ports)
    move_to_second_release(demo, depot, ports, visitor)
    stop_everything(demo, supervisor, ports)


def have_a_key(demo: Demo) -> str:
    """The fingerprint of the origin's key, made if it is the first time."""
    demo.step("An origin and its key", "Packages are signed. A key may sign only for its own origin; here the origin is `demo`.")
    keys = json.loads(demo.stead("origin", "key", "list", "--json", root=BUILD, show=False))
    if not any(key["name"] == ORIGIN for key in keys):
        demo.stead("origin", "key", "generate", ORIGIN, root=BUILD)
        keys = json.loads(demo.stead("origin", "key", "list", "--json", root=BUILD, show=False))
    fingerprint = next(key["fingerprint"] for key in keys if key["name"] == ORIGIN)
    demo.claim(f"the key of {ORIGIN} is {fingerprint}")
    return str(fingerprint)


def build_both(demo: Demo) -> tuple[str, str]:
    """Their idents."""
    demo.step(
        "Build redis from source",
        "Fetched, checked against its pinned sha256, compiled here. Built once: the next demo takes it from .demo/build.",
    )
    redis = build(demo, PROJECT / "plans" / "redis")

    demo.step("Build a web application", "Flask, a redis client and a web server from the Python package index, each pinned by sha256.")
    guestbook = build(demo, PROJECT / "plans" / "guestbook")
    return redis, guestbook


def start_depot(demo: Demo) -> dict[str, str]:
    """The environment of a publisher."""
    demo.step("Start a depot", "One process, a SQLite file and a directory; nothing to configure.")
    depot_url = f"http://127.0.0.1:{free_port()}"
    demo.serve("depot", "serve", "--data", str(DEPOT), "--listen", depot_url.removeprefix("http://"), root=BUILD, log="depot.log")
    demo.until("the depot answers", lambda: urllib.request.urlopen(f"{depot_url}/v1/status", timeout=5).status == 200)  # noqa: S310
    made = demo.stead(
        "depot", "token", "create", "--data", str(DEPOT), "--account", "you", "--scope", "admin", "--expires", "1d", "--json", root=BUILD
    )
    depot = {"STEAD_DEPOT_URL": depot_url, "STEAD_TOKEN": json.loads(made)["token"]}
    demo.stead("origin", "create", ORIGIN, root=BUILD, **depot)
    demo.claim(f"the depot answers on {depot_url} and knows the origin {ORIGIN}")
    return depot


def publish_both(demo: Demo, redis: str, guestbook: str, depot: dict[str, str]) -> None:
    """In unstable and stable."""
    demo.step("Publish both packages", "Uploaded to the channel unstable, then promoted to stable, which is what hosts follow.")
    publish(demo, redis, depot)
    publish(demo, guestbook, depot)


def start_supervisor(demo: Demo, depot_url: str, fingerprint: str) -> subprocess.Popen[bytes]:
    """On a host that trusts our key."""
    demo.step(
        "Start a supervisor", "Under a root of its own, without privileges. This host trusts the key because we compare its fingerprint."
    )
    public = {"STEAD_DEPOT_URL": depot_url}
    downloaded = json.loads(demo.stead("origin", "key", "download", ORIGIN, "--json", root=HOST, **public))
    check(fingerprint in {key["fingerprint"] for key in downloaded}, f"the depot serves another key: {downloaded}")
    demo.claim("the depot serves the key that we made")
    supervisor = demo.serve("sup", "run", "--own-user", "--update-period", "1", "--url", depot_url, root=HOST, log="supervisor.log")
    demo.stead("sup", "status", "--wait", "30", "--json", root=HOST)
    demo.claim("the supervisor answers on its socket")
    return supervisor


def load_both(demo: Demo, depot_url: str, ports: Ports) -> None:
    """Ready, healthy, and bound."""
    demo.step("Load both services", "From the channel stable, the guestbook bound to redis. Configuration may come before the service.")
    demo.stead("config", "apply", "redis.default", "1", "-", root=HOST, stdin=f"port = {ports.redis}\n")
    demo.stead("config", "apply", "guestbook.default", "1", "-", root=HOST, stdin=f"port = {ports.web}\n")
    load = ("--channel", "stable", "--url", depot_url, "--strategy", "at-once")
    demo.stead("svc", "load", f"{ORIGIN}/redis", *load, root=HOST)
    demo.stead("svc", "load", f"{ORIGIN}/guestbook", *load, "--bind", "redis:redis.default", root=HOST)
    demo.until(
        "both services are ready and healthy",
        lambda: (
            {name: (row["ready"], row["health"]) for name, row in services(demo).items()}
            == {"redis": (True, "healthy"), "guestbook": (True, "healthy")}
        ),
    )
    demo.look("svc", "status", root=HOST)
    demo.claim("redis and guestbook are ready and healthy")


def use(demo: Demo, ports: Ports) -> str:
    """Who signed the book."""
    demo.step("Use it", "A request through the web application that writes to redis, and one that reads it back.")
    visitor = f"a visitor at {time.strftime('%H:%M:%S')}"
    ask(ports.page, {"name": visitor})
    answer = ask(ports.page)
    print(f"   GET {ports.page} → {json.dumps(answer)}", flush=True)
    check(answer["entries"] == [visitor], f"{answer} does not show {visitor!r}")
    stored = demo.stead(
        "pkg", "exec", f"{ORIGIN}/redis", "redis-cli", "-p", str(ports.redis), "lrange", "guestbook:entries", "0", "-1", root=HOST
    )
    check(stored.strip() == visitor, f"redis itself has {stored!r}")
    demo.claim("the entry went through the application into redis and back; redis itself shows it too")
    return visitor


def reconfigure(demo: Demo, ports: Ports) -> None:
    """A good change arrives, a bad one does not."""
    demo.step(
        "Change one config value", "A config change is checked against the package's schema, rendered, and handed to the running process."
    )
    before = services(demo)["guestbook"]["pid"]
    demo.stead("config", "apply", "guestbook.default", "2", "-", root=HOST, stdin=f'port = {ports.web}\ntitle = "Our guests"\n')
    demo.until("the page has the new title", lambda: ask(ports.page)["title"] == "Our guests")
    check(services(demo)["guestbook"]["pid"] == before, "the process was restarted")
    demo.claim("the page's title is `Our guests`; the process was not restarted")
    refused = subprocess.run(
        [*STEAD, "config", "apply", "guestbook.default", "3", "-"],
        input='titel = "Oops"\n',
        capture_output=True,
        text=True,
        env=environment(HOST),
        check=False,
        timeout=60,
    )
    demo.show("config", "apply", "guestbook.default", "3", "-", stdin='titel = "Oops"\n')
    print("   " + refused.stderr.strip().replace("\n", "\n   "), flush=True)
    check(refused.returncode == 3 and ask(ports.page)["title"] == "Our guests", f"a misspelt key was accepted ({refused.returncode})")
    demo.claim("a misspelt key is refused with a suggestion, and nothing changed")


def move_to_second_release(demo: Demo, depot: dict[str, str], ports: Ports, visitor: str) -> None:
    """By promoting it."""
    demo.step(
        "Publish a second release", "The host follows the channel: the new release is installed beside the old one, then the service moves."
    )
    second = build(demo, second_release())
    publish(demo, second, depot)
    demo.until("the page comes from the second release", lambda: ask(ports.page)["release"] == "/".join(second.split("/")[2:]))
    demo.until("the second release is healthy", lambda: services(demo)["guestbook"]["health"] == "healthy")
    answer = ask(ports.page)
    print(f"   GET {ports.page} → {json.dumps(answer)}", flush=True)
    check((answer["signed"], answer["entries"], answer["title"]) == (1, [visitor], "Our guests"), f"not kept: {answer}")
    demo.claim(f"the service moved to {second}; entries and configuration are as before")


def stop_everything(demo: Demo, supervisor: subprocess.Popen[bytes], ports: Ports) -> None:
    """And look that it is so."""
    demo.step("Stop everything", "The supervisor stops its services in order; nothing is left running.")
    demo.stead("sup", "term", root=HOST)
    supervisor.wait(timeout=60)
    check(supervisor.returncode == 0, f"the supervisor ended with {supervisor.returncode}")
    demo.children.remove(supervisor)
    demo.stop()
    left = leftovers()
    check(not left, f"still running: {left}")
    for port in (ports.web, ports.redis):
        with socket.socket() as probe:
            check(probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still answers")
    demo.claim("the supervisor ended with 0, both ports are closed, no process is left")


@contextmanager
def alone() -> Iterator[None]:
    """One demo at a time in a directory; a second one would pull the first one's floor away."""
    import fcntl

    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "LOCK").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClaimError(f"another demo is running in {HOME}") from None
        for stale in (DEPOT, HOST, LOGS):
            shutil.rmtree(stale, ignore_errors=True)
        LOGS.mkdir()
        yield


def main() -> int:
    demo = Demo()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    print(demo.paint("1", "Stead: from two plans to running, healthy services."), flush=True)
    print(f"Everything stays under {HOME}", flush=True)
    try:
        with alone():
            story(demo)
    except (ClaimError, OSError, subprocess.TimeoutExpired) as failure:
        print(f"\n{demo.paint('31', 'failed:')} {failure}\n  logs: {LOGS}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130
    finally:
        demo.stop()
    seconds = time.monotonic() - demo.started_s
    print(f"\n{demo.paint('1;32', f'All {demo.claims} claims checked')} in {seconds:.0f} s. Next: the tour in README.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
