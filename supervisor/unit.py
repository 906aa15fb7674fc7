"""The unit files for systemd in `supervisor/systemd/`, filled in for a host. docs/operations.md shows the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hart.errors import UsageError

FILES: Final = Path(__file__).with_name("systemd")
PROGRAM: Final = "/opt/stead/bin/stead"
ENVIRONMENT: Final = "Environment=STEAD_ROOT=/hab STEAD_DEPOT_URL=https://depot.example.org\n"


def unit_text(*, depot: bool, program: str, root: str, url: str) -> str:
    """UsageError for what a unit file cannot hold as it is: systemd would split, expand or end the line there."""
    for thing, value in (("program", program), ("root", root), ("depot's URL", url)):
        if any(char.isspace() or char in "%\"'\\$" or not char.isprintable() for char in value):
            raise UsageError(f"{thing} {value!r}", "has a character that means something to systemd", next="write the unit file by hand")
    text = (FILES / ("stead-depot.service" if depot else "stead.service")).read_text()
    environment = f"Environment=STEAD_ROOT={root}" + (f" STEAD_DEPOT_URL={url}" if url else "")
    return text.replace(PROGRAM, program).replace(ENVIRONMENT, f"{environment}\n")
