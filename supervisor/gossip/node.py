"""One member of a ring: events, time and chance in, effects out. This is the seam between the cores of the ring and whoever drives them.

Rules. Every call takes `now` of one clock that never goes back, and returns what is to be done, in order. `deadline()` is when tick() is
wanted; a call before that does nothing. Nothing foreign raises: what is refused is counted by its reason. A packet for another id is
dropped: a stranger on a reused address never is the old member. Whoever speaks to us unknown is asked who it is, a few times a second in
all, and gets no answer larger than its question.
A call that comes more than half a period after the deadline means that we have slept: all that was running goes on where it was.

Here the parts meet: who is probed (detector.py), what is believed (beliefs.py), what is told and to whom (news.py, rounds.py, speaker.py),
what goes over streams (streams.py), records (holdings.py), who greets whom (greetings.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final

from hart.limits import RING_STREAM_S
from supervisor.gossip import identity
from supervisor.gossip.awareness import Awareness
from supervisor.gossip.beliefs import Beliefs
from supervisor.gossip.codec import Codec
from supervisor.gossip.detector import Detector
from supervisor.gossip.formulas import push_pull_scale
from supervisor.gossip.greetings import Greetings
from supervisor.gossip.holdings import Holdings
from supervisor.gossip.identity import MemberKey, Verify
from supervisor.gossip.keyring import Reason, Refused
from supervisor.gossip.members import Member, Members
from supervisor.gossip.messages import ANYBODY, Address, Announcement, Effect, Health, Kind, MemberId, Noted, Packet, Record
from supervisor.gossip.news import News
from supervisor.gossip.presets import Preset
from supervisor.gossip.records import Records
from supervisor.gossip.relay import Relays
from supervisor.gossip.replay import Replays, slide
from supervisor.gossip.rounds import Rounds
from supervisor.gossip.speaker import Speaker, doubt_of
from supervisor.gossip.streams import Streams
from supervisor.gossip.suspicion import NEVER

CHORES_S: Final = 60.0  # between looks for members to forget: they have been dead for hours
GOSSIP_MOST: Final = 32  # members that one push/pull may bring and gossip still repeats; more is spread by further push/pulls
SETTLES: Final = 4  # periods after much was news, or a comparison then found a difference, in which we go on comparing
GOODBYE: Final = 3  # times the fan-out: members that hear our goodbye at once
_NOBODY: Final[dict[MemberId, Member]] = {}


class Node:
    """One member. `verify` may be replaced by one that remembers, as a simulator of many members does."""

    __slots__ = (
        "_again_at",
        "_awareness",
        "_beliefs",
        "_chance",
        "_chores_at",
        "_codec",
        "_counts",
        "_decode",
        "_detector",
        "_due",
        "_greetings",
        "_holdings",
        "_id",
        "_late",
        "_member_of",
        "_preset",
        "_received",
        "_relays",
        "_replays",
        "_rest",
        "_retry_at",
        "_rounds",
        "_settles_at",
        "_speaker",
        "_streams",
        "_sync_at",
        "members",
        "news",
        "records",
    )

    def __init__(
        self,
        *,
        key: MemberKey,
        generation: int,
        session: bytes,
        address: Address,
        name: str,
        ring: bytes,
        preset: Preset,
        codec: Codec,
        chance: Random,
        records: Records,
        verify: Verify = identity.verify,
        known: Iterable[Announcement] = (),
    ) -> None:
        host, port = address
        mine = identity.announce(key, ring=ring, generation=generation, incarnation=0, session=session, host=host, port=port, name=name)
        self._id = key.id
        self._preset = preset
        self._codec = codec
        self._chance = chance
        self._counts: defaultdict[str, int] = defaultdict(int)
        self.records = records
        self.members = members = Members(key.id, mine, 0.0)
        self.news = News()
        self._awareness = awareness = Awareness(preset.awareness_max if preset.lifeguard else 0)
        self._speaker = speaker = Speaker(key.id, generation, codec, members, self.news, preset.retransmit)
        self._beliefs = beliefs = Beliefs(
            key=key,
            ring=ring,
            verify=verify,
            preset=preset,
            members=members,
            news=self.news,
            speaker=speaker,
            awareness=awareness,
            counters=self._counts,
        )
        self._detector = Detector(
            preset=preset, members=members, beliefs=beliefs, speaker=speaker, awareness=awareness, chance=chance, counters=self._counts
        )
        self._relays = Relays(preset, speaker)
        self._rounds = Rounds(preset, members, self.news, speaker, chance)
        self._streams = Streams(members, records, codec, speaker, chance, self._counts)
        self._holdings = Holdings(key, ring, members, records, self.news, beliefs, speaker, generation)
        self._greetings = Greetings(members, speaker, chance, self._counts, known)
        self._replays = Replays()
        self._received = 0
        self._member_of = members.by_id.get
        self._decode = codec.decode
        self._rest = NEVER
        self._due = self._late = self._chores_at = self._sync_at = self._retry_at = self._again_at = NEVER
        self._settles_at = 0.0

    # --- reading

    @property
    def me(self) -> Announcement:
        """What we say of ourselves."""
        return self.members.me.announcement

    @property
    def score(self) -> int:
        """Local health: 0 is well."""
        return self._awareness.score

    @property
    def counters(self) -> dict[str, int]:
        """What has happened so far, by word; what was refused by its reason."""
        refused = {f"refused record {reason}": count for reason, count in self.records.refused.items()}
        hot = {"sent": self._speaker.sent, "received": self._received, "probes": self._detector.probes, "acks": self._detector.acks}
        return {**self._counts, **hot, **refused}

    def deadline(self) -> float:
        """When tick() is wanted."""
        return self._due

    # --- time

    def start(self, now: float) -> list[Effect]:
        """The first call. Members known from before are greeted at once, a few of them."""
        preset, chance = self._preset, self._chance
        self.members.me.since = now
        # the first probe waits for a period: a fleet that is switched on together is up by then
        self._detector.next_period = now + preset.period_s * (1 + chance.random())
        self._chores_at = now + CHORES_S
        self._sync_at = now + self._push_pull_s()
        self._retry_at = now + preset.retry_dead_s * chance.random()
        self._holdings.begin(now)
        self._greetings.remind(self._detector.number)
        return self._settled(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what time asks for."""
        if now < self._due or self._beliefs.lost:
            return []
        if now > self._late:
            self._wake(now)
        detector = self._detector
        if detector.next <= now:
            detector.overdue(now)
        if detector.next_period <= now:
            detector.begin_period(now)
        if self._rest <= now or detector.unreached or not self.news.idle:
            self._tick_rest(now)
        else:
            self._rearm(now)
        return self._speaker.effects()

    def _tick_rest(self, now: float) -> None:
        """What time asks for now and then."""
        if self._relays.next <= now:
            self._relays.overdue(now)
        if self._beliefs.suspicions.next <= now:
            self._beliefs.end_suspicions(now)
        if self._streams.next <= now:
            self._streams.overdue(now)
        if self._retry_at <= now:
            self._retry(now)
        if self._sync_at <= now or self._again_at <= now:
            self._compare(now)
        if self._chores_at <= now:
            self._chores(now)
        self._finish(now)

    def _rearm(self, now: float) -> None:
        """The earliest of all that waits, when of the rest nothing has changed. What is due from before (a suspicion that was just
        confirmed) is due now: that is no sleep."""
        detector = self._detector
        due = detector.next_period
        if detector.next < due:
            due = detector.next
        if self._rest < due:
            due = self._rest
        if due < now:
            due = now
        self._due = due
        self._late = due + 0.5 * self._preset.period_s

    def _finish(self, now: float) -> None:
        """What follows from what was heard and decided, and when the next of it is due."""
        beliefs, detector = self._beliefs, self._detector
        while beliefs.fresh:
            detector.look_at(beliefs.fresh.pop(), now)
        while detector.unreached:
            probe = detector.unreached.pop()
            self._streams.ping(probe.member, probe.seq, now)
        if self._rounds.next <= now:
            self._rounds.hold(now, detector.number())
            if self.news.flooded:
                self._settles_at = now + SETTLES * self._preset.period_s
                self._compare_soon(now)
        self._rest = min(
            self._rounds.next,
            beliefs.suspicions.next,
            self._relays.next,
            self._streams.next,
            self._retry_at,
            self._sync_at,
            self._again_at,
            self._chores_at,
        )
        self._rearm(now)

    def _wake(self, now: float) -> None:
        """We have slept: nobody is to blame for what we did not hear. News of that time is no longer told, so we ask for it."""
        late = now - self._due
        self._late = NEVER
        if not self._preset.lifeguard:
            return
        self._counts["slept"] += 1
        self._awareness.worse()
        self._detector.push(late)
        self._beliefs.suspicions.push(late, now)
        self._relays.push(late)
        self._streams.push(late)
        if late > self._preset.period_s:
            self._settles_at = now + SETTLES * self._preset.period_s
            self._compare_soon(now)
        self._speaker.out.append(Noted(self._id.hex(), f"we were not running for {late:.1f} s: nobody is accused for that time"))
        self._finish(now)

    def _retry(self, now: float) -> None:
        """One random dead member is told that it is held dead: if the network has healed, it objects, and we compare everything."""
        self._retry_at = now + self._preset.retry_dead_s
        self._greetings.remind(self._detector.number)
        dead = self.members.dead
        if dead:
            self._counts["retries"] += 1
            self._speaker.say_to(Kind.PING, dead[int(self._chance.random() * len(dead))], self._detector.number())

    def _compare(self, now: float) -> None:
        """Push/pull with a random member."""
        if self._again_at <= now:
            self._again_at = NEVER
        if self._sync_at <= now:
            self._sync_at = now + self._push_pull_s()
        for member in self._detector.some(1):
            self._streams.sync(member, now)
        if now < self._settles_at:
            self._compare_soon(now + self._preset.period_s)

    def _push_pull_s(self) -> float:
        return self._preset.push_pull_s * push_pull_scale(self.members.count) * (0.75 + 0.5 * self._chance.random())

    def _compare_soon(self, now: float) -> None:
        """Compare with one more, at a random moment of the next period."""
        if self._again_at == NEVER:
            self._again_at = now + self._preset.period_s * self._chance.random()

    def _chores(self, now: float) -> None:
        self._chores_at = now + CHORES_S
        for member_id in self._beliefs.forget_old(now):
            self.records.drop_member(member_id)

    # --- datagrams

    def receive(self, data: Any, source: Address, now: float) -> list[Effect]:
        """One datagram."""
        if now > self._late:
            self._wake(now)
        try:
            packet = self._decode(data)
        except Refused as refused:
            self._counts[f"refused {refused.reason}"] += 1
            return []
        sender, generation, counter, to, epoch, kind, seq, _, _, announcements, claims, records, notices = packet
        member = self._member_of(sender)
        if to != self._id or member is None or generation != member.generation or announcements:
            member = self._hear_words(packet, member, source, now)
            if member is None:
                return self._settled(now)
        else:
            window = member.window
            if window is None and self._replays:
                window = self._replays.hand_over(sender, generation)
            window = slide(window, counter)
            if window is None:
                self._counts[f"refused {Reason.REPLAY}"] += 1
                return []
            member.window = window
        self._received += 1
        detector = self._detector
        detector.last_heard = now
        if epoch > detector.epoch_heard:
            detector.heard_epoch(epoch)
        if claims or records or notices or kind > Kind.ACK or member.health is not Health.ALIVE:
            self._hear_more(packet, member, source, now)
            return self._settled(now)
        if kind == Kind.PING:
            self._answer_plainly(member, source, seq, now)
        elif detector.acked(seq, sender):
            self._rearm(now)
        else:
            self._take_ack(member, seq, now)
        if not self.news.idle:
            self._finish(now)
        return self._speaker.effects()

    def _hear_more(self, packet: Packet, member: Member, source: Address, now: float) -> None:
        """All that is not the plain answer to a plain question."""
        beliefs, kind, seq = self._beliefs, packet.kind, packet.seq
        if member.health is Health.DEPARTED and not member.announcement.departing and now > member.heard + RING_STREAM_S:
            self._streams.sync(member, now)  # it was told to go and speaks on: it has not heard
        member.heard = now  # asked for only of those who are not alive, so the hot path does without
        beliefs.accused = False
        for claim in packet.claims:
            beliefs.hear_claim(claim, now, member)
        self._holdings.hear(packet.records, now, member)
        if packet.notices:
            self._streams.fetch(member, self._holdings.wanted(packet.notices), now)
        if kind == Kind.PING:
            self._answer_ping(member, source, seq)
        elif kind == Kind.ACK:
            self._take_ack(member, seq, now)
        elif kind == Kind.PING_REQ:
            self._relay(member, source, seq, packet.target, now)
        elif kind == Kind.NACK:
            self._detector.nacked(seq, member.id)

    def _settled(self, now: float) -> list[Effect]:
        """As the end of a call that is not hot. It may also be the first one after a sleep, which must not be hidden by looking at what is
        due anew."""
        if now > self._late:
            self._wake(now)
        if self._beliefs.lost:
            self._member_of = _NOBODY.get  # nothing that comes is for us any more
            self._due = NEVER
        else:
            self._finish(now)
        return self._speaker.effects()

    def _hear_words(self, packet: Packet, member: Member | None, source: Address, now: float) -> Member | None:
        """Announcements, and who the sender is; None where it counts for nothing more."""
        sender, generation = packet.sender, packet.generation
        if self._beliefs.lost:
            return None
        if packet.to != self._id and (packet.to != ANYBODY or packet.kind != Kind.PING):
            self._counts[f"refused {Reason.RECEIVER}"] += 1
            return None
        if not self._is_fresh(packet, member):
            self._counts[f"refused {Reason.REPLAY}"] += 1
            if member is not None and is_a_copy(packet, member.announcement):  # it counts as one of the same generation did before it
                self._greetings.tell_its_later_self(member, source, now)
            return None
        if member is not None and generation < member.generation:
            self._counts["refused generation"] += 1
            self._greetings.tell_its_later_self(member, source, now)
            return None
        by = member.text if member is not None else f"{source[0]} port {source[1]}"
        for announcement in packet.announcements:
            risen = self._beliefs.hear_announcement(announcement, now, by)
            if risen is not None and risen in self._beliefs.risen and risen.id == sender:
                self._streams.sync(risen, now)
        self._beliefs.risen.clear()
        if sender == self._id:  # a copy of us
            self._greetings.tell_its_later_self(self.members.me, source, now)
            return None
        member = self.members.get(sender)
        if member is None or member.generation != generation:
            self._counts["strangers"] += 1
            self._greetings.ask(source, self._detector.number(), now)
            return None
        if member.window is None:
            member.window = self._replays.hand_over(sender, generation)
        if packet.to == ANYBODY:
            # near the size of the question, since an address can be forged: our own words and nothing else
            claims = () if member.health in (Health.ALIVE, Health.DEPARTED) else (doubt_of(member, self._id),)
            self._speaker.say(Kind.ACK, sender, source, packet.seq, announcements=(self.me,), claims=claims, news=False)
            return None
        return member

    def _answer_plainly(self, member: Member, source: Address, seq: int, now: float) -> None:
        self._speaker.say_plain(Kind.ACK, member.id, source, seq)
        if source != member.address:  # a copy of it, if it has not several addresses
            self._greetings.tell_its_later_self(member, source, now)

    def _is_fresh(self, packet: Packet, member: Member | None) -> bool:
        """Whether it was not heard before: a member's window is its own, those of strangers stand in a table."""
        if member is None or packet.generation != member.generation or member.window is None:
            return self._replays.accept(packet.sender, packet.generation, packet.counter)
        window = slide(member.window, packet.counter)
        if window is not None:
            member.window = window
        return window is not None

    def _answer_ping(self, member: Member, source: Address, seq: int) -> None:
        if member.health is Health.ALIVE and not self._beliefs.accused:
            self._speaker.say(Kind.ACK, member.id, source, seq)
        else:
            self._speaker.say_to(Kind.ACK, member, seq, where=source, answer=self._beliefs.accused)

    def _take_ack(self, member: Member, seq: int, now: float) -> None:
        if self._detector.acked(seq, member.id) or self._relays.acked(seq, member.id):
            self._finish(now)
        elif self._greetings.answered(seq, now):
            self._streams.sync(member, now)
            self._finish(now)

    def _relay(self, member: Member, source: Address, seq: int, target: MemberId, now: float) -> None:
        whom = self.members.get(target)
        if whom is None or whom is self.members.me or not self._relays.begin(member, source, seq, whom, self._detector.number(), now):
            self._counts["refused relays"] += 1

    # --- joining and leaving

    def join(self, addresses: Iterable[Address], now: float) -> list[Effect]:
        """Greet whoever listens at these addresses, if no member that we hold alive does. To be called again and again."""
        for address in addresses:
            self._greetings.greet(address, self._detector.number(), now)
        return self._speaker.effects()

    def depart(self, now: float) -> list[Effect]:
        """Say goodbye to the ring. The node goes on until it is dropped."""
        if not self.me.departing:
            self._beliefs.announce_myself(self.me.incarnation + 1, now, departing=True)
            for member in self._detector.some(GOODBYE * self._preset.gossip_fanout):
                self._speaker.say(Kind.GOSSIP, member.id, member.address)
        return self._settled(now)

    # --- records

    def count_on(self, generation: int, now: float) -> list[Effect]:
        """After Contested, once that generation is on disk: we are it from now on."""
        self._speaker.generation = generation
        self._beliefs.announce_myself(0, self.members.me.since, generation=generation)
        self._holdings.count_on(generation)
        return self._settled(now)

    def publish(self, facts: Mapping[str, bytes], now: float) -> list[Effect]:
        """The whole set of our own facts, by key without `member/<id>/`: what is missing is withdrawn."""
        self._holdings.publish(facts)
        return self._settled(now)

    def draft(self, key: str, body: bytes | None, *, expect: int | None, now: float, revision: int | None = None) -> Record:
        """A document's next revision, or the one of that number, not adopted yet: the caller makes it durable in between."""
        return self._holdings.draft(key, body, expect=expect, revision=revision)

    def dismiss(self, member_id: MemberId, why: str, now: float) -> Record:
        """A document that says that a member has departed, to be adopted like any other; NotFoundError for one that is not known."""
        return self._holdings.dismiss(member_id, why)

    def adopt(self, record: Record, now: float) -> list[Effect]:
        """A document of our own, durable by now: it counts, and everybody hears of it."""
        self._holdings.take(record, now, self.members.me)
        return self._settled(now)

    # --- streams

    def accepted(self, source: Address, now: float) -> tuple[int, list[Effect]]:
        """Somebody has connected: our number for the stream, -1 where it is refused."""
        number = -1 if self._beliefs.lost else self._streams.accepted(source, now)
        return number, self._settled(now)

    def opened(self, stream: int, now: float) -> list[Effect]:
        """A stream that we asked for is there."""
        self._streams.opened(stream, now)
        return self._settled(now)

    def frame(self, stream: int, data: Any, now: float) -> list[Effect]:
        """One frame of a stream."""
        if now > self._late:
            self._wake(now)
        heard = None if self._beliefs.lost else self._streams.frame(stream, data, now)
        if heard is None:
            return self._settled(now)
        conversation, turn = heard
        if turn.member and conversation.member is not None:
            self._detector.reached(conversation.seq, turn.member)
        beliefs = self._beliefs
        few = len(turn.announcements) <= GOSSIP_MOST
        for announcement in turn.announcements:
            before = len(self.members)
            learned = beliefs.hear_announcement(announcement, now, conversation.by, spread=few)
            if learned is not None and len(self.members) > before:
                conversation.learned.add(learned.id)
        beliefs.risen.clear()
        for claim in turn.claims:
            beliefs.hear_synced(claim, now, newly=claim.subject in conversation.learned)
        self._holdings.hear(turn.records, now, conversation.member)
        if turn.announcements or turn.claims:  # who differed from one differs from others
            if not few or now < self._settles_at:
                self._settles_at = now + SETTLES * self._preset.period_s
            self._compare_soon(now)
        return self._settled(now)

    def closed(self, stream: int, now: float) -> list[Effect]:
        """A stream is no more, or could not be opened."""
        self._streams.closed(stream)
        return self._settled(now)


def is_a_copy(packet: Packet, known: Announcement) -> bool:
    """Whether this member's packet was not made by the process that we know, nor by a later one."""
    if packet.generation < known.generation:
        return True
    mine = (known.public, known.generation)
    return any((each.public, each.generation) == mine and each.session != known.session for each in packet.announcements)
