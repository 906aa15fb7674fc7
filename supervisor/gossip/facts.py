"""When a member clears away the facts that it has withdrawn. Pure.

Rules: a withdrawn fact stays as a tombstone, or a laggard brings the fact back. Once a member has FACTS_WITHDRAWN of them it publishes anew
those of its live facts that are older than the newest tombstone, and when it next publishes, a floor just below its live facts: one
record in place of all tombstones (records.py). Two steps, so that the renewed facts are everywhere before the floor voids the old ones; a
member that gets the floor first lacks a fact until that arrives.

Not here: what the facts are (holdings.py), signing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hart.limits import RING_FACT_KEYS
from supervisor.gossip.messages import MemberId, Record, Version
from supervisor.gossip.records import Records

FACTS_WITHDRAWN: Final = RING_FACT_KEYS // 4  # half of what there is room for beside the live ones


class Upkeep(NamedTuple):
    """What to publish: these facts with their bodies as they are, as next versions; and a record `floor` of exactly this version."""

    renew: list[Record]
    floor: Version | None


NOTHING: Final = Upkeep([], None)


def upkeep(records: Records, member: MemberId) -> Upkeep:
    """What a member does about its own tombstones, each time that it publishes. At most one of the two is asked for."""
    live = records.facts_of(member)
    withdrawn = sorted(each.version for each in records.facts_of(member, withdrawn=True) if each.body is None)
    if len(withdrawn) < FACTS_WITHDRAWN:
        return NOTHING
    above = Version(withdrawn[-1].major, withdrawn[-1].minor + 1)
    floor = min((each.version for each in live), default=above)
    if floor > withdrawn[len(withdrawn) // 2]:
        return Upkeep([], floor)
    return Upkeep([each for each in live if each.version < above], None)
