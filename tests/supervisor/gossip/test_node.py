"""Whole members among each other: what one believes, says and does, event by event."""

from dataclasses import replace

import pytest

from hart.errors import ConflictError, FormatError, LimitError, NotFoundError
from hart.limits import RING_FACTS, RING_STARTS_MISSED
from hart.wire import encode
from supervisor.gossip.identity import sign_record
from supervisor.gossip.kinds import departed_key
from supervisor.gossip.members import Member
from supervisor.gossip.messages import (
    ANYBODY,
    Claim,
    Cloned,
    Contested,
    Dismissed,
    Effect,
    Expired,
    Health,
    Kind,
    Learned,
    Noted,
    Packet,
    Seen,
    Send,
    Version,
)
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LAN
from tests.sim.ring import Ring
from tests.supervisor.gossip.company import RING, Company, address_of, key_of, node_of, words_of

PERIOD = LAN.period_s


def member(node: Node, name: str) -> Member:
    found = node.members.get(key_of(name).id)
    assert found is not None
    return found


def packet(
    sender: str,
    to: str | None,
    kind: Kind,
    *,
    counter: int = 1000,
    seq: int = 1,
    generation: int = 1,
    target: str = "",
    announcements: tuple[object, ...] = (),
    claims: tuple[Claim, ...] = (),
) -> Packet:
    return Packet(
        key_of(sender).id,
        generation,
        counter,
        key_of(to).id if to else ANYBODY,
        0,
        kind,
        seq,
        key_of(target).id if target else b"",
        address_of(target) if target else None,
        announcements,  # type: ignore[arg-type]
        claims,
        (),
        (),
    )


def doubt(subject: str, accuser: str, *, health: Health = Health.SUSPECT, incarnation: int = 0, generation: int = 1) -> Claim:
    return Claim(health, key_of(subject).id, generation, incarnation, key_of(accuser).id)


def sends(effects: list[Effect]) -> list[Packet]:
    return [effect.data for effect in effects if isinstance(effect, Send)]  # type: ignore[misc]  # PlainCodec


def joined(*names: str) -> Company:
    """Members that know each other, with nothing to tell."""
    company = Company(*names)
    company.run(12 * PERIOD)
    assert all(node.news.idle for node in company.nodes.values())
    company.told.clear()
    return company


# --- joining


def test_three_that_know_addresses_only_become_one_ring() -> None:
    company = joined("a", "b", "c")
    assert company.views() == {"a": "b+ c+", "b": "a+ c+", "c": "a+ b+"}


def test_a_chain_of_introductions_is_enough() -> None:
    """Each knows one address; push/pull and gossip bring the rest."""
    company = Company()
    company.add("a")
    for name, peer in (("b", "a"), ("c", "b"), ("d", "c")):
        node = company.add(name)
        company.act(node, node.join([address_of(peer)], company.now))
        company.run(0.5)
    company.run(3)
    assert set(company.views().values()) == {"b+ c+ d+", "a+ c+ d+", "a+ b+ d+", "a+ b+ c+"}


def test_join_greets_nobody_whom_it_knows() -> None:
    """It is called again and again, with all addresses that there are."""
    company = joined("a", "b")
    assert company["a"].join([address_of("a"), address_of("b")], company.now) == []
    (greeting,) = sends(company["a"].join([address_of("c")], company.now))
    assert (greeting.kind, greeting.to, greeting.announcements) == (Kind.PING, ANYBODY, (company["a"].me,))


def test_a_greeting_is_answered_with_nothing_but_our_own_words() -> None:
    """Its address may be forged: the answer is near the size of the question."""
    company = joined("a", "b")
    company.act(company["a"], company["a"].publish({"service/web.default": b"x" * 600}, company.now))
    company.told.clear()
    stranger = packet("z", None, Kind.PING, announcements=(words_of("z"),))
    answer = sends(company["a"].receive(stranger, address_of("z"), company.now))[0]
    assert (answer.kind, answer.to, answer.announcements) == (Kind.ACK, key_of("z").id, (company["a"].me,))
    assert not answer.records


def test_a_restart_greets_members_of_before_and_believes_in_none() -> None:
    known = [words_of(name) for name in "bcdefghijklmn"]
    node = node_of("a", generation=2, known=known)
    greetings = sends(node.start(0.0))
    assert len(greetings) == 8
    assert {each.kind for each in greetings} == {Kind.PING}
    assert node.members.count == 1


