"""The census: who runs what, as others may see it. Pure.

Rules: a member is one service on one host, told by its own supervisor. Binds see members that serve (ready, and healthy where they have a
check) on hosts that the ring believes alive, or only suspects; and of them only what they export. Members of other hosts stay known, with
what the ring believes of their host, until it forgets them. Members are ordered by member id, so everybody sees the same first one.
A leader is whoever holds the group's lease; leases are not there yet, so nobody is.

Not here: how a member is told (facts.py), how the census follows the records (roll.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hart.ident import Ident
from supervisor.gossip.messages import Health
from supervisor.service.spec import Bind, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Sys:
    """What templates may know about a host (reference: supervisor 4.5)."""

    version: str
    member_id: str
    ip: str
    hostname: str
    gossip_ip: str = ""
    gossip_port: int = 0
    http_gateway_ip: str = ""
    http_gateway_port: int = 0
    ctl_gateway_ip: str = ""
    ctl_gateway_port: int = 0
    permanent: bool = False


class Outcome(StrEnum):
    """What a member made of its group's configuration."""

    PENDING = "pending"  # it is on the way: a hook runs, or the service restarts
    ACCEPTED = "accepted"  # it fits, and takes effect when the service starts
    RENDERED = "rendered"  # what runs was started or reconfigured with it
    FAILED = "failed"  # it does not fit, or the service failed with it


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """What a member says of its group's configuration. Revision 0: there is no document."""

    revision: int = 0  # the newest that it has looked at
    in_force: int = 0  # the one that it runs with
    outcome: Outcome = Outcome.PENDING
    because: str = ""


NO_REPORT = ConfigReport()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One service on one host. `state` and `health` are words of the service's life, `presence` is what the ring believes of the host."""

    group: Group
    pkg: Ident
    sys: Sys
    exports: Mapping[str, Any] = field(default_factory=dict)
    serving: bool = False
    incarnation: int = 0
    presence: Health = Health.ALIVE
    state: str = ""
    health: str = ""
    config: ConfigReport = NO_REPORT

    @property
    def present(self) -> bool:
        """Whether its host is there, as far as anybody knows."""
        return self.presence <= Health.SUSPECT

    @property
    def appearance(self) -> tuple[object, ...]:
        """What templates can see of it; everything else may change without a look."""
        return self.group, self.pkg, self.sys, self.exports, self.serving, self.incarnation, self.presence


@dataclass(frozen=True, slots=True)
class Census:
    """All groups; members of each in member id order. `looks` has what templates can see of each group."""

    groups: Mapping[str, tuple[Member, ...]] = field(default_factory=dict)
    looks: Mapping[str, tuple[object, ...]] = field(default_factory=dict)

    def members(self, group: Group | str) -> tuple[Member, ...]:
        """All that are known, also those whose host is dead or has departed."""
        return self.groups.get(str(group), ())

    def present(self, group: Group | str) -> tuple[Member, ...]:
        return tuple(member for member in self.members(group) if member.present)

    def serving(self, group: Group | str) -> tuple[Member, ...]:
        return tuple(member for member in self.members(group) if member.serving and member.present)

    def look(self, group: Group | str) -> tuple[object, ...]:
        """Equal while no template can see a difference in the group."""
        return self.looks.get(str(group), ())

    def leader(self, group: Group | str) -> Member | None:  # leases will know
        return None


def take(members: Iterable[Member], before: Census | None = None) -> Census:
    """The census of all known members. What has not changed since `before` is the same object as there."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(str(member.group), []).append(member)
    groups: dict[str, tuple[Member, ...]] = {}
    looks: dict[str, tuple[object, ...]] = {}
    for name in sorted(found):
        group = tuple(sorted(found[name], key=lambda member: member.sys.member_id))
        look: tuple[object, ...] = tuple(member.appearance for member in group)
        if before is not None:
            group = kept if (kept := before.groups.get(name)) == group else group
            look = seen if (seen := before.looks.get(name)) == look else look
        groups[name], looks[name] = group, look
    return Census(groups, looks)


def missing(census: Census, bind: Bind, exports: Sequence[str]) -> str | None:
    """Why a bind cannot be used now, or None: its group has a serving member whose first exports everything that the consumer needs."""
    serving = census.serving(bind.group)
    if not census.present(bind.group):
        return f"bind {bind.name}: nobody runs {bind.group}"
    if not serving:
        return f"bind {bind.name}: no ready member of {bind.group}"
    if lacking := sorted(set(exports) - set(serving[0].exports)):
        return f"bind {bind.name}: {bind.group} does not export {', '.join(lacking)}"
    return None
