"""What templates see: sys, pkg, cfg, svc, bind. Pure (reference: supervisor 4.5).

Rules: a peer's `cfg` holds only what it exports. `svc.members` has the own member always, ready or not: otherwise becoming ready would
change what is rendered and restart what became ready. Elections belong to the ring; until it comes there is no leader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hart.metafiles import Metadata
from hart.placed import Placed, ident_view, pkg_view
from supervisor.census import Census, Member, Sys

NO_ELECTION = {f"{prefix}election_is_{state}": False for prefix in ("", "update_") for state in ("running", "no_quorum", "finished")}


def render_context(
    place: Placed, cfg: Mapping[str, Any], census: Census, me: Member, binds: Mapping[str, Sequence[Member]]
) -> dict[str, Any]:
    """The whole context of a service's templates. `binds` has the serving members of each bind that is satisfied."""
    peers = [member for member in census.members(me.group) if member.serving and member.sys.member_id != me.sys.member_id]
    members = sorted([*peers, me], key=lambda member: member.sys.member_id)
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
            "leader": None,
            "first": member_view(members[0]),
            "update_leader": None,
        },
        "bind": {name: bind_view(found) for name, found in binds.items() if found},
    }


def bind_view(members: Sequence[Member]) -> dict[str, Any]:
    views = [member_view(member) for member in members]
    return {"first": views[0], "leader": None, "members": views}


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
        "alive": True,
        "suspect": False,
        "confirmed": False,
        "departed": False,
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
