"""The census: who runs what, as others may see it. Pure; one host's services today, the ring's facts later.

Rules: a member is one service on one host, told by its own supervisor. Binds see members that serve (ready, and healthy where they have a
check) and only what they export. Members are ordered by member id, so everybody sees the same first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hart.ident import Ident
from supervisor.service.spec import Bind, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Sys:
    """What templates may know about a host (reference: supervisor 4.5)."""

    version: str
    member_id: str
    ip: str
    hostname: str
    gossip_ip: str = ""  # the ring comes next: its addresses stay empty until then
    gossip_port: int = 0
    http_gateway_ip: str = ""
    http_gateway_port: int = 0
    ctl_gateway_ip: str = ""
    ctl_gateway_port: int = 0
    permanent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One service on one host."""

    group: Group
    pkg: Ident
    sys: Sys
    exports: Mapping[str, Any] = field(default_factory=dict)
    serving: bool = False
    incarnation: int = 0


@dataclass(frozen=True, slots=True)
class Census:
    """All groups; members of each in member id order."""

    groups: Mapping[str, tuple[Member, ...]] = field(default_factory=dict)

    def members(self, group: Group | str) -> tuple[Member, ...]:
        return self.groups.get(str(group), ())

    def serving(self, group: Group | str) -> tuple[Member, ...]:
        return tuple(member for member in self.members(group) if member.serving)


def take(members: Iterable[Member]) -> Census:
    """The census of all known members."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(str(member.group), []).append(member)
    return Census({name: tuple(sorted(found, key=lambda member: member.sys.member_id)) for name, found in sorted(groups.items())})


def missing(census: Census, bind: Bind, exports: Sequence[str]) -> str | None:
    """Why a bind cannot be used now, or None: its group has a serving member whose first exports everything that the consumer needs."""
    serving = census.serving(bind.group)
    if not census.members(bind.group):
        return f"bind {bind.name}: nobody runs {bind.group}"
    if not serving:
        return f"bind {bind.name}: no ready member of {bind.group}"
    if lacking := sorted(set(exports) - set(serving[0].exports)):
        return f"bind {bind.name}: {bind.group} does not export {', '.join(lacking)}"
    return None
