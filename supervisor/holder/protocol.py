"""What the supervisor and the holder say to each other: one JSON object a line over a Unix stream socket (standard library only).

Every request has `id`, a number that its reply repeats; events have no `id`. Only the holder's own uid (or root) may connect.

Requests, supervisor → holder, and their replies `{"id": n, "ok": true, …}` or `{"id": n, "ok": false, "error": "…"}`:

    hello                                    → {version, boot_id, pid}
    start   {service, start: StartRequest}   → {held: Held}   refused while that service is held already
    signal  {service, start_id, signal, group: bool}  → {sent: bool}   never sent when start_id is not the one that runs
    list                                     → {held: [Held, …]}
    forget  {service, start_id}              → {}   drop the record of a process that has ended
    shutdown {}                              → {}   "I have stopped everything: end": the holder exits 0 after its reply
    handover {argv, env}                     → {}   how the holder starts the supervisor again when it dies

Events, holder → supervisor:

    {"event": "exited", "service", "start_id", "code": int | null, "signal": int | null, "unknown": bool}
    {"event": "stop", "reason": "SIGTERM"}   the holder was told to end: stop all services, then `shutdown`

An adopted process (its holder died before) ends with `unknown: true`, since its status went to init.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 1
MAX_LINE = 256 * 1024  # bytes: a start request with a full environment fits many times over


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """One process to hold. Paths are absolute; `uid`/`gid` None means the holder's own."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int | None = None
    gid: int | None = None
    groups: list[int] = field(default_factory=list)
    log: str  # file that the holder appends the process's stdout and stderr to, rotated by size
    umask: int = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One process as the holder knows it. `start_time` is field 22 of /proc/PID/stat; `started_at` is wall time in seconds."""

    service: str
    start_id: str
    pid: int
    boot_id: str
    start_time: int
    started_at: float
    running: bool
    code: int | None = None
    signal: int | None = None
    unknown: bool = False
    adopted: bool = False


def encode(message: dict[str, Any]) -> bytes:
    """One message as a line; AssertionError when it is too long (our own bug)."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    assert len(line) <= MAX_LINE, len(line)
    return line


def decode(line: bytes) -> dict[str, Any]:
    """A line as a message; ValueError when it is not one JSON object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def to_dict(value: StartRequest | Held) -> dict[str, Any]:
    return asdict(value)
