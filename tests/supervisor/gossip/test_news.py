"""What is told, how often, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.gossip.codec import PACKET_ROOM, size_of
from supervisor.gossip.messages import Claim, Health, Notice, Version
from supervisor.gossip.news import EMPTY, News, Urgency
from tests.supervisor.gossip.company import words_of


def claim(subject: bytes, accuser: bytes = b"a" * 16, health: Health = Health.SUSPECT) -> Claim:
    return Claim(health, subject, 1, 0, accuser)


def notice(number: int) -> Notice:
    return Notice(f"group/web.default/file/{number:04}", Version(1, 0), bytes(16))


def doubt(news: News, number: int) -> Claim:
    said = claim(number.to_bytes(16, "big"))
    news.tell(Urgency.SUSPICION, said.subject, said, size_of(said))
    return said


def file(news: News, number: int) -> Notice:
    said = notice(number)
    news.tell(Urgency.RECORD, said.key, said, size_of(said))
    return said


def test_an_item_is_told_a_bounded_number_of_times() -> None:
    news = News()
    assert news.idle
    said = doubt(news, 1)
    assert not news.idle
    assert [news.fill(1000, 4).claims for _ in range(6)] == [(said,)] * 4 + [()] * 2
    assert news.idle
    assert news.count == news.size == 0


def test_the_least_sent_goes_first_and_among_those_the_newest() -> None:
    news = News()
    old, new = doubt(news, 1), doubt(news, 2)
    room = size_of(old)
    assert news.fill(room, 9).claims == (new,)
    assert news.fill(room, 9).claims == (old,)
    third = doubt(news, 3)
    assert [news.fill(room, 9).claims[0] for _ in range(4)] == [third, third, old, new]


def test_urgent_classes_go_first() -> None:
    news = News()
    words = words_of("b")
    file(news, 1)
    news.tell(Urgency.ARRIVAL, b"b", words, size_of(words))
    doubted = doubt(news, 1)
    death = claim(b"d" * 16, health=Health.DEAD)
    news.tell(Urgency.END, death.subject, death, size_of(death))
    mine = words_of("me")
    news.tell(Urgency.REFUTATION, b"me", mine, size_of(mine))
    assert news.fill(size_of(mine), 9).announcements == (mine,)
    load = news.fill(PACKET_ROOM, 9)
    assert load.announcements == (mine, words)
    assert load.claims == (death, doubted)


def test_a_flood_of_suspicions_leaves_records_a_quarter_of_the_packets() -> None:
    """With one queue a ring with 5 % loss delivered a record to 56 % of its members."""
    news = News()
    for number in range(2000):
        doubt(news, number)
    for number in range(200):
        file(news, number)
    loads = [news.fill(PACKET_ROOM, 100) for _ in range(40)]
    assert sum(bool(load.notices) for load in loads) == 10
    assert sum(bool(load.claims) for load in loads) >= 30


def test_a_flood_of_records_leaves_suspicions_their_place() -> None:
    news = News()
    for number in range(2000):
        file(news, number)
    doubted = doubt(news, 1)
    assert sum(doubted in news.fill(PACKET_ROOM, 100).claims for _ in range(8)) >= 6


def test_news_of_a_member_replaces_older_news_of_it_but_accusers_stand_beside_each_other() -> None:
    news = News()
    doubt(news, 1)
    subject = (1).to_bytes(16, "big")
    second = claim(subject, b"z" * 16)
    news.tell(Urgency.SUSPICION, subject, second, size_of(second), beside=True)
    assert news.count == 2
    words = words_of("b")
    news.tell(Urgency.ARRIVAL, subject, words, size_of(words))
    assert news.count == 1
    assert news.fill(PACKET_ROOM, 9) == ((words,), (), (), ())


def test_nobody_is_told_the_same_twice_in_a_row() -> None:
    news = News()
    doubt(news, 1)
    listener = news.listener()
    assert news.fill(PACKET_ROOM, 9, listener).claims
    assert news.fill(PACKET_ROOM, 9, listener) == EMPTY
    assert news.fill(PACKET_ROOM, 9, news.listener()).claims


def test_the_queue_is_bounded_and_loses_the_most_sent_of_the_least_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.gossip.news.RING_NEWS_MAX", 3)
    news = News()
    first = file(news, 1)
    assert news.fill(PACKET_ROOM, 9).notices == (first,)
    second = file(news, 2)
    doubted = [doubt(news, number) for number in range(2)]
    assert news.count == 3
    load = news.fill(PACKET_ROOM, 9)
    assert load.notices == (second,)
    assert set(load.claims) == set(doubted)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60), st.integers(0, PACKET_ROOM), st.integers(1, 5))
def test_whatever_waits_fits_the_room_and_the_count_is_right(items: list[tuple[bool, int]], room: int, limit: int) -> None:
    """Everything is told exactly `limit` times in the end."""
    news = News()
    said = {file(news, number) if is_file else doubt(news, number) for is_file, number in items}
    assert news.count == len(said)
    told = []
    for _ in range(3000):
        load = news.fill(room, limit)
        carried = (*load.claims, *load.notices)
        assert sum(map(size_of, carried)) <= room
        told += carried
        if news.idle or not carried:
            break
    if room >= max(map(size_of, said), default=0):
        assert news.idle
        assert all(told.count(each) == limit for each in said)
