"""The life of one service: a table of states and events. Pure: time and chance come in, effects go out.

Rules
- `ready` is not "spawned": a service starts, and is ready when its ready probe has passed, or it said so itself. Without either: when it
  has been up for a short minimum and, where it has a health check, the first check was good.
- Health is not readiness: a ready service is healthy, unhealthy or not known yet (checks.py). An unhealthy service is shown and leaves the
  binds of others, but is not restarted: a check that lies must not take down what works. (An update on trial that is unhealthy does go
  back, see update.py.) While it starts, bad results are a grace that only its ready deadline ends, and the first good one counts.
- A release is proved when it has served for a while without a break: what comes up and dies again is not good.
- A stop is pre-stop hook, signal, wait, KILL after the timeout, and post-stop only when the process is really gone.
- A job is `running` from its process's start to its end, and then down: it is neither probed nor started again. Its time may be bounded.
- What fails is started again after a wait (backoff.py); the first time, and after it had been up for a while, at once. A few failures in
  a row are a crash loop: a state of its own, that says what they have in common.
- Whatever is under way is finished or called off before the next thing begins; what is wanted is remembered, never queued.
- Every decision is reported with its reason; the last ones are kept and shown by `svc status`.

Not here: who carries the effects out (driver.py), when a change of configuration restarts (change.py), releases (update.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType

from hart.limits import BACKOFF_LIVED_S, CRASH_LOOP_FAILURES, FAILURES_KEPT, KEPT_DECISIONS, KILL_AGAIN_S
from supervisor.service.backoff import Backoff, Failure, cause, wait_s
from supervisor.service.checks import GOOD, NONE_YET, Checks
from supervisor.service.events import (
    BecameReady,
    CallOff,
    Check,
    Decision,
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


@dataclass(slots=True)
class Life:
    """One service. Only `handle` and `tick` are called from outside; the verbs below are the transitions."""

    backoff: Backoff
    chance: Random
    now: float
    state: State = State.DOWN
    wanted: bool = False
    plan: Plan = field(default_factory=Plan)
    since: float = 0.0  # when the state was entered
    up_since: float | None = None  # when the process that runs was started or found
    deadline: float | None = None  # when tick() has something to do
    failed: bool = False  # the stop under way is a failure
    failures: int = 0  # in a row
    row: deque[Failure] = field(default_factory=lambda: deque(maxlen=FAILURES_KEPT))  # the last of them
    lived: bool = False  # the failure under way is the first in a row, of a process that had been up for a while
    restarts: int = 0
    again: bool = False  # a restart was asked for while the holder was starting it
    timed_out: bool = False  # the stop under way, or the last one, is that of a job whose time was over
    checks: Checks = NONE_YET  # of the process that runs
    proved: bool = False
    prove_at: float | None = None  # while it serves and is not proved
    forgive_at: float | None = None  # the next failure after that is a first one
    because: str = "not started yet"
    stop_because: str = ""  # why the stop under way was begun
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=KEPT_DECISIONS))
    _effects: list[Effect] = field(default_factory=list)

    def handle(self, happened: Happened, now: float) -> list[Effect]:
        """Feed one event; the effects are to be carried out in order. A pair that the table does not have is our bug: LookupError."""
        try:
            verb = TABLE[self.state][happened.event]
        except KeyError:
            raise LookupError(f"no transition for {happened.event} in state {self.state}") from None
        self.now = now
        verb(self, happened)
        effects, self._effects = self._effects, []
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Feed the passing of time."""
        if self.deadline is None or now < self.deadline:
            return []
        return self.handle(Happened(event=Event.DEADLINE), now)

    @property
    def health(self) -> Health:
        return self.checks.health

    @property
    def last_check(self) -> Check | None:
        return self.checks.last

    @property
    def serving(self) -> bool:
        """Whether others may be told of it: ready, and healthy where it has a check."""
        return self.state is State.READY and (not self.plan.health_check or self.health is Health.HEALTHY)

    def settled(self, now: float) -> bool:
        """Whether its process has been up for the short minimum."""
        return self.up_since is not None and now - self.up_since >= self.plan.settle_s

    # --- verbs

    def ignore(self, _: Happened) -> None:
        """Nothing changes: late news, or what is so already."""

    def note_wanted(self, _: Happened) -> None:
        self.wanted = True

    def note_unwanted(self, happened: Happened) -> None:
        if self.wanted:
            self.wanted, self.again = False, False
            self.report(self.state, happened.because)

    def note_restart(self, happened: Happened) -> None:
        """It is on its way down or up: come up at once afterwards."""
        self.failed, self.again = False, True
        self.report(self.state, happened.because)

    def begin(self, happened: Happened) -> None:
        self.wanted = True
        self.forgive()
        self.begin_waiting(happened.because)

    def begin_waiting(self, because: str) -> None:
        self.failed, self.again = False, False
        self.move(State.WAITING, because)
        self.emit(Prepare())

    def begin_again(self, happened: Happened) -> None:
        """A restart was asked for where nothing runs yet."""
        self.forgive()
        self.emit(CallOff())
        self.begin_waiting(happened.because)

    def note_blocked(self, happened: Happened) -> None:
        if happened.because != self.because:
            self.report(State.WAITING, happened.because)

    def begin_init(self, happened: Happened) -> None:
        assert happened.plan is not None
        self.plan = happened.plan
        if self.plan.init:
            self.move(State.INITIALIZING, happened.because or "package, binds and configuration are in place")
            self.emit(RunHook("init"))
        else:
            self.begin_spawn(happened)

    def begin_spawn(self, happened: Happened) -> None:
        self.move(State.SPAWNING, happened.because or "no init hook: starting the process")
        self.emit(StartProcess())

    def begin_starting(self, happened: Happened) -> None:
        self.up_since, self.proved = self.now, False
        self.checks, self.timed_out = NONE_YET, False
        if self.plan.job:
            self.begin_running(happened)
        else:
            self.move(State.STARTING, happened.because)
        if not self.wanted or self.again:
            self.begin_drain(replace(happened, because="no longer wanted" if not self.wanted else "a restart was asked for meanwhile"))
            return
        if self.plan.job:
            return
        self.watch_start()
        if self.plan.post_run:
            self.emit(RunHook("post-run"))

    def begin_running(self, happened: Happened) -> None:
        self.move(State.RUNNING, happened.because)
        self.deadline = self.now + self.plan.run_timeout_s if self.plan.run_timeout_s is not None else None

    def watch_start(self) -> None:
        self.deadline = self.now + self.plan.ready_deadline_s
        if self.plan.ready_told:
            return
        if self.plan.ready_probe:
            self.emit(WatchReady())
        elif self.plan.health_check:
            self.emit(WatchHealth())
        else:
            self.deadline = self.now + self.plan.settle_s

    def attach(self, happened: Happened) -> None:
        assert happened.plan is not None
        self.plan, self.wanted = happened.plan, True
        self.up_since, self.checks = self.now, NONE_YET
        self.emit(CallOff())
        if self.plan.job:
            self.begin_running(happened)
        elif happened.was_ready:
            self.enter_ready(happened.because)
        else:
            self.move(State.STARTING, happened.because)
            self.watch_start()

    def pass_time_starting(self, _: Happened) -> None:
        if not self.plan.ready_probe and not self.plan.ready_told and not self.plan.health_check:
            self.enter_ready(f"up for {self.plan.settle_s:g} s, and it has no ready probe and no health check")
        else:
            because = f"not ready within {self.plan.ready_deadline_s:g} s"
            self.count_failure(because)
            self.begin_drain(Happened(event=Event.DEADLINE, because=because))

    def become_ready(self, happened: Happened) -> None:
        self.enter_ready(happened.because or "the ready probe passed")

    def enter_ready(self, because: str) -> None:
        self.move(State.READY, because)
        self.prove_at, self.forgive_at = None, self.now + self.backoff.cooldown_s
        self.emit(BecameReady())
        if self.plan.health_check:
            self.emit(WatchHealth())
        self.watch_proof()

    def note_health(self, happened: Happened) -> None:
        """A check's result while the service is ready."""
        self.count_check(happened)
        self.watch_proof()

    def note_first_health(self, happened: Happened) -> None:
        """A check's result while it starts: without a ready probe the first good one makes it ready."""
        self.count_check(happened)
        if happened.check in GOOD and not self.plan.ready_probe and not self.plan.ready_told and self.settled(self.now):
            self.enter_ready(f"the first good health check: {happened.because}")

    def count_check(self, happened: Happened) -> None:
        assert happened.check is not None
        before = self.health
        successes = self.plan.health_successes if self.state is State.READY else 1
        self.checks = self.checks.after(happened.check, failures=self.plan.health_failures, successes=successes)
        if self.health is not before and self.state is State.READY:
            self.report(self.state, f"{self.health}: {happened.because}")
            if self.health is Health.UNHEALTHY:
                self.emit(Failed(f"unhealthy: {happened.because}"))

    def watch_proof(self) -> None:
        """Its time of proof runs while it serves."""
        if self.proved or not self.serving:
            self.prove_at = None
        elif self.prove_at is None:
            self.prove_at = self.now + self.plan.trial_s
        self.deadline = min((at for at in (self.prove_at, self.forgive_at) if at is not None), default=None)

    def pass_time_ready(self, _: Happened) -> None:
        if self.prove_at is not None and self.now >= self.prove_at:
            self.proved = True
            self.emit(Proved())
        if self.forgive_at is not None and self.now >= self.forgive_at:
            self.forgive_at = None
            self.forgive()
        self.watch_proof()

    def reconfigure(self, happened: Happened) -> None:
        self.report(self.state, happened.because)
        self.emit(RunHook("reconfigure"))

    def fail(self, happened: Happened) -> None:
        """The init hook failed, the process could not be started, or it ended by itself."""
        self.emit(StopWatching())
        if self.plan.job:
            self.wanted = self.again
        else:
            self.count_failure(happened.because)
        self.begin_finish(happened.because)

    def pass_time_running(self, _: Happened) -> None:
        """A job's time is over."""
        self.wanted, self.timed_out = False, True
        self.begin_drain(Happened(event=Event.DEADLINE, because=f"it ran longer than {self.plan.run_timeout_s:g} s"))

    def begin_restart(self, happened: Happened) -> None:
        self.failed = False
        self.forgive()
        self.begin_drain(happened)

    def stop_wanted(self, happened: Happened) -> None:
        self.wanted = False
        self.begin_drain(happened)

    def begin_drain(self, happened: Happened) -> None:
        self.stop_because = happened.because
        self.emit(StopWatching())
        if self.plan.pre_stop:
            self.move(State.DRAINING, happened.because)
            self.emit(RunHook("pre-stop"))
        else:
            self.begin_stop(happened)

    def begin_stop(self, happened: Happened) -> None:
        self.move(State.STOPPING, happened.because or self.because)
        self.deadline = self.now + self.plan.stop_timeout_s
        self.emit(SignalProcess())

    def kill(self, _: Happened) -> None:
        self.deadline = self.now + KILL_AGAIN_S
        self.report(self.state, f"still there {self.plan.stop_timeout_s:g} s after the shutdown signal: KILL")
        self.emit(KillProcess())

    def end_stop(self, happened: Happened) -> None:
        """The process is gone, as it was to be; a pre-stop hook that still runs has nothing left to do."""
        self.emit(CallOff())
        self.begin_finish(happened.because)

    def cancel_init(self, happened: Happened) -> None:
        self.wanted = False
        self.emit(CallOff())
        self.begin_finish(happened.because)

    def cancel(self, happened: Happened) -> None:
        """Nothing has been started: down at once."""
        self.wanted = False
        self.emit(CallOff())
        self.move(State.DOWN, happened.because)

    def begin_finish(self, because: str) -> None:
        self.up_since, self.checks = None, NONE_YET
        if self.stop_because:
            because, self.stop_because = f"{self.stop_because}; {because}", ""
        if self.plan.post_stop:
            self.move(State.FINISHING, because)
            self.emit(RunHook("post-stop"))
        else:
            self.settle(because)

    def finish(self, happened: Happened) -> None:
        self.settle(f"{self.because}; {happened.because}" if happened.because else self.because)

    def settle(self, because: str) -> None:
        """The process is gone and everything after it is done: what now?"""
        if not self.wanted:
            self.move(State.DOWN, because)
            return
        self.restarts += 1
        if not self.failed or self.again:
            self.begin_waiting(because)
            return
        if self.lived:
            self.begin_waiting(f"{because}; it had been up for a while, so it is started again at once")
            return
        delay = wait_s(self.backoff, self.failures, self.chance.random())
        if self.failures < CRASH_LOOP_FAILURES:
            self.move(State.BACKOFF, f"{because}; failure {self.failures} in a row, next start in {delay:.1f} s")
        else:
            self.move(State.CRASH_LOOPING, f"{cause(self.failures, self.row)}; next start in {delay:.1f} s")
        self.deadline = self.now + delay

    def retry(self, _: Happened) -> None:
        self.begin_waiting(f"the wait after failure {self.failures} is over")

    # --- book-keeping

    def count_failure(self, because: str) -> None:
        up_s = 0.0 if self.up_since is None else self.now - self.up_since
        self.lived = self.state is State.READY and self.failures == 0 and up_s >= min(BACKOFF_LIVED_S, self.backoff.cooldown_s)
        self.failed, self.failures = True, self.failures + 1
        self.row.append(Failure(self.now, because))
        self.emit(Failed(because, starting=self.state is not State.READY))

    def forgive(self) -> None:
        """The next failure is a first one."""
        self.failures = 0
        self.row.clear()

    def move(self, state: State, because: str) -> None:
        self.state, self.since, self.deadline = state, self.now, None
        self.report(state, because)

    def report(self, state: State, because: str) -> None:
        self.because = because
        self.decisions.append(Decision(self.now, state, because))
        self.emit(Report(state, because))

    def emit(self, effect: Effect) -> None:
        self._effects.append(effect)


