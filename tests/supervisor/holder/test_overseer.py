"""How long a dead supervisor stays dead."""

from __future__ import annotations

import pytest

from supervisor.holder.overseer import backoff_s


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (10_000, 30)])
def test_the_wait_doubles_from_one_second_to_thirty(failures: int, wait_s: float) -> None:
    """A crash loop costs little, and a single crash is hardly noticed."""
    assert backoff_s(failures) == wait_s
