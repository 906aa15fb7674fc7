"""The last start that failed, kept: `<svc>/logs/failed.log` has how it ended and what it said, whatever comes after it.

Rules: only what that start has written, and the end of it where that is too much; whole or not at all. A disk that refuses costs the file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hart.errors import SteadError
from hart.files import write_atomic
from hart.limits import FAILED_START_MAX
from supervisor.holder.logpipe import timestamp
from supervisor.logfile import TIME, is_stamped

NAME = "failed"


def excerpt(data: bytes, since: str, *, cut: bool) -> bytes:
    """The lines of a log's end that were written from `since` on, a time as the log has it; `cut`: the first is a part of one. Pure."""
    lines = data.splitlines(keepends=True)
    if cut:
        lines = lines[1:]
    for number, line in enumerate(lines):
        if is_stamped(line) and line[:TIME].decode(errors="replace") >= since:
            return b"".join(lines[number:])
    return b""


def head(at: str, release: str, because: str, *, whole: bool) -> bytes:
    """The first line of the file."""
    rest = "" if whole else f"; the last {FAILED_START_MAX // 1024} KiB of what it said"
    return f"{at} # {release}: {because}{rest}\n".encode()


def keep(logs: Path, log: str, *, began: float, at: float, release: str, because: str) -> None:
    """Write the file from the end of `<log>.log`; `began` and `at` are wall times."""
    data, size = b"", 0
    with suppress(OSError), (logs / f"{log}.log").open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - FAILED_START_MAX))
        data = file.read(FAILED_START_MAX)
    cut = size > FAILED_START_MAX
    said = excerpt(data, _stamp(began), cut=cut)
    whole = not cut or len(said) < len(data.partition(b"\n")[2])
    with suppress(SteadError, OSError):
        write_atomic(logs / f"{NAME}.log", head(_stamp(at), release, because, whole=whole) + said, mode=0o640)


def _stamp(wall_s: float) -> str:
    return timestamp(wall_s).decode().rstrip()
