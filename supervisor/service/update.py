"""Which release a service runs, and when it changes. Pure (reference: supervisor 6.1, without its weaknesses W6 and W7).

Rules
- The release is chosen once and recorded; a crash, a restart or a reboot never changes it.
- An update is on trial until it has been ready, and healthy where it has a check, for TRIAL_S. If it fails before that, the service goes
  back to the release before at once, and the new one is in quarantine until the channel moves to another.
- `latest` only goes forward; `track-channel` follows the channel's head, also backwards. A full ident never moves.
- A depot that does not answer changes nothing; asking again is spread by chance and slows down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hart.ident import Ident
from hart.limits import UPDATE_RETRY_MAX_S, UPDATE_SPREAD
from hart.version import ident_key
from supervisor.service.spec import Condition, ServiceSpec, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is recorded of a service's releases. `base` is the last release that was good, while `release` is on trial."""

    release: Ident
    base: Ident | None = None
    quarantined: Ident | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`target` None: stay."""

    target: Ident | None
    because: str


def first_choice(spec: ServiceSpec, installed: list[Ident]) -> Ident | None:
    """The release of a service that has none recorded: the newest on the host that its ident names."""
    return max((ident for ident in installed if ident.satisfies(spec.ident)), key=ident_key, default=None)


def still_wanted(spec: ServiceSpec, choice: Choice | None) -> Choice | None:
    """The recorded choice, unless the spec has come to name something else."""
    return choice if choice is not None and choice.release.satisfies(spec.ident) else None


def decide(spec: ServiceSpec, choice: Choice, head: Ident | None) -> Verdict:
    """Whether to move, seeing the channel's `head` (None: the channel has no such package)."""
    if spec.strategy is Strategy.NONE:
        return Verdict(None, "its update strategy is none")
    if spec.ident.is_full:
        return Verdict(None, "its ident names one release")
    if head is None:
        return Verdict(None, f"{spec.ident} is not in channel {spec.channel}")
    if head == choice.release:
        return Verdict(None, f"channel {spec.channel} has the release that runs")
    if head == choice.quarantined:
        return Verdict(None, f"{head} failed here and is in quarantine until channel {spec.channel} moves")
    if choice.base is not None:
        return Verdict(None, f"{choice.release} is on trial")
    if spec.condition is Condition.LATEST and ident_key(head) < ident_key(choice.release):
        return Verdict(None, f"channel {spec.channel} has {head}, which is older, and the update condition is latest")
    return Verdict(head, f"channel {spec.channel} has {head}")


def begin_trial(choice: Choice, target: Ident) -> Choice:
    return Choice(release=target, base=choice.release)


def end_trial(choice: Choice) -> Choice:
    """The release has proved itself."""
    return replace(choice, base=None)


def go_back(choice: Choice) -> Choice | None:
    """The release failed: the choice to go back to, or None when it is not on trial."""
    return None if choice.base is None else Choice(release=choice.base, quarantined=choice.release)


def next_question_s(period_s: float, unanswered: int, chance: float) -> float:
    """Seconds until the depot is asked again, after so many questions in a row without an answer; `chance` is in [0, 1)."""
    slower = min(period_s * 2.0 ** min(unanswered, 20), max(period_s, UPDATE_RETRY_MAX_S))
    return slower * (1 - UPDATE_SPREAD + 2 * UPDATE_SPREAD * chance)
