"""A row of health checks: what makes a service unhealthy, and healthy again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.service.checks import GOOD, NONE_YET, Checks
from supervisor.service.events import Check, Health


def row(*checks: Check, failures: int = 3, successes: int = 2) -> Checks:
    found = NONE_YET
    for check in checks:
        found = found.after(check, failures=failures, successes=successes)
    return found


def test_the_first_good_one_is_enough_for_what_was_never_unhealthy() -> None:
    assert row(Check.OK).health is Health.HEALTHY
    assert row(Check.CRITICAL, Check.CRITICAL, Check.WARNING).health is Health.HEALTHY
    assert row(Check.CRITICAL).health is Health.UNKNOWN


def test_so_many_bad_ones_in_a_row_make_it_unhealthy_and_unknown_is_one_of_them() -> None:
    bad = (Check.CRITICAL, Check.UNKNOWN, Check.CRITICAL)
    assert row(Check.OK, *bad[:2]).health is Health.HEALTHY
    assert row(Check.OK, *bad[:2], Check.OK, *bad[:2]).health is Health.HEALTHY
    assert row(Check.OK, *bad).health is Health.UNHEALTHY


def test_so_many_good_ones_in_a_row_make_it_healthy_again() -> None:
    ill = (Check.UNKNOWN,) * 3
    assert row(*ill, Check.OK).health is Health.UNHEALTHY
    assert row(*ill, Check.OK, Check.CRITICAL, Check.OK).health is Health.UNHEALTHY
    assert row(*ill, Check.OK, Check.WARNING) == Checks(health=Health.HEALTHY, last=Check.WARNING, good=2)


@given(st.lists(st.sampled_from(Check), max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_it_is_what_the_whole_row_says(checks: list[Check], failures: int, successes: int) -> None:
    """The obviously right twin: look at the tails of the whole row, each time from its begin."""
    health = Health.UNKNOWN
    for count in range(1, len(checks) + 1):
        seen = checks[:count]
        if len(seen) >= failures and all(check not in GOOD for check in seen[-failures:]):
            health = Health.UNHEALTHY
        elif seen[-1] in GOOD and (health is not Health.UNHEALTHY or (all(c in GOOD for c in seen[-successes:]) and count >= successes)):
            health = Health.HEALTHY
    assert row(*checks, failures=failures, successes=successes).health is health
