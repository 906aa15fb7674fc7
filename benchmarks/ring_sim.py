"""The ring's figures from the simulator: the production cores, virtual time, one seed per run.

    python benchmarks/ring_sim.py                     everything; about a quarter of an hour
    python benchmarks/ring_sim.py spread crash        some of it
    python benchmarks/ring_sim.py --seed 7 --quick    fewer runs and smaller rings, to see that it works

Sections: spread, crash, lifeguard, partition, idle, speed. Each line names what was measured, the goal, the figure, and whether
it is met. Simulated times do not depend on the machine; `speed` does, and is CPU time. Network: one way 0.5 to 1.5 ms, the loss that is
named, no other fault. Where a row says runs, each has its own seed, counted from --seed.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from supervisor.gossip.messages import Effect, Health, Learned, Seen, Send
from supervisor.gossip.presets import LAN, Preset
from tests.sim.checkers import view_differences
from tests.sim.host import Host
from tests.sim.ring import Ring

FACT: Final = {"service/web.default": b"x" * 120}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    goal: str
    figure: str
    met: bool | None

    def __str__(self) -> str:
        return f"| {self.what} | {self.goal} | {self.figure} | {'-' if self.met is None else 'yes' if self.met else '**no**'} |"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run."""

    seed: int
    ring: int  # members of the large ring
    runs: int
    hours: float  # of the Lifeguard experiment, simulated, each way


def grown(count: int, seed: int, *, plain: bool = True, preset: Preset = LAN, settle: float = 3.0) -> tuple[Ring, list[Host]]:
    """A ring whose members know each other and have nothing to tell any more."""
    ring = Ring(seed=seed, plain=plain, preset=preset)
    hosts = ring.grow(count)
    ring.periods(settle)
    return ring, hosts


