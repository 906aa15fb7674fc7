"""The row of a process's health checks, and what it comes to. Pure.

Rules: so many bad results in a row make it unhealthy, so many good ones in a row healthy again. The first good one is enough for what was
never unhealthy. Unknown (a check that timed out, or could not be carried out) is never good: it counts as bad.
Not here: what an answer means (health.py), what becomes of an unhealthy service (state.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.service.events import Check, Health

GOOD = frozenset({Check.OK, Check.WARNING})  # it works; a warning is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """`good` and `bad` are results in a row: one of them is 0."""

    health: Health = Health.UNKNOWN
    last: Check | None = None
    good: int = 0
    bad: int = 0

    def after(self, check: Check, *, failures: int, successes: int) -> Checks:
        """With one more result; `failures` in a row make it unhealthy, `successes` healthy again."""
        if check in GOOD:
            good = self.good + 1
            recovered = self.health is not Health.UNHEALTHY or good >= successes
            return Checks(health=Health.HEALTHY if recovered else self.health, last=check, good=good)
        bad = self.bad + 1
        return Checks(health=Health.UNHEALTHY if bad >= failures else self.health, last=check, bad=bad)


NONE_YET = Checks()
