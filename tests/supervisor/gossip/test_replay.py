"""The replay window: each number of each sender once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hart.limits import REPLAY_WINDOW
from supervisor.gossip.replay import Replays

A, B = b"a" * 16, b"b" * 16


@given(st.lists(st.integers(0, 3000)))
def test_no_number_is_accepted_twice_and_recent_ones_are_accepted_in_any_order(numbers: list[int]) -> None:
    """The window against a set: a number within it is accepted exactly when it was not seen; an older one never."""
    replays, seen, highest = Replays(), set[int](), -1
    for number in numbers:
        fresh = number not in seen and number > highest - REPLAY_WINDOW
        assert replays.accept(A, 1, number) is (fresh or highest == -1)
        seen.add(number)
        highest = max(highest, number)


def test_senders_and_generations_have_windows_of_their_own() -> None:
    """A restart counts from the beginning, and nobody uses up another's numbers."""
    replays = Replays()
    assert [replays.accept(A, 1, 5), replays.accept(A, 2, 5), replays.accept(B, 1, 5)] == [True] * 3
    assert not replays.accept(A, 1, 5)


def test_the_table_is_bounded_and_forgets_the_longest_silent_first() -> None:
    replays = Replays(limit=2)
    assert replays.accept(A, 1, 1)
    assert replays.accept(B, 1, 1)
    assert replays.accept(A, 1, 2)
    assert replays.accept(b"c" * 16, 1, 1)  # B goes
    assert not replays.accept(A, 1, 2)
    assert replays.accept(B, 1, 1)
