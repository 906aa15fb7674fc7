"""What a flood of foreign datagrams does to a member of a ring, and to those who talk with it.

    python benchmarks/ring_flood.py [--json] [--seconds N] [--rate N] [--members N] [--kind garbage|forged|member]

Real members on loopback with the LAN preset and a key: the one that is flooded in a process of its own, the honest ones in another, the
flood from a third. `garbage` is random bytes, `forged` names the right ring and key and fails only at the tag, `member` is `forged` sent
from the address of an honest member, which is then played by a process that answers nothing (its death is no false suspicion; what the
others think of each other counts). The same number of quiet seconds comes first. What a service's check would feel is the lateness of a
timer in the flooded process, asked for every 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from supervisor import clock
from supervisor.gossip.codec import Codec
from supervisor.gossip.driver import Driver
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.keyring import MAGIC, UDP, Keyring
from supervisor.gossip.messages import Address, Effect, Health, Seen
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LAN
from supervisor.gossip.records import Records
from supervisor.gossip.sockets import open_sockets

KEYRING = Keyring("flood", bytes(range(32)))
BEAT_S = 0.01
SIZE = 300  # bytes of a foreign datagram
BATCH_S = 0.0001  # the flood is sent in so many at a time: smooth, so that each datagram may wake its receiver


def make(hear: Callable[[Effect], None]) -> Driver:
    sockets = open_sockets(("127.0.0.1", 0), sealed=True)
    node = Node(
        key=MemberKey(secrets.token_bytes(32)),
        generation=1,
        session=secrets.token_bytes(8),
        address=sockets.address,
        name=f"at-{sockets.address[1]}",
        ring=KEYRING.ring_id,
        preset=LAN,
        codec=Codec(KEYRING, secrets.token_bytes),
        chance=random.Random(secrets.randbits(64)),  # noqa: S311  whom to probe
        records=Records(KEYRING.ring_id),
    )
    return Driver(node, sockets, hear=hear, clock=clock.now)


class Watch:
    """What a process's members say of others, and how late its timers are."""

    def __init__(self) -> None:
        self.accused: Counter[str] = Counter()  # by member
        self.late_s: list[float] = []

    def hear(self, effect: Effect) -> None:
        if isinstance(effect, Seen) and effect.health in (Health.SUSPECT, Health.DEAD):
            self.accused[effect.member.hex()] += 1

    async def beat(self) -> None:
        while True:
            due = time.perf_counter() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.late_s.append(time.perf_counter() - due)


def members(count: int, seed: Address | None, ends: Connection) -> None:
    """A process of so many members: says where they are, then answers each word with what has happened since the last one."""
    asyncio.run(_members(count, seed, ends))