def spread_of(size: Size, seed: int, loss: float) -> tuple[float, float, float, float]:
    """Seconds until half, 99 % and all hold one new fact, and sends of it per member."""
    ring, hosts = grown(size.ring, seed)
    ring.network.loss = loss
    ring.periods(2)
    arrived: list[float] = []
    sends = [0]
    author = hosts[0]

    def heard(host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Learned and effect.record.author == author.node.me.public:
                arrived.append(ring.world.now)
            elif type(effect) is Send and effect.data.records:
                sends[0] += sum(record.author == author.node.me.public for record in effect.data.records)

    ring.listeners.append(heard)
    begun = ring.world.now
    author.publish(FACT)
    while len(arrived) < size.ring and ring.world.now < begun + 200:
        ring.run(0.05)
    ring.run(10)
    arrived += [float("inf")] * (size.ring - len(arrived))
    at = [each - begun for each in sorted(arrived)[: size.ring]]
    return at[len(at) // 2], at[int(len(at) * 0.99)], at[-1], sends[0] / size.ring


def spread(size: Size) -> Iterator[Row]:
    """One record to everybody."""
    for loss, near, far, goal in (
        (0.0, 1.0, 1.5, "99 % in 1 s, all in 1.5 s"),
        (0.05, 1.5, 180.0, "-"),
        (0.25, 1.5, 180.0, "99 % in 1.5 s, all in one push/pull period"),
    ):
        runs = [spread_of(size, size.seed + number, loss) for number in range(size.runs)]
        worst99, worst = max(run[1] for run in runs), max(run[2] for run in runs)
        middle = [statistics.median(run[index] for run in runs) for index in range(4)]
        worsts = f"worst of {size.runs} runs {worst99:.2f} / {worst:.2f} s"
        figure = f"half {middle[0]:.2f} s, 99 % {middle[1]:.2f} s, all {middle[2]:.2f} s; {worsts}"
        met = None if goal == "-" else worst99 <= near and worst <= far
        yield Row(f"one record, {size.ring} members, loss {loss:.0%}", goal, figure, met)
        most = max(run[3] for run in runs)
        yield Row(f"sends of it per member, loss {loss:.0%}", "≤ 40", f"{middle[3]:.1f} (worst {most:.1f})", most <= 40)


def crash_of(count: int, seed: int) -> tuple[float, float, float]:
    """Periods until a crashed member is first suspected; seconds until first and last held dead."""
    ring, hosts = grown(count, seed)
    victim = hosts[count // 2]
    suspected: list[float] = []
    dead: list[float] = []

    def heard(host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Seen and effect.member == victim.id:
                if effect.health is Health.SUSPECT:
                    suspected.append(ring.world.now)
                elif effect.health is Health.DEAD:
                    dead.append(ring.world.now)

    ring.run(ring.world.chance.random())
    ring.listeners.append(heard)
    begun = ring.world.now
    victim.crash(silent=True)
    while len(dead) < count - 1 and ring.world.now < begun + 60:
        ring.run(0.05)
    last = dead[-1] if len(dead) >= count - 1 else float("inf")
    return (suspected[0] - begun) / ring.preset.period_s, dead[0] - begun, last - begun


def crash(size: Size) -> Iterator[Row]:
    """A host that is gone."""
    counts = sorted({64, size.ring})
    for count in counts:
        runs = [crash_of(count, size.seed + number) for number in range(size.runs * (4 if count < 200 else 2))]
        first = statistics.mean(run[0] for run in runs)
        worst = max(run[0] for run in runs)
        figure = f"mean {first:.2f} periods, worst of {len(runs)} {worst:.2f}"
        yield Row(f"crash first suspected, {count} members", "mean ≤ 2 periods", figure, first <= 2)
        last = sorted(run[2] for run in runs)
        figure = f"median {statistics.median(last):.2f} s, worst {last[-1]:.2f} s; first {statistics.median(run[1] for run in runs):.2f} s"
        yield Row(f"crash declared everywhere, {count} members", "≤ 7.75 s", figure, last[-1] <= 7.75)


@dataclass(slots=True)
class Wrongs:
    """Of one Lifeguard run: what was said of members that were well, and of those that were slow."""

    healthy_accused: int = 0  # (healthy member, accusation) pairs that its first accuser made
    healthy_dead: int = 0  # a healthy member was declared dead, each declaration by its first speaker
    slow_dead: int = 0
    views: int = 0  # members that held a healthy one dead


@dataclass(frozen=True, slots=True)
class Sickness:
    """What five of 128 members have: they run and stall in turn, or take so long for each packet. Seconds."""

    run: float = 0.0
    stall: float = 0.0
    packet: float = 0.0

    def __str__(self) -> str:
        return f"take {self.packet:g} s for each packet" if self.packet else f"run {self.run:g} s, stall {self.stall:g} s"


SICKNESSES: Final = (
    *(Sickness(run, stall) for run, stall in ((0.02, 1.0), (0.05, 3.0), (0.1, 8.0), (0.5, 16.0))),
    *(Sickness(packet=packet) for packet in (0.3, 0.5, 2.0)),
)


def lifeguard_of(seed: int, seconds: float, preset: Preset, sickness: Sickness) -> Wrongs:
    """128 members, five of which are sick."""
    ring, hosts = grown(128, seed, preset=preset)
    slow = ring.world.chance.sample(hosts, 5)
    slow_ids = {host.id for host in slow}
    found = Wrongs()
    dead: set[tuple[bytes, int, int]] = set()
    accused: set[tuple[bytes, int, int]] = set()

    def heard(host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is not Seen or effect.health not in (Health.SUSPECT, Health.DEAD) or effect.member == host.id:
                continue
            member = host.node.members.get(effect.member)
            if member is None:
                continue
            place = (effect.member, member.generation, max(member.incarnation, member.claimed))
            if effect.health is Health.DEAD:
                if effect.member not in slow_ids:
                    found.views += 1
                if place not in dead:
                    dead.add(place)
                    found.slow_dead += effect.member in slow_ids
                    found.healthy_dead += effect.member not in slow_ids
            elif effect.member not in slow_ids and place not in accused:
                accused.add(place)
                found.healthy_accused += 1

    ring.listeners.append(heard)
    for host in slow:
        if sickness.packet:
            host.slow_s = sickness.packet
        else:
            begin = ring.world.chance.random() * (sickness.run + sickness.stall)
            ring.world.after(begin, host.starve, sickness.run, sickness.stall, seconds)
    ring.run(seconds)
    return found


def lifeguard(size: Size) -> Iterator[Row]:
    """Five of 128 members starve or are slow; with the three parts of Lifeguard and without."""
    plain = replace(LAN, lifeguard=False)
    total = {True: Wrongs(), False: Wrongs()}
    hours = 0.0
    for sickness in SICKNESSES:
        seconds = size.hours * 3600 / len(SICKNESSES)
        hours += seconds / 3600
        pair = {}
        for on in (True, False):
            found = pair[on] = lifeguard_of(size.seed, seconds, LAN if on else plain, sickness)
            total[on].healthy_accused += found.healthy_accused
            total[on].healthy_dead += found.healthy_dead
            total[on].slow_dead += found.slow_dead
            total[on].views += found.views
        figure = f"healthy dead {pair[True].healthy_dead} on, {pair[False].healthy_dead} off; "
        figure += f"accused {pair[True].healthy_accused} on, {pair[False].healthy_accused} off; "
        figure += f"sick dead {pair[True].slow_dead} on, {pair[False].slow_dead} off"
        yield Row(f"5 of 128 {sickness}, {seconds / 60:.0f} min", "-", figure, None)
    on, off = total[True], total[False]
    ratio = off.healthy_dead / on.healthy_dead if on.healthy_dead else float("inf")
    figure = f"{on.healthy_dead} on, {off.healthy_dead} off: {ratio:.0f} times fewer (views {on.views} / {off.views})"
    yield Row("false deaths of healthy members", "≥ 20 times fewer", figure, off.healthy_dead > 0 and ratio >= 20)
    member_hours = 123 * hours
    figure = f"{on.healthy_accused} in {member_hours:.0f} member-hours on, {off.healthy_accused} off"
    yield Row("healthy members accused", "≤ 1 in 1,000 member-hours", figure, on.healthy_accused * 1000 <= member_hours)


def partition_of(count: int, seed: int, minutes: float) -> tuple[float, float]:
    """Seconds after healing until the first member of the other half is alive again, and until there is one view."""
    ring, hosts = grown(count, seed)
    for number, host in enumerate(hosts):
        ring.network.sides[host.address] = number % 2
    ring.run(minutes * 60)
    first: list[float] = []

    def heard(host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        first.extend(ring.world.now for effect in effects if type(effect) is Seen and effect.health is Health.ALIVE)

    ring.listeners.append(heard)
    ring.network.heal()
    begun = ring.world.now
    while ring.world.now < begun + 120:
        ring.run(0.5)
        if next(iter(view_differences(hosts)), None) is None:
            return (first[0] if first else ring.world.now) - begun, ring.world.now - begun
    return float("nan"), float("inf")


def partition(size: Size) -> Iterator[Row]:
    """Half of the ring is away for ten minutes."""
    for count in (9, 64, size.ring // 4):
        runs = [partition_of(count, size.seed + number, 10.0) for number in range(max(1, size.runs // 2))]
        worst = max(one - first for first, one in runs)
        figure = f"first retry heard after {max(run[0] for run in runs):.1f} s, one view {worst:.1f} periods later (worst of {len(runs)})"
        yield Row(f"half of {count} members away for 10 min", "one view ≤ 10 periods after a retry", figure, worst <= 10)


def idle_of(count: int, seed: int, seconds: float) -> tuple[float, float]:
    """Bytes and datagrams that a member sends a second, streams included, with the real codec."""
    ring, _ = grown(count, seed, plain=False)
    sizes = [0, 0]

    def heard(host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:
                sizes[0] += len(effect.data) + 28
                sizes[1] += 1
            elif hasattr(effect, "data"):
                sizes[0] += len(effect.data) + 44

    ring.listeners.append(heard)
    ring.run(seconds)
    return sizes[0] / count / seconds, sizes[1] / count / seconds


def idle(size: Size) -> Iterator[Row]:
    """What a ring costs when nothing happens; IP, UDP and TCP headers counted."""
    for count in (64, 256, size.ring):
        rate, packets = idle_of(count, size.seed, 60.0)
        yield Row(f"sent by an idle member, {count} members", "≤ 2 KB/s", f"{rate:.0f} B/s, {packets:.2f} datagrams/s", rate <= 2048)


def speed_of(count: int, seed: int, *, plain: bool, periods: float, profile: bool = False) -> float:
    """Member-periods per second of CPU."""
    ring, _ = grown(count, seed, plain=plain, settle=15)
    gc.collect()
    gc.freeze()
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    before = time.process_time()
    ring.periods(periods)
    spent = time.process_time() - before
    gc.unfreeze()
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    return count * periods / spent


def speed(size: Size, *, profile: bool = False) -> Iterator[Row]:
    """How fast the cores run."""
    for plain, goal in ((True, 50_000), (False, 20_000)):
        runs = [speed_of(1000, size.seed, plain=plain, periods=20, profile=profile) for _ in range(1 if profile else 3)]
        name = "encoding off" if plain else "encoding and encryption"
        best = max(runs)
        yield Row(f"1,000 members, {name}", f"≥ {goal:,} member-periods per CPU second", f"{best:,.0f}", best >= goal)


SECTIONS: Final[dict[str, Callable[[Size], Iterator[Row]]]] = {
    "spread": spread,
    "crash": crash,
    "lifeguard": lifeguard,
    "partition": partition,
    "idle": idle,
    "speed": speed,
}


def main() -> int:
    """Print the table; the number of goals that are missed."""
    parser = argparse.ArgumentParser(description="The ring's figures from the simulator.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--hours", type=float, default=4.0, help="simulated by `lifeguard`, each way")
    parser.add_argument("--profile", action="store_true", help="of `speed`, to standard error")
    asked = parser.parse_args()
    size = Size(asked.seed, 128, 2, 0.05) if asked.quick else Size(asked.seed, 1024, 5, asked.hours)
    missed = 0
    print(f"seed {asked.seed}\n\n| Simulated | Goal | Figure | Met |\n|---|---|---|---|", flush=True)
    for name in asked.sections or SECTIONS:
        for row in speed(size, profile=asked.profile) if name == "speed" else SECTIONS[name](size):
            missed += row.met is False
            print(row, flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
