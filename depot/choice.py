"""Which release to install, and in which order its closure goes in (pure).

Rules (reference: packages 5.4): a fully qualified ident is taken as it is; else the channel's head, unless what is installed is strictly
newer and nobody said to ignore it; nothing in the channel means what is installed. Dependencies are the exact releases that the artifact
froze at its build: nothing is solved here. A package goes in after everything that it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from hart.errors import FormatError
from hart.ident import Ident
from hart.version import ident_key


class Origin(StrEnum):
    """Where a chosen release was found."""

    DEPOT = "depot"
    INSTALLED = "installed"
    CACHE = "cache"
    FILE = "file"
    ASKED = "asked"  # a fully qualified ident: nothing was looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A release and why it is this one."""

    ident: Ident
    origin: Origin
    because: str


def choose(remote: Ident | None, local: Ident | None, *, channel: str, ignore_local: bool) -> Choice | None:
    """Between a channel's head and the newest installed release that satisfies; None when there is neither."""
    if local is not None and not ignore_local:
        if remote is None:
            return Choice(ident=local, origin=Origin.INSTALLED, because=f"channel {channel} has none, this one is installed")
        if ident_key(local) > ident_key(remote):
            return Choice(ident=local, origin=Origin.INSTALLED, because=f"it is installed and newer than {remote} in channel {channel}")
    if remote is None:
        return None
    return Choice(ident=remote, origin=Origin.DEPOT, because=f"the newest in channel {channel}")


def install_order(needs: Mapping[Ident, Iterable[Ident]]) -> list[Ident]:
    """The keys of `needs` with each after all that it needs; needs outside the keys are installed already. FormatError for a circle."""
    graph = {ident: [need for need in needed if need in needs] for ident, needed in sorted(needs.items(), key=lambda item: str(item[0]))}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " → ".join(map(str, error.args[1]))
        raise FormatError("the packages to install", f"need each other in a circle: {circle}", next="tell who built them") from error


def cached_idents(names: Iterable[str], wanted: Ident, target: str) -> list[Ident]:
    """The releases that files of these names may be, newest first. Only may: dashes make names ambiguous, the truth is inside."""
    prefix, suffix = f"{wanted.origin}-{wanted.name}-", f"-{target}.hart"
    found = []
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix):
            version, _, release = name[len(prefix) : -len(suffix)].rpartition("-")
            try:
                ident = Ident(wanted.origin, wanted.name, version, release)
            except FormatError:
                continue
            if ident.satisfies(wanted):
                found.append(ident)
    return sorted(found, key=ident_key, reverse=True)
