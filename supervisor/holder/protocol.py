"""What the supervisor and the holder say to each other: one JSON object a line over a Unix stream socket (standard library only).

The socket is `<state>/holder.sock` (0600; only the holder's own uid or root is heard); `<state>/LOCK` holds the holder's pid as text.
Every request has `request`, its kind below, and `id`, a number that its reply repeats; events have no `id`.
A line that is no request closes its connection only.

Requests, supervisor → holder, and their replies `{"id": n, "ok": true, …}` or `{"id": n, "ok": false, "error": "…"}`:

    hello                                    → {version, boot_id, pid, containment, program, turn, takes}
    attached {}                              → {}   "I have taken over the services": who dies after that is started again at once
    start   {service, start: StartRequest}   → {held: Held}   refused while that service runs; an ended one is swept and replaced
    signal  {service, start_id, signal, group: bool}  → {sent: bool}   never sent when start_id is not the one that is held;
                                               after the main process ended, a group signal reaches what it left behind,
                                               and signal 0 asks whether there is any
    list                                     → {held: [Held, …]}   running ones, and ended ones until they are forgotten
    forget  {service, start_id}              → {}   drop the record of a process that has ended; what it left behind is killed
    shutdown {}                              → {}   "I have stopped everything: end": the holder kills what is left and exits 0
    replace {program}                        → {version}   become that program, a Python that has Stead, by exec, right after this reply;
                                               refused, with nothing done, when it cannot take over

Events, holder → every connection:

    {"event": "exited", "service", "start_id", "code": int | null, "signal": int | null, "unknown": bool, "cause": text, "" if not known}
    {"event": "ready", "service", "start_id"}   it said so itself, by its notify socket or descriptor; once, and `Held.ready` keeps it
    {"event": "status", "service", "start_id", "text"}   STATUS= of its notify socket, before it is ready
    {"event": "stop", "reason": "SIGTERM"}   the holder was told to end: stop all services, then `shutdown`; also to who connects later

An adopted process (its holder died before) ends with `unknown: true`, since its status went to init. Every process finds its start id in
`STEAD_START_ID`; by that the holder knows what a dead main process left behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hart.limits import LOG_KEEP, LOG_KEEP_MIN, LOG_RATE, READY_FD

VERSION = 1
MAX_LINE = 256 * 1024  # bytes: a start request with a full environment fits many times over
LIMITS = ("memory", "cpu", "pids", "nofile", "core")  # hart/containment.py has their units
SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199}\Z")  # it names a file: no separator, no leading dot


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """One process to hold. Paths are absolute; `uid`/`gid` None means the holder's own."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int | None = None
    gid: int | None = None
    groups: list[int] = field(default_factory=list)
    log: str  # file that the holder appends the process's stdout and stderr to, rotated by size and day
    log_rate: int = LOG_RATE  # bytes a second that are logged, on average; 0: all
    log_keep: int = LOG_KEEP  # bytes of the log and its rotated files
    umask: int = 0o022
    limits: dict[str, float] = field(default_factory=dict)  # of LIMITS: bytes, cores, counts
    no_new_privs: bool = False
    tmp: str | None = None  # directory that is its /tmp and /var/tmp, where that can be done
    notify: str | None = None  # path of the socket that the holder binds, and that it finds in NOTIFY_SOCKET (sd_notify)
    notify_fd: int | None = None  # number of the descriptor to which it writes a newline when it is ready (s6)


TAKES = [each.name for each in fields(StartRequest)]  # an older holder is not sent what it does not know
NEEDED = ("notify", "notify_fd")  # without these a service that has them would never be ready


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
    cause: str = ""  # of its end, beyond code and signal
    containment: str = ""  # what holds it and its children together
    less: list[str] = field(default_factory=list)  # what of limits and privileges could not be had, and why
    ready: bool = False  # it said so itself


