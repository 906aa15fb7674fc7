"""What kinds of records a ring carries: one table, and nothing else is accepted.

Rules: a key belongs to at most one row. A fact is authored only by the member that its key names; a document by any member. What is bound
to a member (its facts, the word that it has departed) is accepted only while that member is known and goes with it. `kept` is how many
bodies of one key a member remembers, greatest first.

Keys are text that people see and files are named after, so their parts are plain: letters, digits and a few signs, no leading dot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hart.limits import RING_CONFIG_KEPT, RING_CONFIG_MAX, RING_FACT_MAX, RING_FILE_MAX, RING_KEY_TEXT_MAX, RING_NOTE_MAX
from supervisor.gossip.messages import MemberId

_ID = r"(?P<id>[0-9a-f]{32})"
_GROUP = r"[A-Za-z0-9_-]{1,128}\.[A-Za-z0-9_-]{1,128}"
_PART = r"[A-Za-z0-9_@+~][A-Za-z0-9._@+~-]{0,127}"
FLOOR = "floor"  # of the facts of a member: see records.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row. `pattern` matches the whole key; its group `id` names the member that the record is bound to. Sizes in bytes."""

    name: str
    pattern: re.Pattern[str]
    fact: bool  # only the member itself may author it; versions are (generation, counter), not (revision, 0)
    body_max: int
    kept: int


def _row(name: str, pattern: str, *, fact: bool = False, body_max: int, kept: int = 1) -> Kind:
    return Kind(name=name, pattern=re.compile(pattern, re.ASCII), fact=fact, body_max=body_max, kept=kept)


KINDS = (  # the first row that matches
    _row("floor", f"member/{_ID}/{FLOOR}", fact=True, body_max=0),
    _row("fact", f"member/{_ID}/{_PART}(?:/{_PART}){{0,2}}", fact=True, body_max=RING_FACT_MAX),
    _row("config", f"group/{_GROUP}/config", body_max=RING_CONFIG_MAX, kept=RING_CONFIG_KEPT),
    _row("file", f"group/{_GROUP}/file/{_PART}", body_max=RING_FILE_MAX),
    _row("departed", f"ring/departed/{_ID}", body_max=RING_NOTE_MAX),
    _row("ring", f"ring/(?!departed/){_PART}(?:/{_PART})?", body_max=RING_CONFIG_MAX),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key belongs. `member` None: the record outlives its author."""

    kind: Kind
    member: MemberId | None


def place(key: str) -> Place | None:
    """None for a key of no kind."""
    if len(key) > RING_KEY_TEXT_MAX:
        return None
    for kind in KINDS:
        if match := kind.pattern.fullmatch(key):
            named = match.groupdict().get("id")
            return Place(kind, None if named is None else bytes.fromhex(named))
    return None


def fact_prefix(member: MemberId) -> str:
    """What the keys of its facts begin with."""
    return f"member/{member.hex()}/"


def departed_key(member: MemberId) -> str:
    """Of the document that says that it has departed."""
    return f"ring/departed/{member.hex()}"
