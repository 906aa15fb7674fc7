"""The life of a service: the table is whole, and its stories are the ones that were promised."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.limits import BACKOFF_LIVED_S
from supervisor.service.backoff import Backoff
from supervisor.service.events import (
    BecameReady,
    CallOff,
    Check,
    Effect,
    Event,
    Failed,
    Happened,
    Health,
    KillProcess,
    Plan,
    Prepare,
    Proved,
    Report,
    RunHook,
    SignalProcess,
    StartProcess,
    State,
    StopWatching,
    WatchHealth,
    WatchReady,
)
from supervisor.service.state import TABLE, Life

FULL = Plan(init=True, post_run=True, pre_stop=True, post_stop=True, ready_probe=True, health_check=True, stop_timeout_s=8)
PROBED = Plan(ready_probe=True)
HAS_PROCESS = {State.SPAWNING, State.STARTING, State.READY, State.DRAINING, State.STOPPING}  # the model: a process is there, or asked for


def life() -> Life:
    return Life(backoff=Backoff(), chance=Random(1), now=0.0)


class Story:
    """A life with a clock; effects without reports and watching."""

    def __init__(self, plan: Plan) -> None:
        self.life, self.plan, self.now = life(), plan, 0.0

    def hear(self, event: Event, check: Check | None = None, because: str = "told so") -> list[Effect]:
        effects = self.life.handle(Happened(event=event, because=because, plan=self.plan, check=check), self.now)
        return [effect for effect in effects if not isinstance(effect, Report)]

    def wait(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return [effect for effect in self.life.tick(self.now) if not isinstance(effect, Report)]

    def up(self) -> Story:
        """To ready."""
        self.hear(Event.WANTED_UP)
        self.hear(Event.PREPARED)
        if self.plan.init:
            self.hear(Event.INIT_OK)
        self.hear(Event.STARTED)
        if self.plan.ready_probe:
            self.hear(Event.READY_OK)
        elif self.plan.health_check:
            self.wait(self.plan.settle_s)
            self.hear(Event.HEALTH, Check.OK)
        else:
            self.wait(self.plan.settle_s)
        assert self.life.state is State.READY
        return self


def test_every_state_says_what_it_does_with_every_event() -> None:
    """A pair that nobody thought of must be found here, not on a host."""
    assert set(TABLE) == set(State)
    for state in State:
        assert set(TABLE[state]) == set(Event), state


def test_a_gap_in_the_table_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.service.state.TABLE", {State.DOWN: {}})
    with pytest.raises(LookupError, match="no transition for wanted up in state down"):
        life().handle(Happened(event=Event.WANTED_UP), 0.0)


def test_a_start_goes_through_init_process_and_ready() -> None:
    """Ready is the answer of the ready probe, not the start of the process."""
    story = Story(FULL)
    assert story.hear(Event.WANTED_UP) == [Prepare()]
    assert story.hear(Event.PREPARED) == [RunHook("init")]
    assert story.hear(Event.INIT_OK) == [StartProcess()]
    assert story.life.state is State.SPAWNING
    assert story.hear(Event.STARTED) == [WatchReady(), RunHook("post-run")]
    assert story.life.state is State.STARTING
    assert not story.life.serving
    assert story.hear(Event.READY_OK) == [BecameReady(), WatchHealth()]
    assert story.life.state is State.READY
    assert not story.life.serving, "unknown health never counts as good"
    assert story.hear(Event.HEALTH, Check.OK) == []
    assert story.life.serving


def test_a_release_is_proved_when_it_has_served_for_a_while() -> None:
    """Ready once is not good: what flaps, or is well and then is not, begins its time anew."""
    story = Story(Plan(ready_probe=True, health_check=True, health_failures=1, trial_s=10)).up()
    story.hear(Event.HEALTH, Check.OK)
    assert story.wait(9.9) == []
    assert story.hear(Event.HEALTH, Check.CRITICAL, because="HTTP 500") == [Failed("unhealthy: HTTP 500")]
    assert story.wait(20) == []
    story.hear(Event.HEALTH, Check.OK)
    assert story.wait(9.9) == []
    assert story.wait(0.2) == [Proved()]
    assert story.wait(400) == []
    assert not story.life.failures
    flapping = Story(Plan(ready_probe=True, trial_s=10)).up()
    flapping.wait(9.9)
    assert Failed("exited with code 1") in flapping.hear(Event.EXITED, because="exited with code 1")


def test_a_service_that_says_itself_when_it_is_ready_is_not_asked() -> None:
    """Only its word makes it ready, or the deadline ends it: neither time nor a good health check."""
    told = Plan(ready_told=True, health_check=True, ready_deadline_s=20)
    story = Story(told)
    for event in (Event.WANTED_UP, Event.PREPARED):
        story.hear(event)
    assert story.hear(Event.STARTED) == []
    assert story.wait(19) == []
    assert story.life.state is State.STARTING
    assert story.hear(Event.READY_OK) == [BecameReady(), WatchHealth()]
    assert story.hear(Event.READY_OK) == []
    silent = Story(told)
    for event in (Event.WANTED_UP, Event.PREPARED, Event.STARTED):
        silent.hear(event)
    silent.hear(Event.HEALTH, Check.OK)
    assert silent.life.state is State.STARTING
    assert silent.wait(20.1) == [Failed("not ready within 20 s", starting=True), StopWatching(), SignalProcess()]


def test_what_was_unhealthy_must_be_well_for_a_while_before_others_are_sent_there_again() -> None:
    """A service that flaps does not take the binds of others with it each time; while it starts the first good check is enough."""
    flapping = Plan(health_check=True, health_failures=2, health_successes=3)
    story = Story(flapping)
    for event in (Event.WANTED_UP, Event.PREPARED, Event.STARTED):
        story.hear(event)
    for _ in range(5):
        story.hear(Event.HEALTH, Check.UNKNOWN)
    story.wait(flapping.settle_s)
    story.hear(Event.HEALTH, Check.OK)
    assert story.life.serving, "the grace of its start"
    story.hear(Event.HEALTH, Check.CRITICAL)
    assert story.life.serving
    assert story.hear(Event.HEALTH, Check.UNKNOWN, because="no answer") == [Failed("unhealthy: no answer")]
    story.hear(Event.HEALTH, Check.OK)
    story.hear(Event.HEALTH, Check.OK)
    assert not story.life.serving
    story.hear(Event.HEALTH, Check.OK)
    assert story.life.serving


def test_a_stop_drains_signals_waits_and_finishes() -> None:
    """post-stop runs only when the process is really gone (Habitat's weakness W3)."""
    story = Story(FULL).up()
    assert story.hear(Event.WANTED_DOWN) == [StopWatching(), RunHook("pre-stop")]
    assert story.hear(Event.PRE_STOP_ENDED) == [SignalProcess()]
    assert story.wait(7.9) == []
    assert story.wait(0.2) == [KillProcess()]
    assert story.life.state is State.STOPPING
    assert story.wait(5.0) == [KillProcess()], "a process that is still there is told again, never taken for gone"
    assert RunHook("post-stop") in story.hear(Event.EXITED)
    assert story.life.state is State.FINISHING
    assert story.hear(Event.POST_STOP_ENDED) == []
    assert story.life.state is State.DOWN


def test_without_a_probe_it_is_ready_when_it_has_stayed_up() -> None:
    story = Story(Plan(settle_s=1.0))
    for event in (Event.WANTED_UP, Event.PREPARED, Event.STARTED):
        story.hear(event)
    story.wait(0.9)
    assert story.life.state is State.STARTING
    assert story.wait(0.2) == [BecameReady()]
    assert story.life.state is State.READY


def test_without_a_ready_probe_the_first_good_health_check_makes_it_ready() -> None:
    """An unknown or critical result does not, and the start deadline goes on."""
    story = Story(Plan(health_check=True, settle_s=1.0, ready_deadline_s=60))
    for event in (Event.WANTED_UP, Event.PREPARED, Event.STARTED):
        story.hear(event)
    story.hear(Event.HEALTH, Check.OK)
    assert story.life.state is State.STARTING, "it has not been up for the minimum yet"
    story.wait(2.0)
    story.hear(Event.HEALTH, Check.UNKNOWN)
    assert story.life.state is State.STARTING
    story.hear(Event.HEALTH, Check.WARNING)
    assert story.life.state is State.READY
    assert story.life.serving


def test_a_start_that_is_not_ready_in_time_is_a_failure() -> None:
    story = Story(Plan(ready_probe=True, ready_deadline_s=60))
    for event in (Event.WANTED_UP, Event.PREPARED, Event.STARTED):
        story.hear(event)
    assert story.wait(60) == [Failed("not ready within 60 s", starting=True), StopWatching(), SignalProcess()]
    story.hear(Event.EXITED)
    assert story.life.state is State.BACKOFF
    assert story.life.failures == 1


def test_a_crash_backs_off_and_a_long_life_is_forgiven() -> None:
    """The wait doubles from failure to failure; after the cooldown the next failure is a first one."""
    story = Story(PROBED).up()
    waits = []
    for state in (State.BACKOFF, State.BACKOFF, State.CRASH_LOOPING):
        story.hear(Event.EXITED, because="exited with code 1")
        assert story.life.state is state
        assert story.life.deadline is not None
        waits.append(story.life.deadline - story.now)
        assert story.wait(waits[-1]) == [Prepare()]
        for event in (Event.PREPARED, Event.STARTED, Event.READY_OK):
            story.hear(event)
    assert 0.5 <= waits[0] <= 1 < waits[1] <= 2 < waits[2] <= 4
    assert story.life.failures == 3
    assert f"exited with code 1, 3 times in {sum(waits[:2]):.0f} s" in [each.because.split(";")[0] for each in story.life.decisions]
    story.wait(300)
    assert story.life.failures == 0
    assert "exited with code 1" in [decision.because.split(";")[0] for decision in story.life.decisions]


def test_a_crash_loop_ends_with_a_restart_that_was_asked_for() -> None:
    """Somebody has changed something: the next failure is a first one, of a new row."""
    story = Story(PROBED).up()
    for _ in range(3):
        story.hear(Event.EXITED, because="exited with code 1")
        before = story.life.state
        story.hear(Event.RESTART if story.life.failures == 3 else Event.DEADLINE, because="asked for")
        for event in (Event.PREPARED, Event.STARTED, Event.READY_OK):
            story.hear(event)
    assert before is State.CRASH_LOOPING
    story.hear(Event.EXITED, because="exited with code 2")
    assert (story.life.state, story.life.failures) == (State.BACKOFF, 1)


def test_a_service_that_crash_loops_can_be_stopped_and_begun_anew() -> None:
    story = Story(PROBED).up()
    for _ in range(3):
        story.hear(Event.EXITED, because="exited with code 1")
        story.hear(Event.DEADLINE)
        for event in (Event.PREPARED, Event.STARTED):
            story.hear(event)
    story.hear(Event.EXITED, because="exited with code 1")
    assert story.life.state is State.CRASH_LOOPING
    story.hear(Event.WANTED_DOWN, because="stop was asked for")
    assert story.life.state is State.DOWN
    story.hear(Event.WANTED_UP, because="start was asked for")
    assert (story.life.state, story.life.failures) == (State.WAITING, 0), "a person has begun anew"


def test_what_had_been_up_for_a_while_is_started_again_at_once_and_only_the_first_time() -> None:
    """Its end was an accident, and a wait would be an outage for nothing; the second in a row waits."""
    story = Story(PROBED).up()
    story.wait(BACKOFF_LIVED_S)
    assert Prepare() in story.hear(Event.EXITED, because="exited with code 1")
    assert (story.life.state, story.life.failures) == (State.WAITING, 1)
    for event in (Event.PREPARED, Event.STARTED, Event.READY_OK):
        story.hear(event)
    story.wait(BACKOFF_LIVED_S)
    story.hear(Event.EXITED)
    assert (story.life.state, story.life.failures) == (State.BACKOFF, 2)


def test_unhealthy_needs_several_bad_results_in_a_row_and_restarts_nothing() -> None:
    """It is shown, and leaves the binds of others; a check that lies must not take down what works."""
    story = Story(Plan(ready_probe=True, health_check=True, health_failures=3)).up()
    story.hear(Event.HEALTH, Check.OK)
    assert story.hear(Event.HEALTH, Check.CRITICAL) == []
    assert story.hear(Event.HEALTH, Check.UNKNOWN) == []
    assert story.life.health is Health.HEALTHY
    assert story.hear(Event.HEALTH, Check.CRITICAL, because="HTTP 500") == [Failed("unhealthy: HTTP 500")]
    assert (story.life.state, story.life.health, story.life.serving) == (State.READY, Health.UNHEALTHY, False)
    story.hear(Event.HEALTH, Check.OK)
    assert story.life.serving


def test_wanted_down_while_it_waits_initializes_or_backs_off() -> None:
    """Nothing has been started: it is down at once, or after post-stop where init had begun."""
    waiting = Story(FULL)
    waiting.hear(Event.WANTED_UP)
    assert waiting.hear(Event.WANTED_DOWN) == [CallOff()]
    assert waiting.life.state is State.DOWN
    initializing = Story(FULL)
    initializing.hear(Event.WANTED_UP)
    initializing.hear(Event.PREPARED)
    assert initializing.hear(Event.WANTED_DOWN) == [CallOff(), RunHook("post-stop")]
    backing = Story(PROBED).up()
    backing.hear(Event.EXITED)
    backing.hear(Event.WANTED_DOWN)
    assert backing.life.state is State.DOWN


def test_wanted_down_while_the_holder_starts_it_stops_it_when_it_is_there() -> None:
    story = Story(PROBED)
    for event in (Event.WANTED_UP, Event.PREPARED):
        story.hear(event)
    assert story.hear(Event.WANTED_DOWN) == []
    assert story.hear(Event.STARTED) == [StopWatching(), SignalProcess()]
    story.hear(Event.EXITED)
    assert story.life.state is State.DOWN


def test_wanted_up_again_during_a_stop_starts_it_afterwards() -> None:
    story = Story(PROBED).up()
    story.hear(Event.WANTED_DOWN)
    story.hear(Event.WANTED_UP)
    assert Prepare() in story.hear(Event.EXITED)
    assert story.life.state is State.WAITING


def test_a_restart_comes_up_without_a_wait_and_forgets_failures() -> None:
    story = Story(PROBED).up()
    assert story.hear(Event.RESTART) == [StopWatching(), SignalProcess()]
    assert Prepare() in story.hear(Event.EXITED)
    assert (story.life.state, story.life.restarts, story.life.failures) == (State.WAITING, 1, 0)


def test_a_restart_during_a_failing_stop_needs_no_backoff() -> None:
    """An update that failed goes back at once."""
    story = Story(PROBED)
    for event in (Event.WANTED_UP, Event.PREPARED, Event.STARTED):
        story.hear(event)
    story.wait(60)
    story.hear(Event.RESTART, because="back to the release before")
    story.hear(Event.EXITED)
    assert story.life.state is State.WAITING


def test_a_process_that_was_found_running_is_not_touched() -> None:
    """One that was known to be ready is ready; the others are asked again."""
    for was_ready, state in ((True, State.READY), (False, State.STARTING)):
        found = life()
        happened = Happened(event=Event.ATTACHED, plan=PROBED, was_ready=was_ready)
        effects = found.handle(happened, 5.0)
        assert found.state is state
        assert not {type(effect) for effect in effects} & {StartProcess, SignalProcess, KillProcess, RunHook}


def test_an_end_during_the_pre_stop_hook_calls_the_hook_off() -> None:
    story = Story(FULL).up()
    story.hear(Event.WANTED_DOWN)
    assert story.hear(Event.EXITED) == [CallOff(), RunHook("post-stop")]


def test_why_names_the_cause_of_a_stop_not_only_its_end() -> None:
    story = Story(PROBED).up()
    story.hear(Event.WANTED_DOWN, because="its spec says down")
    story.hear(Event.EXITED, because="exited with code 0")
    assert story.life.because == "its spec says down; exited with code 0"


# --- the table against a model of five lines: what is wanted, and whether there is a process

ANSWERS = [Event.PREPARED, Event.INIT_OK, Event.INIT_FAILED, Event.PRE_STOP_ENDED, Event.POST_STOP_ENDED, Event.READY_OK]
ASKED = st.sampled_from([Event.WANTED_UP, Event.WANTED_DOWN, Event.RESTART, Event.RECONFIGURE, Event.BLOCKED, *ANSWERS, Event.DEADLINE])
HEARD = st.one_of(ASKED, st.sampled_from(["started", "refused", "exited", "healthy", "sick"]))


@given(st.lists(HEARD, max_size=60), st.sampled_from([FULL, PROBED, Plan(), Plan(health_check=True)]))
def test_there_is_never_a_second_process_and_what_is_wanted_is_what_comes(heard: list[str], plan: Plan) -> None:  # noqa: C901  one case for each thing that can happen
    """Whatever happens in whatever order: one process at most, signals only to a process, and at the end what was wanted last."""
    story, wanted, alive, asked = Story(plan), False, False, False  # the model
    for what in heard:
        match what:
            case "started" if asked:
                asked, alive, effects = False, True, story.hear(Event.STARTED)
            case "refused" if asked:
                asked, effects = False, story.hear(Event.START_REFUSED)
            case "exited" if alive:
                alive, effects = False, story.hear(Event.EXITED)
            case "healthy" | "sick":
                effects = story.hear(Event.HEALTH, Check.OK if what == "healthy" else Check.CRITICAL)
            case Event.DEADLINE:
                effects = story.wait(1000.0)
            case Event():
                wanted = {Event.WANTED_UP: True, Event.WANTED_DOWN: False}.get(what, wanted)
                effects = story.hear(what)
            case _:
                continue
        for effect in effects:
            if isinstance(effect, StartProcess):
                assert not asked, "started twice"
                assert not alive, "started twice"
                asked = True
            if isinstance(effect, (SignalProcess, KillProcess)):
                assert alive, "signalled what is not there"
        assert (alive or asked) == (story.life.state in HAS_PROCESS)
        assert story.life.wanted == wanted or not wanted
        assert not story.life.serving or alive
    # from now on everything answers well: it gets to what is wanted
    for _ in range(40):
        for event in (Event.PREPARED, Event.INIT_OK, Event.PRE_STOP_ENDED, Event.POST_STOP_ENDED):
            for effect in story.hear(event):
                asked = asked or isinstance(effect, StartProcess)
        if asked:
            asked, alive = False, True
            story.hear(Event.STARTED)
        story.hear(Event.READY_OK)
        story.wait(30)
        story.hear(Event.HEALTH, Check.OK)
        if alive and story.life.state is State.STOPPING:
            alive = False
            story.hear(Event.EXITED)
    assert story.life.state is (State.READY if wanted else State.DOWN)
