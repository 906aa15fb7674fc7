"""What a change of rendered files asks for: nothing, a reconfigure, or a restart. Pure (reference: supervisor 4.3).

Rules, first match wins; `applied` is what the running process was started or reconfigured with, so nothing that was written and not acted
on (a crash between the two) is ever lost:
1. init, run or post-run changed → restart;
2. a file under config/ changed, and there is no reconfigure hook → restart;
3. a file under config/ or the reconfigure hook itself changed → run the reconfigure hook;
4. anything else → it is rewritten, and takes effect when it runs next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PROCESS_HOOKS = ("hooks/init", "hooks/run", "run", "hooks/post-run")
RECONFIGURE_HOOK = "hooks/reconfigure"


class Act(StrEnum):
    NOTHING = "nothing"
    REWRITE = "rewrite"
    RECONFIGURE = "reconfigure"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Verdict:
    act: Act
    because: str


def decide(applied: Mapping[str, str], wanted: Mapping[str, str]) -> Verdict:
    """Both map a file's path below the service directory (`config/app.json`, `hooks/run`) to a digest of its content."""
    changed = sorted(path for path in {*applied, *wanted} if applied.get(path) != wanted.get(path))
    if not changed:
        return Verdict(Act.NOTHING, "nothing that it renders has changed")
    if process := [path for path in changed if path in PROCESS_HOOKS]:
        return Verdict(Act.RESTART, f"{', '.join(process)} changed")
    config = [path for path in changed if path.startswith("config/")]
    if config and RECONFIGURE_HOOK not in wanted:
        return Verdict(Act.RESTART, f"{', '.join(config)} changed, and it has no reconfigure hook")
    if config or RECONFIGURE_HOOK in changed:
        return Verdict(Act.RECONFIGURE, f"{', '.join(config or [RECONFIGURE_HOOK])} changed")
    return Verdict(Act.REWRITE, f"{', '.join(changed)} changed, which takes effect when it runs next")
