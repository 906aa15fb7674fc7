"""What counts as drift, and when a file is given up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hart.filelist import EXTRA, NO_LIST, Problem
from hart.limits import VERIFY_TRIES
from supervisor.drift import Finding, Kind, Outcome, Tries, exit_code, judge, told
from supervisor.upkeep import Budget, CalledOffError, aside

CHANGED, MORE, UNSIGNED = Problem("bin/a", "has other content"), Problem("x.pyc", EXTRA), Problem("FILES", NO_LIST)


def test_a_package_is_installed_again_for_what_was_changed_and_not_for_what_came_in_addition() -> None:
    """Byte code that an interpreter wrote is no reason to replace a package every five minutes."""
    assert (judge([CHANGED, MORE]).again, judge([CHANGED, MORE]).noted) == ((CHANGED,), (MORE,))
    assert judge([MORE]).again == ()
    assert judge([UNSIGNED]).again == (), "nothing to compare with"
    assert judge([Problem("FILES", "is not signed by an authorised key")]).again
    assert judge([]) == judge(iter([]))


def test_many_problems_are_told_as_the_first_and_a_number() -> None:
    assert told([CHANGED]) == "bin/a has other content"
    assert told([CHANGED] * 10).endswith("and 7 more")


def test_a_file_that_its_service_writes_again_and_again_is_left_alone() -> None:
    """Nobody wins a fight over a file; one that is quiet for once is forgiven."""
    tries = Tries()
    for _ in range(VERIFY_TRIES):
        assert tries.allowed("web", ["config/a", "config/b"]) == {"config/a", "config/b"}
        tries.count("web", ["config/a", "config/b"], ["config/a", "config/b"])
    assert tries.allowed("web", ["config/a"]) == set()
    assert tries.allowed("db", ["config/a"]) == {"config/a"}
    tries.count("web", [], ["config/b"])
    assert tries.allowed("web", ["config/a", "config/b"]) == {"config/a"}
    tries.forget("web")
    assert tries.allowed("web", ["config/b"]) == {"config/b"}


@pytest.mark.parametrize(("outcomes", "code"), [([], 0), ([Outcome.REPAIRED, Outcome.NOTED], 0), ([Outcome.REPAIRED, Outcome.LEFT], 12)])
def test_only_what_is_left_as_it_should_not_be_is_an_exit_code(outcomes: list[Outcome], code: int) -> None:
    findings = [Finding(kind=Kind.RENDERED, subject="web", path="run", outcome=outcome, because="so") for outcome in outcomes]
    assert exit_code(findings) == code
    assert all(set(finding.row()) == {"outcome", "kind", "subject", "path", "because"} for finding in findings)


def test_a_look_has_a_budget_and_ends_when_nobody_wants_it_any_more() -> None:
    budget = Budget(100, share=1.0)
    budget.pause(60)
    assert not budget.spent
    budget.pause(60)
    assert budget.spent
    assert not Budget(None, share=1.0).spent
    budget.called_off = True
    with pytest.raises(CalledOffError):
        budget.pause(1)


def test_work_aside_gives_its_result_or_its_error() -> None:
    """In a thread of its own, which nobody waits for when the loop ends."""

    async def story() -> tuple[bool, str]:
        inside = await aside(lambda: threading.current_thread() is not threading.main_thread(), name="inside")
        try:
            await aside(lambda: 1 // 0, name="wrong")
        except ZeroDivisionError as error:
            return inside, str(error)
        return inside, ""

    inside, said = asyncio.run(story())
    assert (inside, "division" in said) == (True, True)
