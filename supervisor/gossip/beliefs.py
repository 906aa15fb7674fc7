"""What a member believes of the others, and what it does when it hears something new: every transition of health is a verb here.

Rules (SWIM 4.2, Lifeguard 4.2):
- Only a member itself can say that it lives: an announcement, signed. Claims (suspect, dead) are anybody's.
- A claim about an unknown member is nothing: no ghosts. A claim about ourselves is refuted: greater incarnation, told before all else.
- DEAD about a member that we hold alive is taken as a suspicion, from gossip with Lifeguard and from push/pull always: nobody dies
  without a chance to object that we would have heard.
- A valid announcement of our own key by another process, of our generation or a later one, means that a state directory was copied. Who
  has been here for INCUMBENT periods counts on, once: it takes a later generation, and the other one loses. Anybody else has lost.
- Every change has a reason, which names who said it.

Not here: order of standings (members.py), when a suspicion ends (suspicion.py), who is probed (detector.py).
"""

from __future__ import annotations

from collections import defaultdict

from hart.limits import RING_GENERATION_MAX, RING_INCARNATION_JUMP, RING_STARTS_MISSED
from supervisor.gossip.awareness import Awareness
from supervisor.gossip.codec import size_of
from supervisor.gossip.identity import MemberKey, Verify, announce, announcement_ok, member_id
from supervisor.gossip.members import Member, Members, Standing, supersedes
from supervisor.gossip.messages import Announcement, Claim, Cloned, Contested, Expired, Health, MemberId, Noted, Seen
from supervisor.gossip.news import News, Urgency
from supervisor.gossip.presets import Preset
from supervisor.gossip.speaker import Speaker
from supervisor.gossip.suspicion import Suspicions

INCUMBENT = 30  # periods after which a member that another contests was here first: a copy hears of it in its first few
REPEAT_S = 1.0  # between two times that we repeat what we said of ourselves to somebody who has older news


