"""In which order the services of one host start and stop. Pure.

Rules: `after` is an order and not a need: a service waits for those that are on their way up, and not for one that is not loaded, is to
stay down, or has failed. `requires-ready` is a need: each of them must be loaded, ready, and healthy where it has a check; a job must have
done its last run well. Both hold for a start only: what happens to the others later changes nothing for a service that runs. Stopping goes
the other way round, and consumers of binds stop before who feeds them. A circle is refused, and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hart import bundle
from hart.errors import ConflictError, ServiceError
from supervisor.service.events import State

if TYPE_CHECKING:
    from supervisor.service.spec import ServiceSpec

ON_THE_WAY = frozenset({State.DOWN, State.WAITING, State.INITIALIZING, State.SPAWNING})


class NotYetError(ServiceError):
    """Another service is not there yet: nothing is wrong with the one that waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What another service's start depends on. `wanted`: it is to be up; `serving`: ready, and healthy where it has a check."""

    state: State
    wanted: bool
    serving: bool
    job: bool = False
    done_well: bool = False  # a job's last run


def missing(spec: ServiceSpec, others: Mapping[str, Standing]) -> str | None:
    """What a start waits for, or None. `others` has every service of this host."""
    for name in spec.after:
        other = others.get(name)
        if other is not None and other.wanted and not other.job and other.state in ON_THE_WAY:
            return f"{name} to be started: it is {other.state}"
    for name in spec.requires_ready:
        other = others.get(name)
        if other is None:
            return f"{name}, which is not loaded"
        if other.job and not other.done_well:
            return f"a run of {name} that ends well"
        if not other.job and not other.serving:
            return f"{name} to be ready: it is {other.state}" + (", and not healthy" if other.state is State.READY else "")
    return None


def circle(specs: Mapping[str, ServiceSpec], name: str) -> list[str]:
    """The names of a circle through this service, which begins and ends with it; empty when there is none."""
    return bundle.circle({each: (*spec.after, *spec.requires_ready) for each, spec in specs.items()}, name)


def told(found: list[str]) -> str:
    return f"itself: {' after '.join(found)}"


def refuse_circle(specs: Mapping[str, ServiceSpec], name: str) -> None:
    """ConflictError when this service would wait for itself."""
    if found := circle(specs, name):
        raise ConflictError(
            f"service {name}",
            f"would wait for {told(found)}",
            next="take one of them out of --after or --requires-ready",
        )


def stop_order(specs: Mapping[str, ServiceSpec]) -> list[list[str]]:
    """Waves of names: nobody is stopped while a service that is bound to its group, or starts after it, runs; a circle is one wave."""
    left, waves = dict(specs), []
    while left:
        fed = {bind.group for spec in left.values() for bind in spec.binds if bind.group != str(spec.service_group)}
        needed = {name for spec in left.values() for name in (*spec.after, *spec.requires_ready)}
        wave = sorted(name for name, spec in left.items() if str(spec.service_group) not in fed and name not in needed) or sorted(left)
        waves.append(wave)
        for name in wave:
            del left[name]
    return waves


def start_order(specs: Mapping[str, ServiceSpec]) -> list[str]:
    """Names, those first that others wait for or are fed by."""
    return [name for wave in reversed(stop_order(specs)) for name in wave]
