"""Carry a probe out: http, tcp or a command (hooks are run by the driver). What the answer means is in health.py.

Rules: a probe never raises for what a service does. Refused is critical; silence, garbage and a probe of ours that failed are unknown.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from hart.limits import PROBE_REPLY_MAX
from supervisor.service.events import Check
from supervisor.service.health import Address, http_check


async def ask_http(address: Address, timeout_s: float) -> tuple[Check, str]:
    """GET; the status line is all that is looked at. Redirects are not followed: 3xx is not 2xx."""
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.header}\r\nUser-Agent: stead\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    return await _ask(address, timeout_s, request.encode())


async def ask_tcp(address: Address, timeout_s: float) -> tuple[Check, str]:
    """Connect; that is all."""
    return await _ask(address, timeout_s, None)


async def _ask(address: Address, timeout_s: float, request: bytes | None) -> tuple[Check, str]:
    where = f"{address.host}:{address.port}"
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address.host, address.port, limit=PROBE_REPLY_MAX)
            if request is None:
                return Check.OK, f"{where} accepts connections"
            writer.write(request)
            line = await reader.readline()
    except TimeoutError:
        return Check.UNKNOWN, f"{where}: no answer in {timeout_s:g} s"
    except ValueError:
        return Check.UNKNOWN, f"{where}: the answer's first line is too long"
    except OSError as error:
        return Check.CRITICAL, f"{where}: {os.strerror(error.errno) if error.errno and error.errno > 0 else error}"
    else:
        check, because = http_check(line)
        return check, f"{where}{address.path}: {because}"
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()
