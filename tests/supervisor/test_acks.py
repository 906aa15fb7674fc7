"""Who has taken a version: counted from what the members report."""

from __future__ import annotations

import pytest

from supervisor.acks import Tally, count, named
from supervisor.census import ConfigReport, Member, Outcome
from supervisor.gossip.identity import MemberKey
from tests.supervisor.ringside import ME, PEER, THIRD, member


def says(revision: int, outcome: Outcome, because: str = "", *, key: MemberKey = PEER, hostname: str = "h2") -> Member:
    return member(key, hostname=hostname, config=ConfigReport(revision=revision, outcome=outcome, because=because))


@pytest.mark.parametrize(
    ("revision", "outcome", "tally"),
    [
        (7, Outcome.RENDERED, Tally(accepted=("h2",), rendered=("h2",))),
        (7, Outcome.ACCEPTED, Tally(accepted=("h2",))),
        (7, Outcome.FAILED, Tally(failed=(("h2", "why"),))),
        (7, Outcome.PENDING, Tally(silent=("h2",))),
        (6, Outcome.RENDERED, Tally(silent=("h2",))),
        (6, Outcome.FAILED, Tally(silent=("h2",))),
        (8, Outcome.PENDING, Tally(superseded=("h2",))),
        (8, Outcome.FAILED, Tally(superseded=("h2",))),
        (0, Outcome.RENDERED, Tally(silent=("h2",))),
    ],
)
def test_what_a_report_counts_as(revision: int, outcome: Outcome, tally: Tally) -> None:
    assert count([says(revision, outcome, "why")], 7) == tally
    assert tally.complete is (tally.silent == ())


def test_the_tally_says_who_failed_and_why() -> None:
    """The sentence that `config apply` ends with."""
    members = [
        says(7, Outcome.RENDERED, key=ME, hostname="h1"),
        says(7, Outcome.ACCEPTED, key=PEER, hostname="h2"),
        says(7, Outcome.FAILED, "port: is not a number", key=THIRD, hostname="h3"),
    ]
    assert str(count(members, 7)) == "accepted by 2, rendered by 1; failed on h3 because port: is not a number"
    assert count(members, 7).row()["failed"] == [{"member": "h3", "because": "port: is not a number"}]
    assert "no answer yet from h1, h2, h3" in str(count(members, 8))
    assert "h1, h2, h3 has a newer one already" in str(count(members, 6))
    assert str(count([], 7)) == "accepted by 0, rendered by 0"


def test_hosts_of_one_name_are_told_apart() -> None:
    assert named([member(ME, hostname="a"), member(PEER, hostname="b"), member(THIRD, hostname="a")]) == [
        f"a ({ME.id.hex()[:8]})",
        "b",
        f"a ({THIRD.id.hex()[:8]})",
    ]
