"""What a service may use and see of its host: the words of a plan, of service.toml and of a spec, and what they come to. Pure.

Rules: amounts are numbers, or texts with a unit for bytes ("512 MiB"); a bare number of bytes that is too small for any process is taken
for a forgotten unit and refused. What nobody names has the defaults below. What cannot be had on a host is said there and is no error.

Format: service.toml, `new_privileges`, `private_tmp`, `[limits]` and `[logs]`. Not here: how the kernel is told (supervisor/holder).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hart.errors import FormatError
from hart.limits import GIB, KIB, LOG_KEEP, LOG_KEEP_MIN, LOG_RATE, MIB, SERVICE_CORE, SERVICE_PIDS

LIMITS: Final = ("memory", "cpu", "pids", "nofile", "core")  # bytes, cores, processes with threads, descriptors, bytes of a core dump
LOGS: Final = ("keep", "rate")  # bytes of the log with its rotated files; bytes a second that are logged, 0: all
BYTES: Final = ("memory", "core", *LOGS)
LEAST: Final = {"memory": 4 * MIB, "cpu": 0.01, "pids": 1, "nofile": 16, "core": 0, "keep": LOG_KEEP_MIN, "rate": 0}
MOST: Final = {"memory": 2**53, "cpu": 4096.0, "pids": 4_194_304, "nofile": 2**30, "core": 2**53, "keep": 2**40, "rate": 2**40}
DEFAULTS: Final = {"pids": float(SERVICE_PIDS), "core": float(SERVICE_CORE)}
UNITS: Final = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": 1024 * GIB}
AMOUNT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|KiB|MiB|GiB|TiB)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """`limits` by LIMITS; `new_privileges`: what it executes may gain some (sudo, ping); `private_tmp`: a /tmp of its own; `log_keep` and
    `log_rate` as in LOGS."""

    limits: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULTS))
    new_privileges: bool = False
    private_tmp: bool = False
    log_keep: int = LOG_KEEP
    log_rate: int = LOG_RATE


def amount(name: str, value: object, *, thing: str, among: Sequence[str] = LIMITS) -> float:
    """One amount of LIMITS or LOGS; FormatError says what is wrong with it."""
    if name not in among:
        raise FormatError(thing, f"{name!r} is not a limit", next=f"one of {', '.join(among)}")
    number = value
    if isinstance(value, str):
        found = AMOUNT.fullmatch(value.strip())
        if found is None or (found[2] and name not in BYTES):
            raise FormatError(thing, f"{name} {value!r} is not {_described(name)}")
        number = float(found[1]) * UNITS[found[2] or "B"]
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise FormatError(thing, f"{name} {value!r} is not {_described(name)}")
    if not LEAST[name] <= number <= MOST[name]:
        unit = '; a number is of bytes, or write "512 MiB"' if name in BYTES else ""
        raise FormatError(thing, f"{name} {value!r} is not between {shown(name, LEAST[name])} and {shown(name, MOST[name])}{unit}")
    if name not in (*BYTES, "cpu") and number != int(number):
        raise FormatError(thing, f"{name} {value!r} is not {_described(name)}")
    return float(number) if name == "cpu" else float(int(number))


def _described(name: str) -> str:
    if name in BYTES:
        return 'a size: bytes, or a text as "512 MiB"'
    return "a number of cores, as 1.5" if name == "cpu" else "a whole number"


def limits_of(table: object, *, thing: str, among: Sequence[str] = LIMITS) -> dict[str, float]:
    """A table of such amounts; FormatError."""
    if not isinstance(table, Mapping):
        raise FormatError(thing, f"{'limits' if among is LIMITS else 'logs'} is not a table")
    return {str(name): amount(str(name), value, thing=thing, among=among) for name, value in table.items()}


def containment_of(service: Mapping[str, Any], limits: Mapping[str, float], *, new_privileges: bool | None, thing: str) -> Containment:
    """What a package's service.toml says, below what an operator says; FormatError."""
    flags = {name: service.get(name, False) for name in ("new_privileges", "private_tmp")}
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise FormatError(thing, f"{name} is not true or false")
    logs = limits_of(service.get("logs", {}), thing=thing, among=LOGS)
    return Containment(
        log_keep=int(logs.get("keep", LOG_KEEP)),
        log_rate=int(logs.get("rate", LOG_RATE)),
        limits={**DEFAULTS, **limits_of(service.get("limits", {}), thing=thing), **limits},
        new_privileges=flags["new_privileges"] if new_privileges is None else new_privileges,
        private_tmp=flags["private_tmp"],
    )


def shown(name: str, number: float) -> str:
    """An amount for people: as `amount` reads it."""
    if name in BYTES:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if number >= UNITS[unit]:
                return f"{number / UNITS[unit]:.4g} {unit}"
    return f"{number:g}"
