"""Pings that one member sends for another: SWIM's indirect probe (2.1), with Lifeguard's NACK.

Rules: only members that we know ask, only members that we know are pinged, at their own announced address, and only RING_RELAYS_S a
second: nobody can use us against third parties (threats S39). What is heard is passed on; what is not heard by formulas.nack_s is
said too, so that the asker can tell a dead target from a deaf self.
"""

from __future__ import annotations

from collections import deque

from hart.limits import RING_RELAYS_MAX, RING_RELAYS_S
from supervisor.gossip.formulas import nack_s
from supervisor.gossip.members import Member
from supervisor.gossip.messages import Address, Kind
from supervisor.gossip.presets import Preset
from supervisor.gossip.speaker import Speaker
from supervisor.gossip.suspicion import NEVER


class Relay:
    """One ping for somebody."""

    __slots__ = ("asker", "ends", "nack_at", "seq", "target", "where")

    def __init__(self, asker: Member, where: Address, seq: int, target: Member, nack_at: float, ends: float) -> None:
        self.asker = asker
        self.where = where
        self.seq = seq  # the asker's
        self.target = target
        self.nack_at = nack_at
        self.ends = ends


class Relays:
    """Those under way, by our own number of the ping."""

    __slots__ = ("_budget", "_preset", "_refilled", "_running", "_silent", "_speaker", "next")

    def __init__(self, preset: Preset, speaker: Speaker) -> None:
        self._preset = preset
        self._speaker = speaker
        self._running: dict[int, Relay] = {}
        self._silent: deque[Relay] = deque()  # of whose target nothing was heard yet, by nack_at
        self._budget = RING_RELAYS_S
        self._refilled = 0.0
        self.next = NEVER

    def begin(self, asker: Member, where: Address, seq: int, target: Member, number: int, now: float) -> bool:
        """Ping `target` under our own `number`; False where that is beyond the limits."""
        self._budget = min(RING_RELAYS_S, self._budget + (now - self._refilled) * RING_RELAYS_S)
        self._refilled = now
        while self._running and next(iter(self._running.values())).ends <= now:
            del self._running[next(iter(self._running))]
        if self._budget < 1 or len(self._running) >= RING_RELAYS_MAX:
            return False
        self._budget -= 1
        relay = Relay(asker, where, seq, target, now + nack_s(self._preset), now + self._preset.period_s)
        self._running[number] = relay
        self._silent.append(relay)
        self.next = self._silent[0].nack_at
        self._speaker.say_to(Kind.PING, target, number)
        return True

    def acked(self, number: int, sender: bytes) -> bool:
        """Whether this was the answer to one of them; it is passed on."""
        relay = self._running.get(number)
        if relay is None or relay.target.id != sender:
            return False
        del self._running[number]
        relay.nack_at = NEVER
        self._speaker.say_to(Kind.ACK, relay.asker, relay.seq, where=relay.where)
        return True

    def overdue(self, now: float) -> None:
        """Say of whom nothing was heard."""
        silent = self._silent
        while silent and (silent[0].nack_at <= now or silent[0].nack_at == NEVER):
            relay = silent.popleft()
            if relay.nack_at != NEVER:
                self._speaker.say_to(Kind.NACK, relay.asker, relay.seq, where=relay.where)
        self.next = silent[0].nack_at if silent else NEVER

    def push(self, by_s: float) -> None:
        """We have slept."""
        for relay in self._silent:
            relay.nack_at += by_s
        self.next += by_s
