"""What every way of fetching a source offers, and what it is given.

Rules: a scheme brings the bytes of one pin into an empty directory, or says what they hash to when it must not keep them; it runs no
code of what it fetches; it never decides whether a hash is right (`fetch` does, over the bytes themselves).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.plan import Pin
from hart.console import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What schemes may use: the plan's folder, the source cache, the caller's environment, and leave to reach private addresses."""

    plan_dir: Path
    cache: Path
    environ: Mapping[str, str]
    allow_private: bool = False
    progress: Progress = lambda _done, _total, /: None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetched file, or (path None) only the sha256 that its bytes have."""

    path: Path | None
    filename: str
    sha256: str | None = None


class Fetch(Protocol):
    """Bring the pin's file into the empty directory `into`. Raises UnavailableError, NotFoundError, LimitError, StorageError."""

    def __call__(self, pin: Pin, into: Path, around: Surroundings, /) -> Fetched: ...
