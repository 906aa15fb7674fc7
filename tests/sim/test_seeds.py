"""Random faults: a few seeds always, more when there is time, and the same seed is the same run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.faults import Faults, drawn
from tests.sim.seeds import Failed, altered, main, run_seed

PROJECT = Path(__file__).parent.parent.parent
FAST = range(24)
SLOW = range(1000, 1300)


@pytest.mark.parametrize("first", range(FAST.start, FAST.stop, 4))
def test_rings_hold_their_rules_under_random_faults(first: int) -> None:
    """Safety after every event; after healing one view and equal records within 100 periods."""
    for seed in range(first, first + 4):
        run_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SLOW.start, SLOW.stop, 10))
def test_many_rings_hold_their_rules_under_random_faults(first: int) -> None:
    """The same with more seeds; a night takes tens of thousands (tests/sim/seeds.py)."""
    for seed in range(first, first + 10):
        run_seed(seed)


def test_a_quiet_ring_is_one_view_at_once() -> None:
    """Without faults nothing has to heal."""
    assert run_seed(1, Faults(members=6)).healed <= 1


@pytest.mark.parametrize("seed", [3, 5])
def test_the_same_seed_gives_the_same_trace(seed: int) -> None:
    """Nothing but the seed decides: no set order, no address, no clock."""
    assert run_seed(seed) == run_seed(seed)


def test_different_seeds_give_different_traces() -> None:
    """The hash sees what happens."""
    assert run_seed(3, Faults()).trace != run_seed(4, Faults()).trace


def test_the_same_seed_gives_the_same_trace_in_processes_that_hash_differently() -> None:
    """PYTHONHASHSEED changes the order of sets of texts and bytes; it must not change a run."""
    code = "from tests.sim.seeds import run_seed; print([run_seed(seed).trace for seed in (6, 7, 8)])"
    traces = set()
    for hashes in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
        traces.add(done.stdout)
    assert len(traces) == 1
    assert traces != {""}


def test_a_failure_says_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed, faults in full, the command, the last events."""
    monkeypatch.setattr("tests.sim.seeds.HEALED_PERIODS", -1)
    monkeypatch.setattr("tests.sim.seeds.differences", lambda ring: ["nobody agrees"])
    with pytest.raises(Failed) as failed:
        run_seed(7)
    text = str(failed.value)
    assert failed.value.rule == "liveness after healing"
    assert "nobody agrees" in text
    assert f"faults: {drawn(7)}" in text
    assert "replay: python -m tests.sim.seeds --seed 7\n" in text
    with pytest.raises(Failed) as failed:
        run_seed(7, altered(7, {"loss": "0.5", "pause": "2"}))
    assert "pause=2" in str(failed.value).split("replay: ")[1].splitlines()[0]


def test_the_command_runs_one_seed_twice_and_many_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status: failures."""
    assert main(["--seed", "2", "--twice", "members=5"]) == 0
    assert capsys.readouterr().out.count("trace ") == 2
    assert main(["--count", "2", "--from", "50"]) == 0
    assert "2 of 2 seeds hold" in capsys.readouterr().out
