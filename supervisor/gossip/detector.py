"""Who is probed, how, and what an answer or its absence means: SWIM's failure detector (2.1, 4.3) with Lifeguard (arXiv 1707.00788).

A period: PING one member. No ACK by the ack time-out: ask others to try (PING_REQ) and try over TCP ourselves. No ACK by the end of the
period: accuse it. Rules:
- The member to probe comes from a permutation that all share: in epoch e each member probes the one `stride(e)` places after itself, so
  everybody is probed once a period while views agree, and at random where they do not. The epoch is the greatest heard; each own period
  is a new one.
- Period and time-outs are (score + 1) times as long as the preset's (awareness.py).
- A probe during which nothing at all was heard, from anybody, says more about us than about its target: it accuses nobody, until there was
  silence for as long as the longest suspicion lasts.
- A member that is as sick as can be and hears others accuses nobody: what waits unread may be the answers, and who is well sees it too.
- Having slept accuses nobody: what was running goes on where it was.
- A suspect named by another is looked at out of turn by the few members that follow it in the order, so that confirmations or a
  refutation come within a period.

Not here: what an accusation leads to (beliefs.py, suspicion.py), pings for others (relay.py), when tick() is wanted (node.py).
"""

from __future__ import annotations

from collections import defaultdict
from random import Random

from hart.limits import RING_GENERATION_MAX, RING_PROBES_MAX
from supervisor.gossip.awareness import Awareness
from supervisor.gossip.beliefs import Beliefs
from supervisor.gossip.formulas import stride, suspicion_s_max
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import Health, Kind, MemberId
from supervisor.gossip.presets import Preset
from supervisor.gossip.speaker import Speaker
from supervisor.gossip.suspicion import NEVER


class Probe:
    """One question whether a member lives."""

    __slots__ = ("asked", "due", "ends", "member", "nacks", "sent", "seq")

    def __init__(self, member: Member, seq: int, sent: float, due: float, ends: float) -> None:
        self.member = member
        self.seq = seq
        self.sent = sent
        self.due = due  # of the next step
        self.ends = ends
        self.asked: list[Member] | None = None  # those who try for us; None: not asked yet
        self.nacks = 0