def test_a_restart_wins_over_its_own_past() -> None:
    company = joined("a", "b", "c")
    known = [company["a"].me, company["c"].me]
    del company.nodes["b"]
    company.add("b", node_of("b", generation=2, session=b"another.", known=known))
    company.run(2 * PERIOD)
    assert company.views() == {"a": "b+ c+", "b": "a+ c+", "c": "a+ b+"}
    assert member(company["a"], "b").generation == 2


# --- who is heard


def test_a_packet_for_another_member_is_dropped() -> None:
    """A stranger on a reused address never is the old member."""
    company = joined("a", "b")
    assert company["a"].receive(packet("b", "c", Kind.PING), address_of("b"), company.now) == []
    assert company["a"].counters["refused receiver"] == 1


def test_a_packet_is_not_taken_twice() -> None:
    company = joined("a", "b")
    again = packet("b", "a", Kind.PING)
    assert sends(company["a"].receive(again, address_of("b"), company.now))[0].kind == Kind.ACK
    assert company["a"].receive(again, address_of("b"), company.now) == []
    assert company["a"].counters["refused replay"] == 1


def test_a_greeting_is_not_taken_twice_after_its_sender_has_become_known() -> None:
    """The window of a stranger is handed over to the member."""
    node = node_of("a")
    node.start(0.0)
    greeting = packet("z", None, Kind.PING, announcements=(words_of("z"),))
    assert sends(node.receive(greeting, address_of("z"), 0.0))
    assert not sends(node.receive(greeting, address_of("z"), 0.0))
    assert node.counters["refused replay"] == 1


def test_a_packet_of_an_earlier_generation_is_dropped_and_its_sender_told() -> None:
    """It is a replay, or a copy of an old state directory, which has to hear that it has lost."""
    company = joined("a", "b")
    company.act(company["a"], company["a"].receive(packet("b", None, Kind.PING, generation=3, announcements=(words_of("b", generation=3),)),
                                                   address_of("b"), company.now))  # fmt: skip
    answers = sends(company["a"].receive(packet("b", "a", Kind.PING, counter=5000), address_of("b"), company.now))
    assert [each.announcements for each in answers if each.kind != Kind.PING] == [(words_of("b", generation=3),)]
    assert company["a"].counters["refused generation"] == 1


def test_a_stranger_that_speaks_to_us_is_asked_who_it_is_a_few_times_a_second() -> None:
    """An answer to each would be a mirror for forged addresses."""
    company = joined("a", "b")
    asked = 0
    for number in range(100):
        asked += len(sends(company["a"].receive(packet("z", "a", Kind.PING, counter=number + 1), address_of("z"), company.now)))
    assert asked == 4


def test_a_forged_announcement_changes_nothing() -> None:
    company = joined("a", "b")
    forged = words_of("b", incarnation=7)._replace(host="10.9.9.9")
    company["a"].receive(packet("b", "a", Kind.GOSSIP, announcements=(forged,)), address_of("b"), company.now)
    assert member(company["a"], "b").incarnation == 0
    assert company["a"].counters["refused announcement"] == 1


# --- probing


def test_an_idle_member_sends_one_ping_and_one_ack_a_period_and_nobody_else_is_woken() -> None:
    company = joined("a", "b", "c", "d")
    company.run(10 * PERIOD)
    kinds = [each.kind for each in company.packets("a")]
    assert 9 <= kinds.count(Kind.PING) <= 12  # two of them may be a retry's
    assert 8 <= kinds.count(Kind.ACK) <= 12
    assert set(kinds) == {Kind.PING, Kind.ACK}
    assert company["a"].score == 0


def test_a_tick_before_its_time_does_nothing() -> None:
    company = joined("a", "b")
    assert company["a"].tick(company["a"].deadline() - 0.001) == []


def test_a_broken_line_is_no_death() -> None:
    """Others can reach it, and say so by passing its answer on."""
    company = joined("a", "b", "c", "d")
    company.cut = lambda source, to: {source, to} == {address_of("a"), address_of("b")}
    company.run(20 * PERIOD)
    assert company.views()["a"] == "b+ c+ d+"
    assert not [seen for seen in company.effects("c", Seen) if seen.health is not Health.ALIVE]
    assert company["a"].counters["indirect probes"] > 3


