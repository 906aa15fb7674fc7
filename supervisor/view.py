"""What people and programs are shown of a service. Pure: from the service's parts to plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hart.containment import shown
from supervisor import clock
from supervisor.service.events import Health, State
from supervisor.service.job import told

if TYPE_CHECKING:
    from supervisor.service.driver import Service
    from supervisor.service.jobs import Run

COLUMNS = ("service", "release", "desired", "state", "ready", "health", "since", "pid", "restarts", "because")


def row(service: Service, at: Callable[[float], float]) -> dict[str, Any]:
    """One service, as `svc status --json` shows it; `at` turns the drivers' clock into wall time."""
    life, spec, choice = service.life, service.spec, service.memory.record.choice
    return {
        "service": service.name,
        "group": str(spec.service_group),
        "ident": str(spec.ident),
        "release": str(service.release) if service.release is not None else None,
        "desired": str(spec.desired) if not service.gone else "unloaded",
        "state": str(life.state) if not between_runs(service) else "scheduled",
        "ready": life.state is State.READY,
        "health": str(life.health) if life.plan.health_check else str(no_check(life.state)),
        "since": clock.stamp(at(life.since)),
        "pid": service.process.pid,
        "restarts": life.restarts,
        "failures": life.failures,
        "because": why(service),
        "last_lines": list(service.last_lines),
        "degraded": "; ".join(troubles(service)) or None,
        "notice": (service.kit.account.notice or None) if service.kit is not None else None,
        "containment": contained(service),
        "less": list(service.process.less),
        "channel": spec.channel,
        "strategy": str(spec.strategy),
        "update": service.memory.update_note or None,
        "on_trial": str(choice.release) if choice is not None and choice.base is not None else None,
        "quarantined": str(choice.quarantined) if choice is not None and choice.quarantined is not None else None,
        "binds": [str(bind) for bind in spec.binds],
        "after": list(spec.after),
        "requires_ready": list(spec.requires_ready),
        "bundle": spec.bundle or None,
        **job_row(service),
        "config": service.memory.record.revision,
        "hooks": dict(service.hook_results),
        "why": [
            {"at": clock.stamp(at(decision.at)), "state": str(decision.state), "because": decision.because} for decision in life.decisions
        ],
    }


def contained(service: Service) -> str | None:
    """What its process is held by and may use, as it was started."""
    if service.process.pid is None or service.kit is None:
        return None
    limits = ", ".join(f"{name} {shown(name, number)}" for name, number in sorted(service.kit.containment.limits.items()))
    return f"{service.process.containment or 'session only: an older holder started it'}; {limits}"


def between_runs(service: Service) -> bool:
    """Whether it is a job that waits until it is due."""
    return service.job is not None and service.job.next_run is not None and service.life.state is State.DOWN


def job_row(service: Service) -> dict[str, Any]:
    """What a job has beside a service."""
    job, spec = service.job, service.spec
    if job is None:
        return {}
    return {
        "schedule": str(spec.schedule) if spec.schedule is not None else "once",
        "overlap": str(spec.schedule.overlap) if spec.schedule is not None else None,
        "next_run": clock.stamp(job.next_run) if job.next_run is not None else None,
        "queued": bool(job.book.queued),
        "skipped": job.book.skipped,
        "last_run": said_of(job.book.last) if job.book.last is not None else None,
        "runs": [told(run) for run in job.book.runs],
    }


def said_of(run: Run) -> str:
    return f"{run.outcome} at {clock.stamp(run.ended_at)}: {run.because}"


def no_check(state: State) -> Health:
    """Without a health check ready is all that is known, and it counts as healthy."""
    return Health.HEALTHY if state is State.READY else Health.UNKNOWN


def told_of(lines: list[str]) -> list[str]:
    """The last lines of a log as a part of a sentence; nothing where there are none."""
    return [f"last lines: {' | '.join(lines)}"] if lines else []


def why(service: Service) -> str:
    """The last reason, with what is not as it should be."""
    life = service.life
    parts = [life.because]
    if between_runs(service) and service.job is not None:
        last = said_of(service.job.book.last) if service.job.book.last is not None else "it has not run yet"
        parts = [f"next run at {clock.stamp(service.job.next_run or 0.0)}; last: {last}"]
    if life.state is State.STARTING and service.waits_for:
        parts.append(f"not ready yet: {service.waits_for}")
    parts += told_of(service.last_lines)
    parts += [f"degraded: {trouble}" for trouble in troubles(service)]
    return "; ".join(parts)


def troubles(service: Service) -> list[str]:
    """What is not as it should be, though it runs."""
    untold = service.host.untold.get(str(service.spec.service_group), "")
    job = service.job.trouble if service.job is not None else ""
    every = (job, service.degraded, service.hook_trouble, service.files.trouble, service.memory.trouble, untold)
    return [trouble for trouble in every if trouble]
