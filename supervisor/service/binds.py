"""Who feeds a service's binds now. Pure.

Rules: before a start, a strict bind that nobody can feed is waited for, and a relaxed one is left out. While the service runs, a bind that
is lost keeps its last feeders: what was rendered stays true to what was known, the service is not restarted for it, and `svc status` says
that it is degraded. When the bind is back, what it says then is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hart.errors import ServiceError
from hart.metafiles import Metadata
from supervisor.census import Census, Member, missing
from supervisor.service.spec import BindingMode, ServiceSpec, check_binds


class NotFedError(ServiceError):
    """A bind is not there yet, or not any more: nothing is wrong with the service itself."""


def feed(
    spec: ServiceSpec, metadata: Metadata, census: Census, last: Mapping[str, Sequence[Member]], *, waiting: bool
) -> tuple[dict[str, tuple[Member, ...]], str]:
    """Members of each bind that can be used, and why the service is degraded (empty: it is not).

    NotFedError: a strict bind is not there, and it is `waiting` to start, or nothing is known of that bind's last feeders.
    """
    check_binds(spec, metadata.binds, metadata.binds_optional)
    needed = {**metadata.binds_optional, **metadata.binds}
    fed: dict[str, tuple[Member, ...]] = {}
    lost = []
    for bind in spec.binds:
        why = missing(census, bind, needed[bind.name])
        if why is None:
            fed[bind.name] = census.serving(bind.group)
            continue
        if bind.name in last:
            fed[bind.name] = tuple(last[bind.name])
            lost.append(why)
        elif spec.binding_mode is BindingMode.STRICT:
            raise NotFedError(f"service {spec.name}", f"{'waits for' if waiting else 'has lost'} {why}")
    return fed, f"{'; '.join(lost)}: its last known members stay in use" if lost else ""