def test_a_crash_is_found_and_every_step_says_why() -> None:
    company = joined("a", "b", "c", "d", "e", "f")
    del company.nodes["f"]
    company.run(8 * PERIOD)
    assert all("f!" in view for view in company.views().values())
    reasons = [effect.because for _, effect in company.told if isinstance(effect, (Seen, Noted))]
    assert any("no answer to us for" in because and "3 of them said so" in because for because in reasons)
    assert any("could not reach it" in because for because in reasons)
    assert any("confirm" in because for because in reasons)
    assert any("suspected for" in because and "it did not object" in because for because in reasons)


def test_of_two_members_the_other_is_found_dead_too() -> None:
    """Nobody can confirm or vouch."""
    company = joined("a", "b")
    del company.nodes["b"]
    company.run(9 * PERIOD)
    assert company.views() == {"a": "b!"}


def test_a_relay_pings_at_the_known_address_and_says_when_it_hears_nothing() -> None:
    company = joined("a", "b", "c")
    node = company["a"]
    request = packet("b", "a", Kind.PING_REQ, seq=77, target="c")._replace(address=("10.66.66.66", 666))
    effects = node.receive(request, address_of("b"), company.now)
    (ping,) = [effect for effect in effects if isinstance(effect, Send)]
    assert ping.to == address_of("c")
    nack = [each for each in sends(node.tick(company.now + 0.4)) if each.kind == Kind.NACK]
    assert [(each.to, each.seq) for each in nack] == [(key_of("b").id, 77)]


def test_a_relay_passes_an_answer_on() -> None:
    company = joined("a", "b", "c")
    effects = company["a"].receive(packet("b", "a", Kind.PING_REQ, seq=77, target="c"), address_of("b"), company.now)
    (ping,) = sends(effects)
    acks = sends(company["a"].receive(packet("c", "a", Kind.ACK, seq=ping.seq), address_of("c"), company.now))
    assert [(each.kind, each.to, each.seq) for each in acks] == [(Kind.ACK, key_of("b").id, 77)]


def test_nobody_is_relayed_to_third_parties() -> None:
    company = joined("a", "b")
    assert sends(company["a"].receive(packet("b", "a", Kind.PING_REQ, target="z"), address_of("b"), company.now)) == []
    assert company["a"].counters["refused relays"] == 1


def test_relays_are_budgeted() -> None:
    company = joined("a", "b", "c")
    pings = 0
    for number in range(200):
        pings += len(sends(company["a"].receive(packet("b", "a", Kind.PING_REQ, counter=2000 + number, target="c"), address_of("b"), 20.0)))
    assert pings == 32


def test_an_answer_that_nobody_asked_for_counts_for_nothing() -> None:
    company = joined("a", "b", "c")
    before = company["a"].counters["acks"]
    company["a"].receive(packet("b", "a", Kind.ACK, seq=12345), address_of("b"), company.now)
    assert company["a"].counters["acks"] == before


# --- Lifeguard


def test_who_has_slept_accuses_nobody() -> None:
    """The observer was the sick one: probes and suspicions go on where they were, whichever event comes first."""
    for first in ("tick", "receive"):
        company = joined("a", "b", "c", "d")
        node = company["a"]
        company.cut = lambda source, to: address_of("a") in (source, to)
        company.act(node, node.tick(node.deadline()))  # a probe is under way, its answer never comes
        late = company.now + 60.0
        effects = node.tick(late) if first == "tick" else node.receive(packet("b", "a", Kind.PING), address_of("b"), late)
        assert any(isinstance(effect, Noted) and "not running" in effect.because for effect in effects)
        assert not any(isinstance(effect, Seen) for effect in effects)
        assert node.score == 1
        assert node.deadline() >= late


def test_a_suspicion_is_not_held_against_the_suspect_while_we_slept() -> None:
    company = joined("a", "b", "c", "d")
    node = company["a"]
    node.receive(packet("c", "a", Kind.GOSSIP, claims=(doubt("b", "c"),)), address_of("c"), company.now)
    assert member(node, "b").health is Health.SUSPECT
    node.tick(company.now + 600.0)
    assert member(node, "b").health is Health.SUSPECT


