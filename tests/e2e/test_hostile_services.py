"""Services that do their worst, one after the other, beside a healthy one: it is not disturbed, and a stop leaves nothing of them."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hart.errors import StorageError
from hart.limits import HOOK_LOG_KEEP, LOG_KEEP
from hart.root import Root
from tests.e2e.witness import answers, carriers, lay_calm, stead, undisturbed
from tests.supervisor.holder.test_contained import needs_groups
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """One for all tests, with what this machine has to contain services."""
    root = Root(tmp_path_factory.mktemp("hostile") / "root")
    lay_calm(root)
    with supervised(root) as found:
        found.load("t/calm")
        yield found


@pytest.fixture(scope="module")
def bare_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """One that sees no control groups, as on a host that has none for us."""
    without = ["unshare", "--mount", "sh", "-c", 'umount -R /sys/fs/cgroup && exec "$@"', "sh"]
    if subprocess.run([*without, "true"], check=False, capture_output=True).returncode:
        pytest.skip("control groups cannot be hidden here: that takes root, and groups")
    root = Root(tmp_path_factory.mktemp("bare") / "root")
    lay_calm(root)
    with supervised(root, within=without) as found:
        assert found.ask("sup status")["containment"].startswith("session only")
        found.load("t/calm")
        yield found


class Villain:
    """A service of its own name; whoever comes of it has its mark in the command line."""

    def __init__(self, host: Supervised) -> None:
        self.host, self.name = host, f"villain-{secrets.token_hex(4)}"
        self.data = host.root.service(self.name) / "data"
        self.logs = host.root.service(self.name) / "logs"

    def lay(self, script: str, *, hooks: dict[str, str] | None = None, service: str = "") -> None:
        """`script` is Python; {name} in it is the mark for what executes something else."""
        files = {f"hooks/{hook}": text for hook, text in (hooks or {}).items()}
        ident = f"t/{self.name}/1.0/20260101000000"
        lay_package(
            self.host.root,
            ident,
            files={"service.py": script.replace("{name}", self.name), "service.toml": service, **files},
            metafiles={"SHUTDOWN_TIMEOUT": "1\n"},
        )

    def load(self, *, wait_s: float = 20, limits: tuple[str, ...] = ()) -> None:
        self.host.load(f"t/{self.name}", wait_s=wait_s, limits=list(limits))

    def left(self) -> list[int]:
        return carriers(self.name)

    def until_left(self, count: int) -> None:
        self.host.until(f"{count} processes of it", lambda: len(self.left()) >= count)

    def stop(self) -> None:
        """By its operator; then nobody of it is there."""
        assert self.host.ask("stop", name=self.name)["state"] == "down"
        assert self.left() == []

    def stop_hook(self) -> None:
        """As `stop`; a hook that is called off is killed in that moment, and need not be gone in the same."""
        assert self.host.ask("stop", name=self.name)["state"] == "down"
        self.host.until("nobody of it is there", lambda: self.left() == [])

    def log_bytes(self, stream: str) -> int:
        return sum(path.stat().st_size for path in self.logs.glob(f"{stream}.log*") if path.is_file())


@pytest.fixture
def villain(request: pytest.FixtureRequest) -> Iterator[Villain]:
    made = Villain(request.getfixturevalue(getattr(request, "param", "host")))
    yield made
    made.host.ask("unload", name=made.name)
    assert made.left() == []


everywhere = pytest.mark.parametrize("villain", ["host", "bare_host"], indirect=True)


FORKS = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        {and then}
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


@everywhere
def test_who_forks_twice_and_leaves_the_session(villain: Villain) -> None:
    villain.lay(FORKS.replace("{and then}", ""))
    with undisturbed(villain.host):
        villain.load()
        villain.until_left(2)
        villain.stop()


@needs_groups
def test_who_clears_its_environment_too(villain: Villain) -> None:
    """Only a control group holds it; the mark that counts it is in its command line."""
    villain.lay(FORKS.replace("{and then}", 'os.execve("/bin/sh", ["/bin/sh", "-c", "sleep 1000; : {name}"], {})'))
    with undisturbed(villain.host):
        villain.load()
        villain.until_left(2)
        villain.stop()


@everywhere
def test_who_leaves_a_daemon_at_each_of_its_starts(villain: Villain) -> None:
    """It ends at once, and what it left is gone before the next start: daemons do not pile up."""
    villain.lay("import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\nsys.exit(0)\n")
    with undisturbed(villain.host):
        villain.load(wait_s=0)
        villain.host.until("it was started again and again", lambda: villain.host.row(villain.name)["restarts"] >= 4)
        assert len(villain.left()) <= 2
        villain.stop()


DEAF = """
import os, signal, time
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        pass
os.fork()
os.fork()
"""


@everywhere
@pytest.mark.parametrize("last", ["time.sleep(1000)", "os.kill(os.getpid(), signal.SIGSTOP)", "while True: pass"])
def test_who_ignores_every_signal(villain: Villain, last: str) -> None:
    """Also where its processes are stopped, or busy."""
    villain.lay(DEAF + last)
    with undisturbed(villain.host):
        villain.load()
        villain.until_left(4)
        villain.stop()


@everywhere
def test_a_bounded_fork_bomb_without_limits(villain: Villain) -> None:
    villain.lay("import os, time\nfor _ in range(8):\n    os.fork()\ntime.sleep(1000)\n")
    with undisturbed(villain.host):
        villain.load()
        villain.until_left(256)
        villain.stop()


@needs_groups
def test_a_fork_bomb_at_its_limit(villain: Villain) -> None:
    """It never stops trying, and dead ones are replaced at once: only the group as a whole can be killed."""
    villain.lay("import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        os.nice(1)\n")
    with undisturbed(villain.host):
        villain.load(limits=("pids=200", "cpu=0.5"))
        less = villain.host.row(villain.name)["less"]
        if any(word in line for line in less for word in ("pids", "cpu")):
            pytest.skip("; ".join(less))
        villain.until_left(190)
        assert len(villain.left()) <= 200
        villain.stop()


FLOOD = """
import os, sys, time
from pathlib import Path
lines = b"0123456789012345678901234567890\\n" * 32768
for _ in range(300):
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write({fd}, rest):]
Path(sys.argv[2], "done").touch()
time.sleep(1000)
"""


@pytest.mark.parametrize("fd", [1, 2])
def test_a_flood_of_output(villain: Villain, fd: int) -> None:
    """300 MiB as fast as they are taken: the log stays within its bound, and says what was dropped."""
    villain.lay(FLOOD.format(fd=fd))
    with undisturbed(villain.host):
        villain.load()
        villain.host.until("all is written", (villain.data / "done").exists)
        assert villain.log_bytes("run") <= LOG_KEEP
        villain.stop()
    told = b"".join(path.read_bytes() for path in villain.logs.glob("run.log*") if path.is_file())
    assert b"bytes a second: what follows is dropped" in told
    assert b"dropped: over the rate" in told


CLOSED = """
import os, socket, sys, time
from pathlib import Path
for fd in (0, 1, 2):
    os.close(fd)
