"""Sources from the plan's own folder.

Rules: the path is relative and stays inside the folder, also through symbolic links; only regular files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from builder.plan import Pin
from builder.source.scheme import Fetched, Surroundings
from hart.errors import DeniedError, NotFoundError
from hart.files import storage


def fetch(pin: Pin, into: Path, around: Surroundings) -> Fetched:
    """Copy a file of the plan's folder into `into`."""
    base = around.plan_dir.resolve()
    path = (base / pin.locator).resolve()
    if not path.is_relative_to(base):
        raise DeniedError(f"file {pin.locator}", "leads out of the plan's folder", next=f"put the file below {around.plan_dir}")
    if not path.is_file():
        raise NotFoundError(f"file {pin.locator}", f"is no regular file in {around.plan_dir}")
    with storage(path):
        shutil.copyfile(path, into / "download")
    return Fetched(into / "download", path.name)
