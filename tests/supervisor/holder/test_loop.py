"""Who is called, and who is not called any more."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from supervisor.holder.loop import Loop


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(2)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_a_readable_descriptor_is_called_each_round_until_it_is_read(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """Level-triggered: nothing is lost by stopping early."""
    loop, called = Loop(), []
    (ours, theirs), _ = pairs
    loop.watch(ours.fileno(), lambda: called.append(1))
    theirs.send(b"x")
    loop.wait(0)
    loop.wait(0)
    ours.recv(1)
    loop.wait(0)
    assert called == [1, 1]


def test_a_number_that_is_used_again_within_a_round_does_not_get_the_old_ones_event(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """Else a fresh pidfd would inherit the event of a closed pipe, and a running service be taken for dead."""
    loop, wrong = Loop(), []
    fresh_reader, fresh_writer = os.pipe()
    ends = [ours for ours, _ in pairs]

    def replace_the_other(other: socket.socket) -> None:
        for end in ends:
            loop.unwatch(end.fileno())
        os.dup2(fresh_reader, other.fileno())  # closes the other, and gives its number to a quiet pipe
        loop.watch(other.fileno(), lambda: wrong.append(1))

    loop.watch(ends[0].fileno(), lambda: replace_the_other(ends[1]))
    loop.watch(ends[1].fileno(), lambda: replace_the_other(ends[0]))
    for _, theirs in pairs:
        theirs.send(b"x")
    loop.wait(0)
    loop.wait(0)
    assert wrong == []
    os.close(fresh_reader)
    os.close(fresh_writer)


def test_who_rests_is_not_called_until_the_rest_is_over(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """Others go on meanwhile, and the wait ends with the rest and not later."""
    loop, called = Loop(), []
    (ours, theirs), (other, others) = pairs
    loop.watch(ours.fileno(), lambda: called.append("resting"))
    loop.watch(other.fileno(), lambda: called.append("other"))
    theirs.send(b"x")
    loop.rest(ours.fileno(), 1000)
    loop.wait(0)
    assert called == []
    others.send(b"x")
    loop.wait(None)
    assert called == ["other"]
    other.recv(1)
    loop.rest(ours.fileno(), 0.01)
    loop.wait(None)
    while called == ["other"]:
        loop.wait(None)
    assert called == ["other", "resting"]
    loop.rest(ours.fileno(), 1000)
    loop.unwatch(ours.fileno())
    loop.rest(ours.fileno(), 1000)
    loop.wait(0)
    assert called == ["other", "resting"]
