"""What `stead sup run` can be told, as one value that goes through the holder to every later supervisor process.

Rules: every knob has its unit and its bounds here; the command line is the only source, so a supervisor that the holder starts again
runs as the first one did. Addresses for the ring have their place here when the ring comes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hart.errors import UsageError
from hart.limits import BACKOFF_COOLDOWN_S, BACKOFF_MAX_S, BACKOFF_MIN_S, UPDATE_PERIOD_MIN_S, UPDATE_PERIOD_S
from hart.root import Root
from supervisor.service.backoff import Backoff

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Durations in seconds. `ip` is what templates see as `sys.ip`: loopback while there is one host only."""

    root: Root
    update_period_s: float = UPDATE_PERIOD_S
    backoff: Backoff = field(default_factory=Backoff)
    ip: str = LOOPBACK
    own_user: bool = False  # run everything as the supervisor's user

    def __post_init__(self) -> None:
        if not UPDATE_PERIOD_MIN_S <= self.update_period_s < 1e7:
            raise UsageError(f"update period {self.update_period_s:g}", f"is not between {UPDATE_PERIOD_MIN_S:g} and 10,000,000 seconds")

    @property
    def specs(self) -> Path:
        return self.root.sup / "specs"

    @property
    def running(self) -> Path:
        return self.root.sup / "running"

    @property
    def groups(self) -> Path:
        return self.root.sup / "groups"

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
    def member_id(self) -> Path:
        return self.root.sup / "MEMBER_ID"

    def arguments(self) -> list[str]:
        """The command line that `parse` reads."""
        return [
            f"--root={self.root.path}",
            f"--update-period={self.update_period_s!r}",
            f"--backoff-min={self.backoff.min_s!r}",
            f"--backoff-max={self.backoff.max_s!r}",
            f"--restart-cooldown={self.backoff.cooldown_s!r}",
            f"--sys-ip-address={self.ip}",
            *(["--own-user"] if self.own_user else []),
        ]


def parse(arguments: Sequence[str]) -> Settings:
    """From the supervisor process's own command line, which only `arguments` writes."""
    parser = argparse.ArgumentParser(prog="supervisor", description="Started by the holder; people use `stead sup run`.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--update-period", type=float, default=UPDATE_PERIOD_S)
    parser.add_argument("--backoff-min", type=float, default=BACKOFF_MIN_S)
    parser.add_argument("--backoff-max", type=float, default=BACKOFF_MAX_S)
    parser.add_argument("--restart-cooldown", type=float, default=BACKOFF_COOLDOWN_S)
    parser.add_argument("--sys-ip-address", default=LOOPBACK)
    parser.add_argument("--own-user", action="store_true")
    given = parser.parse_args(arguments)
    return Settings(
        root=Root(Path(given.root)),
        update_period_s=given.update_period,
        backoff=Backoff(min_s=given.backoff_min, max_s=given.backoff_max, cooldown_s=given.restart_cooldown),
        ip=given.sys_ip_address,
        own_user=given.own_user,
    )
