"""Probes of readiness and health: what a package asks for in service.toml or by hooks. Pure; probe.py carries them out.

Rules: a table has exactly one of `http`, `tcp`, `exec`, whose value is a template; `[ready]` may have `notify = true` or `fd = NUMBER`
instead: nobody asks then, the service tells the holder (`supervisor/holder/readiness.py`). service.toml goes before the hook of the same
purpose (`ready`, `health-check`). Whatever is not a clear answer is unknown, and unknown is never good. Only loopback and the host's own
addresses make sense, but that is the plan's business. The first health check comes at once, since nobody is sent to a service before it;
after it there is one pause of random length, so that services that started together are not checked together ever after (Habitat's splay).

Format: service.toml of a package (`[ready]`, `[health]`).
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from hart.errors import FormatError
from hart.limits import (
    HEALTH_FAILURES,
    HEALTH_INTERVAL_S,
    HEALTH_RETRY_S,
    HEALTH_SUCCESSES,
    HEALTH_TIMEOUT_S,
    HOOK_S,
    PROBE_INTERVAL_MIN_S,
    READY_DEADLINE_S,
    READY_FD,
    READY_INTERVAL_S,
    READY_TIMEOUT_S,
)
from supervisor.service.checks import GOOD
from supervisor.service.events import Check


class Kind(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"
    HOOK = "hook"
    NOTIFY = "notify"
    FD = "fd"


ASKED = (Kind.HTTP, Kind.TCP, Kind.EXEC)
TOLD = (Kind.NOTIFY, Kind.FD)  # by the service itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One way to ask a service. `what` is the template of a URL, HOST:PORT or command; for a hook its name, for a descriptor its
    number."""

    kind: Kind
    what: str
    interval_s: float
    timeout_s: float
    splay_s: float = 0.0  # of which a random part is the pause after the first good health check, if that is shorter than the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What a package says about its readiness and health."""

    ready: Probe | None
    health: Probe | None
    ready_deadline_s: float = READY_DEADLINE_S
    health_failures: int = HEALTH_FAILURES
    health_successes: int = HEALTH_SUCCESSES

    @property
    def ready_told(self) -> bool:
        """Whether the service itself says that it is ready."""
        return self.ready is not None and self.ready.kind in TOLD

    @property
    def notify(self) -> bool:
        return self.ready is not None and self.ready.kind is Kind.NOTIFY

    @property
    def notify_fd(self) -> int | None:
        return int(self.ready.what) if self.ready is not None and self.ready.kind is Kind.FD else None

    @property
    def awaited(self) -> str:
        """What is missing of a service that has to say it itself; a probe tells that when it has asked."""
        if self.notify:
            return "no READY=1 on its notify socket"
        return f"no newline on its descriptor {self.notify_fd}" if self.ready_told else ""


def probes_of(tables: Mapping[str, Any], hooks: frozenset[str], *, interval_s: float | None, thing: str) -> Probes:
    """From service.toml and the names of the package's hooks; `interval_s` is the operator's wish for the health check."""
    ready, health = _table(tables, "ready", thing), _table(tables, "health", thing)
    ready_probe = _ready(ready, thing=f"{thing} [ready]") if "ready" in tables else None
    if ready_probe is None and "ready" in hooks:
        ready_probe = Probe(kind=Kind.HOOK, what="ready", interval_s=READY_INTERVAL_S, timeout_s=HOOK_S["ready"])
    health_probe = _probe(health, 10.0, HEALTH_TIMEOUT_S, thing=f"{thing} [health]") if "health" in tables else None
    if health_probe is None and "health-check" in hooks:
        health_probe = Probe(kind=Kind.HOOK, what="health-check", interval_s=HEALTH_INTERVAL_S, timeout_s=HOOK_S["health-check"])
    if health_probe is not None:
        interval_s = interval_s or health_probe.interval_s
        splay_s = _number(health, "splay_s", interval_s, thing, least=0.0)
        health_probe = replace(health_probe, interval_s=interval_s, splay_s=min(splay_s, interval_s))
    return Probes(
        ready=ready_probe,
        health=health_probe,
        ready_deadline_s=_seconds(ready, "deadline_s", READY_DEADLINE_S, thing),
        health_failures=_count(health, "failures", HEALTH_FAILURES, thing),
        health_successes=_count(health, "successes", HEALTH_SUCCESSES, thing),
    )


def _table(tables: Mapping[str, Any], name: str, thing: str) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, Mapping):
        raise FormatError(thing, f"{name} is not a table")
    return table