def test_what_became_due_in_the_past_is_no_sleep() -> None:
    """A third confirmation may end a suspicion that has lasted longer already."""
    company = joined("a", "b", "c", "d", "e")
    node = company["a"]
    company.cut = lambda *_: True
    for number, accuser in enumerate(("c", "d", "e")):
        node.receive(packet("c", "a", Kind.GOSSIP, counter=2000 + number, claims=(doubt("b", accuser),)), address_of("c"), company.now)
        company.run(1.9)
    company.run(1)
    assert "slept" not in node.counters


def test_a_member_that_hears_nobody_at_all_accuses_nobody_for_a_while() -> None:
    company = joined("a", "b", "c", "d")
    company.cut = lambda source, to: address_of("a") in (source, to)
    company.run(6 * PERIOD)
    assert company.views()["a"] == "b+ c+ d+"
    assert company["a"].score > 0
    company.run(150 * PERIOD)
    assert company.views()["a"] == "b! c! d!"


def test_a_suspect_hears_of_it_from_whoever_pings_it() -> None:
    """Lifeguard's buddy system: first of all, so that it can object."""
    company = joined("a", "b", "c")
    node = company["a"]
    node.receive(packet("c", "a", Kind.GOSSIP, claims=(doubt("b", "c"),)), address_of("c"), company.now)
    told: list[Packet] = []
    while not told:
        told = [each for each in sends(node.tick(node.deadline())) if each.kind == Kind.PING and each.to == key_of("b").id]
    assert told[0].claims[0] == doubt("b", "a")
    answers = [each for each in sends(company["b"].receive(told[0], address_of("a"), company.now)) if each.kind == Kind.ACK]
    assert answers[0].announcements[0].incarnation == 1
    node.receive(answers[0], address_of("b"), node.deadline() - 0.1)
    assert member(node, "b").health is Health.ALIVE


def test_an_accused_member_answers_with_a_greater_incarnation_and_a_worse_score() -> None:
    company = joined("a", "b", "c")
    node = company["a"]
    effects = node.receive(packet("b", "a", Kind.PING, claims=(doubt("a", "c", incarnation=4),)), address_of("b"), company.now)
    assert node.me.incarnation == 5
    assert node.score == 1
    assert sends(effects)[0].announcements == (node.me,)
    assert any(isinstance(effect, Seen) and "called us suspect" in effect.because for effect in effects)
    stale = packet("b", "a", Kind.PING, counter=1001, claims=(doubt("a", "c", incarnation=4),))
    assert node.me in sends(node.receive(stale, address_of("b"), company.now))[0].announcements
    assert node.me.incarnation == 5


def test_nobody_is_pushed_to_the_end_of_the_numbers() -> None:
    company = joined("a", "b")
    node = company["a"]
    node.receive(packet("b", "a", Kind.PING, claims=(doubt("a", "b", incarnation=1 << 61),)), address_of("b"), company.now)
    assert node.me.incarnation == 0
    node.receive(packet("b", "a", Kind.PING, counter=2000, claims=(doubt("b", "b", incarnation=1 << 61),)), address_of("b"), company.now)
    assert member(node, "b").health is Health.ALIVE


def test_dead_is_taken_as_suspect_of_a_member_that_is_held_alive() -> None:
    """Nobody dies without a chance to object; without Lifeguard as SWIM says."""
    for preset, health in ((LAN, Health.SUSPECT), (replace(LAN, lifeguard=False), Health.DEAD)):
        company = Company("a", "b", "c", preset=preset)
        company.run(2)
        company.cut = lambda *_: True
        gossip = packet("c", "a", Kind.GOSSIP, claims=(doubt("b", "c", health=Health.DEAD),))
        company["a"].receive(gossip, address_of("c"), company.now)
        assert member(company["a"], "b").health is health


def test_claims_about_strangers_and_older_lives_count_for_nothing() -> None:
    company = joined("a", "b")
    node = company["a"]
    claims = (doubt("z", "b"), doubt("b", "b", generation=0), doubt("b", "b", generation=9))
    node.receive(packet("b", "a", Kind.GOSSIP, claims=claims), address_of("b"), company.now)
    assert company.views()["a"] == "b+"
    assert len(node.members) == 2


