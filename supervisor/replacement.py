"""Go over to another version of Stead: first the holder, by exec, then the supervisor, which it starts.

Rules: what cannot take over is refused by the holder before anything has happened. The wait ends when the next supervisor answers; what is
not there by then is said, with the way back. Services are not asked and not told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hart.errors import ConflictError, SteadError, UnavailableError
from hart.root import Root
from supervisor import clock, control
from supervisor.attach import HolderClient, HolderInfo
from supervisor.holder.protocol import Held
from supervisor.settings import Settings

LOOK_S = 0.05  # between two looks whether it is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was and what is."""

    before: str
    after: str
    holder_pid: int
    supervisor_before: int | None  # pids; None: there was none
    supervisor_after: int
    seconds: float
    services: int
    lost: tuple[str, ...]  # services whose process ended meanwhile, of whatever

    def row(self) -> dict[str, Any]:
        return {
            "before": self.before,
            "after": self.after,
            "holder_pid": self.holder_pid,
            "supervisor_pid": self.supervisor_after,
            "seconds": round(self.seconds, 2),
            "services": self.services,
            "ended": list(self.lost),
        }

    def lines(self) -> list[str]:
        lines = [f"holder {self.holder_pid}: was {self.before}, is {self.after}; it holds {self.services} running services"]
        lines.append(f"supervisor: {self.supervisor_before or 'none'} before, {self.supervisor_after} now; took {self.seconds:.1f} s")
        return [*lines, *(f"{name} ended meanwhile: stead why {name}" for name in self.lost)]


async def replace(root: Root, program: str, *, wait_s: float) -> Change:
    """Have this root's holder become that Python's. ServiceError: it cannot, nothing has happened. ConflictError: not there in time."""
    settings, began = Settings(root=root), clock.now()
    supervisor = await asyncio.to_thread(_supervisor_pid, settings)
    client = await HolderClient.connect(settings.holder)
    try:
        before = await client.hello()
        held = await client.list()
        version = await client.replace(program)
    finally:
        await client.close()
    after, present = await _next_holder(settings, before, began + wait_s)
    while (pid := await asyncio.to_thread(_supervisor_pid, settings)) in (None, supervisor):
        if clock.now() > began + wait_s:
            raise ConflictError(
                f"supervisor of {root.path}",
                f"the holder is {version} now and services go on, but no supervisor answers after {wait_s:g} s",
                next="see why in its log; to go back, run `stead sup upgrade` of the version before",
            )
        await asyncio.sleep(LOOK_S)
    return Change(
        before=before.program or "an older version",
        after=after.program or version,
        holder_pid=after.pid,
        supervisor_before=supervisor,
        supervisor_after=pid,
        seconds=clock.now() - began,
        services=sum(each.running for each in present),
        lost=tuple(lost(held, present)),
    )


def lost(before: list[Held], after: list[Held]) -> list[str]:
    """Services that ran and whose very process does not any more."""
    running = {each.start_id for each in after if each.running}
    return [each.service for each in before if each.running and each.start_id not in running]


async def _next_holder(settings: Settings, before: HolderInfo, until: float) -> tuple[HolderInfo, list[Held]]:
    while True:
        try:
            client = await HolderClient.connect(settings.holder)
            try:
                info = await client.hello()
                if info.turn != before.turn or info.pid != before.pid:
                    return info, await client.list()
            finally:
                await client.close()
        except UnavailableError as error:
            if clock.now() > until:
                raise UnavailableError(
                    "holder", f"it does not answer after the exec: {error.cause}", next="services go on; start it again: stead sup run"
                ) from error
        if clock.now() > until:
            raise ConflictError("holder", "it is still the old one; its log says why", next="stead sup status")
        await asyncio.sleep(LOOK_S)


def _supervisor_pid(settings: Settings) -> int | None:
    try:
        return int(control.ask(settings.control, {"command": "sup status"}, lambda _: None)["pid"])
    except SteadError:
        return None
