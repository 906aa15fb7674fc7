"""How long a suspect is given."""

from dataclasses import replace

import pytest

from supervisor.gossip.members import Member
from supervisor.gossip.messages import Health
from supervisor.gossip.presets import LAN
from supervisor.gossip.suspicion import NEVER, PATIENCE, Suspicion, Suspicions
from tests.supervisor.gossip.company import key_of, words_of


def suspect(name: str = "b") -> Member:
    return Member(key_of(name).id, words_of(name), Health.SUSPECT, 0.0)


def test_independent_accusers_shorten_a_suspicion_and_nobody_counts_twice() -> None:
    suspicion = Suspicion(100.0, 4.0, 24.0, 3, b"a")
    assert suspicion.until == 124.0
    assert suspicion.confirm(b"b")
    assert suspicion.until == pytest.approx(114.0)
    assert not suspicion.confirm(b"a")
    assert not suspicion.confirm(b"b")
    assert suspicion.confirm(b"c")
    assert suspicion.confirm(b"d")
    assert suspicion.until == 104.0
    assert suspicion.full
    assert not suspicion.confirm(b"e")
    assert suspicion.confirmed == 3


def test_a_member_that_doubts_itself_waits_longer_once_and_not_for_ever() -> None:
    """Those who are well will speak if it is true; if nobody is, an end must come."""
    suspicion = Suspicion(0.0, 4.0, 24.0, 3, b"a")
    assert suspicion.postpone(24.0, 1, -1.0)
    assert suspicion.until == 48.0
    assert suspicion.postpone(48.0, 8, -1.0)
    assert suspicion.until == PATIENCE * 24.0
    assert not suspicion.postpone(PATIENCE * 24.0, 8, -1.0)


def test_full_confirmation_needs_no_health_of_our_own() -> None:
    suspicion = Suspicion(0.0, 4.0, 24.0, 1, b"a")
    suspicion.confirm(b"b")
    assert not suspicion.postpone(4.0, 8, -1.0)


def test_who_was_heard_meanwhile_gets_time_to_object_but_not_for_ever() -> None:
    """It lives and has not heard of the suspicion, or hears nobody at all."""
    suspicion = Suspicion(0.0, 4.0, 24.0, 1, b"a")
    suspicion.confirm(b"b")
    assert suspicion.postpone(4.0, 0, 3.0)
    assert suspicion.until == 7.0
    assert suspicion.postpone(7.0, 0, 6.9)
    assert suspicion.postpone(22.0, 0, 21.0)
    assert suspicion.until == 24.0
    assert not suspicion.postpone(24.0, 0, 23.9)


def test_suspicions_end_in_the_order_of_their_time_and_each_once() -> None:
    suspicions = Suspicions(LAN)
    assert suspicions.next == NEVER
    b, c = suspect("b"), suspect("c")
    suspicions.begin(b, b"a", 10, 0.0)
    begun = suspicions.begin(c, b"a", 10, 1.0, short=True)
    assert suspicions.next == pytest.approx(1.0 + 2.6)
    suspicions.watch(c, begun)  # told twice of the same end
    assert suspicions.due(3.7) == [c]
    assert suspicions.due(3.7) == []
    assert suspicions.next == pytest.approx(6 * 2.6)


def test_a_suspicion_that_is_over_for_its_member_ends_nothing() -> None:
    suspicions = Suspicions(LAN)
    b = suspect()
    suspicions.begin(b, b"a", 10, 0.0)
    b.suspicion = None
    assert suspicions.due(100.0) == []
    assert suspicions.next == NEVER


def test_a_confirmation_moves_the_end() -> None:
    suspicions = Suspicions(LAN)
    b = suspect()
    suspicion = suspicions.begin(b, b"a", 10, 0.0)
    for accuser in (b"b", b"c", b"d"):
        suspicion.confirm(accuser)
        suspicions.watch(b, suspicion)
    assert suspicions.next == pytest.approx(2.6)
    assert suspicions.due(2.6) == [b]


def test_sleep_moves_every_end_by_itself_once() -> None:
    suspicions = Suspicions(LAN)
    b = suspect()
    suspicion = suspicions.begin(b, b"a", 10, 0.0, short=True)
    suspicions.watch(b, suspicion)
    suspicions.push(50.0, now=51.0)
    assert suspicion.since == 50.0
    assert suspicions.next == pytest.approx(53.6)


def test_after_sleep_a_suspect_has_at_least_the_time_that_an_objection_takes() -> None:
    suspicions = Suspicions(LAN)
    suspicion = suspicions.begin(suspect(), b"a", 10, 0.0, short=True)
    suspicions.push(50.0, now=52.5)
    assert suspicion.until == pytest.approx(52.5 + 2.6)


def test_without_lifeguard_a_suspicion_has_one_length() -> None:
    suspicions = Suspicions(replace(LAN, lifeguard=False))
    suspicion = suspicions.begin(suspect(), b"a", 10, 0.0)
    assert suspicion.until == pytest.approx(2.6)
    assert not suspicion.confirm(b"b")


def test_of_two_members_neither_can_be_confirmed_and_the_wait_is_neither_shortest_nor_longest() -> None:
    suspicions = Suspicions(LAN)
    assert suspicions.begin(suspect(), b"a", 2, 0.0).until == pytest.approx(2 * 2.18, abs=0.01)
