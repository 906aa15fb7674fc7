"""What a service reports of its group's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.census import ConfigReport, Outcome
from supervisor.groups import Document
from supervisor.service.configured import Standing, report_of
from supervisor.service.events import State

SEVEN = Standing(newest=7, document=Document(7, ""))
REFUSED = Standing(newest=7, document=Document(6, ""), refused="does not fit")
WAITS = Standing(newest=7, waits="has lost bind redis")
AS_IT_SHOULD_BE: dict[str, Any] = {"applied": 7, "acted_on": True, "blocked": "", "trouble": ""}


@pytest.mark.parametrize(
    ("standing", "state", "change", "outcome", "because"),
    [
        (SEVEN, State.READY, {}, Outcome.RENDERED, ""),
        (SEVEN, State.READY, {"acted_on": False, "applied": 6}, Outcome.PENDING, ""),
        (
            SEVEN,
            State.READY,
            {"trouble": "the reconfigure hook failed"},
            Outcome.FAILED,
            "the reconfigure hook failed",
        ),
        (SEVEN, State.STARTING, {}, Outcome.PENDING, ""),
        (SEVEN, State.STOPPING, {"acted_on": False}, Outcome.PENDING, ""),
        (SEVEN, State.WAITING, {}, Outcome.PENDING, ""),
        (SEVEN, State.WAITING, {"blocked": "nobody runs redis.default"}, Outcome.ACCEPTED, "nobody runs redis.default"),
        (SEVEN, State.BACKOFF, {}, Outcome.FAILED, "it is backoff: it is so"),
        (SEVEN, State.CRASH_LOOPING, {}, Outcome.FAILED, "it is crash-looping: it is so"),
        (REFUSED, State.READY, {"applied": 6}, Outcome.FAILED, "does not fit"),
        (REFUSED, State.WAITING, {"applied": 6, "blocked": "x"}, Outcome.FAILED, "does not fit"),
        (WAITS, State.READY, {"acted_on": False}, Outcome.ACCEPTED, "has lost bind redis"),
    ],
)
def test_what_is_reported(standing: Standing, state: State, change: dict[str, Any], outcome: Outcome, because: str) -> None:
    """Rendered is said only of a service that serves with all that was rendered."""
    facts = AS_IT_SHOULD_BE | change
    assert report_of(standing, state, "it is so", **facts) == ConfigReport(
        revision=7, in_force=facts["applied"], outcome=outcome, because=because
    )


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_report(state: State) -> None:
    """Nothing but a service that is ready counts as rendered."""
    assert (report_of(SEVEN, state, "", **AS_IT_SHOULD_BE).outcome is Outcome.RENDERED) is (state is State.READY)
