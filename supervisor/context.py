"""What templates see: sys, pkg, cfg, svc, bind. Pure (reference: supervisor 4.5).

Rules: a peer's `cfg` holds only what it exports. `members` has the members that serve; `svc.members` has the own member always, ready or
not: otherwise becoming ready would change what is rendered and restart what became ready. `all_members` has everybody who is known, also of
hosts that the ring holds dead or departed, told apart by `alive`, `suspect`, `confirmed`, `departed`. A bind that is lost keeps its last
`first`, so that a consumer of one address keeps it, while its `members` are gone at once: nobody is sent to them. There are no leaders
until there are leases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hart.metafiles import Metadata
from hart.placed import Placed, ident_view, pkg_view
from supervisor.census import Census, Member, Sys
from supervisor.gossip.messages import Health

NO_ELECTION = {f"{prefix}election_is_{state}": False for prefix in ("", "update_") for state in ("running", "no_quorum", "finished")}


def render_context(
    place: Placed, cfg: Mapping[str, Any], census: Census, me: Member, binds: Mapping[str, Sequence[Member]]
) -> dict[str, Any]:
    """The whole context of a service's templates. `binds` has the serving members of each bind that is satisfied."""
    members = with_me(census.serving(me.group), me)
    return {
        "sys": asdict(me.sys),
        "pkg": pkg_view(place),
        "cfg": dict(cfg),
        "svc": {
            "service": me.group.service,
            "group": me.group.group,
            "org": None,
            **NO_ELECTION,
            "me": member_view(me),
            "members": [member_view(member) for member in members],
            "all_members": [member_view(member) for member in with_me(census.members(me.group), me)],
            "leader": None,
            "first": member_view(members[0]),
            "update_leader": None,
        },
        "bind": {name: bind_view(found, census) for name, found in binds.items() if found},
    }


def with_me(members: Sequence[Member], me: Member) -> list[Member]:
    """Peers and the own member, by member id."""
    peers = [member for member in members if member.sys.member_id != me.sys.member_id]
    return sorted([*peers, me], key=lambda member: member.sys.member_id)


def bind_view(feeders: Sequence[Member], census: Census) -> dict[str, Any]:
    """`feeders` are the last good ones; of them only those that still serve are members."""
    group = feeders[0].group
    serving = {member.sys.member_id for member in census.serving(group)}
    return {
        "first": member_view(feeders[0]),
        "leader": None,
        "members": [member_view(member) for member in feeders if member.sys.member_id in serving],
        "all_members": [member_view(member) for member in census.members(group)],
    }


def member_view(member: Member) -> dict[str, Any]:
    """A member as others see it. Nothing in it changes while it just goes on running: what is rendered from it must not either."""
    return {
        "member_id": member.sys.member_id,
        "pkg": ident_view(member.pkg),
        "package": str(member.pkg),
        "pkg_incarnation": member.incarnation,
        "service": member.group.service,
        "group": member.group.group,
        "org": None,
        "persistent": member.sys.permanent,
        "leader": False,
        "follower": False,
        "update_leader": False,
        "update_follower": False,
        **NO_ELECTION,
        "alive": member.presence is Health.ALIVE,
        "suspect": member.presence is Health.SUSPECT,
        "confirmed": member.presence is Health.DEAD,
        "departed": member.presence is Health.DEPARTED,
        "cfg": dict(member.exports),
        "sys": sys_view(member.sys),
    }


def sys_view(sys: Sys) -> dict[str, Any]:
    return {key: value for key, value in asdict(sys).items() if key not in ("version", "member_id", "permanent")}


def exports_of(metadata: Metadata, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a service tells others, by public name; an export whose key has no value is left out."""
    exported = {}
    for name, dotted in metadata.exports.items():
        value: Any = cfg
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            exported[name] = value
    return exported
