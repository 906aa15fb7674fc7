"""What is done about a job's next run, and what is remembered of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError
from supervisor.service.jobs import Act, Book, Outcome, Run, decide, ended, exit_code, found_open, seen_to
from supervisor.service.schedule import Overlap, Schedule

EVERY = Schedule(every_s=60)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=9)
TIMES = st.floats(0, 1e10)
RUNS = st.builds(
    Run, id=TEXT, due=TIMES, args=st.lists(TEXT, max_size=2).map(tuple), outcome=st.sampled_from(Outcome), code=st.integers(-1, 255)
)


@given(st.builds(Book, anchor=TIMES, queued=TIMES, skipped=st.integers(0, 99), runs=st.lists(RUNS, max_size=3).map(tuple)))
def test_a_rendered_book_parses_to_itself(book: Book) -> None:
    assert Book.parse(book.render(), thing="it") == book


@pytest.mark.parametrize(
    "text", ["", "runs = 3\nskipped = 0", "skipped = 'x'", "skipped = 0\n[[runs]]\nid = 'x'", "skipped = 0\nruns = [3]"]
)
def test_what_is_no_book_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Book.parse(text, thing="it")


@pytest.mark.parametrize(
    ("overlap", "now", "busy", "queued", "jitter_s", "act", "at"),
    [
        (Overlap.SKIP, 159, False, 0, 0, Act.WAIT, 160),
        (Overlap.SKIP, 160, False, 0, 0, Act.RUN, 160),
        (Overlap.SKIP, 160, False, 0, 5, Act.WAIT, 165),
        (Overlap.SKIP, 165, False, 0, 5, Act.RUN, 160),
        (Overlap.SKIP, 160, True, 0, 0, Act.SKIP, 160),
        (Overlap.QUEUE, 160, True, 0, 0, Act.QUEUE, 160),
        (Overlap.QUEUE, 220, True, 160, 0, Act.SKIP, 160),
        (Overlap.QUEUE, 150, False, 140, 0, Act.RUN, 140),
        (Overlap.REPLACE, 160, True, 0, 0, Act.REPLACE, 160),
        (Overlap.SKIP, 20, False, 0, 0, Act.ANCHOR, 20),
        (Overlap.SKIP, 90, False, 0, 0, Act.WAIT, 160),
    ],
)
def test_decide(overlap: Overlap, now: float, busy: bool, queued: float, jitter_s: float, act: Act, at: float) -> None:
    book = Book(anchor=100, queued=queued)
    verdict = decide(replace(EVERY, overlap=overlap), book, busy=busy, now=now, jitter_s=jitter_s)
    assert (verdict.act, verdict.at) == (act, at)
    assert verdict.because


def test_many_missed_runs_are_one() -> None:
    """A host that was down for a day runs what was due every minute once, and then in its beat again."""
    now, book = 100_000.0, Book(anchor=100)
    verdict = decide(EVERY, book, busy=False, now=now, jitter_s=0)
    assert (verdict.act, "missed runs are caught up with this one" in verdict.because) == (Act.RUN, True)
    book = seen_to(EVERY, book, verdict, now)
    assert decide(EVERY, book, busy=False, now=now, jitter_s=0).act is Act.WAIT
    assert decide(EVERY, book, busy=False, now=now + 60, jitter_s=0).act is Act.RUN


@given(
    st.sampled_from(Overlap),
    st.lists(st.tuples(st.floats(0, 200), st.booleans()), min_size=1, max_size=30),
)
def test_no_time_is_due_twice_and_every_decision_moves_on(overlap: Overlap, steps: list[tuple[float, bool]]) -> None:
    """Whatever the clock's steps and however long runs take: after what is decided has been seen to, the same moment asks for nothing more,
    but for one run that was queued."""
    schedule, book, now, begun = replace(EVERY, overlap=overlap), Book(anchor=100), 100.0, []
    for step_s, busy in steps:
        now += step_s
        for _ in range(3):
            verdict = decide(schedule, book, busy=busy, now=now, jitter_s=0)
            if verdict.act is Act.WAIT:
                break
            book = seen_to(schedule, book, verdict, now)
            if verdict.act in (Act.RUN, Act.REPLACE):
                begun.append(verdict.at)
                busy = True
        else:
            raise AssertionError("it does not come to rest")
    assert len(begun) == len(set(begun))
    assert begun == sorted(begun)


@pytest.mark.parametrize(
    ("code", "signal", "wanted", "timed_out", "outcome", "passed_on"),
    [
        (0, None, True, False, Outcome.OK, 0),
        (0, None, False, False, Outcome.OK, 0),
        (3, None, True, False, Outcome.FAILED, 3),
        (None, 9, True, False, Outcome.FAILED, 137),
        (None, 15, False, False, Outcome.STOPPED, 143),
        (None, 15, False, True, Outcome.TIMED_OUT, 124),
        (None, None, True, False, Outcome.UNKNOWN, 125),
    ],
)
def test_how_a_run_ended(code: int | None, signal: int | None, wanted: bool, timed_out: bool, outcome: Outcome, passed_on: int) -> None:
    assert ended(code, signal, wanted=wanted, timed_out=timed_out) is outcome
    run = Run(id="x", outcome=outcome, code=-1 if code is None else code, signal=signal or 0)
    assert exit_code(run) == passed_on


def test_what_never_began_has_its_own_exit_code() -> None:
    assert exit_code(Run(id="x", outcome=Outcome.NOT_RUN)) == 126


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (Run(id="x"), Outcome.ASKED),
        (Run(id="x", outcome=Outcome.BEGUN, holder="this"), Outcome.ASKED),
        (Run(id="x", outcome=Outcome.BEGUN, holder="another"), Outcome.UNKNOWN),
        (Run(id="x", outcome=Outcome.BEGUN, holder="this", start_id="s"), Outcome.UNKNOWN),
    ],
)
def test_an_open_run_that_nobody_holds_is_begun_again_only_when_it_cannot_have_run(run: Run, outcome: Outcome) -> None:
    assert found_open(run, "this")[0] is outcome
