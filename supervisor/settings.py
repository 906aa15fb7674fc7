"""What `stead sup run` can be told, as one value that goes through the holder to every later supervisor process.

Rules: every knob has its unit and its bounds here; the command line is the only source, so a supervisor that the holder starts again
runs as the first one did. No secret is an argument: the ring's key is in the key cache, the gateway's token in the environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path

from hart.errors import UsageError
from hart.limits import (
    BACKOFF_COOLDOWN_S,
    BACKOFF_MAX_S,
    BACKOFF_MIN_S,
    UPDATE_PERIOD_MIN_S,
    UPDATE_PERIOD_S,
    VERIFY_PERIOD_MIN_S,
    VERIFY_PERIOD_S,
)
from hart.root import Root
from supervisor.gossip.messages import Address
from supervisor.service.backoff import Backoff

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  only with a ring key, and everything that arrives is sealed with it
GOSSIP_PORT = 9638  # Habitat's ports
HTTP_PORT = 9631


def parse_address(text: str, *, port: int, thing: str) -> Address:
    """`HOST`, `HOST:PORT`, `[V6]:PORT` or `:PORT` to listen on; the host is a literal address. UsageError when it is none."""
    host, _, given = text.rpartition(":") if text.startswith("[") or text.count(":") == 1 else (text, "", "")
    if text.startswith("[") and text.endswith("]"):
        host, given = text, ""
    host = host.removeprefix("[").removesuffix("]") or (EVERYWHERE if given else "")
    try:
        listen = (str(ip_address(host)), int(given) if given else port)
    except ValueError:
        listen = ("", -1)
    if not 0 <= listen[1] < 1 << 16:
        raise UsageError(f"{thing} {text}", "is not an address to listen on", next=f"such as 127.0.0.1:{port} or [::]:{port}")
    return listen


def show_address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RingSettings:
    """How this host takes part in a ring. `name` empty: a ring without a key, which only this host's loopback can reach.

    An address that was not asked for (`*_fixed` False) gives way to a free port when it is taken, on loopback only: hosts with a key must
    be where their firewalls expect them.
    """

    name: str = ""
    listen: Address = (LOOPBACK, GOSSIP_PORT)
    listen_fixed: bool = False
    peers: tuple[str, ...] = ()
    watch_file: str = ""
    sources: tuple[str, ...] = ()  # `dns:NAME`, `srv:NAME`
    mdns: bool = True  # only ever with a key
    preset: str = "lan"

    def __post_init__(self) -> None:
        if not self.name and not ip_address(self.listen[0]).is_loopback:
            raise UsageError(
                f"ring at {show_address(self.listen)}",
                "without a ring key a supervisor listens on loopback only: anybody could reconfigure its services",
                next="stead ring key generate NAME here, and stead ring key import on the other hosts",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The read-only gateway. `listen` None: there is none."""

    listen: Address | None = (LOOPBACK, HTTP_PORT)
    listen_fixed: bool = False
    anybody: bool = False  # beyond loopback without a token
    key: str = ""
    certs: str = ""
    ca_certs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Durations in seconds. `ip` is what templates see as `sys.ip` and other members are told; empty: found out at the start."""

    root: Root
    update_period_s: float = UPDATE_PERIOD_S
    verify_period_s: float = VERIFY_PERIOD_S  # 0: never
    backoff: Backoff = field(default_factory=Backoff)
    ip: str = ""
    own_user: bool = False  # run everything as the supervisor's user
    ring: RingSettings = field(default_factory=RingSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    json_logs: bool = False
    journald: bool = False  # what services write goes to systemd's journal too

    def __post_init__(self) -> None:
        if not UPDATE_PERIOD_MIN_S <= self.update_period_s < 1e7:
            raise UsageError(f"update period {self.update_period_s:g}", f"is not between {UPDATE_PERIOD_MIN_S:g} and 10,000,000 seconds")
        if self.verify_period_s and not VERIFY_PERIOD_MIN_S <= self.verify_period_s < 1e7:
            raise UsageError(
                f"verify period {self.verify_period_s:g}", f"is neither 0 nor between {VERIFY_PERIOD_MIN_S:g} and 10,000,000 seconds"
            )
        if self.ip:
            try:
                ip_address(self.ip)
            except ValueError:
                raise UsageError(f"address {self.ip}", "is not an IP address") from None

    @property
    def specs(self) -> Path:
        return self.root.sup / "specs"

    @property
    def running(self) -> Path:
        return self.root.sup / "running"

    @property
    def jobs(self) -> Path:
        return self.root.sup / "jobs"

    @property
    def journal(self) -> Path:
        return self.root.sup / "journal.jsonl"

    @property
    def control(self) -> Path:
        return self.root.sup / "control.sock"

    @property
    def holder(self) -> Path:
        return self.root.sup / "holder.sock"

    @property
    def ring_state(self) -> Path:
        return self.root.sup / "ring"

    def arguments(self) -> list[str]:
        """The command line that `parse` reads."""
        return [*self._own_arguments(), *self._ring_arguments(), *self._http_arguments()]

    def _own_arguments(self) -> list[str]:
        return [
            f"--root={self.root.path}",
            f"--update-period={self.update_period_s!r}",
            f"--verify-period={self.verify_period_s!r}",
            f"--backoff-min={self.backoff.min_s!r}",
            f"--backoff-max={self.backoff.max_s!r}",
            f"--restart-cooldown={self.backoff.cooldown_s!r}",
            f"--sys-ip-address={self.ip}",
            *(["--own-user"] if self.own_user else []),
            *(["--json-logs"] if self.json_logs else []),
            *(["--journald"] if self.journald else []),
        ]

    def _ring_arguments(self) -> list[str]:
        ring = self.ring
        return [
            f"--ring={ring.name}",
            f"--listen-gossip={show_address(ring.listen)}",
            *(["--listen-gossip-fixed"] if ring.listen_fixed else []),
            *(f"--peer={peer}" for peer in ring.peers),
            f"--peer-watch-file={ring.watch_file}",
            *(f"--join={source}" for source in ring.sources),
            *([] if ring.mdns else ["--no-mdns"]),
            f"--network={ring.preset}",
        ]

    def _http_arguments(self) -> list[str]:
        http = self.http
        return [
            f"--listen-http={show_address(http.listen) if http.listen is not None else ''}",
            *(["--listen-http-fixed"] if http.listen_fixed else []),
            *(["--http-open"] if http.anybody else []),
            f"--key={http.key}",
            f"--certs={http.certs}",
            f"--ca-certs={http.ca_certs}",
        ]


def parse(arguments: Sequence[str]) -> Settings:
    """From the supervisor process's own command line, which only `arguments` writes."""
    parser = argparse.ArgumentParser(prog="supervisor", description="Started by the holder; people use `stead sup run`.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--update-period", type=float, default=UPDATE_PERIOD_S)
    parser.add_argument("--verify-period", type=float, default=VERIFY_PERIOD_S)
    parser.add_argument("--backoff-min", type=float, default=BACKOFF_MIN_S)
    parser.add_argument("--backoff-max", type=float, default=BACKOFF_MAX_S)
    parser.add_argument("--restart-cooldown", type=float, default=BACKOFF_COOLDOWN_S)
    for name in ("sys-ip-address", "ring", "peer-watch-file", "key", "certs", "ca-certs"):
        parser.add_argument(f"--{name}", default="")
    for name in ("own-user", "json-logs", "journald", "listen-gossip-fixed", "no-mdns", "listen-http-fixed", "http-open"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("peer", "join"):
        parser.add_argument(f"--{name}", action="append", default=[])
    parser.add_argument("--listen-gossip", default=show_address((LOOPBACK, GOSSIP_PORT)))
    parser.add_argument("--listen-http", default=show_address((LOOPBACK, HTTP_PORT)))
    parser.add_argument("--network", default="lan")
    given = parser.parse_args(arguments)
    return Settings(
        root=Root(Path(given.root)),
        update_period_s=given.update_period,
        verify_period_s=given.verify_period,
        backoff=Backoff(min_s=given.backoff_min, max_s=given.backoff_max, cooldown_s=given.restart_cooldown),
        ip=given.sys_ip_address,
        own_user=given.own_user,
        json_logs=given.json_logs,
        journald=given.journald,
        ring=RingSettings(
            name=given.ring,
            listen=parse_address(given.listen_gossip, port=GOSSIP_PORT, thing="--listen-gossip"),
            listen_fixed=given.listen_gossip_fixed,
            peers=tuple(given.peer),
            watch_file=given.peer_watch_file,
            sources=tuple(given.join),
            mdns=not given.no_mdns,
            preset=given.network,
        ),
        http=HttpSettings(
            listen=parse_address(given.listen_http, port=HTTP_PORT, thing="--listen-http") if given.listen_http else None,
            listen_fixed=given.listen_http_fixed,
            anybody=given.http_open,
            key=given.key,
            certs=given.certs,
            ca_certs=given.ca_certs,
        ),
    )


def own_version() -> str:
    """The version of Stead that this program is."""
    try:
        return version("stead")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
