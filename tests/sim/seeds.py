"""Rings with random faults, one seed after another: safety after every event, then everything heals and liveness must come.

    python -m tests.sim.seeds                    200 seeds from 0
    python -m tests.sim.seeds --from 1000 --count 20000 --jobs 2      a night's worth
    python -m tests.sim.seeds --seed 17          one seed, its faults and its trace
    python -m tests.sim.seeds --seed 17 --twice  the same trace twice?
    python -m tests.sim.seeds --seed 17 loss=0 pause=3      the seed with other faults: what makes it fail?

A failure prints the seed, its faults in full, the last lines of the trace and the command that replays it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import Any, Final

from supervisor.gossip.messages import Effect, Kind, Learned, Noted, Open, Seen, Send, Write
from tests.sim.checkers import Broken, Safety, differences
from tests.sim.faults import Faults, Mischief, drawn
from tests.sim.host import Host
from tests.sim.ring import Ring
from tests.sim.world import Trace

HEALED_PERIODS: Final = 100  # until there must be one view and equal records: three push/pull periods and ten retries of the dead
SETTLED_PERIODS: Final = 12  # and it must stay so; longer than the probe of the illest member, which the faults may have begun
JOINING_PERIODS: Final = 4  # before the faults begin: some hosts are still joining


class Failed(AssertionError):  # noqa: N818 - a finding, not an error of ours
    """A seed that broke a rule; `rule` is its name."""

    def __init__(self, seed: int, faults: Faults, rule: str, text: str, trace: Trace) -> None:
        lines = "\n  ".join(trace.lines)
        replay = f"python -m tests.sim.seeds --seed {seed}"
        if faults != drawn(seed):
            replay += "".join(f" {field.name}={getattr(faults, field.name):g}" for field in fields(faults))
        super().__init__(f"seed {seed} broke: {text}\nfaults: {faults}\nreplay: {replay}\nlast events:\n  {lines}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Run:
    """How a seed went."""

    seed: int
    trace: str  # its hash
    events: int
    healed: float  # periods until liveness


def run_seed(seed: int, faults: Faults | None = None) -> Run:
    """One ring's whole story; raises Failed."""
    faults = drawn(seed) if faults is None else faults
    ring = Ring(seed=seed, plain=not faults.encrypted)
    safety, trace = Safety(ring), Trace()
    ring.listeners += [lambda *event: write(ring, trace, *event), safety]
    try:
        healed = _live(ring, faults, safety)
    except Broken as broken:
        raise Failed(seed, faults, broken.rule, str(broken), trace) from broken
    except Exception as error:
        raise Failed(seed, faults, "nothing raises", f"{type(error).__name__}: {error}", trace) from error
    return Run(seed, trace.hash, safety.checked, healed)


def _live(ring: Ring, faults: Faults, safety: Safety) -> float:
    """Join, suffer, heal; periods until liveness. Raises Broken."""
    chance = ring.world.chance
    for number in range(faults.members):
        others = list(ring.hosts.values())
        host = ring.add(chr(ord("a") + number), peers=[chance.choice(others).address] if others else [])
        if faults.drift:
            host.rate, host.zero = 1 + chance.uniform(-faults.drift, faults.drift), chance.uniform(0, 1e6)
        ring.world.after(chance.random() * JOINING_PERIODS, host.start)
    ring.periods(JOINING_PERIODS)
    mischief = Mischief(ring, faults, safety)
    mischief.begin()
    ring.periods(faults.periods)
    safety.sweep()
    mischief.end()
    healed = 0.0
    while missing := differences(ring):
        if healed >= HEALED_PERIODS:
            raise Broken("liveness after healing", f"after {healed:g} periods: {'; '.join(missing)}")
        ring.periods(1)
        healed += 1
    ring.periods(SETTLED_PERIODS)
    safety.sweep()
    if missing := differences(ring):
        raise Broken("peace stays", "; ".join(missing))
    return healed


def write(ring: Ring, trace: Trace, host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
    """One line of the trace: everything that a node did, none of it by memory address or set order."""
    words = [f"{ring.world.now:.6f}", host.name, verb]
    for effect in effects:
        match effect:
            case Send(to, data):
                words.append(f">{to[0]}:{_packet(data)}")
            case Write(stream, data):
                words.append(f"write {stream} {len(data)}")
            case Open(stream, to):
                words.append(f"open {stream} {to[0]}")
            case Seen(member, health, because):
                words.append(f"seen {member.hex()[:8]} {'forgotten' if health is None else health.name} ({because})")
            case Learned(record):
                words.append(f"learned {record.key} {record.version.major}.{record.version.minor}")
            case Noted(_, because):
                words.append(f"noted {because}")
            case _:
                words.append(type(effect).__name__)
    trace.add(" ".join(words))


def _packet(packet: Any) -> str:
    if isinstance(packet, bytes):
        return f"{len(packet)} bytes {blake2b(packet, digest_size=4).hexdigest()}"
    carried = ".".join(str(len(items)) for items in packet[9:])
    return f"{Kind(packet.kind).name}.{packet.seq}.{packet.counter}.{carried}"


def altered(seed: int, changes: Mapping[str, str]) -> Faults:
    """The seed's faults with some values replaced."""
    faults = drawn(seed)
    kinds = {field.name: type(getattr(faults, field.name)) for field in fields(faults)}
    values = {name: bool(int(value)) if kinds[name] is bool else kinds[name](float(value)) for name, value in changes.items()}
    return replace(faults, **values)


def _try(seed: int) -> str:
    try:
        run_seed(seed)
    except Failed as failed:
        return str(failed)
    return ""


def main(args: list[str]) -> int:
    """The number of seeds that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.seeds", description="Rings with random faults.")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("changes", nargs="*", metavar="FAULT=VALUE")
    asked = parser.parse_args(args)
    if asked.seed is not None:
        faults = altered(asked.seed, dict(each.split("=", 1) for each in asked.changes))
        print(f"faults: {faults}")
        try:
            runs = [run_seed(asked.seed, faults) for _ in range(2 if asked.twice else 1)]
        except Failed as failed:
            print(failed)
            return 1
        for run in runs:
            print(f"trace {run.trace}, {run.events} events, healed in {run.healed:g} periods")
        return int(len({run.trace for run in runs}) > 1)
    seeds = range(asked.first, asked.first + asked.count)
    with multiprocessing.Pool(asked.jobs) as pool:
        failures = [text for text in pool.imap_unordered(_try, seeds, chunksize=4) if text]
    for text in failures:
        print(text, end="\n\n")
    print(f"{len(seeds) - len(failures)} of {len(seeds)} seeds hold")
    return min(len(failures), 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