class Detector:
    """The probes of one member. `next` is when it wants to be called."""

    __slots__ = (
        "_awareness",
        "_beliefs",
        "_chance",
        "_counters",
        "_members",
        "_preset",
        "_probes",
        "_speaker",
        "acks",
        "epoch_heard",
        "last_heard",
        "next",
        "next_period",
        "probes",
        "seq",
        "unreached",
    )

    def __init__(
        self,
        *,
        preset: Preset,
        members: Members,
        beliefs: Beliefs,
        speaker: Speaker,
        awareness: Awareness,
        chance: Random,
        counters: defaultdict[str, int],
    ) -> None:
        self._preset = preset
        self._members = members
        self._beliefs = beliefs
        self._speaker = speaker
        self._awareness = awareness
        self._chance = chance
        self._counters = counters
        self._probes: dict[int, Probe] = {}
        self.seq = chance.getrandbits(32)  # nobody who did not see the ping can answer it
        self.epoch_heard = 0
        self.probes = 0  # begun
        self.acks = 0
        self.last_heard = -1.0  # a packet from anybody
        self.next_period = NEVER
        self.next = NEVER  # the earliest step of a probe
        self.unreached: list[Probe] = []  # to be tried over TCP

    # --- time

    def begin_period(self, now: float) -> None:
        """Probe the next member."""
        speaker, members = self._speaker, self._members
        epoch = speaker.epoch + 1
        speaker.epoch = epoch = max(self.epoch_heard, epoch)
        period = self._preset.period_s * (self._awareness.score + 1)
        self.next_period += period
        if self.next_period <= now:
            self.next_period = now + period
        turn = members.turn
        n = len(turn)
        if n > 1:
            self._probe(turn[(members.place_of_me + stride(epoch, n)) % n], now)

    def overdue(self, now: float) -> None:
        """Take the next step of the probes whose answer did not come."""
        for probe in [each for each in self._probes.values() if each.due <= now]:
            if probe.asked is None and probe.ends > now:
                self._become_indirect(probe)
            else:
                del self._probes[probe.seq]
                self._fail(probe, now)
        self._reckon()

    def push(self, by_s: float) -> None:
        """We have slept: no answer could reach us."""
        for probe in self._probes.values():
            probe.sent += by_s
            probe.due += by_s
            probe.ends += by_s
        self._reckon()

    # --- probing

    def number(self) -> int:
        """Of the next ping."""
        self.seq = seq = (self.seq + 1) & 0xFFFFFFFF
        return seq

    def look_at(self, member: Member, now: float) -> None:
        """A suspect that another has named: probe it too if it is on us."""
        members = self._members
        after = (members.place_of_me - members.rank(member.id)) % len(members.order)
        if not self._preset.lifeguard or self._awareness.score >= self._awareness.limit // 2 or after > self._preset.confirmations + 1:
            return
        if member.health is not Health.SUSPECT or len(self._probes) >= RING_PROBES_MAX:
            return
        if all(probe.member is not member for probe in self._probes.values()):
            self._probe(member, now)

    def _probe(self, member: Member, now: float) -> None:
        preset = self._preset
        times = self._awareness.score + 1
        self.seq = seq = (self.seq + 1) & 0xFFFFFFFF
        due = now + preset.ack_timeout_s * times
        self._probes[seq] = Probe(member, seq, now, due, now + preset.period_s * times)
        if due < self.next:
            self.next = due
        self.probes += 1
        if member.health is Health.ALIVE:
            self._speaker.say_plain(Kind.PING, member.id, member.address, seq)
        else:
            self._speaker.say_to(Kind.PING, member, seq)

    def _become_indirect(self, probe: Probe) -> None:
        probe.due = probe.ends
        probe.asked = []
        member = probe.member
        if member.health is Health.DEAD or member.health is Health.DEPARTED:
            return
        self._counters["indirect probes"] += 1
        for other in self.some(self._preset.indirect, member):
            probe.asked.append(other)
            self._speaker.say(Kind.PING_REQ, other.id, other.address, probe.seq, target=member.id, address=member.address)
        self.unreached.append(probe)

    def acked(self, seq: int, sender: MemberId) -> bool:
        """Whether this was the answer to one of our probes."""
        probe = self._probes.get(seq)
        if probe is None:
            return False
        asked = probe.asked
        if sender != probe.member.id and not (asked and any(other.id == sender for other in asked)):
            return False
        del self._probes[seq]
        if asked is None:
            self._awareness.better()
        if self._probes:
            self._reckon()
        else:
            self.next = NEVER
        self.acks += 1
        return True

    def nacked(self, seq: int, sender: MemberId) -> None:
        probe = self._probes.get(seq)
        if probe is not None and probe.asked and any(other.id == sender for other in probe.asked):
            probe.nacks += 1

    def reached(self, seq: int, member_id: MemberId) -> None:
        """It has answered over TCP, so it lives; that datagrams do not pass is worth a count."""
        if self.acked(seq, member_id):
            self._counters["reached by tcp only"] += 1

    def _fail(self, probe: Probe, now: float) -> None:
        asked = probe.asked or []
        missing = max(0, sum(other.health is Health.ALIVE for other in asked) - probe.nacks)
        excused = bool(asked) and self._preset.lifeguard and (self._is_alone(probe, now) or self._is_sick(probe))
        if not probe.nacks:
            self._awareness.worse(1 + missing)  # nobody vouches for us
        elif missing > probe.nacks:
            self._awareness.worse()
        if excused:
            self._counters["probes that accuse nobody"] += 1
            return
        because = f"no answer to us for {now - probe.sent:.1f} s"
        if asked:
            because += f", nor to {len(asked)} others and TCP; {probe.nacks} of them said so"
        self._beliefs.accuse(probe.member, now, because)

    def _is_alone(self, probe: Probe, now: float) -> bool:
        """Whether nothing at all was heard since the probe began, and it may still be us who cannot hear."""
        return self.last_heard <= probe.sent and now - self.last_heard < suspicion_s_max(len(self._members.order), self._preset)

    def _is_sick(self, probe: Probe) -> bool:
        """Whether we hear others, and yet no answers: they will see it if it is so."""
        return self._awareness.worst and self.last_heard > probe.sent

    def _reckon(self) -> None:
        self.next = min((probe.due for probe in self._probes.values()), default=NEVER)

    # --- chance

    def some(self, k: int, but: Member | None = None) -> list[Member]:
        """Up to `k` different random members that are held alive or suspect, not `but`."""
        living = self._members.living
        n = len(living)
        if n <= k + 1:
            others = [member for member in living if member is not but]
            return others if len(others) <= k else self._chance.sample(others, k)
        random = self._chance.random
        picked: list[Member] = []
        while len(picked) < k:
            member = living[int(random() * n)]
            if member is not but and member not in picked:
                picked.append(member)
        return picked

    def heard_epoch(self, epoch: int) -> None:
        """Another member's period."""
        if self.epoch_heard < epoch < RING_GENERATION_MAX:
            self.epoch_heard = epoch
