"""The depot's log: one line of JSON for an event on stderr, for people with grep and for collectors.

Rules: never a token, a header or a query string; control characters are escaped by JSON; time is UTC.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

from depot.routes import timestamp
from depot.store import now_us


def line(at_us: int, event: str, fields: dict[str, Any]) -> str:
    """One event as a line without its end."""
    return json.dumps({"at": f"{timestamp(at_us)}Z", "event": event, **fields}, default=str)


def log(event: str, **fields: Any) -> None:
    """Write one event. A reader of stderr that went away, or a full disk behind it, is no reason to stop serving."""
    with suppress(OSError, ValueError):
        print(line(now_us(), event, fields), file=sys.stderr, flush=True)
