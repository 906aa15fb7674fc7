"""A flood from outside, with real members in processes of their own (benchmarks/ring_flood.py, shorter)."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import ring_flood


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["garbage", "forged", "member"])
def test_a_flood_leaves_honest_members_undisturbed(kind: str) -> None:
    """10,000 datagrams a second for three seconds: nobody is accused, nearly all of them are dropped unopened."""
    found = ring_flood.measure(argparse.Namespace(kind=kind, members=4, seconds=3.0, rate=10_000.0))
    assert found["datagrams sent"] > 20_000
    assert found["false accusations"] == 0
    assert found["alive after, at the flooded one and at the least of the others"] == (4, 4)
    opened = sum(found["refused"].values())
    assert 0 < opened < found["datagrams sent"] / 10
