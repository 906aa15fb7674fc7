"""Rounds of gossip: a few random members, a few times a second, while there is news (memberlist's addition to SWIM's piggyback).

Rules: news that comes after a quiet interval goes out at once; then a round each `gossip_s`. A round is one packet to each of
`gossip_fanout` members, up to PACKETS when news is long. The lately dead hear it too. Members that are to be told in person that they are
doubted get a ping each, RING_TOLD in a round. Without news there is no round and no timer.

Not here: what a packet is filled with (news.py).
"""

from __future__ import annotations

from random import Random
from typing import Final

from hart.limits import RING_TOLD
from supervisor.gossip.codec import PACKET_ROOM
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import Health, Kind
from supervisor.gossip.news import News
from supervisor.gossip.presets import Preset
from supervisor.gossip.speaker import Speaker
from supervisor.gossip.suspicion import NEVER

PACKETS: Final = 4  # to one member in one round, when so much waits
TRIES: Final = 4  # draws for one listener; then the round has one fewer


class Rounds:
    """Who hears of the news, and when the next round is: `next`, NEVER while there is none."""

    __slots__ = ("_chance", "_members", "_news", "_preset", "_speaker", "last")

    def __init__(self, preset: Preset, members: Members, news: News, speaker: Speaker, chance: Random) -> None:
        self._preset = preset
        self._members = members
        self._news = news
        self._speaker = speaker
        self._chance = chance
        self.last = -NEVER

    @property
    def next(self) -> float:
        return self.last + self._preset.gossip_s if not self._news.idle else NEVER

    def hold(self, now: float, number: int) -> None:
        """One round. `number` is a ping's that nobody waits for."""
        self.last = now
        for _ in range(min(RING_TOLD, len(self._news.in_person))):
            member = self._news.next_in_person()
            if member.health is Health.SUSPECT or member.health is Health.DEAD:
                self._speaker.say_to(Kind.PING, member, number)
        if not self._news.count:
            return
        packets = min(PACKETS, 1 + self._news.size // PACKET_ROOM)
        for member in self.listeners(self._preset.gossip_fanout, now):
            listener = self._news.listener()
            for _ in range(packets):
                if not self._news.count:
                    return
                self._speaker.say_to(Kind.GOSSIP, member, listener=listener)

    def listeners(self, k: int, now: float) -> list[Member]:
        """Up to `k` different random members, the lately dead among them."""
        living, dead = self._members.living, self._members.dead
        both = len(living) + len(dead)
        picked: list[Member] = []
        random = self._chance.random
        for _ in range(min(k, both)):
            for _ in range(TRIES):
                place = int(random() * both)
                if place >= len(living):
                    member = dead[place - len(living)]
                    if now - member.since > self._preset.gossip_to_dead_s:
                        both = len(living)  # the rest of this round is for the living
                        if not both:
                            return picked
                        member = living[int(random() * both)]
                else:
                    member = living[place]
                if member not in picked:
                    picked.append(member)
                    break
        return picked
