"""`plan check`: everything that can be known about a plan without building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import checks, shellrecipe
from builder.checks import Finding, Severity
from builder.context import PlanPlace, locate, read_folder, read_text
from builder.plan import Plan
from builder.planfile import read_plan
from builder.plansh import plan_of
from hart.errors import PlanError, SteadError
from hart.root import Root
from hart.target import host_target

EVALUATION_RELEASE = "20000101000000"  # a plan.sh may use its release at the top level; nothing is built from it


@dataclass(frozen=True, slots=True)
class Outcome:
    """All findings of one plan."""

    file: Path
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]

    def as_json(self) -> dict[str, Any]:
        found = [
            {"severity": str(entry.severity), "file": entry.file, "line": entry.line, "message": entry.message} for entry in self.findings
        ]
        return {"plan": str(self.file), "ok": not self.errors, "findings": found}


def check_plan(context: Path, *, root: Root, environ: Mapping[str, str]) -> Outcome:
    """Check the plan of a folder. NotFoundError or PlanError only when there is no plan to check."""
    place = locate(context, host_target())
    findings: list[Finding] = []
    plan: Plan | None = None
    try:
        plan = read_any(place, root=root, environ=environ)
    except PlanError as error:
        findings += listed(error, place)
    schema = plan.schema_file if plan is not None else "config.schema.json"
    try:
        folder = read_folder(place.directory, schema_file=schema)
    except SteadError as error:
        findings.append(checks.error(error.thing, error.cause))
        return Outcome(place.file, findings)
    known = plan if plan is not None else Plan(origin=None, name="unknown", version="0")
    found = checks.check_folder(known, folder, strict=not place.is_shell)
    if plan is None:  # what depends on the plan's own words cannot be told
        found = [finding for finding in found if finding.file != place.file.name]
    elif not place.is_shell:
        found += checks.check_sources(plan)
    return Outcome(place.file, findings + found)


def read_any(place: PlanPlace, *, root: Root, environ: Mapping[str, str]) -> Plan:
    if not place.is_shell:
        return read_plan(read_text(place.file), thing=str(place.file))
    origin = environ.get("STEAD_ORIGIN") or environ.get("HAB_ORIGIN")
    variables = shellrecipe.evaluate(place, origin=origin, release=EVALUATION_RELEASE, target=host_target(), root=root, environ=environ)
    return plan_of(variables, has_run_hook=(place.directory / "hooks" / "run").is_file(), thing=str(place.file))


def listed(error: PlanError, place: PlanPlace) -> list[Finding]:
    """The problems that an error of reading a plan carries."""
    problems = error.data.get("problems")
    if not isinstance(problems, list):
        line = error.data.get("line")
        return [checks.error(place.file.name, error.cause, line if isinstance(line, int) else None)]
    return [checks.error(place.file.name, str(problem["message"]), problem["line"]) for problem in problems]
