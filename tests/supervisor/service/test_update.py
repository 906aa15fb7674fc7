"""Which release runs, and when it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hart.ident import Ident
from supervisor.service.spec import Condition, ServiceSpec, Strategy
from supervisor.service.update import (
    Choice,
    begin_trial,
    decide,
    end_trial,
    first_choice,
    go_back,
    next_question_s,
    still_wanted,
)


def release(number: int, version: str = "1.0") -> Ident:
    return Ident("t", "web", version, f"2026010100000{number}")


SPEC = ServiceSpec(ident=Ident("t", "web"), strategy=Strategy.AT_ONCE)
RUNS_2 = Choice(release=release(2))


def test_a_newer_head_is_taken() -> None:
    assert decide(SPEC, RUNS_2, release(3)).target == release(3)


@pytest.mark.parametrize(
    ("spec", "choice", "head", "because"),
    [
        (replace(SPEC, strategy=Strategy.NONE), RUNS_2, release(3), "strategy is none"),
        (replace(SPEC, ident=release(2)), RUNS_2, release(3), "names one release"),
        (SPEC, RUNS_2, None, "not in channel stable"),
        (SPEC, RUNS_2, release(2), "has the release that runs"),
        (SPEC, RUNS_2, release(1), "older"),
        (SPEC, replace(RUNS_2, quarantined=release(3)), release(3), "quarantine"),
        (SPEC, replace(RUNS_2, base=release(1)), release(3), "on trial"),
    ],
)
def test_otherwise_it_stays_and_says_why(spec: ServiceSpec, choice: Choice, head: Ident | None, because: str) -> None:
    verdict = decide(spec, choice, head)
    assert verdict.target is None
    assert because in verdict.because


def test_track_channel_goes_back_too() -> None:
    assert decide(replace(SPEC, condition=Condition.TRACK_CHANNEL), RUNS_2, release(1)).target == release(1)


def test_a_head_that_moved_on_from_the_quarantined_one_is_tried() -> None:
    assert decide(SPEC, replace(RUNS_2, quarantined=release(3)), release(4)).target == release(4)


def test_a_trial_ends_on_the_new_release_or_goes_back_with_a_quarantine() -> None:
    trial = begin_trial(RUNS_2, release(3))
    assert trial == Choice(release=release(3), base=release(2))
    assert end_trial(trial) == Choice(release=release(3))
    assert go_back(trial) == Choice(release=release(2), quarantined=release(3))
    assert go_back(RUNS_2) is None, "what is not on trial has nothing to go back to"


def test_a_recorded_release_stays_until_the_spec_names_something_else() -> None:
    """A crash or a reboot never upgrades (W6)."""
    assert still_wanted(SPEC, RUNS_2) is RUNS_2
    assert still_wanted(replace(SPEC, ident=Ident("t", "web", "2.0")), RUNS_2) is None
    assert first_choice(SPEC, [release(1), release(3), Ident("t", "other", "9", "20270101000000"), release(2)]) == release(3)
    assert first_choice(SPEC, []) is None


@pytest.mark.parametrize(("unanswered", "middle"), [(0, 60), (1, 120), (2, 240), (4, 600), (50, 600)])
def test_questions_are_spread_and_slow_down_while_nobody_answers(unanswered: int, middle: float) -> None:
    assert next_question_s(60, unanswered, 0.0) == pytest.approx(middle * 0.8)
    assert next_question_s(60, unanswered, 0.5) == pytest.approx(middle)
    assert next_question_s(60, unanswered, 1.0) == pytest.approx(middle * 1.2)
