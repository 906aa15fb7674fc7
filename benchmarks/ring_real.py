"""The ring with real supervisors: `stead sup run` each with a root of its own, LAN preset, a ring key, its gateway on.

    python benchmarks/ring_real.py [--members N] [--json] WHAT …    of: spread crash starve partition idle corrupt; one ring for all of them
                                                                    that go together, in this order as given; each prints a row

`spread` writes a document on one and watches the others' disks; with `--loss` it, and `partition` always, gives each supervisor a network
namespace of its own (root is needed), and carries the packets between them itself: so nothing that is lost was ever on a wire. `crash` is
kill -9 of holder and supervisor; when each of the others declares it dead is the moment at which its line is on the terminal. `starve`
stops one and lets it go on, so that it runs a fifth of the time, in turns of 0.1 to 10 s. `corrupt` damages each file of the state of a
stopped supervisor, one by one, and starts it again. The machine's load stands in each row: 25 supervisors and this program share its
cores.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ring_hosts import Host, Ring, ring_of, until
from hart.errors import SteadError
from supervisor.gossip.digest import hash16

GROUP: Final = "bench.default"
LOOK_S: Final = 0.002  # between two looks at the others' disks
TORN_GROUP: Final = "torn.default"
TORN: Final = f"group/{TORN_GROUP}/config"
NEWEST: Final = "the newest document"
DAMAGES: Final[tuple[Callable[[bytes], bytes], ...]] = (lambda raw: raw[:-3], lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda _: b"")
SHARE: Final = 0.2  # of the time that the starved one runs


class Row(NamedTuple):
    what: str
    goal: str
    measured: str
    holds: bool


# --- what is measured


def spread(ring: Ring, options: argparse.Namespace) -> Row:
    """A document of one: until all the others have it on their disks."""
    took: list[float] = []
    key = f"group/{GROUP}/config"
    chance = random.Random(2)  # noqa: S311  who begins
    for turn in range(1, options.times + 1):
        writer = chance.choice(ring.hosts)
        version = f"{turn:019}-"
        body = f'turn = {turn}\npad = "{"x" * options.size}"\n'.encode()
        failures: queue.SimpleQueue[str] = queue.SimpleQueue()
        asking = threading.Thread(target=_apply, args=(writer, turn, body, failures))
        begun = time.monotonic()
        asking.start()
        waiting = set(range(len(ring.hosts)))
        while waiting and time.monotonic() < begun + 60:
            waiting -= {each for each in waiting if any(name.startswith(version) for name in ring.hosts[each].documents(key))}
            time.sleep(LOOK_S)
        took.append(time.monotonic() - begun if not waiting else float("inf"))
        asking.join(60)
        if not failures.empty():
            print(f"  turn {turn}: {failures.get()}", file=sys.stderr)
        time.sleep(1)
    loss = options.loss or 0.0
    goal = 5.0 if loss else 1.0
    took.sort()
    what = f"one document of {options.size + 30} bytes reaches {len(ring.hosts)} supervisors' disks, {loss:g} % of packets lost"
    measured = f"{len(took)} times: median {took[len(took) // 2]:.2f} s, max {took[-1]:.2f} s"
    return Row(what, f"all in ≤ {goal:g} s", measured, took[-1] <= goal)


def _apply(host: Host, version: int, body: bytes, failures: queue.SimpleQueue[str]) -> None:
    try:
        host.ask("config apply", group=GROUP, version=version, body=body)
    except SteadError as error:
        failures.put(str(error))


def crash(ring: Ring, options: argparse.Namespace) -> Row:
    suspected: list[float] = []
    declared: list[float] = []
    missing = 0
    begun = time.monotonic()
    for turn in range(options.crashes):
        victim = ring.hosts[(turn * 7 + 1) % len(ring.hosts)]
        others = [host for host in ring.hosts if host is not victim]
        at = time.monotonic()
        victim.crash()
        with suppress(SystemExit):
            until("dead", partial(told_by_all, others, victim.member, at), 30)
        first = [when - at for each in others if (when := each.heard(victim.member, "suspect", at))]
        deaths = [when - at for each in others if (when := each.heard(victim.member, "dead", at))]
        suspected += [min(first)] if first else []
        declared += deaths
        missing += len(others) - len(deaths)
        ring.start(victim)
        ring.together()
    wrong = false_deaths(ring, begun) - options.crashes * (len(ring.hosts) - 1) + missing
    declared.sort()
    p99 = declared[int(len(declared) * 0.99)]
    measured = (
        f"{options.crashes} crashes: first suspected after {sum(suspected) / len(suspected):.2f} s on average; declared: "
        f"median {declared[len(declared) // 2]:.2f} s, p99 {p99:.2f} s, max {declared[-1]:.2f} s; {missing} not told, {wrong} wrong deaths"
    )
    return Row(f"kill -9 of one of {len(ring.hosts)}: every other declares it dead", "p99 ≤ 8 s", measured, p99 <= 8 and not missing)


def told_by_all(hosts: list[Host], member: str, since: float) -> bool:
    return all(each.heard(member, "dead", since) for each in hosts)


def false_deaths(ring: Ring, since: float, but: str = "", health: str = "dead") -> int:
    """How often anybody but `but` was said to be so."""
    return sum(
        told.at >= since and told.health == health and not (but and but[:8] in told.topic)
        for host in ring.hosts
        for told in list(host.told)
    )


def starve(ring: Ring, options: argparse.Namespace) -> Row:
    victim = ring.hosts[len(ring.hosts) // 2]
    begun = time.monotonic()
    chance = random.Random(3)  # noqa: S311  how long each turn is
    end = begun + options.minutes * 60
    turns = 0
    ran = 0.0
    while time.monotonic() < end:
        turn_s = 0.1 * 100 ** chance.random()
        os.kill(victim.pid, signal.SIGSTOP)
        time.sleep(turn_s * (1 - SHARE))
        os.kill(victim.pid, signal.SIGCONT)
        time.sleep(turn_s * SHARE)
        ran += turn_s * SHARE
        turns += 1
    spent = time.monotonic() - begun
    time.sleep(8)  # a suspicion that it began has become a death by now
    deaths, accused = false_deaths(ring, begun, victim.member), false_deaths(ring, begun, victim.member, "suspect")
    own = len({told.at for host in ring.hosts for told in host.told if told.at >= begun and told.health == "dead"}) - deaths
    heals = ring.together()
    measured = (
        f"{spent / 60:.1f} min, {turns} stops, it ran {ran / spent:.0%} of the time: {deaths} deaths of others told by anybody "
        f"({accused} suspicions), {own} of itself; one view again {heals + 8:.0f} s after"
    )
    return Row(f"one of {len(ring.hosts)} at 20 % CPU", "none of the others declared dead in 10 min", measured, deaths == 0)


def partition(ring: Ring, options: argparse.Namespace) -> Row:
    assert ring.wire is not None
    half = len(ring.hosts) // 2
    ring.wire.cut = True
    sizes = {host.number: half if host.number < half else len(ring.hosts) - half for host in ring.hosts}
    begun = time.monotonic()
    apart = lambda: all(host.ask("ring status")["counts"]["alive"] == sizes[host.number] for host in ring.hosts)  # noqa: E731
    until("each half sees itself alone", apart, 60, 0.25)
    split = time.monotonic() - begun
    time.sleep(max(0.0, options.minutes * 60 - split))
    ring.wire.cut = False
    begun = time.monotonic()
    until("one view", lambda: all(map(ring.sees_all, ring.hosts)), 120, 0.1)
    took = time.monotonic() - begun
    measured = f"apart after {split:.1f} s, for {options.minutes:g} min; one view {took:.1f} s after the heal"
    return Row(f"{half} and {len(ring.hosts) - half} supervisors in namespaces, cut and healed", "one view ≤ 30 s", measured, took <= 30)


def idle(ring: Ring, options: argparse.Namespace) -> Row:
    time.sleep(10)  # what joining had to say has been said
    before = {host.number: cpu_s(host.pid) for host in ring.hosts}
    begun = time.monotonic()
    time.sleep(options.seconds)
    spent = time.monotonic() - begun
    shares = sorted((cpu_s(host.pid) - before[host.number]) / spent * 100 for host in ring.hosts)
    resident = sorted(rss_mb(host.pid) for host in ring.hosts)
    holders = max(rss_mb(host.process.pid) for host in ring.hosts if host.process is not None)
    measured = (
        f"over {spent:.0f} s: {sum(shares) / len(shares):.2f} % of a core on average, {shares[-1]:.2f} % at most; "
        f"RSS {resident[len(resident) // 2]:.1f} MB, at most {resident[-1]:.1f} MB (and a holder's {holders:.1f} MB)"
    )
    return Row(f"an idle supervisor of {len(ring.hosts)}", "≤ 1 % of a core, ≤ 60 MB", measured, shares[-1] <= 1 and resident[-1] <= 60)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def corrupt(ring: Ring, _: argparse.Namespace) -> Row:
    """Each file of the state and the newest document, three ways; a new version of the document is written before each."""
    host = ring.hosts[-1]
    state = host.root.sup / "ring"
    documents = state / "documents" / hash16(TORN.encode()).hex()
    host.ask("config apply", group=TORN_GROUP, body=b"version = 1\n")
    version = 1
    failed: list[str] = []
    tried = 0
    for name in [*sorted(file.name for file in state.iterdir() if file.is_file()), NEWEST]:
        for damage in DAMAGES:
            version += 1
            host.ask("config apply", group=TORN_GROUP, body=f"version = {version}\n".encode())
            member = host.member
            stop(host)
            file = (
                max((each for each in documents.iterdir() if each.suffix != ".damaged"), key=lambda each: each.name)
                if name == NEWEST
                else state / name
            )
            file.write_bytes(damage(file.read_bytes()))
            said = len(host.lines)
            ring.start(host)
            ring.together()
            tried += 1
            held = max((int(row["version"]) for row in host.ask("ring records", prefix=TORN)["rows"]), default=0)
            expected = version - (name == NEWEST and len(ring.hosts) == 1)
            if name == NEWEST and len(ring.hosts) == 1:
                version = held
            if not any(file.name in line for line in host.lines[said:]):
                failed.append(f"{name}: nothing was said")
            if held != expected or host.member != member:
                failed.append(f"{name}: version {held} and not {expected}" if held != expected else f"{name}: another member")
    said_of_all = "; ".join(failed) or "each said so, each the same member, with the last good document"
    measured = f"{tried} starts on a damaged file of {len(ring.hosts)}: {said_of_all}"
    return Row(
        "each file of the ring's state cut short, altered, emptied", "starts from the last good copy and says so", measured, not failed
    )


def stop(host: Host) -> None:
    assert host.process is not None
    host.stop()
    host.process.wait(30)


WHAT: Final[dict[str, Callable[[Ring, argparse.Namespace], Row]]] = {
    "spread": spread,
    "crash": crash,
    "starve": starve,
    "partition": partition,
    "idle": idle,
    "corrupt": corrupt,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=list(WHAT))
    parser.add_argument("--members", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--times", type=int, default=20, help="spread: documents written")
    parser.add_argument("--size", type=int, default=100, help="spread: bytes of a document")
    parser.add_argument("--loss", type=float, help="spread: percent of packets lost, in namespaces")
    parser.add_argument("--crashes", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10.0, help="starve, partition: how long")
    parser.add_argument("--seconds", type=float, default=60.0, help="idle: how long")
    options = parser.parse_args()
    spaces = "partition" in options.what or options.loss is not None
    with ring_of(options.members, (options.loss or 0.0) / 100 if spaces else None) as ring:
        for what in options.what:
            row = WHAT[what](ring, options)
            load = os.getloadavg()[0]
            if options.json:
                print(json.dumps({**row._asdict(), "load": load}), flush=True)
            else:
                print(f"| {row.what} | {row.goal} | {row.measured} | {'' if row.holds else 'MISSED, '}load {load:.1f} |", flush=True)


if __name__ == "__main__":
    main()