Verb = Callable[[Life, Happened], None]


def ignored(*events: Event) -> dict[Event, Verb]:
    return dict.fromkeys(events, Life.ignore)


# What a state may hear too late. Named one by one and never "all the rest": an event that is new is a gap until it has its place.
_LATE_WORK = (Event.PREPARED, Event.BLOCKED, Event.INIT_OK, Event.INIT_FAILED)
_LATE_HOOKS = (Event.PRE_STOP_ENDED, Event.POST_STOP_ENDED)
_LATE_PROCESS = (Event.STARTED, Event.START_REFUSED, Event.EXITED)
_LATE_WATCH = (Event.READY_OK, Event.HEALTH, Event.RECONFIGURE)
_ON_THE_WAY: dict[Event, Verb] = {
    Event.WANTED_UP: Life.note_wanted,
    Event.WANTED_DOWN: Life.note_unwanted,
    Event.RESTART: Life.note_restart,
    Event.ATTACHED: Life.ignore,
}

_PAUSED: dict[Event, Verb] = {
    Event.WANTED_DOWN: Life.cancel,
    Event.DEADLINE: Life.retry,
    Event.RESTART: Life.begin_again,
} | ignored(*_LATE_WORK, *_LATE_HOOKS, *_LATE_PROCESS, *_LATE_WATCH, Event.WANTED_UP, Event.ATTACHED)

