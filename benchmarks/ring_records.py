"""The ring's records: how fast they are merged, what their digest costs, and what a sync moves.

    python benchmarks/ring_records.py [--json] [--members N] [--facts N]

One process, no network. The bytes of a sync are those of sealed frames, as the codec makes them. Medians of five runs.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from supervisor.gossip.codec import Codec
from supervisor.gossip.identity import MemberKey, announce, member_id, sign_record
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.kinds import fact_prefix
from supervisor.gossip.members import Members
from supervisor.gossip.messages import Announcement, Health, Record, Version
from supervisor.gossip.records import Records
from supervisor.gossip.sync import Sync

ROUNDS = 5
BODY = 300  # bytes: what a service with a few exports tells
CODEC = Codec(Keyring("bench", secrets.token_bytes(32)), secrets.token_bytes)
RING = CODEC.keyring.ring_id


def said(key: MemberKey, incarnation: int) -> Announcement:
    return announce(
        key, ring=RING, generation=1, incarnation=incarnation, session=bytes(8), host="192.0.2.7", port=9638, name=f"web-{key.id.hex()[:8]}"
    )


def fact(key: MemberKey, number: int, counter: int) -> Record:
    return sign_record(
        key, ring=RING, record_key=f"{fact_prefix(key.id)}service/app-{number}.default", version=Version(1, counter), body=bytes(BODY)
    )


def median_s(act: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        act()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def view(me: MemberKey, announcements: list[Announcement], facts: list[Record]) -> tuple[Members, Records]:
    members = Members(me.id, said(me, 0), 0.0)
    for each in announcements:
        members.admit(member_id(each.public), each, Health.ALIVE, 0.0)
    records = Records(RING, verify=lambda *_: True)
    for record in facts:
        records.merge(record)
    return members, records


def sync_cost(one: tuple[Members, Records], two: tuple[Members, Records]) -> dict[str, float]:
    """Frames and sealed bytes of one conversation; what comes is merged, so that it ends equal."""
    before = time.perf_counter()
    opener, other = Sync(*one, opener=True), Sync(*two, opener=False)
    count = size = 0
    waiting = [(other, two, value) for value in opener.begin()]
    while waiting:
        sync, (members, records), value = waiting.pop(0)
        data = CODEC.encode_frame(value)
        count, size = count + 1, size + len(data)
        turn = sync.frame(CODEC.decode_frame(data))
        for announcement in turn.announcements:
            member = members.get(member_id(announcement.public))
            if member is not None:
                members.renew(member, announcement, Health.ALIVE, 0.0)
            else:
                members.admit(member_id(announcement.public), announcement, Health.ALIVE, 0.0)
        for record in turn.records:
            records.merge(record)
        waiting += [(opener, one, each) if sync is other else (other, two, each) for each in turn.write]
    assert (one[0].digest, one[1].digest) == (two[0].digest, two[1].digest)
    return {"frames": count, "bytes": size, "ms": (time.perf_counter() - before) * 1000}


def measure(members: int, facts: int) -> dict[str, object]:
    keys = [MemberKey(secrets.token_bytes(32)) for _ in range(members)]
    old, new = [said(key, 0) for key in keys], [said(key, 1) for key in keys]
    held = [fact(key, number, 1) for key in keys for number in range(facts)]
    later = [fact(key, number, 2) for key in keys for number in range(facts)]
    few, count = max(members // 100, 1), len(held)

    def fill(**verify: object) -> Records:
        records = Records(RING, **verify)  # type: ignore[arg-type]
        for record in held:
            records.merge(record)
        return records

    free = {"verify": lambda *_: True}
    full = fill(**free)
    one, two = MemberKey(secrets.token_bytes(32)), MemberKey(secrets.token_bytes(32))
    mine, yours = view(one, old, held), view(two, old, held)
    join = sync_cost(view(one, [], []), view(two, old, held))
    sync_cost(mine, yours)
    equal = sync_cost(mine, yours)
    changed = later[: max(count // 100, 1) * facts : facts]  # 1 % of all facts, each of another member
    for key, announcement in zip(keys[:few], new, strict=False):
        member = mine[0].get(key.id)
        assert member is not None
        mine[0].renew(member, announcement, Health.ALIVE, 0.0)
    membership = sync_cost(mine, yours)
    for record in changed:
        mine[1].merge(record)
    return {
        "members": members,
        "facts of each": facts,
        "merged a second, signatures checked": round(count / median_s(fill)),
        "merged a second, without signatures": round(count / median_s(lambda: fill(**free))),
        "known already, a second": round(count / median_s(lambda: [full.merge(record) for record in held])),
        "digest of all, us": round(median_s(lambda: full.digest) * 1e6, 2),
        "sums of 64 buckets, us": round(median_s(full.bucket_sums) * 1e6, 1),
        "sync of equal states": equal,
        "sync where 1 % of the members differ": membership,
        "sync where 1 % of the facts differ": sync_cost(mine, yours),
        "sync of a newcomer": join,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--facts", type=int, default=3, help="of each member")
    options = parser.parse_args()
    found = measure(options.members, options.facts)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        shown = ", ".join(f"{round(number):,} {what}" for what, number in value.items()) if isinstance(value, dict) else f"{value:,}"
        print(f"{name:42} {shown}")


if __name__ == "__main__":
    main()