async def _members(count: int, seed: Address | None, ends: Connection) -> None:
    watch = Watch()
    drivers = [make(watch.hear) for _ in range(count)]
    for driver in drivers:
        await driver.start()
        if seed is not None:
            driver.do(driver.node.join([seed], clock.now()))
    beating = asyncio.get_running_loop().create_task(watch.beat())
    ends.send([driver.address for driver in drivers])
    loop = asyncio.get_running_loop()
    while (word := await loop.run_in_executor(None, ends.recv)) != "end":
        if word == "count":
            ends.send(min(len(driver.node.members.alive()) for driver in drivers))
            continue
        used, late = time.process_time(), sorted(watch.late_s) or [0.0]
        ends.send(
            {
                "cpu_s": used,
                "accused": dict(watch.accused),
                "late_p99_ms": late[int(len(late) * 0.99)] * 1000,
                "late_max_ms": late[-1] * 1000,
                "counters": total([driver.node.counters for driver in drivers]),
                "drops": total([driver.drops for driver in drivers]),
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
        watch.late_s.clear()
    beating.cancel()
    for driver in drivers:
        await driver.close()


def total(each: list[Any]) -> dict[str, int]:
    return {name: sum(counts.get(name, 0) for counts in each) for name in {name for counts in each for name in counts}}


def flood(to: Address, rate: float, seconds: float, kind: str, sender: socket.socket) -> int:
    """Send so many a second; how many were."""
    chance = random.Random(1)  # noqa: S311  rubbish
    head = MAGIC + bytes([UDP]) + KEYRING.ring_id + KEYRING.primary_id
    rubbish = [chance.randbytes(SIZE) if kind == "garbage" else head + chance.randbytes(SIZE) for _ in range(64)]
    begun = time.perf_counter()
    sent = 0
    while (gone := time.perf_counter() - begun) < seconds:
        while sent < gone * rate:
            with suppress(OSError):
                sender.sendto(rubbish[sent % 64], to)
            sent += 1
        time.sleep(BATCH_S)
    return sent


def measure(options: argparse.Namespace) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    us, flooded_end = context.Pipe()
    them, honest_end = context.Pipe()
    flooded = context.Process(target=members, args=(1, None, flooded_end))
    flooded.start()
    (target,) = us.recv()
    honest = context.Process(target=members, args=(options.members - 1, target, honest_end))
    honest.start()
    them.recv()
    wait(lambda: ask(us, "count") == ask(them, "count") == options.members)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        silent = ""
        if options.kind == "member":
            silent = stand_in(sender, target)
            wait(lambda: ask(us, "count") == options.members + 1)
        before = ask(us, "tell")
        time.sleep(options.seconds)
        quiet, theirs_quiet = ask(us, "tell"), ask(them, "tell")
        sent = flood(target, options.rate, options.seconds, options.kind, sender)
        after, theirs_after = ask(us, "tell"), ask(them, "tell")
        time.sleep(LAN.period_s * 8)  # a suspicion that the flood began has become a death by now
        late, theirs_late = ask(us, "tell"), ask(them, "tell")
        accused = Counter(late["accused"]) + Counter(theirs_late["accused"])
        accused.subtract(Counter(quiet["accused"]) + Counter(theirs_quiet["accused"]))
        del accused[silent]
        alive = (ask(us, "count"), ask(them, "count"))
    for end in (us, them):
        end.send("end")
    for process in (flooded, honest):
        process.join(20)
    return {
        "kind": options.kind,
        "members": options.members,
        "datagrams sent": sent,
        "datagrams a second": round(sent / options.seconds),
        "false accusations": sum(accused.values()),
        "alive after, at the flooded one and at the least of the others": alive,
        "flooded member's CPU, % of a core, quiet": percent(before, quiet, options.seconds),
        "flooded member's CPU, % of a core, flooded": percent(quiet, after, options.seconds),
        "honest members' CPU, % of a core, flooded": percent(theirs_quiet, theirs_after, options.seconds),
        "timers late, p99 / max ms, quiet": (round(quiet["late_p99_ms"], 2), round(quiet["late_max_ms"], 1)),
        "timers late, p99 / max ms, flooded": (round(after["late_p99_ms"], 2), round(after["late_max_ms"], 1)),
        "dropped": {name: count - quiet["drops"].get(name, 0) for name, count in after["drops"].items()},
        "refused": {
            name: count - quiet["counters"].get(name, 0) for name, count in after["counters"].items() if name.startswith("refused")
        },
        "peak RSS MB": round(after["rss_mb"], 1),
    }


def stand_in(sender: socket.socket, target: Address) -> str:
    """A member at the flood's address, as far as the flooded one knows: an announcement, and then nothing. Its id."""
    node = Node(
        key=MemberKey(secrets.token_bytes(32)),
        generation=1,
        session=secrets.token_bytes(8),
        address=sender.getsockname(),
        name="stand-in",
        ring=KEYRING.ring_id,
        preset=LAN,
        codec=Codec(KEYRING, secrets.token_bytes),
        chance=random.Random(1),  # noqa: S311  it does not live
        records=Records(KEYRING.ring_id),
    )
    node.start(clock.now())
    for effect in node.join([target], clock.now()):
        sender.sendto(effect.data, target)  # type: ignore[union-attr]  # a greeting
    return node.members.me.id.hex()


def percent(before: dict[str, Any], after: dict[str, Any], seconds: float) -> float:
    return round((after["cpu_s"] - before["cpu_s"]) / seconds * 100, 1)


def ask(end: Connection, word: str) -> Any:
    end.send(word)
    return end.recv()


def wait(true: Callable[[], bool]) -> None:
    """Until it is so, at most half a minute."""
    until = time.monotonic() + 30
    while not true():
        if time.monotonic() > until:
            raise SystemExit("the ring did not form")
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=10_000.0, help="datagrams a second")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--kind", choices=["garbage", "forged", "member"], default="forged")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:66} {value}")


if __name__ == "__main__":
    main()
