"""Sockets and budgets of the ring."""

from __future__ import annotations

import heapq
import random
import socket

import pytest

from hart.errors import UnavailableError, UsageError
from hart.limits import (
    JOIN_S,
    RING_MEMBER_BURST,
    RING_STRANGER_BURST,
    RING_STRANGER_RATE,
    RING_STRANGER_SHARE,
    RING_STRANGER_STREAMS,
    RING_STREAMS,
)
from supervisor.gossip.budget import Budget, Places
from supervisor.gossip.sockets import inward, open_sockets

MEMBER, STRANGER = ("192.0.2.1", 9638), ("192.0.2.2", 9638)


def test_both_protocols_get_the_same_free_port() -> None:
    sockets = open_sockets(("127.0.0.1", 0), sealed=False)
    assert sockets.datagrams.getsockname() == sockets.streams.getsockname() == sockets.address
    sockets.close()


def test_a_taken_port_is_said_with_what_to_do() -> None:
    """Whichever of the two protocols has it."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            with pytest.raises(UnavailableError) as caught:
                open_sockets(("127.0.0.1", taken.getsockname()[1]), sealed=True)
            assert "--listen-gossip" in caught.value.next


def test_plain_text_is_for_loopback_only() -> None:
    with pytest.raises(UsageError, match="loopback"):
        open_sockets(("0.0.0.0", 0), sealed=False)


def test_a_socket_of_both_families_tells_ipv4_as_ipv4() -> None:
    sockets = open_sockets(("::", 0), sealed=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.sendto(b"x", ("127.0.0.1", sockets.address[1]))
        sockets.datagrams.setblocking(True)
        _, source = sockets.datagrams.recvfrom(10)
        assert inward(source) == sender.getsockname()
        sender.settimeout(5)
        sockets.datagrams.sendto(b"y", sockets.outward(inward(source)))
        assert sender.recv(10) == b"y"
    sockets.close()


def test_strangers_can_only_use_up_what_is_meant_for_strangers() -> None:
    """However many addresses they have."""
    budget = Budget(0.0)
    taken = sum(budget.take((f"10.0.{number // 250}.{number % 250}", 9638), {MEMBER}, 0.0) for number in range(10_000))
    assert taken == RING_STRANGER_BURST
    assert budget.take(MEMBER, {MEMBER}, 0.0)


def test_a_host_that_floods_leaves_room_for_others_to_join() -> None:
    """Whatever ports it sends from: other strangers still get the rest, but for the few that share its bucket."""
    budget = Budget(0.0)
    assert sum(budget.take(("192.0.2.3", port), frozenset(), 0.0) for port in range(10_000)) == RING_STRANGER_BURST * RING_STRANGER_SHARE
    heard = sum(budget.take((f"10.0.0.{number}", 9638), frozenset(), 0.0) for number in range(250))
    assert heard >= 200


def test_a_thousand_hosts_that_join_at_once_are_all_heard_within_seconds() -> None:
    """Each greets until it is heard, as discovery does: after one second, then ever less often; whoever was heard is a member."""
    budget, chance = Budget(0.0), random.Random(1)
    least, most = JOIN_S
    waiting = [(chance.random(), f"10.0.{number // 250}.{number % 250}", least) for number in range(1000)]
    heapq.heapify(waiting)
    now = 0.0
    while waiting:
        now, host, wait_s = heapq.heappop(waiting)
        if not budget.take((host, 9638), frozenset(), now):
            heapq.heappush(waiting, (now + wait_s * chance.uniform(0.8, 1.2), host, min(wait_s * 2, most)))
    assert now < 5


def test_silent_callers_leave_places_for_members() -> None:
    """Strangers get half of the streams, one host half of them; this host's own processes any."""
    places = Places(0.0)
    assert sum(places.take(f"10.0.0.{number}", 0.0, known=False) for number in range(20)) == RING_STREAMS // 2
    assert places.take(MEMBER[0], 0.0, known=True)
    places.leave("10.0.0.0", known=False)
    assert places.take("10.0.0.9", 0.0, known=False)
    crowded = Places(0.0)
    assert sum(crowded.take(MEMBER[0], 0.0, known=True) for _ in range(20)) == RING_STREAMS // 2
    assert sum(crowded.take("127.0.0.1", 0.0, known=True) for _ in range(20)) == RING_STREAMS // 2
    assert not crowded.take("10.0.0.1", 0.0, known=True)


def test_strangers_begin_only_so_many_streams_a_second() -> None:
    """A recorded conversation can be played again without a key, and each costs an answer; members are not held up by it."""
    places, (rate, burst) = Places(0.0), RING_STRANGER_STREAMS
    begun = 0
    for turn in range(10_000):
        if places.take("10.0.0.1", turn / 1000, known=False):
            places.leave("10.0.0.1", known=False)
            begun += 1
    assert begun <= burst + 10 * rate
    assert places.take(MEMBER[0], 10.0, known=True)


def test_a_member_that_floods_uses_up_its_own() -> None:
    budget = Budget(0.0)
    assert sum(budget.take(MEMBER, {MEMBER}, 0.0) for _ in range(10_000)) == RING_MEMBER_BURST
    assert budget.take(STRANGER, {MEMBER, STRANGER}, 0.0)


def test_a_budget_comes_back_with_time() -> None:
    budget = Budget(0.0)
    for port in range(10_000):
        budget.take((STRANGER[0], port), frozenset(), 0.0)
    share = RING_STRANGER_RATE * RING_STRANGER_SHARE
    assert sum(budget.take(STRANGER, frozenset(), 0.2) for _ in range(10_000)) == pytest.approx(share * 0.2, abs=1)


def test_what_the_kernel_dropped_is_told() -> None:
    """A queue that nobody empties overflows; the socket says how often."""
    sockets = open_sockets(("127.0.0.1", 0), sealed=True)
    sockets.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least
    assert sockets.overflowed() == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(100):
            sender.sendto(bytes(1000), sockets.address)
    assert 50 < sockets.overflowed() < 100
    sockets.close()


def test_the_receive_queue_is_as_large_as_the_system_allows() -> None:
    """A burst waits there while we are busy: without it 300 datagrams are all."""
    sockets = open_sockets(("127.0.0.1", 0), sealed=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert sockets.datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    sockets.close()
