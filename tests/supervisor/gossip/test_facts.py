"""How a member clears away the facts that it has withdrawn."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.gossip.facts import FACTS_WITHDRAWN, NOTHING, upkeep
from supervisor.gossip.identity import MemberKey, sign_record
from supervisor.gossip.kinds import fact_prefix
from supervisor.gossip.messages import Record, Version
from supervisor.gossip.records import Records

RING = b"the ring"
KEY = MemberKey(b"k" * 32)
PREFIX = fact_prefix(KEY.id)


class Author:
    """A member that publishes its facts as a whole and does its upkeep; `told` is all that it has ever told."""

    def __init__(self) -> None:
        self.records, self.told, self.counter = Records(RING), list[Record](), 0

    def write(self, key: str, body: bytes | None, version: Version | None = None) -> None:
        if version is None:
            self.counter += 1
            version = Version(1, self.counter)
        record = sign_record(KEY, ring=RING, record_key=key, version=version, body=body)
        assert self.records.merge(record)
        self.told.append(record)

    def publish(self, facts: Mapping[str, bytes]) -> None:
        for record in self.records.facts_of(KEY.id):
            if record.key.removeprefix(PREFIX) not in facts:
                self.write(record.key, None)
        for name, body in facts.items():
            held = self.records.get(PREFIX + name)
            if held is None or held.body != body:
                self.write(PREFIX + name, body)
        renew, floor = upkeep(self.records, KEY.id)
        assert not (renew and floor)
        for record in renew:
            self.write(record.key, record.body)
        if floor is not None:
            self.write(f"{PREFIX}floor", b"", floor)


def test_a_member_that_withdraws_for_ever_never_fills_its_share() -> None:
    """A thousand jobs, each with a fact of its own: what is held stays bounded, the lasting facts stay live all the time, and who hears
    everything in the reverse order ends with the same."""
    author, most = Author(), 0
    for number in range(1000):
        author.publish({"host": b"web-1", f"service/job-{number}": b"runs"})
        most = max(most, len(author.records))
        assert len(author.records.facts_of(KEY.id)) == 2
    assert most < 2 * FACTS_WITHDRAWN
    other = Records(RING)
    for record in reversed(author.told[-1500:]):
        other.merge(record)
    assert other.digest == author.records.digest
    assert not other.refused


def test_a_fact_below_the_floor_is_renewed_one_publication_before() -> None:
    """So that nobody sees a member without a fact that it has never withdrawn."""
    author = Author()
    author.publish({"host": b"web-1"})
    step = 0
    while not any(record.key.endswith("/floor") for record in author.told):
        step += 1
        before = len(author.told)
        author.publish({"host": b"web-1", f"service/{step}": b""})
    floor = author.told[-1]
    earlier = [record.version for record in author.told[:before] if record.key == f"{PREFIX}host"]
    assert max(earlier) >= floor.version
    assert author.told[-1].key == f"{PREFIX}floor"


def test_with_few_withdrawn_there_is_nothing_to_do() -> None:
    author = Author()
    for number in range(FACTS_WITHDRAWN):
        author.publish({f"service/{number}": b""})
    assert not any(record.key.endswith("/floor") for record in author.told)
    assert upkeep(author.records, KEY.id) == NOTHING


def test_a_member_without_live_facts_puts_the_floor_above_them_all() -> None:
    author = Author()
    for number in range(FACTS_WITHDRAWN):
        author.publish({f"service/{number}": b""})
    author.publish({})
    assert [record.key for record in author.records.facts_of(KEY.id, withdrawn=True)] == [f"{PREFIX}floor"]
