"""What a depot says about packages, channels, keys and origins, checked before it is believed to have a shape (pure).

Rules: bytes in, frozen values out; anything of another shape is a FormatError that names what was asked for. Unknown fields are ignored,
so a newer depot can say more. A record is a claim: a package's bytes are believed for their signature only (`hart/artifact.py`). Source:
Builder's answers (reference: depot API 1.2 to 1.5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depot import routes
from hart.errors import FormatError, SteadError
from hart.ident import Ident

CHECKSUM = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9]{14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePackage:
    """One release in a depot. `checksum` is the BLAKE2b-256 of the whole artifact, `size` its bytes where the depot says it."""

    ident: Ident
    target: str
    checksum: str
    deps: tuple[Ident, ...]
    tdeps: tuple[Ident, ...]
    channels: tuple[str, ...]
    size: int | None
    visibility: str
    package_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteChannel:
    """A channel that a release is in; times are the depot's own text."""

    name: str
    promoted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOrigin:
    name: str
    owner: str
    default_visibility: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of rows; `next_start` None on the last."""

    rows: tuple[Any, ...]
    next_start: int | None


def decode(raw: bytes, thing: str) -> Any:
    """JSON from a depot; raises FormatError."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:  # ValueError includes bad UTF-8 and numbers of too many digits
        raise FormatError(thing, "the depot's answer is not JSON", next="is this URL a depot's? try `--url`") from error


def package(raw: bytes, thing: str) -> RemotePackage:
    """A release's record."""
    data = _table(decode(raw, thing), thing)
    size = data.get("size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise _bad(thing, "size")
    checksum = _text(data, "checksum", thing).lower()
    if not CHECKSUM.fullmatch(checksum):
        raise _bad(thing, "checksum")
    return RemotePackage(
        ident=ident(data.get("ident"), thing, full=True),
        target=_text(data, "target", thing),
        checksum=checksum,
        deps=_idents(data, "deps", thing),
        tdeps=_idents(data, "tdeps", thing),
        channels=tuple(name for name in _list(data.get("channels") or [], thing) if isinstance(name, str)),
        size=size,
        visibility=str(data.get("visibility") or "public"),
        package_type=str(data.get("package_type") or "Standard"),
    )


def page(raw: bytes, thing: str) -> Page:
    """One page of a list; its rows are not checked yet."""
    data = _table(decode(raw, thing), thing)
    rows = _list(data.get("data"), thing)
    for name in ("range_end", "total_count"):
        if not isinstance(data.get(name), int):
            raise _bad(thing, name)
    return Page(rows=tuple(rows), next_start=routes.next_start(data))


def ident(value: Any, thing: str, *, full: bool = False) -> Ident:
    """An ident object; version and release may be null unless `full`."""
    data = _table(value, thing)
    parts = [data.get(name) for name in ("origin", "name", "version", "release")]
    if any(part is not None and not isinstance(part, str) for part in parts) or None in (parts[:2], parts[0], parts[1]):
        raise _bad(thing, "ident")
    try:
        made = Ident(str(parts[0]), str(parts[1]), parts[2], parts[3])
    except SteadError as error:
        raise _bad(thing, "ident") from error
    if full and not made.is_full:
        raise _bad(thing, "ident")
    return made


def channels(raw: bytes, thing: str) -> list[RemoteChannel]:
    """The channels of a release or of an origin."""
    rows = [_table(row, thing) for row in _list(decode(raw, thing), thing)]
    return [RemoteChannel(name=_text(row, "name", thing), promoted_at=str(row.get("promoted_at") or "")) for row in rows]


def origin(raw: bytes, thing: str) -> RemoteOrigin:
    data = _table(decode(raw, thing), thing)
    owner = data.get("owner_account") or data.get("owner_id") or ""
    return RemoteOrigin(
        name=_text(data, "name", thing), owner=str(owner), default_visibility=str(data.get("default_package_visibility") or "public")
    )


def revisions(raw: bytes, thing: str) -> list[str]:
    """The revisions of an origin's public keys, in the depot's order (newest first)."""
    found = [_text(_table(row, thing), "revision", thing) for row in _list(decode(raw, thing), thing)]
    if not all(REVISION.fullmatch(each) for each in found):
        raise _bad(thing, "revision")
    return found


def _bad(thing: str, field: str) -> FormatError:
    return FormatError(thing, f"the depot's answer has no valid {field!r}", next="is this URL a depot's? try `--url`")


def _table(value: Any, thing: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _bad(thing, "object")
    return value


def _list(value: Any, thing: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(thing, "list")
    return value


def _text(data: Mapping[str, Any], name: str, thing: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(thing, name)
    return value


def _idents(data: Mapping[str, Any], name: str, thing: str) -> tuple[Ident, ...]:
    return tuple(ident(value, thing, full=True) for value in _list(data.get(name), thing))