def test_the_dead_are_retried_and_a_healed_partition_is_one_view_again() -> None:
    """Without permanent peers, and although nobody was restarted (Habitat's W22)."""
    company = joined("a", "b", "c", "d", "e", "f")
    left = {address_of(name) for name in "abc"}
    company.cut = lambda source, to: (source in left) != (to in left)
    company.run(60 * PERIOD)
    assert company.views()["a"] == "b+ c+ d! e! f!"
    company.cut = lambda *_: False
    company.run(LAN.retry_dead_s + 5 * PERIOD)
    assert all("!" not in view and "?" not in view for view in company.views().values())


# --- copies


def test_of_two_processes_with_one_key_the_lesser_hears_that_it_has_lost() -> None:
    company = joined("a", "b", "c")
    later = words_of("a", generation=2, session=b"thecopy.")
    effects = company["a"].receive(packet("b", "a", Kind.GOSSIP, announcements=(later,)), address_of("b"), company.now)
    (cloned,) = [effect for effect in effects if isinstance(effect, Cloned)]
    assert "generation 2.0, ours 1.0" in cloned.because
    assert company["a"].tick(company.now + 100) == []
    assert company["a"].receive(packet("b", "a", Kind.PING, counter=1001), address_of("b"), company.now) == []


def test_who_was_here_first_counts_on_once() -> None:
    """A directory that was copied while its member runs counts one ahead: the member takes a later generation, and the copy has lost."""
    company = joined("a", "b", "c")
    company.run(40)
    company.act(company["a"], company["a"].publish({"service/web": b"up"}, company.now))
    node = company["a"]
    later = words_of("a", generation=2, session=b"thecopy.")
    effects = node.receive(packet("b", "a", Kind.GOSSIP, counter=9000, announcements=(later,)), address_of("b"), company.now)
    assert [effect.generation for effect in effects if isinstance(effect, Contested)] == [3]
    assert not any(isinstance(effect, Cloned) for effect in effects)
    company.act(node, node.count_on(3, company.now))
    company.run(5)
    assert member(company["b"], "a").announcement == node.me
    assert node.me.generation == 3
    (fact,) = company["b"].records.facts_of(key_of("a").id)
    assert fact.version.major == 3
    later = words_of("a", generation=4, session=b"thecopy.")
    effects = node.receive(packet("b", "a", Kind.GOSSIP, counter=9001, announcements=(later,)), address_of("b"), company.now)
    assert any(isinstance(effect, Cloned) for effect in effects)


def test_a_copy_from_the_past_never_becomes_the_member() -> None:
    """A restored state directory: the members tell it what they know, and it has lost."""
    company = Company()
    company.add("a", node_of("a", generation=5))
    company.add("b")
    company.act(company["b"], company["b"].join([address_of("a")], 0.0))
    company.run(3)
    stale = node_of("a", generation=4, session=b"thecopy.")
    (greeting,) = sends([*stale.start(0.0), *stale.join([address_of("b")], 0.0)])
    answers = [each for each in sends(company["b"].receive(greeting, ("10.3.3.3", 9638), company.now)) if each.to == key_of("a").id]
    assert member(company["b"], "a").generation == 5
    effects = [effect for answer in answers for effect in stale.receive(answer, address_of("b"), 0.1)]
    assert any(isinstance(effect, Cloned) for effect in effects)


def test_a_copy_at_another_address_with_the_same_numbers_is_told() -> None:
    company = joined("a", "b")
    copy = packet("b", "a", Kind.PING, counter=4000)
    answers = sends(company["a"].receive(copy, ("10.3.3.3", 9638), company.now))
    assert [each.announcements for each in answers if each.kind == Kind.GOSSIP] == [(company["b"].me,)]


def test_our_own_words_from_before_are_answered_with_what_we_say_now() -> None:
    company = joined("a", "b")
    node = node_of("c", generation=3)
    company.add("c", node)
    company.act(node, node.join([address_of("a")], company.now))
    company.run(5)
    company.told.clear()
    old = words_of("c", generation=2, session=b"before..")
    company.act(node, node.receive(packet("a", "c", Kind.GOSSIP, counter=9000, announcements=(old,)), address_of("a"), company.now))
    assert not company.effects("c", Cloned)
    assert any(node.me in each.announcements for each in company.packets("c"))


# --- leaving


