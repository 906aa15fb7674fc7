"""Many things sent in pieces of a bounded size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.gossip.parcels import Parcels


def taken(items: list[str], room: int, budget: int) -> list[list[str]]:
    parcels, pieces = Parcels(iter(items), len, budget), list[list[str]]()
    while parcels.more:
        pieces.append(parcels.take(room))
    assert parcels.take(room) == []
    return pieces


@given(st.lists(st.text(min_size=1, max_size=9)), st.integers(1, 20), st.integers(0, 200))
def test_all_that_the_budget_allows_comes_once_and_in_order(items: list[str], room: int, budget: int) -> None:
    """No piece is empty or larger than the room, but for a single item that is; the first item beyond the budget ends it."""
    pieces = taken(items, room, budget)
    came = [item for piece in pieces for item in piece]
    assert came == items[: len(came)]
    assert sum(map(len, came)) <= budget
    assert len(came) == len(items) or sum(map(len, items[: len(came) + 1])) > budget
    assert all(piece and (len(piece) == 1 or sum(map(len, piece)) <= room) for piece in pieces)


def test_pieces_are_filled() -> None:
    assert taken(["aa", "bb", "c", "dddddd", "e"], 5, 100) == [["aa", "bb", "c"], ["dddddd"], ["e"]]
    assert taken([], 5, 100) == []
