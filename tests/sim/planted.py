"""Bugs that the simulator must find: each a small change to the text of one production function.

A bug names the function, what its text says, and what it says with the bug in it; `planted` compiles the changed text and puts its code
into the function for the time of a `with`, so whoever has imported the function has the bug. If a text is not there any more, planting
fails: then the bug has to be written anew, not dropped. Each bug says where it is found: by stories (a condition that is not met, or a
rule that is broken, never just a trace that differs) or by random seeds. test_planted.py holds that all are.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, Final

from tests.sim.checkers import Broken
from tests.sim.scenario import FOLDER, play
from tests.sim.seeds import Failed, run_seed

GOSSIP: Final = "supervisor.gossip"
SEEDS_MAX: Final = 300  # looked at from the first that is known to find it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One change. `where` is module:function or module:Class.method."""

    name: str
    where: str
    says: str
    lies: str
    stories: tuple[str, ...] = ()  # the first that finds it is enough
    seeds: int | None = None  # random seeds find it too: the first that does, from which the test looks on when the ring has changed

    def function(self) -> FunctionType:
        module, _, path = self.where.partition(":")
        found: Any = importlib.import_module(f"{GOSSIP}.{module}")
        for name in path.split("."):
            found = inspect.getattr_static(found, name)
        if isinstance(found, property):
            found = found.fget
        assert isinstance(found, FunctionType), self.where
        return found


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The production code with the bug in it."""
    function = bug.function()
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(bug.says) == 1, f"{bug.name}: {bug.where} says {bug.says!r} {text.count(bug.says)} times"
    space: dict[str, Any] = {}
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("def "))
    code = compile("from __future__ import annotations\n" + "".join(lines[first:]).replace(bug.says, bug.lies), bug.where, "exec")
    exec(code, function.__globals__ | {"__name__": "planted"}, space)
    (made,) = (each for each in space.values() if isinstance(each, FunctionType))
    before: CodeType = function.__code__
    function.__code__ = made.__code__
    try:
        yield
    finally:
        function.__code__ = before


def found_by_story(bug: Bug, story: str) -> str:
    """How a story shows it; empty where it does not."""
    text = (FOLDER / f"{story}.txt").read_text()
    with planted(bug):
        try:
            trace = play(text)
        except Broken as broken:
            return str(broken)
        except Exception as error:  # noqa: BLE001 - that anything raises is a finding
            return f"{type(error).__name__}: {error}"
    return next((line for line in trace.splitlines() if line.startswith("NOT ")), "")


def found_by_seed(bug: Bug) -> str:
    """The first seed that shows it, and how; empty where none does."""
    first = bug.seeds or 0
    with planted(bug):
        for seed in range(first, first + SEEDS_MAX):
            try:
                run_seed(seed)
            except Failed as failed:
                return str(failed).splitlines()[0]
    return ""


BUGS: Final = (
    Bug(
        name="with equal incarnations the first word is kept, not the worse one",
        where="members:supersedes",
        says="return told > held",
        lies="return told[:2] > held[:2]",
        stories=("paused_member",),
        seeds=54,
    ),
    Bug(
        name="a claim about oneself is not refuted",
        where="beliefs:Beliefs._answer",
        says="self.announce_myself(claim.incarnation + 1, self.members.me.since)",
        lies="pass",
        stories=("paused_member",),
        seeds=0,
    ),
    Bug(
        name="a restart does not win over its own past",
        where="beliefs:Beliefs.hear_announcement",
        says="if announcement[1:4] <= member.announcement[1:4]:",
        lies="if announcement[2:3] <= member.announcement[2:3]:",
        stories=("restart_wins", "restart_while_dead"),
        seeds=1,
    ),
    Bug(
        name="what was told twice is heard twice: no replay window",
        where="replay:slide",
        says="    return None\n",
        lies="    return window\n",
        stories=("lossy",),
        seeds=0,
    ),
    Bug(
        name="a relay does not pass the answer on",
        where="relay:Relays.acked",
        says="self._speaker.say_to(Kind.ACK, relay.asker, relay.seq, where=relay.where)",
        lies="pass",
        stories=("one_way_link", "broken_link"),
    ),
    Bug(
        name="having slept is not noticed",
        where="node:Node._wake",
        says="late = now - self._due",
        lies="return",
        stories=("slept_through_an_objection",),
    ),
    Bug(
        name="facts are accepted from another author",
        where="records:Records._misfit",
        says="if kind.fact and member_id(record.author) != where.member:",
        lies="if False:",
        stories=("forged_fact",),
    ),
    Bug(
        name="the history of a document has no bound",
        where="records:keep",
        says="[:kept]",
        lies="",
        stories=("history",),
        seeds=0,
    ),
    Bug(
        name="two bodies at one version are not ordered by their hash",
        where="records:keep",
        says="sorted(set(candidates), key=lambda each: each[:2], reverse=True)",
        lies="sorted(dict.fromkeys(candidates), key=lambda each: each[:1], reverse=True)",
        stories=("compare_and_set",),
        seeds=0,
    ),
    Bug(
        name="a withdrawn record is not remembered",
        where="records:Records.merge",
        says="if not self._fits(slot, made):",
        lies="if record.body is None:\n        return slot is not None and self._replace(record.key, slot, None) is None\n"
        "    if not self._fits(slot, made):",
        stories=("withdrawn",),
        seeds=2,
    ),
    Bug(
        name="a goodbye is taken for a sign of life",
        where="beliefs:Beliefs._become_renewed",
        says="health, because = Health.DEPARTED,",
        lies="health, because = Health.ALIVE,",
        stories=("departure",),
        seeds=0,
    ),
    Bug(
        name="the forgotten come back with what a laggard says",
        where="members:Members.bar",
        says="self._gone[member_id] = barred",
        lies="pass",
        stories=("forgotten_laggard",),
    ),
    Bug(
        name="news has no retransmit limit",
        where="formulas:retransmit_limit",
        says="return mult * ceil(log10(n + 1))",
        lies="return 1 << 30",
        stories=("shared_by_two",),
        seeds=0,
    ),
    Bug(
        name="further accusers do not confirm a suspicion",
        where="suspicion:Suspicion.confirm",
        says="if self.full or accuser in self.accusers:",
        lies="if accuser:",
        stories=("paused_member", "ten_members"),
    ),
    Bug(
        name="the dead are never tried again",
        where="node:Node._retry",
        says="if dead:",
        lies="if False:",
        stories=("healed_partition",),
    ),
    Bug(
        name="a packet for another member is taken",
        where="node:Node._hear_words",
        says="packet.to != self._id and",
        lies="False and",
        stories=("stranger_on_address",),
    ),
    Bug(
        name="a copy of oneself is not recognised",
        where="beliefs:Beliefs._meet_my_copy",
        says="self.lost = True",
        lies="return",
        stories=("restored_directory", "copied_directory"),
        seeds=1,
    ),
    Bug(
        name="dead is believed at once when it comes by push/pull",
        where="beliefs:Beliefs.hear_synced",
        says="self._become_suspect(member, accuser, member.announcement.incarnation, now, because, short=True, spread=False)",
        lies="self._become_dead(member, accuser, member.announcement.incarnation, now, because, spread=False)",
        stories=("hermit", "healed_partition"),
        seeds=487,
    ),
    Bug(
        name="a document's revision does not grow",
        where="records:Records.draft",
        says="version=Version(following, 0)",
        lies="version=Version(max(current, 1), 0)",
        stories=("compare_and_set", "history"),
        seeds=0,
    ),
    Bug(
        name="push/pull gives nothing that the other lacks",
        where="records:Records.missing",
        says="return sending, lacking",
        lies="return [], []",
        stories=("healed_partition",),
        seeds=0,
    ),
)