def test_a_goodbye_is_heard_by_all_and_is_final_for_its_generation() -> None:
    company = joined("a", "b", "c", "d", "e")
    words = company["c"].me
    company.act(company["c"], company["c"].depart(company.now))
    company.run(PERIOD)
    assert company.views()["a"] == "b+ cx d+ e+"
    del company.nodes["c"]
    laggard = packet("b", "a", Kind.GOSSIP, counter=9000, announcements=(words, words_of("c", incarnation=9)))
    company["a"].receive(laggard, address_of("b"), company.now)
    company.run(5 * PERIOD)
    assert company.views()["a"] == "b+ cx d+ e+"
    company.add("c", node_of("c", generation=2, known=[company["a"].me]))
    company.run(5 * PERIOD)
    assert company.views()["a"] == "b+ c+ d+ e+"


def test_a_member_is_told_to_go_by_a_document() -> None:
    company = joined("a", "b", "c")
    record = company["a"].dismiss(key_of("c").id, "the host is sold", company.now)
    assert company["a"].records.get(record.key) is None
    company.act(company["a"], company["a"].adopt(record, company.now))
    company.run(2 * PERIOD)
    assert company.views()["a"] == "b+ cx"
    assert company.views()["b"] == "a+ cx"
    because = {effect.because for effect in company.effects("c", Dismissed)}
    assert because
    assert all("told to go by a (" in each and "the host is sold" in each for each in because)
    with pytest.raises(NotFoundError):
        company["a"].dismiss(b"?" * 16, "", company.now)


def test_a_dismissed_member_that_did_not_hear_it_hears_it_when_it_speaks() -> None:
    company = joined("a", "b", "c")
    company.cut = lambda source, to: address_of("c") in (source, to)
    company.act(company["a"], company["a"].adopt(company["a"].dismiss(key_of("c").id, "gone", company.now), company.now))
    company.run(5 * PERIOD)
    company.cut = lambda *_: False
    company.run(30 * PERIOD)
    assert company.effects("c", Dismissed)


def test_a_document_that_is_no_departure_dismisses_nobody() -> None:
    company = joined("a", "b")
    for body in (b"\xc1", b"\x80", None):
        revision = len(company["a"].records.history(departed_key(key_of("b").id))) + 1
        record = sign_record(key_of("b"), ring=RING, record_key=departed_key(key_of("b").id), version=Version(revision, 0), body=body)
        company["a"].adopt(record, company.now)
    assert company.views()["a"] == "b+"


def test_the_dead_are_forgotten_with_their_facts_and_do_not_come_back() -> None:
    company = Company("a", "b", preset=replace(LAN, forget_s=30.0))
    company.act(company["b"], company["b"].publish({"service/web.default": b"up"}, company.now))
    company.run(3)
    words = company["b"].me
    assert company["a"].records.facts_of(key_of("b").id)
    del company.nodes["b"]
    company.run(120)
    assert company.views() == {"a": ""}
    assert company.effects("a", Expired) == [Expired(key_of("b").id)]
    assert company.effects("a", Seen)[-1].health is None
    assert not company["a"].records.facts_of(key_of("b").id)
    company["a"].receive(packet("z", None, Kind.PING, announcements=(words_of("z"), words)), address_of("z"), company.now)
    assert company.views() == {"a": "z+"}


# --- records


def test_facts_reach_everybody_and_what_is_not_said_any_more_is_withdrawn() -> None:
    company = joined("a", "b", "c")
    company.act(company["a"], company["a"].publish({"service/web.default": b"1", "host": b"h"}, company.now))
    company.run(1)
    key = f"member/{key_of('a').id.hex()}/service/web.default"
    held = company["c"].records.get(key)
    assert held is not None
    assert (held.body, held.version) == (b"1", Version(1, 1))
    assert any(isinstance(effect, Learned) and effect.record == held for effect in company.effects("c", Learned))
    company.act(company["a"], company["a"].publish({"host": b"h"}, company.now))
    company.run(1)
    assert [record.body for record in company["c"].records.facts_of(key_of("a").id)] == [b"h"]


def test_a_fact_that_has_not_changed_is_not_told_again() -> None:
    company = joined("a", "b")
    company.act(company["a"], company["a"].publish({"host": b"h"}, company.now))
    company.run(3)
    assert not company["a"].publish({"host": b"h"}, company.now)


