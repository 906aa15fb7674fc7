"""The simulator finds every bug that is planted for it: else it is not good enough."""

import pytest

from tests.sim.planted import BUGS, Bug, found_by_seed, found_by_story, planted
from tests.sim.seeds import run_seed


def named(bugs: list[Bug]) -> list[object]:
    return [pytest.param(bug, id=bug.name.replace(" ", "-")) for bug in bugs]


def test_there_are_a_dozen_bugs_and_no_two_are_one() -> None:
    """A dozen at least; each is another change."""
    assert len(BUGS) >= 12
    assert len({(bug.where, bug.says, bug.lies) for bug in BUGS}) == len({bug.name for bug in BUGS}) == len(BUGS)
    assert all(bug.stories or bug.seeds is not None for bug in BUGS)


@pytest.mark.parametrize("bug", named([bug for bug in BUGS if bug.stories]))
def test_a_story_finds_the_planted_bug(bug: Bug) -> None:
    """By a condition that is not met, or a rule that does not hold."""
    assert any(found_by_story(bug, story) for story in bug.stories)


@pytest.mark.slow
@pytest.mark.parametrize("bug", named([bug for bug in BUGS if bug.seeds is not None]))
def test_random_seeds_find_the_planted_bug(bug: Bug) -> None:
    """Without anybody having written its story."""
    assert found_by_seed(bug)


def test_a_bug_is_gone_when_it_is_not_planted_any_more() -> None:
    """Planting leaves nothing behind."""
    before = run_seed(2)
    with planted(BUGS[0]):
        pass
    assert run_seed(2) == before
