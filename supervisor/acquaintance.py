"""Whether this host knows its ring again, after a start. Pure.

Rules: facts of other members are not kept on disk, so right after its start a supervisor knows nobody. What it would render then has lost
its binds and peers, and would be rendered again, with a restart each time, when they are back a moment later. So what was found running is
left as it is, and nothing is started, until the other members have been heard of: every living one has told of its host and of all its
services. Who was alone before waits for nobody, and nobody waits for long (ACQUAINTANCE_S).
"""

from __future__ import annotations

from collections.abc import Collection

from hart.errors import InputError
from supervisor import facts
from supervisor.gossip.kinds import fact_prefix
from supervisor.gossip.messages import MemberId
from supervisor.roll import Shelf


def acquainted(shelf: Shelf, others: Collection[MemberId], *, expected: bool) -> bool:
    """`others` are the living members but this one; `expected`: whether there were any when this host was last up."""
    return all(heard(shelf, each) for each in others) if others else not expected


def heard(shelf: Shelf, member: MemberId) -> bool:
    """Whether all that a member tells is here. One that tells nonsense is not waited for."""
    prefix = fact_prefix(member)
    host = shelf.get(f"{prefix}{facts.HOST}")
    if host is None:
        return False
    try:
        services = facts.read_services(host)
    except InputError:
        return True
    return len(shelf.keys(f"{prefix}{facts.SERVICE}")) == services