TABLE: Mapping[State, Mapping[Event, Verb]] = MappingProxyType(
    {
        State.DOWN: {Event.WANTED_UP: Life.begin, Event.ATTACHED: Life.attach}
        | ignored(*_LATE_WORK, *_LATE_HOOKS, *_LATE_PROCESS, *_LATE_WATCH, Event.WANTED_DOWN, Event.DEADLINE, Event.RESTART),
        State.WAITING: {
            Event.WANTED_DOWN: Life.cancel,
            Event.PREPARED: Life.begin_init,
            Event.BLOCKED: Life.note_blocked,
            Event.ATTACHED: Life.attach,
            Event.RESTART: Life.begin_again,
        }
        | ignored(*_LATE_HOOKS, *_LATE_PROCESS, *_LATE_WATCH, Event.WANTED_UP, Event.INIT_OK, Event.INIT_FAILED, Event.DEADLINE),
        State.INITIALIZING: {
            Event.WANTED_DOWN: Life.cancel_init,
            Event.INIT_OK: Life.begin_spawn,
            Event.INIT_FAILED: Life.fail,
            Event.RESTART: Life.begin_again,
        }
        | ignored(
            *_LATE_HOOKS, *_LATE_PROCESS, *_LATE_WATCH, Event.WANTED_UP, Event.ATTACHED, Event.PREPARED, Event.BLOCKED, Event.DEADLINE
        ),
        State.SPAWNING: _ON_THE_WAY
        | {Event.STARTED: Life.begin_starting, Event.START_REFUSED: Life.fail, Event.EXITED: Life.fail}
        | ignored(*_LATE_WORK, *_LATE_HOOKS, *_LATE_WATCH, Event.DEADLINE),
        State.STARTING: {
            Event.WANTED_UP: Life.note_wanted,
            Event.WANTED_DOWN: Life.stop_wanted,
            Event.EXITED: Life.fail,
            Event.READY_OK: Life.become_ready,
            Event.HEALTH: Life.note_first_health,
            Event.DEADLINE: Life.pass_time_starting,
            Event.RESTART: Life.begin_restart,
            Event.RECONFIGURE: Life.reconfigure,
        }
        | ignored(*_LATE_WORK, *_LATE_HOOKS, Event.ATTACHED, Event.STARTED, Event.START_REFUSED),
        State.READY: {
            Event.WANTED_UP: Life.note_wanted,
            Event.WANTED_DOWN: Life.stop_wanted,
            Event.EXITED: Life.fail,
            Event.HEALTH: Life.note_health,
            Event.DEADLINE: Life.pass_time_ready,
            Event.RESTART: Life.begin_restart,
            Event.RECONFIGURE: Life.reconfigure,
        }
        | ignored(*_LATE_WORK, *_LATE_HOOKS, Event.ATTACHED, Event.STARTED, Event.START_REFUSED, Event.READY_OK),
        State.RUNNING: {
            Event.WANTED_UP: Life.note_wanted,
            Event.WANTED_DOWN: Life.stop_wanted,
            Event.EXITED: Life.fail,
            Event.DEADLINE: Life.pass_time_running,
            Event.RESTART: Life.begin_restart,
        }
        | ignored(*_LATE_WORK, *_LATE_HOOKS, *_LATE_WATCH, Event.ATTACHED, Event.STARTED, Event.START_REFUSED),
        State.DRAINING: _ON_THE_WAY
        | {Event.EXITED: Life.end_stop, Event.PRE_STOP_ENDED: Life.begin_stop}
        | ignored(*_LATE_WORK, *_LATE_WATCH, Event.POST_STOP_ENDED, Event.STARTED, Event.START_REFUSED, Event.DEADLINE),
        State.STOPPING: _ON_THE_WAY
        | {Event.EXITED: Life.end_stop, Event.DEADLINE: Life.kill}
        | ignored(*_LATE_WORK, *_LATE_HOOKS, *_LATE_WATCH, Event.STARTED, Event.START_REFUSED),
        State.FINISHING: _ON_THE_WAY
        | {Event.POST_STOP_ENDED: Life.finish}
        | ignored(*_LATE_WORK, *_LATE_PROCESS, *_LATE_WATCH, Event.PRE_STOP_ENDED, Event.DEADLINE),
        State.BACKOFF: _PAUSED,
        State.CRASH_LOOPING: _PAUSED,
    }
)
