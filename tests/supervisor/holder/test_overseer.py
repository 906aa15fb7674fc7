"""How long a dead supervisor stays dead."""

from __future__ import annotations

import signal

import pytest

from supervisor.holder.overseer import after_death


@pytest.mark.parametrize("failures", [0, 1, 7])
@pytest.mark.parametrize(
    ("signum", "lived_s"),
    [
        (signal.SIGKILL, 0.1),  # somebody's kill -9, or the kernel's for want of memory
        (signal.SIGTERM, 0.1),
        (signal.SIGSEGV, 5.0),
        (None, 5.0),
    ],
)
def test_a_supervisor_that_did_its_work_is_started_again_at_once(signum: int | None, lived_s: float, failures: int) -> None:
    """Whatever it died of, and as often as it happens."""
    assert after_death(failures, attached=True, signum=signum, lived_s=lived_s) == (0, 0.0)


@pytest.mark.parametrize(
    ("attached", "signum", "lived_s"),
    [
        (False, None, 0.1),
        (False, None, 100.0),  # its start hangs and fails
        (False, signal.SIGKILL, 0.1),  # too large for its memory before it begins
        (True, None, 4.9),  # an error as soon as it has taken over
        (True, signal.SIGSEGV, 0.1),
    ],
)
@pytest.mark.parametrize(
    ("failures", "wait_s"), [(0, 0), (1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10_000, 30)]
)
def test_one_that_fails_again_and_again_is_waited_with(
    attached: bool, signum: int | None, lived_s: float, failures: int, wait_s: float
) -> None:
    """A first failure is hardly noticed, and a crash loop costs little."""
    assert after_death(failures, attached=attached, signum=signum, lived_s=lived_s) == (failures + 1, wait_s)
