"""The rotated files of a log: `<log>.1`, `<log>.2` …, the higher the newer, and `<log>.N.gz` once somebody has packed it.

Rules: numbers only go up, so a file keeps its name while others read or pack it. The oldest go first, until the rest is within bytes and
files. One writer for each log. Not here: who reads (`supervisor/logfile.py`) and who packs (`supervisor/packer.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from hart.limits import LOG_FILES

PACKED = ".gz"


def number_of(name: str, log: str) -> int | None:
    """The number of a rotated file by its name in the directory; None: it is another file."""
    if not name.startswith(f"{log}."):
        return None
    digits = name[len(log) + 1 :].removesuffix(PACKED)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def rotated(log: str) -> list[tuple[int, str]]:
    """Number and path of each rotated file, the oldest first; a file that is there both ways comes twice, the packed one last. OSError."""
    directory, name = os.path.split(log)
    found = ((number_of(each, name), f"{directory}/{each}") for each in os.listdir(directory))  # noqa: PTH208  pathlib is memory that we save
    return sorted((number, path) for number, path in found if number is not None)


def surplus(sizes: Sequence[int], keep: int, files: int = LOG_FILES) -> int:
    """How many of the oldest are too many, of sizes given from the oldest to the newest."""
    left = sum(sizes)
    for gone, size in enumerate(sizes):
        if left <= keep and len(sizes) - gone <= files:
            return gone
        left -= size
    return len(sizes)


def rotate(log: str, keep: int) -> None:
    """Give the log's file the next number, and remove what is more than `keep` bytes of rotated ones. OSError: it is not rotated."""
    found = rotated(log)
    with suppress(FileNotFoundError):
        os.rename(log, f"{log}.{found[-1][0] + 1 if found else 1}")  # noqa: PTH104  as above
    prune(log, keep)


def prune(log: str, keep: int, files: int = LOG_FILES) -> None:
    """Remove the oldest rotated files until the rest is at most so many bytes and files."""
    paths = [path for _, path in rotated(log)]
    for path in paths[: surplus([_size(path) for path in paths], keep, files)]:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108  as above


def _size(path: str) -> int:
    with suppress(OSError):
        return os.lstat(path).st_size
    return 0
