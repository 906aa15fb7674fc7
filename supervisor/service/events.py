"""The words of a service's life: states, events with what belongs to them, effects. Values only; the rules are in state.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hart.limits import HEALTH_FAILURES, HEALTH_SUCCESSES, READY_DEADLINE_S, SETTLE_S, SHUTDOWN_TIMEOUT_S, TRIAL_S


class State(StrEnum):
    DOWN = "down"  # nothing runs, nothing is wanted
    WAITING = "waiting"  # wanted, but package, binds or configuration are not there yet
    INITIALIZING = "initializing"  # the init hook runs
    SPAWNING = "spawning"  # the holder was asked for a process
    STARTING = "starting"  # the process is up, not ready yet
    READY = "ready"
    RUNNING = "running"  # a job's process is up; it is done when it ends
    DRAINING = "draining"  # the pre-stop hook runs, the process still serves
    STOPPING = "stopping"  # the process was told to end
    FINISHING = "finishing"  # the process is gone, the post-stop hook runs
    BACKOFF = "backoff"  # failed; waits before it is started again
    CRASH_LOOPING = "crash-looping"  # the same, after so many failures in a row that somebody should look


UP = frozenset({State.STARTING, State.READY})
PAUSED = frozenset({State.BACKOFF, State.CRASH_LOOPING})


class Event(StrEnum):
    WANTED_UP = "wanted up"
    WANTED_DOWN = "wanted down"
    PREPARED = "prepared"  # package, binds and configuration are in place
    BLOCKED = "blocked"  # one of them is not
    INIT_OK = "init ok"
    INIT_FAILED = "init failed"
    STARTED = "started"
    START_REFUSED = "start refused"
    ATTACHED = "attached"  # an earlier supervisor's process was found alive
    EXITED = "exited"
    READY_OK = "ready ok"
    HEALTH = "health"
    PRE_STOP_ENDED = "pre-stop ended"
    POST_STOP_ENDED = "post-stop ended"
    DEADLINE = "deadline"
    RESTART = "restart"
    RECONFIGURE = "reconfigure"


class Check(StrEnum):
    """One result of a health check; the exit codes of Habitat's hook are 0, 1, 2, 3 in this order."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Health(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the machine must know about the package that it starts. Durations in seconds."""

    init: bool = False
    post_run: bool = False
    pre_stop: bool = False
    post_stop: bool = False
    ready_probe: bool = False
    ready_told: bool = False  # it says itself when it is ready, and the holder hears it
    health_check: bool = False
    ready_deadline_s: float = READY_DEADLINE_S
    settle_s: float = SETTLE_S
    health_failures: int = HEALTH_FAILURES
    health_successes: int = HEALTH_SUCCESSES
    stop_timeout_s: float = SHUTDOWN_TIMEOUT_S
    trial_s: float = TRIAL_S
    job: bool = False  # its process is to end by itself, and is not started again
    run_timeout_s: float | None = None  # of a job


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event with what belongs to it; `because` is what people read."""

    event: Event
    because: str = ""
    plan: Plan | None = None
    check: Check | None = None
    was_ready: bool = False  # ATTACHED: the earlier supervisor had seen it ready


# --- effects: what the driver is to do


@dataclass(frozen=True, slots=True)
class Prepare:
    """Look for package, binds and configuration; answer PREPARED or BLOCKED."""


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run a hook; init, pre-stop and post-stop answer with their event."""

    name: str


@dataclass(frozen=True, slots=True)
class CallOff:
    """Stop preparing, or kill the hook that runs; no answer is wanted any more."""


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Ask the holder; answer STARTED or START_REFUSED."""


@dataclass(frozen=True, slots=True)
class SignalProcess:
    """Send the shutdown signal to the process group."""


@dataclass(frozen=True, slots=True)
class KillProcess:
    """Send KILL to the process group."""


@dataclass(frozen=True, slots=True)
class WatchReady:
    """Probe until READY_OK."""


@dataclass(frozen=True, slots=True)
class WatchHealth:
    """Check health again and again; answer HEALTH each time."""


@dataclass(frozen=True, slots=True)
class StopWatching:
    """No more probes, and no more tries of post-run."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The service did not come up, died, or is unhealthy. `starting`: it ended before it was ready."""

    because: str
    starting: bool = False


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The process that runs has become ready; the next supervisor may take it for ready too."""


@dataclass(frozen=True, slots=True)
class Proved:
    """It has been ready, and healthy where it has a check, for a while: the release that runs is good."""


@dataclass(frozen=True, slots=True)
class Report:
    """A decision, for the journal: the state it led to, and the reason."""

    state: State
    because: str


Effect = (
    Prepare
    | RunHook
    | CallOff
    | StartProcess
    | SignalProcess
    | KillProcess
    | WatchReady
    | WatchHealth
    | StopWatching
    | Failed
    | BecameReady
    | Proved
    | Report
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of `why`: when (the caller's clock), the state it led to, the reason."""

    at: float
    state: State
    because: str
