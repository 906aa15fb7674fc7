"""The rate of a log: bursts pass, floods do not, and what is calm again is heard again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.holder.budget import Budget


def test_a_burst_passes_and_a_flood_is_shut_until_a_seconds_worth_is_there() -> None:
    budget = Budget(100, 0.0, burst=300)
    assert [budget.take(100, 0.0) for _ in range(4)] == [True, True, True, False]
    assert (budget.take(1, 0.99), budget.shut) == (False, True)
    assert (budget.take(1, 1.0), budget.shut) == (True, False)
    assert [budget.take(size, 1.0) for size in (99, 1)] == [True, False]


def test_no_rate_is_no_limit() -> None:
    budget = Budget(0, 0.0, burst=0)
    assert all(budget.take(1 << 30, 0.0) for _ in range(100))


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(0, 500), st.floats(-1, 3)), max_size=50))
def test_never_more_than_the_burst_and_the_rate(rate: int, takes: list[tuple[int, float]]) -> None:
    """But for one read, which is never cut. Also when the clock seems to stand or to go back."""
    budget, now, passed, moved = Budget(rate, 0.0, burst=600), 0.0, 0, 0.0
    for size, step in takes:
        now += step
        moved += max(0.0, step)
        passed += size if budget.take(size, now) else 0
        assert passed <= max(600, rate) + moved * rate + 500
