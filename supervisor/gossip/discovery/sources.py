"""The table of schemes of `--join SCHEME:WHERE`. EC2 tags get their row with the EC2 issue."""

from __future__ import annotations

from collections.abc import Callable

from hart.errors import UsageError
from supervisor.gossip.discovery.dns import Srv
from supervisor.gossip.discovery.source import Say, Source
from supervisor.gossip.discovery.static import Static

SCHEMES: dict[str, Callable[[str, Say], Source]] = {
    "dns": lambda where, say: Static(f"--join dns:{where}", [where], say),
    "srv": Srv,
}


def parse_source(text: str, say: Say) -> Source:
    """UsageError for a scheme that is not known, or nothing after it."""
    scheme, _, where = text.partition(":")
    if scheme not in SCHEMES or not where:
        raise UsageError(f"--join {text}", "is not known", next=f"one of {', '.join(f'{name}:NAME' for name in SCHEMES)}")
    return SCHEMES[scheme](where, say)
