"""How a service stands to its group's configuration, and what it reports of it. Pure.

Rules: a report is about the newest version that the service has looked at, so whoever applied that version knows when everybody has. What
fails is said with its reason, and so is what only waits; a version that the service runs with is `rendered` when the running process was
started or reconfigured with it, and serves.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.census import ConfigReport, Outcome
from supervisor.groups import NONE_YET, Document
from supervisor.service.events import PAUSED, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`document` is what was rendered last, `newest` the newest version then; `refused`: why they differ, or why nothing could be rendered;
    `waits`: what is missing, so that nothing could be said yet."""

    newest: int = NONE_YET
    document: Document | None = None
    refused: str = ""
    waits: str = ""

    @property
    def in_force(self) -> int:
        return self.document.version if self.document is not None else NONE_YET


def report_of(standing: Standing, state: State, because: str, *, applied: int, acted_on: bool, blocked: str, trouble: str) -> ConfigReport:
    """`applied`: the version that the process has; `acted_on`: whether that is all that was rendered; `blocked`: what a start waits for;
    `trouble`: how the last reconfigure failed."""
    outcome, why = Outcome.PENDING, ""
    if standing.refused:
        outcome, why = Outcome.FAILED, standing.refused
    elif state in PAUSED:
        outcome, why = Outcome.FAILED, f"it is {state}: {because}"
    elif state is State.WAITING and blocked:
        outcome, why = Outcome.ACCEPTED, blocked
    elif state is State.READY and standing.waits:
        outcome, why = Outcome.ACCEPTED, standing.waits
    elif state is State.READY and trouble:
        outcome, why = Outcome.FAILED, trouble
    elif state is State.READY and acted_on:
        outcome = Outcome.RENDERED
    return ConfigReport(revision=standing.newest, in_force=applied, outcome=outcome, because=why)