kept = [socket.socketpair() for _ in range(4)]
try:
    os.write(1, b"into a socket")
    os.close(1)
    os.write(1, b"into nothing")
except OSError:
    Path(sys.argv[2], "refused").touch()
time.sleep(1000)
"""


def test_who_closes_its_standard_output(villain: Villain) -> None:
    """Its log says nothing, and it is stopped, and started again, as everybody."""
    villain.lay(CLOSED)
    with undisturbed(villain.host):
        villain.load()
        villain.host.until("it has closed them", (villain.data / "refused").exists)
        os.kill(villain.host.row(villain.name)["pid"], signal.SIGKILL)
        villain.host.until("it was started again", lambda: villain.host.row(villain.name)["restarts"] == 1)
        villain.host.until_state(villain.name, "ready")
        villain.stop()


WAITS = "import time\ntime.sleep(1000)\n"


def hanging(villain: Villain) -> str:
    return f"#!/bin/sh\ntrap '' TERM HUP INT\nsh -c 'sleep 1000; : {villain.name}' &\ntouch {villain.data}/hangs\nwait\n"


@pytest.mark.parametrize("hook", ["init", "ready", "health-check", "post-run", "reconfigure"])
def test_a_hook_that_hangs(villain: Villain, hook: str) -> None:
    """While it does its service can be stopped, and then the hook is gone with all that it started."""
    villain.lay(WAITS, hooks={hook: hanging(villain)})
    with undisturbed(villain.host):
        villain.load(wait_s=0)
        if hook == "reconfigure":
            villain.host.until_state(villain.name, "ready")
            villain.host.apply(f"{villain.name}.default", 1, 'word = "second"\n', wait_s=0)
        villain.host.until("the hook hangs", (villain.data / "hangs").exists)
        villain.stop_hook()


def test_a_pre_stop_hook_that_hangs(villain: Villain) -> None:
    """It has its minute; others are stopped and started meanwhile."""
    villain.lay(WAITS, hooks={"pre-stop": hanging(villain)})
    with undisturbed(villain.host):
        villain.load()
        villain.host.ask("stop", name=villain.name, wait_s=0)
        villain.host.until("the hook hangs", (villain.data / "hangs").exists)
        other = Villain(villain.host)
        other.lay(WAITS)
        other.load()
        other.stop()
        villain.host.ask("unload", name=other.name)
        for pid in carriers(f"{villain.name}/hooks/pre-stop"):
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        villain.host.until_state(villain.name, "down")
        assert villain.left() == []


@pytest.mark.parametrize("what", ["head -c 1000000000 /dev/zero", "yes | head -c 1000000000"])
def test_a_hook_that_writes_a_gigabyte(villain: Villain, what: str) -> None:
    """One endless line, or many short ones: the cap drops it, and says how much."""
    villain.lay(WAITS, hooks={"init": f"#!/bin/sh\n{what} >&2\n{what} | head -c 1000\n"})
    with undisturbed(villain.host):
        villain.load(wait_s=100)
        assert villain.log_bytes("init") <= HOOK_LOG_KEEP
        end = (villain.logs / "init.log").read_bytes()[-300:]
        assert b"bytes of output dropped" in end
        villain.stop()


# --- a full disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Root]:
    """A root with 48 MiB of room."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "hostile-test", str(place)], check=False).returncode
    )
    if not mounted:
        pytest.skip("a file system of our own takes root")
    yield Root(place / "root")
    subprocess.run(["umount", "--lazy", str(place)], check=True)


