"""Every cap in one table, each with its reason. Sizes in bytes, durations in seconds (suffix `_S`).

A wing adds its own rows here, under its heading: a limit that stands elsewhere is a limit that nobody reviews.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# --- files and streams
CHUNK: Final = 256 * KIB  # copy buffer: large enough for the kernel's read-ahead, small beside the memory promise
