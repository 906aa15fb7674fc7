"""What can be said about a plan and its folder without building: used by `plan check` and before every build.

Rules: findings are errors (a build refuses) or warnings; each names file and line where it can; all are found in one run. Templates of
plan.toml are strict, those of plan.sh lenient.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from builder.context import Folder
from builder.plan import ASKED, Plan, Scheme
from hart.config import Schema
from hart.errors import PlanError, SteadError
from hart.template.engine import compile_template, unquoted_in_shell
from hart.toml import loads

HOOKS = (
    "install", "uninstall", "init", "run", "post-run", "health-check", "ready", "reconfigure", "suitability", "file-updated",
    "pre-stop", "post-stop",
)  # fmt: skip
OLD_HOOKS = {"health_check": "health-check", "post_run": "post-run", "post_stop": "post-stop", "file_updated": "file-updated"}


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend. `file` is relative to the plan's folder."""

    severity: Severity
    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.message}"


def error(file: str, message: str, line: int | None = None) -> Finding:
    return Finding(Severity.ERROR, file, line, message)


def warning(file: str, message: str, line: int | None = None) -> Finding:
    return Finding(Severity.WARNING, file, line, message)


def check_folder(plan: Plan, folder: Folder, *, strict: bool) -> list[Finding]:
    """Everything that is wrong with the files around a plan, or odd about them."""
    config, found = check_config(plan, folder)
    if config is not None:
        found += check_exports(plan, config)
    found += check_service(plan, folder, strict=strict)
    found += check_templates(plan, folder, strict=strict)
    return found


def check_sources(plan: Plan) -> list[Finding]:
    """Pins that are missing."""
    return [
        warning("plan.toml", f"source {pin} has no sha256; the first build refuses it and says the value")
        for source in plan.sources
        for pin in source.pins
        if pin.sha256 is None and pin.scheme is not Scheme.FILE
    ]


def check_config(plan: Plan, folder: Folder) -> tuple[dict[str, Any] | None, list[Finding]]:
    """default.toml, and default.toml against the schema."""
    found: list[Finding] = []
    config: dict[str, Any] | None = {}
    if folder.default_toml is not None:
        try:
            config = loads(folder.default_toml, thing="default.toml")
        except SteadError as fault:
            line = fault.data.get("line")
            found.append(error("default.toml", fault.cause, line if isinstance(line, int) else None))
            config = None
    if folder.schema is None:
        if plan.schema_required:
            found.append(error(plan.schema_file, "the plan names it as the schema, but it is not there"))
        return config, found
    try:
        schema = Schema.load(folder.schema, thing=plan.schema_file)
        if config is not None:
            found += [error("default.toml", f"{problem.key}: {problem.message}") for problem in schema.check(config)]
    except SteadError as fault:
        found.append(error(plan.schema_file, fault.cause))
    return config, found


def check_exports(plan: Plan, config: Mapping[str, Any]) -> list[Finding]:
    """Exports name keys that are there; exposed ones are ports."""
    found = []
    for name, key in plan.exports.items():
        value = look_up(config, key)
        if value is None:
            found.append(warning("default.toml", f"has no {key}, which is exported as {name}"))
        if name in plan.exposes and not is_port(value):
            found.append(error("default.toml", f"{key} is exposed as {name}, so it must be a port (1 to 65535), not {value!r}"))
    return found


def look_up(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, None when it is not there."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def is_port(value: Any) -> bool:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6 else value
    return isinstance(number, int) and not isinstance(number, bool) and 0 < number < 65536


def check_service(plan: Plan, folder: Folder, *, strict: bool) -> list[Finding]:
    """The service section and the hooks fit together."""
    found = []
    runs = plan.service is not None and plan.service.run
    if runs and "run" in folder.hooks:
        found.append(error("plan.toml", "both [service] run and hooks/run say how the service runs; keep one"))
    if strict and plan.service is not None and not runs and "run" not in folder.hooks:
        found.append(error("plan.toml", '[service] has neither run = "…" nor a file hooks/run'))
    for hook, file in folder.hook_files.items():
        if hook in HOOKS:
            continue
        near = OLD_HOOKS.get(hook) or next(iter(difflib.get_close_matches(hook, HOOKS, n=1)), None)
        hint = f", did you mean {near!r}?" if near else f"; hooks are {', '.join(HOOKS)}"
        old = hook in OLD_HOOKS and not strict
        message = f"{hook!r} is no hook that anything runs{hint}"
        found.append(warning(f"hooks/{file}", message) if old or not strict else error(f"hooks/{file}", message))
    return found


def check_templates(plan: Plan, folder: Folder, *, strict: bool) -> list[Finding]:
    """Hooks, configuration files and the texts of the service section compile; values in hooks are quoted."""
    found = []
    for file, text, hook in templates(plan, folder):
        if text is None:
            found.append(error(file, "is not UTF-8, so it cannot be a template"))
            continue
        try:
            compile_template(text, name=file, strict=strict, hook=hook)
        except SteadError as fault:
            line = fault.data.get("line")
            found.append(error(file, fault.cause, line if isinstance(line, int) else None))
            continue
        if hook:
            found += [
                warning(file, f"{finding.expression} is not quoted for the shell: a value with a space or a $ breaks it", finding.line)
                for finding in unquoted_in_shell(text, name=file)
            ]
    return found


def templates(plan: Plan, folder: Folder) -> Iterator[tuple[str, str | None, bool]]:
    """(file, text, whether it is a hook) of everything that is rendered; text None when it is not UTF-8."""
    for hook, data in folder.hooks.items():
        yield f"hooks/{folder.hook_files[hook]}", decoded(data), True
    for kind, files in (("config", folder.config), ("config_install", folder.config_install)):
        for name, data in files.items():
            yield f"{kind}/{name}", decoded(data), False
    if plan.service is not None:
        if plan.service.run:
            yield "plan.toml [service] run", plan.service.run, True
        for key, probe in (("ready", plan.service.ready), ("health", plan.service.health)):
            if probe is not None and probe.kind in ASKED:
                yield f"plan.toml [service.{key}]", probe.target, False


def decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def refuse_errors(findings: list[Finding], directory: Path) -> list[Finding]:
    """The warnings; PlanError when there are errors."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return findings
    data = [{"file": finding.file, "line": finding.line, "message": finding.message} for finding in errors]
    if len(errors) == 1:
        place = f"{directory / errors[0].file}{f':{errors[0].line}' if errors[0].line else ''}"
        raise PlanError(place, errors[0].message, next=f"stead plan check {directory}", problems=data)
    listing = "".join(f"\n  {finding}" for finding in errors)
    raise PlanError(str(directory), f"{len(errors)} problems{listing}", next=f"stead plan check {directory}", problems=data)
