"""Channels: named sets of an origin's packages, and what may be done with them. Pure.

Rules: every origin has `unstable` and `stable`, which cannot be deleted. Every published package is in `unstable` and stays there: it
is the record of what was published. Channels named `bldr-…` are scratch channels of build groups, listed only on request.
Source: Builder's channel rules (reference: depot API 1.5 and 3). Not here: who may do it (depot/access.py), where it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hart.errors import DeniedError, FormatError, UsageError

UNSTABLE: Final = "unstable"
STABLE: Final = "stable"
PERMANENT: Final = (UNSTABLE, STABLE)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def check_name(name: str) -> str:
    """The name itself when it can be a channel's; FormatError otherwise."""
    if not NAME.fullmatch(name):
        raise FormatError(f"channel {name!r}", "is not a channel name", next="use letters, digits, `-`, `_` and `.`")
    return name


def check_delete(name: str) -> None:
    """DeniedError for the two that every origin keeps."""
    if name in PERMANENT:
        raise DeniedError(f"channel {name}", "belongs to every origin and cannot be deleted", status=403)


def check_demote(name: str) -> None:
    """DeniedError for `unstable`, which holds all that was ever published."""
    if name == UNSTABLE:
        raise DeniedError(f"channel {name}", "packages cannot be demoted from it", status=403)


def check_promote_all(source: str, target: str) -> None:
    """UsageError unless all of `source` may be put into `target`."""
    if source == target or target == UNSTABLE:
        raise UsageError(f"channel {target}", f"everything in {source} cannot be promoted to it", next="choose another target channel")


def check_demote_all(source: str, target: str) -> None:
    """UsageError unless all that is in `source` may be taken out of `target`."""
    if source == target or UNSTABLE in (source, target):
        raise UsageError(f"channel {target}", f"everything in {source} cannot be demoted from it", next="choose another channel")


def listed(names: Iterable[str], *, sandbox: bool) -> list[str]:
    """The names that a listing shows, in byte order."""
    return sorted(name for name in names if sandbox or not name.startswith("bldr-"))
