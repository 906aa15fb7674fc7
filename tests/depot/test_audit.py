"""The chained audit trail (S35)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from depot import audit
from depot.audit import Entry


def trail(count: int) -> list[tuple[Entry, bytes]]:
    rows, previous = [], audit.GENESIS
    for seq in range(1, count + 1):
        entry = Entry(seq=seq, at_us=seq * 10, account="alice", action="package.publish", subject=f"acme/web/{seq}", detail={"size": seq})
        previous = audit.link(previous, entry)
        rows.append((entry, previous))
    return rows


def head(rows: list[tuple[Entry, bytes]]) -> tuple[int, bytes]:
    return (rows[-1][0].seq, rows[-1][1]) if rows else (0, audit.GENESIS)


@given(st.integers(0, 8))
def test_an_untouched_trail_is_whole(count: int) -> None:
    """The empty one too."""
    rows = trail(count)
    assert audit.first_break(rows, head(rows)) is None


@given(st.integers(1, 8), st.data())
def test_an_edited_entry_is_named(count: int, data: st.DataObject) -> None:
    """Whatever field was edited."""
    rows = trail(count)
    place = data.draw(st.integers(0, count - 1))
    edit = data.draw(st.sampled_from([{"at_us": 0}, {"account": "eve"}, {"action": "x"}, {"subject": "y"}, {"detail": {"size": -1}}]))
    edited = [*rows]
    edited[place] = (replace(rows[place][0], **edit), rows[place][1])  # type: ignore[arg-type]
    found = audit.first_break(edited, head(rows))
    assert found is not None
    assert f"entry {place + 1} " in found


@given(st.integers(1, 8), st.data())
def test_a_missing_entry_is_found(count: int, data: st.DataObject) -> None:
    """In the middle by its number, at the end by the head."""
    rows = trail(count)
    place = data.draw(st.integers(0, count - 1))
    assert audit.first_break(rows[:place] + rows[place + 1 :], head(rows)) is not None


def test_an_entry_that_was_rehashed_breaks_the_next_one() -> None:
    """Editing one entry with its hash moves the break, it does not hide it."""
    rows = trail(3)
    changed = replace(rows[1][0], account="eve")
    edited = [rows[0], (changed, audit.link(rows[0][1], changed)), rows[2]]
    found = audit.first_break(edited, head(rows))
    assert found is not None
    assert "entry 3 " in found
