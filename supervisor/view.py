"""What people and programs are shown of a service. Pure: from the service's parts to plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from supervisor import clock
from supervisor.service.events import Health, State

if TYPE_CHECKING:
    from supervisor.service.driver import Service

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
        "state": str(life.state),
        "ready": life.state is State.READY,
        "health": str(life.health) if life.plan.health_check else str(no_check(life.state)),
        "since": clock.stamp(at(life.since)),
        "pid": service.process.pid,
        "restarts": life.restarts,
        "failures": life.failures,
        "because": why(service),
        "degraded": "; ".join(troubles(service)) or None,
        "notice": (service.kit.account.notice or None) if service.kit is not None else None,
        "channel": spec.channel,
        "strategy": str(spec.strategy),
        "update": service.memory.update_note or None,
        "on_trial": str(choice.release) if choice is not None and choice.base is not None else None,
        "quarantined": str(choice.quarantined) if choice is not None and choice.quarantined is not None else None,
        "binds": [str(bind) for bind in spec.binds],
        "after": list(spec.after),
        "requires_ready": list(spec.requires_ready),
        "config": service.memory.record.revision,
        "hooks": dict(service.hook_results),
        "why": [
            {"at": clock.stamp(at(decision.at)), "state": str(decision.state), "because": decision.because} for decision in life.decisions
        ],
    }


def no_check(state: State) -> Health:
    """Without a health check ready is all that is known, and it counts as healthy."""
    return Health.HEALTHY if state is State.READY else Health.UNKNOWN


def why(service: Service) -> str:
    """The last reason, with what is not as it should be."""
    life = service.life
    parts = [life.because]
    if life.state is State.STARTING and service.waits_for:
        parts.append(f"not ready yet: {service.waits_for}")
    parts += [f"degraded: {trouble}" for trouble in troubles(service)]
    return "; ".join(parts)


def troubles(service: Service) -> list[str]:
    """What is not as it should be, though it runs."""
    untold = service.host.untold.get(str(service.spec.service_group), "")
    every = (service.degraded, service.hook_trouble, service.files.trouble, service.memory.trouble, untold)
    return [trouble for trouble in every if trouble]
