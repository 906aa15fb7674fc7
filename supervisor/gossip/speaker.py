"""How a member speaks: it numbers its packets, fills what room they have with news, and seals them.

Rules: every packet carries the sender's generation and a number that is never used twice in it. What is told first (a claim to the one
whom it is about, our announcement to one who doubts us) always fits; news takes the rest of PACKET_ROOM. Whoever is not known gets no
news: an answer must stay near the size of the question.

Not here: when and to whom (detector.py, rounds.py, node.py), the bytes (codec.py).
"""

from __future__ import annotations

from typing import Any, Final

from supervisor.gossip.codec import PACKET_ROOM, size_of
from supervisor.gossip.formulas import retransmit_limit
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import Address, Announcement, Claim, Effect, Health, Kind, MemberId, Notice, Packet, Record, Send
from supervisor.gossip.news import News

_NEW: Final = tuple.__new__  # NamedTuple's own constructor costs twice as much, and every packet pays it


class Speaker:
    """Whatever is said goes to `out`, the effects of the call under way."""

    __slots__ = ("_codec", "_members", "_mult", "_news", "epoch", "generation", "me", "out", "sent")

    def __init__(self, me: MemberId, generation: int, codec: Any, members: Members, news: News, mult: int) -> None:
        self.me = me
        self.generation = generation
        self.epoch = 0
        self.out: list[Effect] = []
        self._codec = codec
        self.sent = 0
        self._members = members
        self._news = news
        self._mult = mult

    def say(
        self,
        kind: Kind,
        to: MemberId,
        where: Address,
        seq: int = 0,
        *,
        target: MemberId = b"",
        address: Address | None = None,
        announcements: tuple[Announcement, ...] = (),
        claims: tuple[Claim, ...] = (),
        records: tuple[Record, ...] = (),
        news: bool = True,
        listener: int = 0,
    ) -> None:
        """One packet."""
        self.sent = counter = self.sent + 1
        notices: tuple[Notice, ...] = ()
        if self._news.count and news:
            room = PACKET_ROOM - sum(map(size_of, announcements)) - sum(map(size_of, claims))
            load = self._news.fill(room, retransmit_limit(len(self._members.order), self._mult), listener)
            if load.announcements:
                announcements += tuple(each for each in load.announcements if each not in announcements)
            if load.claims:
                claims += tuple(each for each in load.claims if each not in claims)
            records, notices = load.records, load.notices
        packet = _NEW(
            Packet,
            (
                self.me,
                self.generation,
                counter,
                to,
                self.epoch,
                kind,
                seq,
                target,
                address,
                announcements,
                claims,
                records,
                notices,
            ),
        )
        self.out.append(Send(where, self._codec.encode(packet)))

    def say_plain(self, kind: Kind, to: MemberId, where: Address, seq: int) -> None:
        """`say` with nothing to tell first; most packets have nothing to tell at all, and are made without a detour."""
        if not self._news.idle:
            self.say(kind, to, where, seq)
            return
        self.sent = counter = self.sent + 1
        packet = _NEW(Packet, (self.me, self.generation, counter, to, self.epoch, kind, seq, b"", None, (), (), (), ()))
        self.out.append(_NEW(Send, (where, self._codec.encode(packet))))

    def say_to(
        self, kind: Kind, member: Member, seq: int = 0, *, where: Address | None = None, answer: bool = False, listener: int = 0
    ) -> None:
        """One packet to a member that we know: if we doubt that it lives, that is the first thing it is told (Lifeguard's buddy system).
        `answer`: it has heard doubts about us, so it hears first what we say of ourselves."""
        doubt = member.health is Health.SUSPECT or member.health is Health.DEAD
        if doubt or answer:
            self.say(
                kind,
                member.id,
                where or member.address,
                seq,
                announcements=(self._members.me.announcement,) if answer else (),
                claims=(doubt_of(member, self.me),) if doubt else (),
                listener=listener,
            )
        else:
            self.say(kind, member.id, where or member.address, seq, listener=listener)

    def effects(self) -> list[Effect]:
        """What was said and done since the last call."""
        out, self.out = self.out, []
        return out


def doubt_of(member: Member, me: MemberId) -> Claim:
    """What we hold against a member, as a claim of our own."""
    health = Health.SUSPECT if member.health is Health.SUSPECT else Health.DEAD
    return Claim(health, member.id, member.generation, max(member.claimed, member.announcement.incarnation), me)