class Beliefs:
    """The transitions. Effects go to the speaker's `out`."""

    __slots__ = (
        "_awareness",
        "_contested",
        "_counters",
        "_key",
        "_news",
        "_preset",
        "_repeat_at",
        "_ring",
        "_speaker",
        "_verify",
        "accused",
        "fresh",
        "lost",
        "members",
        "risen",
        "suspicions",
    )

    def __init__(
        self,
        *,
        key: MemberKey,
        ring: bytes,
        verify: Verify,
        preset: Preset,
        members: Members,
        news: News,
        speaker: Speaker,
        awareness: Awareness,
        counters: defaultdict[str, int],
    ) -> None:
        self._key = key
        self._ring = ring
        self._verify = verify
        self._preset = preset
        self._news = news
        self._speaker = speaker
        self._awareness = awareness
        self._counters = counters
        self._repeat_at = 0.0
        self.members = members
        self.suspicions = Suspicions(preset)
        self.accused = False  # a claim about us came in the packet that is being read: its sender has to hear our answer
        self.lost = False
        self._contested = False  # we have counted on, or are about to
        self.fresh: list[Member] = []  # suspects that others have named just now, for somebody to confirm
        self.risen: list[Member] = []  # members whom an announcement has just brought back from the dead

    # --- what is heard

    def hear_announcement(self, announcement: Announcement, now: float, by: str, *, spread: bool = True) -> Member | None:
        """A member's own words, through whomever; the member if they are news. Refused ones are counted."""
        members = self.members
        member = members.by_public(announcement.public)
        if member is not None:
            if member is members.me:
                self._meet_my_copy(announcement, now, by)
                return None
            if announcement[1:4] <= member.announcement[1:4]:
                return None
        identity = member_id(announcement.public) if member is None else member.id
        departed = member is not None and member.health is Health.DEPARTED and announcement.generation <= member.generation
        if departed or announcement.generation <= members.gone(identity):
            self._counters["refused gone"] += 1
            return None
        if not announcement_ok(announcement, self._ring, self._verify):
            self._counters["refused announcement"] += 1
            return None
        if member is None:
            health = Health.DEPARTED if announcement.departing else Health.ALIVE
            member = members.admit(identity, announcement, health, now)
            if member is None:
                self._counters["refused full"] += 1
                return None
            urgency = Urgency.END if announcement.departing else Urgency.ARRIVAL
            self._speaker.out.append(Seen(identity, health, f"announced to us by {by}"))
        else:
            urgency = self._become_renewed(member, announcement, now, by)
        if spread:
            self._tell(urgency, member)
        else:
            self._news.drop(member.id)
        return member

    def hear_claim(self, claim: Claim, now: float, by: Member) -> None:
        """What one member says of another. The last to count is a claim about exactly what we know, or later."""
        health, subject, generation, incarnation, accuser = claim
        if subject == self._key.id:
            self._answer(claim, by.text)
            return
        member = self.members.get(subject)
        if member is None or generation != member.generation or health not in (Health.SUSPECT, Health.DEAD):
            return
        known = member.announcement.incarnation
        if not known <= incarnation <= known + RING_INCARNATION_JUMP:
            return
        said = Health(health)
        if member.suspicion is not None and said is Health.SUSPECT and incarnation <= member.claimed:
            if self.members.get(accuser) is not None:
                self._confirm(member, accuser, now)
        elif supersedes(Standing(generation, incarnation, said), member.standing):
            if said is Health.SUSPECT:
                self._become_suspect(member, accuser, incarnation, now, f"{self.text(accuser)} could not reach it")
                self.fresh.append(member)
            elif member.health is Health.ALIVE and self._preset.lifeguard:
                self._become_suspect(member, accuser, incarnation, now, f"{self.text(accuser)} says that it is dead", short=True)
                self.fresh.append(member)
            else:
                self._become_dead(member, accuser, incarnation, now, f"{self.text(accuser)} says so")

    def hear_synced(self, claim: Claim, now: float, *, newly: bool) -> None:
        """Whom a partner in push/pull holds dead; `newly`: we have learned of that member from the same partner just now."""
        _, subject, generation, incarnation, accuser = claim
        if subject == self._key.id:
            self._answer(claim, self.text(accuser))
            return
        member = self.members.get(subject)
        if member is None or generation != member.generation or incarnation < member.announcement.incarnation:
            return
        if not supersedes(Standing(generation, incarnation, Health.DEAD), member.standing):
            return
        because = f"{self.text(accuser)} holds it dead"
        if newly:
            self._become_dead(member, accuser, member.announcement.incarnation, now, because, spread=False)
        elif member.health is Health.ALIVE:
            self._become_suspect(member, accuser, member.announcement.incarnation, now, because, short=True, spread=False)
            self._news.tell_in_person(member)

    def hear_departed(self, identity: MemberId, generation: int, now: float, because: str) -> None:
        """A document says that a member is gone for good, up to a generation. Of one that we know, one that we may have missed at
        most: whoever writes a number from nowhere must not bar it for ever."""
        member = self.members.get(identity)
        self.members.bar(identity, generation if member is None else min(generation, member.generation + RING_STARTS_MISSED))
        if member is not None and member is not self.members.me and member.generation <= generation:
            self.become_departed(member, now, because)

    # --- transitions

    def accuse(self, member: Member, now: float, because: str) -> None:
        """We could not reach it."""
        self._counters["suspicions"] += 1
        if member.suspicion is not None:
            self._confirm(member, self._key.id, now)
        elif member.health is Health.ALIVE:
            self._become_suspect(member, self._key.id, member.announcement.incarnation, now, because)

    def _become_renewed(self, member: Member, announcement: Announcement, now: float, by: str) -> Urgency:
        """It has said something new; how urgent that is for others."""
        before = member.health
        restarted = announcement.generation > member.generation
        if announcement.departing:
            health, because = Health.DEPARTED, f"it said goodbye; heard from {by}"
        elif restarted:
            health, because = Health.ALIVE, f"it has started again; heard from {by}"
        elif before in (Health.SUSPECT, Health.DEAD) and announcement.incarnation <= member.claimed:
            health, because = before, f"its older words, heard from {by}"
        else:
            health = Health.ALIVE
            because = f"it says that it lives; heard from {by}" if before is not Health.ALIVE else f"a new announcement; heard from {by}"
        self.members.renew(member, announcement, health, now)
        if health is not Health.SUSPECT:
            member.suspicion = None
        if health is Health.ALIVE and before is Health.DEAD:
            self.risen.append(member)
        self._speaker.out.append(Seen(member.id, health, because))
        if health is Health.DEPARTED:
            return Urgency.END
        return Urgency.SUSPICION if before is not health else Urgency.ARRIVAL

    def _become_suspect(
        self,
        member: Member,
        accuser: MemberId,
        incarnation: int,
        now: float,
        because: str,
        *,
        short: bool = False,
        spread: bool = True,
    ) -> None:
        self.members.judge(member, Health.SUSPECT, incarnation, now)
        self.suspicions.begin(member, accuser, self.members.count, now, short=short)
        if spread:
            claim = Claim(Health.SUSPECT, member.id, member.generation, incarnation, accuser)
            self._news.tell(Urgency.SUSPICION, member.id, claim, size_of(claim))
        self._speaker.out.append(Seen(member.id, Health.SUSPECT, because))

    def _confirm(self, member: Member, accuser: MemberId, now: float) -> None:
        suspicion = member.suspicion
        assert suspicion is not None
        if not suspicion.confirm(accuser):
            return
        self.suspicions.watch(member, suspicion)
        claim = Claim(Health.SUSPECT, member.id, member.generation, member.claimed, accuser)
        self._news.tell(Urgency.SUSPICION, member.id, claim, size_of(claim), beside=True)
        left = suspicion.until - now
        because = f"{self.text(accuser)} could not reach it either: {suspicion.confirmed} confirm, {left:.1f} s left to object"
        self._speaker.out.append(Noted(member.id.hex(), because))

    def _become_dead(self, member: Member, accuser: MemberId, incarnation: int, now: float, because: str, *, spread: bool = True) -> None:
        member.suspicion = None
        self.members.judge(member, Health.DEAD, incarnation, now)
        self._counters["deaths"] += 1
        if spread:
            claim = Claim(Health.DEAD, member.id, member.generation, incarnation, accuser)
            self._news.tell(Urgency.END, member.id, claim, size_of(claim))
        self._speaker.out.append(Seen(member.id, Health.DEAD, because))

    def become_departed(self, member: Member, now: float, because: str) -> None:
        if member.health is Health.DEPARTED:
            return
        member.suspicion = None
        self._news.drop(member.id)
        self.members.judge(member, Health.DEPARTED, member.claimed, now)
        self._speaker.out.append(Seen(member.id, Health.DEPARTED, because))

    def end_suspicions(self, now: float) -> None:
        """Those whose time is over: dead, unless there is a reason to wait."""
        for member in self.suspicions.due(now):
            suspicion = member.suspicion
            assert suspicion is not None
            lasted = now - suspicion.since
            if self._preset.lifeguard and suspicion.postpone(now, self._awareness.score, member.heard):
                self.suspicions.watch(member, suspicion)
                if member.heard > suspicion.since:
                    self._news.tell_in_person(member)
                continue
            count = len(suspicion.accusers)
            names = ", ".join(sorted(self.text(each) for each in suspicion.accusers))
            because = f"suspected for {lasted:.1f} s by {count} ({names}), and it did not object"
            self._become_dead(member, self._key.id, member.standing.incarnation, now, because)

    def forget_old(self, now: float) -> list[MemberId]:
        """The dead and the departed whose time is over; their facts go with them."""
        preset, old = self._preset, []
        for member in self.members:
            keep = {Health.DEAD: preset.forget_s, Health.DEPARTED: preset.forget_departed_s}.get(member.health)
            if keep is not None and now - member.since >= keep:
                old.append(member)
        for member in old:
            self._news.drop(member.id)
            self.members.forget(member)
            because = f"{'dead' if member.health is Health.DEAD else 'departed'} for {(now - member.since) / 3600:.0f} h"
            self._speaker.out += (Seen(member.id, None, because), Expired(member.id))
        return [member.id for member in old]

    # --- ourselves

    def announce_myself(
        self,
        incarnation: int,
        now: float,
        *,
        generation: int | None = None,
        departing: bool = False,
        urgency: Urgency = Urgency.REFUTATION,
    ) -> None:
        """New words of our own, for everybody."""
        me = self.members.me
        said = me.announcement
        announcement = announce(
            self._key,
            ring=self._ring,
            generation=said.generation if generation is None else generation,
            incarnation=incarnation,
            session=said.session,
            host=said.host,
            port=said.port,
            name=said.name,
            departing=departing,
        )
        self.members.renew(me, announcement, Health.ALIVE, now)
        self._tell(urgency, me)

    def _answer(self, claim: Claim, by: str) -> None:
        """Somebody doubts us."""
        self.accused = True
        mine = self.members.me.announcement
        if claim.generation != mine.generation or claim.incarnation < mine.incarnation or mine.departing:
            return
        if claim.incarnation > min(mine.incarnation + RING_INCARNATION_JUMP, RING_GENERATION_MAX - 1):
            self._counters["refused incarnation"] += 1
            return
        self._counters["refutations"] += 1
        self._awareness.worse()
        self.announce_myself(claim.incarnation + 1, self.members.me.since)
        word = "dead" if claim.health == Health.DEAD else "suspect"
        because = f"{self.text(claim.accuser)} called us {word}, heard from {by}: we say that we live, incarnation {claim.incarnation + 1}"
        self._speaker.out.append(Seen(self._key.id, Health.ALIVE, because))

    def _meet_my_copy(self, announcement: Announcement, now: float, by: str) -> None:
        """Words of our key: our own, those of our past or of a copy that has lost, or of one that contests who we are."""
        me = self.members.me
        mine = me.announcement
        if announcement.session == mine.session:
            return
        if announcement.generation < mine.generation or (self._contested and announcement[1:4] < mine[1:4]):
            self._repeat_myself(now)
            return
        if not announcement_ok(announcement, self._ring, self._verify):
            self._counters["refused announcement"] += 1
            return
        because = (
            f"{announcement.name} at {announcement.host} port {announcement.port} has our key: generation "
            f"{announcement.generation}.{announcement.incarnation}, ours {mine.generation}.{mine.incarnation}; heard from {by}"
        )
        was_here_first = now - me.since >= INCUMBENT * self._preset.period_s and not self._contested
        if was_here_first and announcement.generation < RING_GENERATION_MAX:
            self._contested = True
            self._speaker.out.append(Contested(announcement.generation + 1, because))
        else:
            self.lost = True
            self._speaker.out.append(Cloned(because))

    def _repeat_myself(self, now: float) -> None:
        """Somebody holds older words of ours, or a copy of us has lost and must hear it."""
        if now >= self._repeat_at:
            self._repeat_at = now + REPEAT_S
            self._tell(Urgency.REFUTATION, self.members.me)

    def _tell(self, urgency: Urgency, member: Member) -> None:
        self._news.tell(urgency, member.id, member.announcement, size_of(member.announcement))

    def text(self, identity: MemberId) -> str:
        """A member for people."""
        if identity == self._key.id:
            return "this member"
        member = self.members.get(identity)
        return member.text if member is not None else identity.hex()[:8] or "somebody"
