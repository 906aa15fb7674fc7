"""Real supervisors on this machine for benchmarks: each `stead sup run` with a root of its own, on loopback or in namespaces with a wire
between them that can lose packets or be cut (root is needed). Their lines are read as they come, each with its time.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hart.errors import SteadError
from hart.keys import KeyCache, generate_ring_key
from hart.root import Root
from supervisor import control
from supervisor.gossip.digest import hash16
from supervisor.settings import Settings

PORT: Final = 9638
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
NETWORK: Final = bytes([10, 77, 0])  # of the addresses in namespaces
TOLD = re.compile(r"(alive|suspect|dead|departed|forgotten): ?(.*)", re.DOTALL)


class Told(NamedTuple):
    """One line of a supervisor about a member."""

    at: float
    topic: str
    health: str
    because: str


@dataclass(slots=True, kw_only=True)
class Host:
    """One supervisor."""

    number: int
    root: Root
    address: str
    prefix: list[str]  # of its command line: into its namespace
    process: subprocess.Popen[bytes] | None = None
    pid: int = 0  # of the supervisor; the process is its holder
    member: str = ""
    told: list[Told] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def ask(self, command: str, **fields: Any) -> Any:
        return control.ask(Settings(root=self.root).control, {"command": command, **fields}, lambda _: None)

    def documents(self, key: str) -> list[str]:
        with suppress(FileNotFoundError):
            return [file.name for file in (self.root.sup / "ring" / "documents" / hash16(key.encode()).hex()).iterdir()]
        return []

    def start(self, peer: str, gateway: int) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
        options = [f"--root={self.root.path}", f"--listen-gossip={self.address}", f"--peer={peer}", f"--listen-http=127.0.0.1:{gateway}"]
        process = subprocess.Popen(
            [*self.prefix, str(Path(sys.executable).with_name("stead")), "sup", "run", *options, "--no-mdns", "--json-logs"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean,
            start_new_session=True,
        )
        self.process = process
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            at = time.monotonic()
            text = line.decode(errors="replace").rstrip()
            self.lines.append(text)
            with suppress(ValueError, AttributeError, TypeError):
                said = json.loads(text)
                if (found := TOLD.match(said["because"])) and said["topic"].startswith("member "):
                    self.told.append(Told(at, said["topic"], found[1], found[2]))

    def look(self) -> bool:
        """Who runs there now; whoever answers does."""
        if self.process is not None and self.process.poll() is not None:
            raise SystemExit(f"supervisor {self.number} has ended: {self.lines[-3:]}")
        found = self.ask("sup status")
        self.pid, self.member = found["pid"], found["member_id"]
        return True

    def crash(self) -> None:
        """The holder first: it would start another supervisor."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid or self.process.pid, signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)

    def heard(self, member: str, health: str, since: float) -> float | None:
        """When it first said so after `since`."""
        return next((told.at for told in list(self.told) if told.at >= since and told.health == health and member[:8] in told.topic), None)


def free_ports(count: int) -> list[int]:
    """Outside of the range from which the kernel gives ports to others."""
    found: list[int] = []
    for port in random.sample(range(20_000, 30_000), 1000):
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", port))
            tcp.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise SystemExit("too few ports are free")


