"""The wait after failures."""

from __future__ import annotations

import pytest

from hart.errors import UsageError
from supervisor.service.backoff import Backoff, Failure, cause, wait_s

POLICY = Backoff(min_s=1, max_s=60, cooldown_s=300)


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10_000, 60)])
def test_the_wait_doubles_up_to_the_longest_and_half_of_it_is_chance(failures: int, longest: float) -> None:
    assert wait_s(POLICY, failures, 0.0) == longest
    assert wait_s(POLICY, failures, 0.5) == longest * 0.75
    assert longest / 2 < wait_s(POLICY, failures, 0.999) < longest


@pytest.mark.parametrize(("min_s", "max_s", "cooldown_s"), [(0, 60, 300), (5, 1, 300), (1, 60, 0), (-1, 2, 3)])
def test_a_policy_that_would_loop_hot_is_refused(min_s: float, max_s: float, cooldown_s: float) -> None:
    """Habitat's default of 0 is a hot loop (W9)."""
    with pytest.raises(UsageError):
        Backoff(min_s=min_s, max_s=max_s, cooldown_s=cooldown_s)


ONE = Failure(0, "exited with code 1")


@pytest.mark.parametrize(
    ("count", "last", "told"),
    [
        (1, [ONE], "exited with code 1"),
        (5, [Failure(10.0 * number, "exited with code 1") for number in range(5)], "exited with code 1, 5 times in 40 s"),
        (3, [ONE, ONE, Failure(6.4, "ended by SIGSEGV")], "ended by SIGSEGV; 3 failures in a row in 6 s"),
        (40, [ONE, Failure(60, ONE.because)], "exited with code 1, 40 times, the last 2 in 60 s"),
        (40, [ONE, Failure(60, "ended by SIGSEGV")], "ended by SIGSEGV; 40 failures in a row, the last 2 in 60 s"),
    ],
)
def test_a_row_of_failures_is_told_in_one_sentence(count: int, last: list[Failure], told: str) -> None:
    """Since when is only said of those that are still remembered."""
    assert cause(count, last) == told
