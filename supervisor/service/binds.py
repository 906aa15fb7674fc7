"""Who feeds a service's binds now. Pure.

Rules: before a start, a strict bind that nobody can feed is waited for, and a relaxed one is left out. While the service runs, a bind that
is lost keeps its last feeders, so that `bind.NAME.first` stays an address, and `svc status` says that the service is degraded; its
`members` are those that serve, which is nobody (context.py). When the bind is back, what it says then is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hart.errors import ServiceError
from hart.metafiles import Metadata
from supervisor.census import Census, Member, missing
from supervisor.service.spec import BindingMode, ServiceSpec, check_binds


class NotFedError(ServiceError):
    """A bind is not there yet, or not any more: nothing is wrong with the service itself."""


def outlook(spec: ServiceSpec, census: Census, member_id: str) -> tuple[object, ...]:
    """What a service on that host can see of others: equal while there is no difference for its templates."""
    peers = tuple(
        look
        for look, member in zip(census.look(spec.service_group), census.members(spec.service_group), strict=True)
        if member.sys.member_id != member_id
    )
    return peers, *(census.look(bind.group) for bind in spec.binds)


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
