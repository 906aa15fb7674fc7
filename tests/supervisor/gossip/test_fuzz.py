"""Hostile bytes against a member, fewer than benchmarks/ring_fuzz.py sends; a failure names the seed and the input."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import ring_fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_bytes_are_refused_and_counted_or_taken_and_raise_nothing(seed: int) -> None:
    """Without the ring's key each is refused, and counted once; with it some are taken, or this would be a test of the seal alone."""
    found = ring_fuzz.measure(argparse.Namespace(count=3000, seed=seed, life=1000))
    became, counted = found["what became of them"], found["counted by nodes"]
    assert became["datagrams without the key: refused"] > 1000
    assert became["datagrams with the key: taken"] > 100
    assert became["frames: answered"] > 100
    assert {"refused tag", "refused shape", "refused replay", "refused key", "refused turn"} < counted.keys()


def test_a_run_is_repeated_by_its_seed() -> None:
    """So that what a run finds can be looked at."""
    first, again = (ring_fuzz.measure(argparse.Namespace(count=300, seed=3, life=100)) for _ in range(2))
    assert first["what became of them"] == again["what became of them"]
    assert first["counted by nodes"] == again["counted by nodes"]
