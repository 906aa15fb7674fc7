"""Sockets and budgets of the ring."""

from __future__ import annotations

import socket

import pytest

from hart.errors import UnavailableError, UsageError
from hart.limits import RING_MEMBER_BURST, RING_STRANGER_BURST, RING_STRANGER_RATE
from supervisor.gossip.budget import Budget
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
    taken = sum(budget.take(("192.0.2.3", port), {MEMBER}, 0.0) for port in range(10_000))
    assert taken == RING_STRANGER_BURST
    assert budget.take(MEMBER, {MEMBER}, 0.0)


def test_a_member_that_floods_uses_up_its_own() -> None:
    budget = Budget(0.0)
    assert sum(budget.take(MEMBER, {MEMBER}, 0.0) for _ in range(10_000)) == RING_MEMBER_BURST
    assert budget.take(STRANGER, {MEMBER, STRANGER}, 0.0)


def test_a_budget_comes_back_with_time() -> None:
    budget = Budget(0.0)
    for port in range(10_000):
        budget.take(("192.0.2.3", port), frozenset(), 0.0)
    assert sum(budget.take(STRANGER, frozenset(), 0.1) for _ in range(10_000)) == pytest.approx(RING_STRANGER_RATE * 0.1, abs=1)
