"""Running a registry's own client (pip, npm, apt-get): bounded in time and output, without our tokens.

Rules: the client keeps the caller's environment (its settings say which registry, proxy and certificates apply) except what is
Stead's or Habitat's; standard input is empty; its own process group is killed at the deadline and when we are interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder import process
from hart.errors import BuildError, NotFoundError
from hart.limits import SOURCE_TOOL_OUTPUT_MAX, SOURCE_TOOL_S


def run_tool(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str], install: str) -> tuple[int, str]:
    """Exit code (-1: killed at the deadline) and output. `install` is the command that would bring a missing tool."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    log_path = cwd / "tool.log"
    log = process.Log(log_path, limit=SOURCE_TOOL_OUTPUT_MAX)
    try:
        ended = process.run(argv, cwd=cwd, environ=kept | {"LC_ALL": "C.UTF-8"}, log=log, deadline_s=SOURCE_TOOL_S)
    except BuildError as error:
        raise NotFoundError(os.path.basename(argv[0]), error.cause, next=install) from error  # noqa: PTH119  a word, not a path
    finally:
        log.close()
    output = log_path.read_text("utf-8", "replace")
    log_path.unlink()
    return (-1 if ended.timed_out else ended.code), output


def last_lines(output: str, *, count: int = 6) -> str:
    """The end of a client's output for a message, without control characters."""
    lines = ["".join(char for char in line if char.isprintable()).strip() for line in output.splitlines()]
    return "; ".join([line for line in lines if line][-count:])[:1500] or "it printed nothing"