FILLS = """
import os, sys, time
from pathlib import Path
hog = open(Path(sys.argv[2], "hog"), "ab", buffering=0)
while True:
    try:
        hog.write(bytes(65536))
    except OSError:
        print("full", "of" * 500, flush=True)
        time.sleep(0.01)
"""


def test_who_fills_the_disk(small: Root) -> None:
    """Nobody is stopped for it; the supervisor survives its own death; what cannot be done is said, and done once there is room."""
    lay_calm(small)
    with supervised(small) as host:
        host.load("t/calm")
        villain = Villain(host)
        villain.lay(FILLS)
        with undisturbed(villain.host):
            villain.load(wait_s=0)
            host.until("the disk is full", lambda: os.statvfs(small.path).f_bavail == 0)
            with pytest.raises(StorageError, match="no space left") as caught:
                host.ask("stop", name=villain.name)
            assert "stead svc unload" in caught.value.next
            stead(small, "svc", "status", "--json")
        pid = host.row("calm")["pid"]
        host.kill_supervisor()
        host.until_state("calm", "ready")
        assert host.row("calm")["pid"] == pid
        host.process.kill()
        host.process.wait(30)
    with supervised(small) as host:
        host.until_state("calm", "ready")
        assert host.row("calm")["pid"] == pid
        assert answers(host)
        os.kill(pid, signal.SIGKILL)
        host.until("it says what is in the way", lambda: "no space left" in host.row("calm")["because"].lower())
        host.ask("unload", name=villain.name)
        assert villain.left() == []
        (villain.data / "hog").unlink()
        host.until("it is there again", lambda: answers(host))
        assert host.row("calm")["pid"] != pid
        assert b"dropped: No space left" in (villain.logs / "run.log").read_bytes()
