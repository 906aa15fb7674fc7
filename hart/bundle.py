"""bundle.toml of a package: services that are loaded as one. Pure.

    [service.NAME]      ident, and what else a spec file may say

Rules: a bundle says which services a host shall have and how they stand to each other; what they run is their own packages' affair. The
fields are a spec file's, but for those that belong to one host or to one run. A circle of starts is found here, so a build finds it too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from hart.errors import FormatError
from hart.ident import NAME, Ident
from hart.limits import BUNDLE_SERVICES_MAX
from hart.toml import loads

FIELDS: Final = (
    "ident", "group", "channel", "update_strategy", "update_condition", "binds", "binding_mode", "after", "requires_ready",
    "every", "cron", "time_zone", "overlap", "jitter", "run_timeout", "shutdown_timeout", "health_check_interval",
)  # fmt: skip


def parse(text: str, *, thing: str) -> dict[str, dict[str, Any]]:
    """The services by name; FormatError."""
    document = loads(text, thing=thing)
    services = document.get("service")
    if not isinstance(services, dict) or set(document) != {"service"}:
        raise FormatError(thing, "has not just tables [service.NAME]")
    for path, message in problems(services):
        raise FormatError(f"{thing}: {'.'.join(('service', *path))}", message)
    return services


def problems(services: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Everything that is wrong with the tables of a bundle's services, with the path to each key."""
    if not services or len(services) > BUNDLE_SERVICES_MAX:
        return [((), f"a bundle has 1 to {BUNDLE_SERVICES_MAX} services")]
    found: list[tuple[tuple[str, ...], str]] = []
    for name, table in services.items():
        if not NAME.fullmatch(name):
            found.append(((name,), f"{name!r} is no name of a service"))
        elif not isinstance(table, Mapping):
            found.append(((name,), f"{name} is not a table"))
        else:
            found += [((name, *path), message) for path, message in _wrong(name, table)]
    if found:
        return found
    starts = {name: (*table.get("after", ()), *table.get("requires_ready", ())) for name, table in services.items()}
    ring = next(filter(None, (circle(starts, name) for name in services)), None)
    return [((ring[0],), f"it would wait for itself: {' after '.join(ring)}")] if ring else []


def _wrong(name: str, table: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    try:
        Ident.parse(str(table.get("ident", "")))
    except FormatError as error:
        found.append((("ident",) if "ident" in table else (), f"{name} needs an ident: {error.cause}"))
    for key, value in table.items():
        if key not in FIELDS:
            near = difflib.get_close_matches(key, FIELDS, n=1)
            found.append(
                ((key,), f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else f"; known here: {', '.join(FIELDS)}"))
            )
        elif key in ("binds", "after", "requires_ready"):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                found.append(((key,), f"{key} is not a list of texts"))
        elif isinstance(value, (Mapping, list)):
            found.append(((key,), f"{key} is not a single value"))
    return found


def circle(starts: Mapping[str, Iterable[str]], name: str) -> list[str]:
    """`starts` has by name whom it waits for. The names of a circle through this one, which begins and ends with it; empty: none."""
    came_from: dict[str, str] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        for before in starts.get(each, ()):
            if before == name:
                path = [each]
                while path[-1] != name:
                    path.append(came_from[path[-1]])
                return [*reversed(path), name]
            if before not in came_from:
                came_from[before] = each
                waiting.append(before)
    return []
