"""The steps of a build from plan.toml, as a table, and how a step's log is named.

Rules: the order is the table's; a step whose plan text is empty is passed over; every step that runs leaves a log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from builder.plan import StepTexts


class StepKind(StrEnum):
    STEAD = "stead"  # our own work, in this process
    SHELL = "shell"  # the plan's text, in a process of its own


@dataclass(frozen=True, slots=True)
class Step:
    """One row. `purpose` is what a person reads while it runs."""

    name: str
    kind: StepKind
    purpose: str


STEPS = (
    Step("fetch", StepKind.STEAD, "fetch the sources"),
    Step("verify", StepKind.STEAD, "compare the sources with their pins"),
    Step("unpack", StepKind.STEAD, "unpack the sources"),
    Step("prepare", StepKind.SHELL, "prepare"),
    Step("build", StepKind.SHELL, "build"),
    Step("check", StepKind.SHELL, "check"),
    Step("install", StepKind.SHELL, "install into the package"),
    Step("package", StepKind.STEAD, "write, sign and check the package"),
)


def log_name(number: int, step: str) -> str:
    """A step's log file; the number keeps them in the order they ran."""
    return f"{number:02d}-{step}.log"


def shell_text(texts: StepTexts, step: Step) -> str:
    """What the plan says for a shell step; empty when it says nothing."""
    assert step.kind is StepKind.SHELL, step
    return str(getattr(texts, step.name))
