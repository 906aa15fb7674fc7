"""The table of members and the rule by which news replaces what is held."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.gossip.members import Member, Members, Standing, supersedes
from supervisor.gossip.messages import Health
from tests.supervisor.gossip.company import key_of, words_of

ALIVE, SUSPECT, DEAD, DEPARTED = Health


@pytest.mark.parametrize(
    ("told", "held", "replaces"),
    [
        ((1, 0, ALIVE), (1, 0, ALIVE), False),
        ((1, 0, SUSPECT), (1, 0, ALIVE), True),
        ((1, 0, ALIVE), (1, 0, SUSPECT), False),
        ((1, 0, DEAD), (1, 0, SUSPECT), True),
        ((1, 0, SUSPECT), (1, 0, DEAD), False),
        ((1, 1, ALIVE), (1, 0, DEAD), True),  # it objects
        ((1, 0, DEAD), (1, 1, ALIVE), False),  # and what was said before counts no more
        ((2, 0, ALIVE), (1, 99, DEAD), True),  # a restart wins over its own past
        ((1, 99, DEAD), (2, 0, ALIVE), False),
        ((1, 0, DEPARTED), (1, 9, ALIVE), True),  # a departure ends its generation, whatever the incarnation
        ((1, 9, ALIVE), (1, 0, DEPARTED), False),
        ((1, 9, DEAD), (1, 0, DEPARTED), False),
        ((2, 0, ALIVE), (1, 0, DEPARTED), True),
        ((1, 0, DEPARTED), (2, 0, ALIVE), False),
    ],
)
def test_the_greater_standing_replaces_the_lesser(told: tuple[int, int, Health], held: tuple[int, int, Health], *, replaces: bool) -> None:
    """(generation, incarnation, health), and a departure is final for its generation."""
    assert supersedes(Standing(*told), Standing(*held)) is replaces


standings = st.builds(Standing, st.integers(1, 3), st.integers(0, 3), st.sampled_from(Health))


@given(st.lists(standings, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_whatever_the_order_of_news_the_same_is_believed(news: list[Standing], chance: random.Random) -> None:
    """So views that have heard the same are the same. Of a departed member the incarnation does not matter."""

    def believed(told: list[Standing]) -> tuple[int, ...]:
        held = told[0]
        for each in told[1:]:
            if supersedes(each, held):
                held = each
        return (held.generation, held.health) if held.health is DEPARTED else held

    shuffled = news[:]
    chance.shuffle(shuffled)
    assert believed(news) == believed(shuffled)


def table() -> Members:
    return Members(key_of("me").id, words_of("me"), 0.0)


def add(members: Members, name: str, health: Health = ALIVE, **words: int) -> Member:
    member = members.admit(key_of(name).id, words_of(name, **words), health, 0.0)  # type: ignore[arg-type]
    assert member is not None
    return member


def test_the_living_stand_in_one_order_in_every_view() -> None:
    """The shared permutation needs that two members count the same places."""
    one, other = table(), Members(key_of("b").id, words_of("b"), 0.0)
    for name in ("b", "c", "d"):
        add(one, name)
    for name in ("d", "me", "c"):
        add(other, name)
    assert one.order == other.order == sorted(one.order)
    assert [member.id for member in one.alive()] == one.order
    assert one.order[one.place_of_me] == key_of("me").id
    assert other.order[other.place_of_me] == key_of("b").id


def test_the_arrays_follow_health() -> None:
    """Suspects are probed and told like the living; the dead are retried; the departed are left alone."""
    members = table()
    b, c, d = (add(members, name) for name in "bcd")
    members.judge(b, SUSPECT, 0, 1.0)
    assert set(members.living) == {b, c, d}
    assert members.count == 4
    members.judge(b, DEAD, 0, 2.0)
    assert set(members.living) == {c, d}
    assert members.dead == [b]
    assert b.since == 2.0
    members.judge(c, DEPARTED, 0, 3.0)
    assert members.living == [d]
    assert members.dead == [b]
    assert members.count == 2
    members.renew(b, words_of("b", incarnation=1), ALIVE, 4.0)
    assert set(members.living) == {b, d}
    assert members.dead == []
    assert all(members.living[member.place] is member for member in members.living)


def test_equal_views_have_equal_digests_and_a_suspicion_is_no_difference() -> None:
    """Push/pull would otherwise compare everything while a question is being answered."""
    one, other = table(), table()
    for name in ("b", "c"):
        add(one, name)
    for name in ("c", "b"):
        add(other, name)
    assert one.digest == other.digest
    assert one.bucket_sums() == other.bucket_sums()
    members = one
    member = one.get(key_of("b").id)
    assert member is not None
    members.judge(member, SUSPECT, 0, 1.0)
    assert one.digest == other.digest
    members.judge(member, DEAD, 0, 1.0)
    assert one.digest != other.digest
    members.renew(member, words_of("b", incarnation=1), ALIVE, 2.0)
    held = other.get(key_of("b").id)
    assert held is not None
    other.renew(held, words_of("b", incarnation=1), ALIVE, 2.0)
    assert one.digest == other.digest
    differing = sum(len(one.entries(bucket)) for bucket in range(64))
    assert differing == len(one) == 3


def test_who_is_forgotten_does_not_come_back_in_the_same_generation() -> None:
    """A laggard that still knows it is no witness; a restart is."""
    members = table()
    members.forget(add(members, "b", generation=3))
    assert members.get(key_of("b").id) is None
    assert members.by_public(key_of("b").public) is None
    assert members.admit(key_of("b").id, words_of("b", generation=3, incarnation=9), ALIVE, 0.0) is None
    assert members.admit(key_of("b").id, words_of("b", generation=4), ALIVE, 0.0) is not None


def test_what_is_remembered_of_the_forgotten_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.gossip.members.RING_GONE_MAX", 3)
    members = table()
    for number in range(5):
        members.bar(bytes([number]) * 16, 7)
    assert [members.gone(bytes([number]) * 16) for number in range(5)] == [0, 0, 7, 7, 7]
    members.bar(bytes([4]) * 16, 5)
    assert members.gone(bytes([4]) * 16) == 7


def test_a_full_table_takes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.gossip.members.RING_MEMBERS_MAX", 2)
    members = table()
    add(members, "b")
    assert members.admit(key_of("c").id, words_of("c"), ALIVE, 0.0) is None


def test_a_claim_may_be_ahead_of_the_announcement_that_has_reached_us() -> None:
    members = table()
    b = add(members, "b")
    members.judge(b, SUSPECT, 4, 1.0)
    assert b.standing == Standing(1, 4, SUSPECT)
    assert b.incarnation == 0
    members.renew(b, words_of("b", generation=2), ALIVE, 2.0)
    assert b.standing == Standing(2, 0, ALIVE)
