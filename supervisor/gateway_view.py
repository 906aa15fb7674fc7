"""What the gateway shows of services and groups. From the host's memory to plain values.

Rules: configuration is not shown, and what a service's schema calls secret is cut out of every text, such as a hook's last words, and of
exports. A group's members are shown as those who are bound to it see them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hart.errors import NotFoundError
from hart.schema import REDACTED, redact
from supervisor import view
from supervisor.census import Census, Member
from supervisor.context import exports_of
from supervisor.plain import plain
from supervisor.service.events import Check, Health, State

if TYPE_CHECKING:
    from supervisor.host import Host
    from supervisor.service.driver import Service

INDEX: Final = {
    "stead": "supervisor",
    "paths": {
        "/v1/ring": "this member, the others, keys by id, records by name",
        "/v1/census": "service groups, their members, and what those export",
        "/v1/services": "the services of this host",
        "/v1/services/NAME": "one of them",
        "/v1/services/NAME/health": "200 ok or warning, 503 critical or not ready, 500 not known, 404 not loaded",
        "/metrics": "Prometheus text",
    },
}
SECRET_MIN: Final = 4  # characters: a shorter value is part of too many words


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a health request."""

    status: int
    facts: dict[str, Any]


def services(host: Host, at: Callable[[float], float]) -> list[dict[str, Any]]:
    return [row(host, each, at) for _, each in sorted(host.services.items())]


def service(host: Host, name: str, at: Callable[[float], float]) -> dict[str, Any]:
    return row(host, find(host, name), at)


def row(host: Host, each: Service, at: Callable[[float], float]) -> dict[str, Any]:
    """As `svc status --json`, without secrets."""
    made = plain(view.row(each, at))
    if complaint := host.complaints.get(each.name):
        made["because"] = f"{made['because']}; its spec file is ignored: {complaint}"
    made["serving"] = each.life.serving
    cleaned: dict[str, Any] = clean(made, secret_texts(each))
    return cleaned


def find(host: Host, name: str) -> Service:
    """By name, or as SERVICE.GROUP. NotFoundError when it is not loaded."""
    found = host.services.get(name.partition(".")[0])
    if found is None or name not in (found.name, str(found.spec.service_group)):
        raise NotFoundError("service", "is not loaded on this host", next="/v1/services lists those that are")
    return found


def health(host: Host, name: str) -> Verdict:
    """Whether to send it traffic: by its state, then by the last check, as Habitat's codes."""
    each = find(host, name)
    if each.job is not None:  # it is well when its last run was
        well = each.job.book.last is None or each.job.done_well
        status, said = (200, "ok") if well else (503, "its last run did not end well")
    else:
        status, said = judge(each.life.state, each.life.health, each.life.last_check, checked=each.life.plan.health_check)
    facts = {
        "service": each.name,
        "group": str(each.spec.service_group),
        "status": said,
        "state": str(each.life.state),
        "serving": each.life.serving,
        "because": view.why(each),
    }
    return Verdict(status, clean(facts, secret_texts(each)))


def judge(state: State, held: Health, last: Check | None, *, checked: bool) -> tuple[int, str]:
    """HTTP status and word. A check that has not run yet is unknown, and unknown is never good."""
    if state is not State.READY:
        return 503, "not ready"
    if not checked:
        return 200, "ok"
    if held is Health.UNHEALTHY or last is Check.CRITICAL:
        return 503, "critical"
    if held is Health.UNKNOWN or last in (None, Check.UNKNOWN):
        return 500, "unknown"
    return 200, "warning" if last is Check.WARNING else "ok"


def census(host: Host) -> dict[str, Any]:
    """Groups and their members, also those whose host is away: `presence` is what the ring holds of it."""
    seen = host.census
    hidden = {str(each.spec.service_group): secret_exports(each) for each in host.services.values()}
    return {
        "member": host.sys.member_id,
        "groups": {
            name: {"leader": leader(seen, name), "members": [member_facts(each, hidden.get(name, frozenset())) for each in found]}
            for name, found in seen.groups.items()
        },
    }


def leader(seen: Census, group: str) -> str | None:
    found = seen.leader(group)
    return found.sys.member_id if found is not None else None


def member_facts(member: Member, hidden: frozenset[str]) -> dict[str, Any]:
    return {
        "member": member.sys.member_id,
        "host": member.sys.hostname,
        "ip": member.sys.ip,
        "release": str(member.pkg),
        "state": member.state or None,
        "health": member.health or None,
        "serving": member.serving and member.present,
        "presence": member.presence.name.lower(),
        "exports": plain({name: REDACTED if name in hidden else value for name, value in member.exports.items()}),
    }


# --- secrets


def secret_exports(each: Service) -> frozenset[str]:
    """Exports that are, or have inside, what its schema calls secret: binds get them, readers do not."""
    if each.kit is None or each.kit.schema is None or each.cfg is None:
        return frozenset()
    metadata = each.kit.package.metadata
    real, shown = exports_of(metadata, each.cfg), exports_of(metadata, redact(each.cfg, each.kit.schema.secrets()))
    return frozenset(name for name in real if shown.get(name) != real[name])


def secret_texts(each: Service) -> list[str]:
    """The values that its schema calls secret, longest first; of several lines each one too, since a quote has one."""
    if each.kit is None or each.kit.schema is None or each.cfg is None:
        return []
    hidden = between(each.cfg, redact(each.cfg, each.kit.schema.secrets()))
    texts = {part.strip() for text in hidden for part in (text, *text.splitlines())}
    return sorted({text for text in texts if len(text) >= SECRET_MIN}, key=len, reverse=True)


def between(real: Any, shown: Any) -> Iterator[str]:
    """Every single value that is in the one and not in the other, as text; both have the same shape but for what is hidden."""
    if isinstance(real, Mapping):
        for key, value in real.items():
            yield from between(value, shown[key] if isinstance(shown, Mapping) else shown)
    elif isinstance(real, (list, tuple)):
        for number, value in enumerate(real):
            yield from between(value, shown[number] if isinstance(shown, (list, tuple)) else shown)
    elif real != shown and not isinstance(real, bool):
        yield str(real)


def clean(value: Any, secrets: list[str]) -> Any:
    """The value with every secret text in it replaced."""
    if not secrets:
        return value
    pattern = re.compile("|".join(map(re.escape, secrets)))

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return pattern.sub(REDACTED, part)
        if isinstance(part, Mapping):
            return {key: walk(item) for key, item in part.items()}
        return [walk(item) for item in part] if isinstance(part, (list, tuple)) else part

    return walk(value)