def _ready(table: Mapping[str, Any], *, thing: str) -> Probe:
    told = [kind for kind in TOLD if kind in table]
    if not told:
        return _probe(table, READY_INTERVAL_S, READY_TIMEOUT_S, thing=thing, kinds="http, tcp, exec, notify, fd")
    if len(told) > 1 or any(kind in table for kind in ASKED):
        raise FormatError(thing, "needs exactly one of http, tcp, exec, notify, fd")
    value = table[told[0]]
    if told[0] is Kind.NOTIFY and value is not True:
        raise FormatError(thing, "notify is not true")
    if told[0] is Kind.FD and (type(value) is not int or not 3 <= value <= READY_FD):
        raise FormatError(thing, f"fd is not a number between 3 and {READY_FD}")
    what = str(value) if told[0] is Kind.FD else ""
    return Probe(kind=told[0], what=what, interval_s=READY_INTERVAL_S, timeout_s=READY_TIMEOUT_S)


def _probe(table: Mapping[str, Any], interval_s: float, timeout_s: float, *, thing: str, kinds: str = "http, tcp, exec") -> Probe:
    found = [kind for kind in ASKED if kind in table]
    if len(found) != 1:
        raise FormatError(thing, f"needs exactly one of {kinds}")
    what = table[found[0]]
    if not isinstance(what, str) or not what.strip():
        raise FormatError(thing, f"{found[0]} is not text")
    return Probe(
        kind=found[0],
        what=what,
        interval_s=_seconds(table, "interval_s", interval_s, thing),
        timeout_s=_seconds(table, "timeout_s", timeout_s, thing),
    )


def _seconds(table: Mapping[str, Any], key: str, default: float, thing: str) -> float:
    value = _number(table, key, default, thing, least=0.0)
    if not value:
        raise FormatError(thing, f"{key} is not a number above zero")
    return value


def _number(table: Mapping[str, Any], key: str, default: float, thing: str, *, least: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < 1e6:
        raise FormatError(thing, f"{key} is not a number, at least {least:g}")
    return float(value)


def _count(table: Mapping[str, Any], key: str, default: int, thing: str) -> int:
    number = _number(table, key, default, thing, least=1.0)
    if not number.is_integer():
        raise FormatError(thing, f"{key} is not a whole number")
    return int(number)


def pause_s(probe: Probe, check: Check, *, starting: bool) -> float:
    """Seconds until the next health check: soon after a bad one, and while the service is to become ready by it (`starting`)."""
    interval_s = max(probe.interval_s, PROBE_INTERVAL_MIN_S)
    if starting:
        return min(interval_s, READY_INTERVAL_S)
    return interval_s if check in GOOD else min(interval_s, HEALTH_RETRY_S)


def first_pause_s(probe: Probe, chance: float) -> float:
    """Instead of that after the first good one; `chance` is in [0, 1)."""
    if not probe.splay_s:
        return max(probe.interval_s, PROBE_INTERVAL_MIN_S)
    return max(probe.splay_s * chance, PROBE_INTERVAL_MIN_S)


def hook_check(code: int | None) -> Check:
    """Habitat's exit codes of health-check: 0 ok, 1 warning, 2 critical, 3 or anything else unknown. None: killed or timed out."""
    return {0: Check.OK, 1: Check.WARNING, 2: Check.CRITICAL}.get(3 if code is None else code, Check.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    path: str = "/"
    header: str = ""  # the Host header's value


def http_address(url: str) -> Address:
    """A probe's URL; FormatError unless it is plain http with a host."""
    try:
        parts = urllib.parse.urlsplit(url.strip())
        port = parts.port or 80
    except ValueError as error:
        raise FormatError(f"http probe {url!r}", str(error)) from None
    if parts.scheme != "http" or not parts.hostname or any(ord(char) <= 32 for char in url.strip()):
        raise FormatError(f"http probe {url!r}", "is not http://HOST:PORT/PATH")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.hostname, port, path, parts.netloc.rpartition("@")[2])


def tcp_address(text: str) -> Address:
    """`HOST:PORT`, also `[::1]:PORT`."""
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise FormatError(f"tcp probe {text!r}", "is not HOST:PORT")
    return Address(host.strip("[]"), int(port))


def http_check(status_line: bytes) -> tuple[Check, str]:
    """The first line of an answer: 2xx is ok, any other status critical, anything else unknown."""
    words = status_line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit() or len(words[1]) != 3:
        return Check.UNKNOWN, "the answer is not HTTP"
    return (Check.OK if words[1].startswith(b"2") else Check.CRITICAL), f"HTTP {words[1].decode()}"
