"""The kill loops, shortly: nothing is lost, doubled or wrongly killed. The long ones are `make kill-loops`."""

from __future__ import annotations

import pytest

from benchmarks import kill_loops

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_killed_supervisor_costs_no_process_no_answer_and_no_line() -> None:
    report = kill_loops.kill_supervisors(30, services=20, seed=30)
    assert sum(report.kills.values()) == 30
    assert report.facts["answers"] > 1000


def test_a_killed_holder_leaves_one_copy_of_everything_and_strangers_alone() -> None:
    assert sum(kill_loops.kill_holders(15, services=5, seed=15).kills.values()) == 15


def test_killed_services_are_all_started_again_once_each() -> None:
    assert kill_loops.kill_services(300, services=50, seed=300).kills == {"SIGKILL": 300}


def test_a_loop_notices_a_second_copy_and_a_lost_line() -> None:
    """The checks can fail."""
    with kill_loops.host() as one:
        one.lay("s0", kill_loops.BEAT_RUN, **{"beat.py": kill_loops.BEAT})
        one.launch()
        one.load(["s0"])
        kill_loops.check_copies(one, {"s0": True})
        with pytest.raises(kill_loops.BrokenError, match="is to be down"):
            kill_loops.check_copies(one, {"s0": False})
        one.ask("stop", name="s0")
        log = one.root.service("s0") / "logs" / "run.log"
        lines = log.read_text().splitlines(keepends=True)
        assert kill_loops.count_lines(one, "s0") == len(lines)
        log.write_text("".join(lines[:1] + lines[2:]))
        with pytest.raises(kill_loops.BrokenError, match="lost or doubled"):
            kill_loops.count_lines(one, "s0")
