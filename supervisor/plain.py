"""Values and texts of any origin in the form that JSON, msgpack and a terminal can carry. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A TOML value as JSON and msgpack can carry it: dates become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else value


def one_line(text: str, most: int) -> str:
    """Text of any origin as one printable line of at most so many bytes."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line.encode(errors="replace")[:most].decode(errors="ignore").strip()


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A table's values by dotted key; empty tables are values."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{dotted}.")
        else:
            found[dotted] = value
    return found
