"""Who has taken a version of a group's configuration: counted from what the members report. Pure.

Rules: only members on hosts that the ring believes alive are waited for. Accepted counts everybody whose schema and templates take it,
rendered those of them that run with it already; who failed is named with the reason. Who reports a newer version was not asked about this
one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from supervisor.census import Member, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Members by name; `failed` with the reason."""

    accepted: tuple[str, ...] = ()
    rendered: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    superseded: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.silent

    def row(self) -> dict[str, Any]:
        return {
            "accepted": len(self.accepted),
            "rendered": len(self.rendered),
            "failed": [{"member": name, "because": because} for name, because in self.failed],
            "superseded": list(self.superseded),
            "silent": list(self.silent),
        }

    def __str__(self) -> str:
        parts = [f"accepted by {len(self.accepted)}, rendered by {len(self.rendered)}"]
        parts += [f"failed on {name} because {because}" for name, because in self.failed]
        if self.superseded:
            parts.append(f"{', '.join(self.superseded)} has a newer one already")
        if self.silent:
            parts.append(f"no answer yet from {', '.join(self.silent)}")
        return "; ".join(parts)


def count(members: Iterable[Member], revision: int) -> Tally:
    """What these members, all of one group, say of this version."""
    found = list(members)
    names = named(found)
    accepted, rendered, failed, superseded, silent = [], [], [], [], []
    for member, name in zip(found, names, strict=True):
        report = member.config
        if report.revision < revision or (report.revision == revision and report.outcome is Outcome.PENDING):
            silent.append(name)
        elif report.revision > revision:
            superseded.append(name)
        elif report.outcome is Outcome.FAILED:
            failed.append((name, report.because))
        else:
            accepted.append(name)
            if report.outcome is Outcome.RENDERED:
                rendered.append(name)
    return Tally(
        accepted=tuple(accepted), rendered=tuple(rendered), failed=tuple(failed), superseded=tuple(superseded), silent=tuple(silent)
    )


def named(members: Iterable[Member]) -> list[str]:
    """Host names, with the first digits of the id where two members have one name."""
    found = list(members)
    often = Counter(member.sys.hostname for member in found)
    return [
        member.sys.hostname if often[member.sys.hostname] == 1 else f"{member.sys.hostname} ({member.sys.member_id[:8]})"
        for member in found
    ]