def test_facts_from_before_a_start_are_withdrawn_when_they_come_back() -> None:
    """Unloading a service while its supervisor is down must not leave it in the ring (Habitat's W20)."""
    company = joined("a", "b")
    company.act(company["a"], company["a"].publish({"service/web.default": b"1", "service/db.default": b"1"}, company.now))
    company.run(2)
    del company.nodes["a"]
    node = company.add("a", node_of("a", generation=2, session=b"another.", known=[company["b"].me]))
    company.act(node, node.publish({"service/db.default": b"1"}, company.now))
    company.run(3)
    assert [record.key.rpartition("/")[2] for record in company["b"].records.facts_of(key_of("a").id)] == ["db.default"]


def test_facts_that_nobody_would_take_are_refused_before_anything_changes() -> None:
    node = node_of("a")
    node.start(0.0)
    node.publish({"host": b"h"}, 0.0)
    with pytest.raises(LimitError):
        node.publish({"host": b"x" * 10_000}, 0.0)
    with pytest.raises(LimitError):
        node.publish({f"service/{number}": b"" for number in range(RING_FACTS + 1)}, 0.0)
    for name in ("../etc/passwd", "floor", ""):
        with pytest.raises(FormatError):
            node.publish({name: b""}, 0.0)
    assert [record.body for record in node.records.facts_of(key_of("a").id)] == [b"h"]


def test_a_document_larger_than_a_packet_is_fetched_from_whom_it_was_heard_of() -> None:
    company = joined("a", "b", "c", "d")
    key, body = "group/web.default/config", b"x" * 60_000
    record = company["a"].draft(key, body, expect=0, now=company.now)
    assert company["a"].records.get(key) is None
    company.act(company["a"], company["a"].adopt(record, company.now))
    company.run(2)
    assert all(node.records.get(key) == record for node in company.nodes.values())
    assert all(not each.records for name in "abcd" for each in company.packets(name))
    with pytest.raises(ConflictError):
        company["b"].draft(key, b"", expect=0, now=company.now)
    assert company["b"].draft(key, b"", expect=1, now=company.now).version == Version(2, 0)


def test_what_gossip_has_missed_push_pull_brings() -> None:
    company = joined("a", "b", "c")
    company.cut = lambda source, to: address_of("c") in (source, to) and address_of("a") in (source, to)
    node = company["a"]
    company.act(node, node.publish({"host": b"h"}, company.now))
    company.run(0.1)
    company.cut = lambda *_: False
    company.run(LAN.push_pull_s * 3)
    assert company["c"].records.facts_of(key_of("a").id)
    assert len({each.records.digest for each in company.nodes.values()}) == 1
    assert len({each.members.digest for each in company.nodes.values()}) == 1


def test_streams_beyond_the_limit_are_refused_and_die_without_progress() -> None:
    company = joined("a", "b")
    node = company["a"]
    numbers = [node.accepted(address_of("b"), company.now)[0] for _ in range(10)]
    assert numbers.count(-1) == 2
    company.run(11)
    assert node.accepted(address_of("b"), company.now)[0] > 0
    assert node.counters["streams given up"] == 8


def test_a_frame_out_of_turn_or_replayed_ends_the_stream_and_is_counted() -> None:
    company = joined("a", "b")
    node = company["a"]
    for number, frame in enumerate((["junk"], [b"n" * 8, b"o" * 8, 0, [8, b""]], [b"n" * 8, b"", 1, []], 7)):
        stream, _ = node.accepted(address_of("b"), company.now)
        assert node.frame(stream, frame, company.now)  # type: ignore[arg-type]  # PlainCodec
        assert node.counters["refused replay"] == number + 1
        assert node.frame(stream, frame, company.now) == []  # type: ignore[arg-type]


def test_a_departure_with_a_number_from_nowhere_bars_nobody_for_ever() -> None:
    """Any member may write it; who starts again often enough is back, and who is meant does not leave."""
    ring = Ring(seed=3)
    hosts = ring.grow(4)
    by, meant = hosts[0], hosts[3]
    meant.peers = {by.address}
    body = encode({"generation": 1 << 62, "by": by.id, "why": "a lie"})
    record = by.node.draft(departed_key(meant.id), body, expect=None, now=by.clock())
    by.act("adopt", record, by.node.adopt(record, by.clock()))
    ring.periods(5)
    assert meant.node.me.departing is False
    for _ in range(RING_STARTS_MISSED + 1):
        meant.crash()
        meant.start()
    ring.periods(20)
    held = by.node.members.get(meant.id)
    assert held is not None
    assert held.health is Health.ALIVE