def encode(message: dict[str, Any]) -> bytes:
    """One message as a line; AssertionError when it is too long (our own bug)."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    assert len(line) <= MAX_LINE, len(line)
    return line


def encode_request(number: int, kind: str, values: Mapping[str, Any]) -> bytes:
    """A request as a line."""
    return encode({"id": number, "request": kind, **values})


def decode(line: bytes) -> dict[str, Any]:
    """A line as a message; ValueError when it is not one JSON object."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def decode_request(line: bytes) -> tuple[int, str, dict[str, Any]]:
    """A line as a request's number, its kind and its fields; ValueError when it is none."""
    message = decode(line)
    number, kind = message.pop("id", None), message.pop("request", None)
    _check(_is_count(number) and isinstance(kind, str), "id and request")
    return number, kind, message


def to_dict(value: StartRequest | Held) -> dict[str, Any]:
    return asdict(value)


def to_held(value: object) -> Held:
    """A received or recorded Held; fields of a newer holder are left out. ValueError when it is none."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    try:
        held = Held(**{each.name: value[each.name] for each in fields(Held) if each.name in value})
    except TypeError as error:
        raise ValueError("lacks a field") from error
    _check(_is_text(held.service) and SERVICE.match(held.service), "service")
    _check(_is_text(held.start_id) and _is_text(held.boot_id), "start_id and boot_id")
    _check(_is_count(held.pid) and held.pid > 0 and _is_count(held.start_time), "pid and start_time")
    _check(type(held.started_at) in (int, float), "started_at")
    _check(all(type(flag) is bool for flag in (held.running, held.unknown, held.adopted, held.ready)), "flags")
    _check(all(number is None or _is_count(number) for number in (held.code, held.signal)), "code and signal")
    _check(_is_list(held.less) and all(map(_is_text, (held.cause, held.containment, *held.less))), "cause, containment and less")
    return held


def to_start_request(value: object) -> StartRequest:
    """A received StartRequest, every field of the right shape. ValueError when not."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    try:
        request = StartRequest(**value)
    except TypeError as error:
        raise ValueError("lacks a field, or has one that this holder does not know") from error
    _check(_is_list(request.argv) and request.argv and all(map(_is_text, request.argv)), "argv")
    _check(type(request.env) is dict and all(map(_is_variable, request.env.items())), "env")
    _check(all(_is_text(path) and path.startswith("/") for path in (request.argv[0], request.cwd, request.log)), "absolute paths")
    _check(all(number is None or _is_count(number) for number in (request.uid, request.gid)), "uid and gid")
    _check(_is_list(request.groups) and all(map(_is_count, request.groups)), "groups")
    _check(_is_count(request.log_rate) and _is_count(request.log_keep) and request.log_keep >= LOG_KEEP_MIN, "log_rate and log_keep")
    _check(_is_count(request.umask) and request.umask <= 0o777, "umask")
    _check(type(request.no_new_privs) is bool, "no_new_privs")
    _check(request.tmp is None or (_is_text(request.tmp) and request.tmp.startswith("/")), "tmp")
    to_limits(request.limits)
    _check(request.notify is None or (_is_text(request.notify) and request.notify.startswith("/")), "notify")
    _check(request.notify_fd is None or (_is_count(request.notify_fd) and 3 <= request.notify_fd <= READY_FD), "notify_fd")
    _check(request.notify is None or request.notify_fd is None, "notify and notify_fd")
    return request


def to_limits(value: object) -> dict[str, float]:
    """Received limits. ValueError when they are none."""
    _check(type(value) is dict and all(name in LIMITS and _is_limit(amount) for name, amount in value.items()), "limits")
    assert isinstance(value, dict)
    return value


def _is_text(value: object) -> bool:
    """What an argument or a path can be: no NUL, and encodable (JSON can carry lone surrogates; os.fsencode takes the escaped bytes)."""
    return isinstance(value, str) and "\0" not in value and not any(0xD800 <= ord(c) < 0xDC80 or 0xDCFF < ord(c) < 0xE000 for c in value)


def _is_variable(item: tuple[object, object]) -> bool:
    name, value = item
    return _is_text(name) and name != "" and "=" not in str(name) and _is_text(value)


def _is_list(value: object) -> bool:
    return type(value) is list


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_limit(value: object) -> bool:
    return type(value) in (int, float) and 0 <= float(str(value)) < 2**60


def _check(good: object, what: str) -> None:
    if not good:
        raise ValueError(f"{what}: not of the documented shape")