class Wire:
    """Namespaces, and what carries packets between them: loses some of them, or those between two halves."""

    def __init__(self, count: int, loss: float) -> None:
        self.loss, self.cut = loss, False
        self.carried = self.lost = 0
        self._names = [f"st{os.getpid()}-{number}" for number in range(count)]
        self._half = count // 2
        self._fds: dict[int, int] = {}  # host number by descriptor
        self._chance = random.Random(1)  # noqa: S311  whose packets are lost
        self._end, self._ended = os.pipe()
        for number, name in enumerate(self._names):
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
            self._fds[tun] = number
            ip("netns", "add", name)
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", f"{self.host(number)}/16", "dev", name)
            ip("-n", name, "link", "set", name, "up", "mtu", "1500")
            ip("-n", name, "link", "set", "lo", "up")
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @staticmethod
    def host(number: int) -> str:
        return f"10.77.0.{number + 1}"

    def prefix(self, number: int) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self._names[number]}"]

    def _carry(self) -> None:
        by_number = {number: tun for tun, number in self._fds.items()}
        poll = select.poll()
        for fd in (*self._fds, self._end):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._end:
                    return
                with suppress(BlockingIOError):
                    while True:
                        self._pass_on(self._fds[fd], os.read(fd, 65536), by_number)

    def _pass_on(self, source: int, packet: bytes, by_number: dict[int, int]) -> None:
        if packet[0] >> 4 != 4 or packet[16:19] != NETWORK:
            return  # the kernel's own multicast
        to = packet[19] - 1
        if to not in by_number or (self.cut and (source < self._half) != (to < self._half)) or self._chance.random() < self.loss:
            self.lost += 1
            return
        self.carried += 1
        with suppress(OSError):
            os.write(by_number[to], packet)

    def close(self) -> None:
        os.write(self._ended, b".")
        self._thread.join(5)
        for fd in self._fds:
            os.close(fd)
        for name in self._names:
            ip("netns", "del", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Ring:
    """Supervisors that know each other."""

    def __init__(self, path: Path, count: int, wire: Wire | None = None) -> None:
        self.wire = wire
        self.hosts: list[Host] = []
        key = generate_ring_key("bench", "20260101000000")
        found = free_ports(2 * count)
        ports, self.gateways = found[:count], found[count:]
        for number in range(count):
            root = Root(path / f"host{number}")
            KeyCache(root.keys).store(key)
            where = f"127.0.0.1:{ports[number]}" if wire is None else f"{wire.host(number)}:{PORT}"
            self.hosts.append(Host(number=number, root=root, address=where, prefix=[] if wire is None else wire.prefix(number)))

    def start(self, *hosts: Host) -> None:
        """Four at a time: the machine is small."""
        wanted = hosts or tuple(self.hosts)
        for first in range(0, len(wanted), 4):
            some = wanted[first : first + 4]
            for host in some:
                peer = self.hosts[1 if host.number == 0 and len(self.hosts) > 1 else 0]
                host.start(peer.address, self.gateways[host.number])
            for host in some:
                until(f"supervisor {host.number} answers", host.look, 60)

    def together(self, seconds: float = 90) -> float:
        """Until all hold all alive; how long it took."""
        begun = time.monotonic()
        waiting = list(self.hosts)
        while waiting:
            until("all hold all alive", lambda: self.sees_all(waiting[-1]), seconds)
            waiting.pop()
        return time.monotonic() - begun

    def sees_all(self, host: Host) -> bool:
        return bool(host.ask("ring status")["counts"]["alive"] == len(self.hosts))

    def stop(self) -> None:
        for host in self.hosts:
            host.stop()
        for host in self.hosts:
            if host.process is not None:
                try:
                    host.process.wait(30)
                except subprocess.TimeoutExpired:
                    host.process.kill()


@contextmanager
def ring_of(count: int, loss: float | None = None) -> Iterator[Ring]:
    """On loopback; with a loss, even of 0, in namespaces."""
    with ExitStack() as stack:
        path = Path(tempfile.mkdtemp(prefix="ring-real-"))
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        wire = None
        if loss is not None:
            wire = Wire(count, 0.0)
            stack.callback(wire.close)
        ring = Ring(path, count, wire)
        stack.callback(ring.stop)
        ring.start()
        ring.together()
        if wire is not None and loss:
            wire.loss = loss
        yield ring


def until(what: str, true: Callable[[], object], seconds: float, every_s: float = 0.05) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(SteadError, OSError):
            if true():
                return
        if time.monotonic() > end:
            raise SystemExit(f"not in {seconds:g} s: {what}")
        time.sleep(every_s)
