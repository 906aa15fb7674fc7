"""Hostile bytes against a member: the real codec, node and records, with real signatures.

    python benchmarks/ring_fuzz.py [--count N] [--seed N] [--life N] [--json]

Half of what comes has no key: good datagrams altered, cut, lengthened, spliced, and random bytes. The other half comes from somebody who
has it: plain text altered, cut or lengthened, values replaced, removed, added, of another type or out of range, then sealed; as datagrams
and as frames of streams, of those that callers open and of those that the node opens itself. Some good ones are between them, so that
conversations get further than their first frame. Time passes meanwhile, a millisecond for each. After `life` inputs the node is another
one with the same keys: numbers that were driven to their end would refuse all that follows.

What must hold: nothing is raised; what comes without the key is refused and counted, each of them once; what comes with it is taken,
refused or left unanswered; whatever the node sends is a datagram or a frame within its limits; memory is flat from life to life.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ring_hostile import KEYRING, PEERS, Material
from hart.limits import DATAGRAM_MAX, RING_FRAME_MAX
from supervisor.gossip.codec import Codec
from supervisor.gossip.keyring import OVERHEAD, TCP, UDP
from supervisor.gossip.messages import ANYBODY, Close, Effect, Kind, Open, Send, Write
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LAN
from supervisor.gossip.records import Records

STEP_S: Final = 0.001
SAMPLES: Final = 10


class Broken(Exception):  # noqa: N818  it says what is wrong with the ring, not with a call
    """A rule does not hold; says which, and for which input."""


class Fuzz:
    """One run: a node after the other, and what was sent to them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  a run that can be repeated
        self.seed = seed
        self.tally: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.now = 1000.0
        self.codec = Codec(KEYRING, self.chance.randbytes)
        self.material = Material(self.chance)
        self.begin()

    def begin(self) -> None:
        """The next node, which is in a ring with half of the peers."""
        self.records = Records(KEYRING.ring_id)
        self.node = Node(
            key=self.material.key,
            generation=self.material.generation,
            session=self.chance.randbytes(8),
            address=("10.9.0.1", 9638),
            name="fuzzed",
            ring=KEYRING.ring_id,
            preset=LAN,
            codec=self.codec,
            chance=random.Random(self.chance.getrandbits(64)),  # noqa: S311  whom to probe
            records=self.records,
        )
        self.streams: dict[int, Far] = {}
        self.do(self.node.start(self.now))
        for number in range(PEERS // 2):
            self.do(
                self.node.receive(
                    self.codec.encode(self.material.packet(number, to=ANYBODY, kind=Kind.PING, own=True)),
                    self.material.address(number),
                    self.now,
                )
            )

    def end(self) -> None:
        self.counters.update(
            {name: count for name, count in self.node.counters.items() if name.startswith("refused") or name == "received"}
        )

    # --- sending

    def one(self) -> None:
        """One input of any kind."""
        self.now += STEP_S
        number = self.chance.randrange(PEERS)
        match self.chance.randrange(8):
            case 0 | 1 | 2 | 3:
                self._without_key(number)
            case 4 | 5:
                self._with_key(number)
            case _:
                self._on_stream(number)
        if self.node.deadline() <= self.now:
            self.do(self._run("tick", b"", lambda: self.node.tick(self.now)))

    def _without_key(self, number: int) -> None:
        good = self.material.sealed(self.material.packet(number))
        data = self.material.spoil(good)
        if data == good:
            return
        before = sum(count for name, count in self.node.counters.items() if name.startswith("refused"))
        effects = self._run("datagram without the key", data, lambda: self.node.receive(data, self.material.address(number), self.now))
        after = sum(count for name, count in self.node.counters.items() if name.startswith("refused"))
        if after != before + 1 or any(isinstance(each, Send) and each.to == self.material.address(number) for each in effects):
            raise Broken(f"counted {after - before} times, or answered: {data.hex()}")
        self.tally["datagrams without the key: refused"] += 1
        self.do(effects)

    def _with_key(self, number: int) -> None:
        packet = self.material.packet(number, to=self.chance.choice((None, None, None, ANYBODY)))
        plain = self.material.plain(list(packet))
        data = KEYRING.seal(plain, purpose=UDP, nonce=self.chance.randbytes(24))
        before = dict(self.node.counters)
        effects = self._run("datagram with the key", data, lambda: self.node.receive(data, self.material.address(number), self.now))
        self._count("datagrams with the key", before, answered=bool(effects))
        self.do(effects)

    def _on_stream(self, number: int) -> None:
        """A frame on one that is open, or on a new one."""
        if self.streams and self.chance.random() < 0.7:
            stream = self.chance.choice(tuple(self.streams))
        else:
            stream, effects = self.node.accepted(self.material.address(number), self.now)
            self.do(effects)
            if stream < 0:
                self.tally["streams: refused, too many"] += 1
                self._hang_up(self.chance.choice(tuple(self.streams)))
                return
            self.streams[stream] = Far(b"")
        far = self.streams[stream]
        envelope: list[Any] = [
            far.nonce,
            far.theirs,
            far.count,
            self.material.twist(self.material.said(number, self.node.members.digest))
            if self.chance.random() < 0.5
            else self.material.said(number, self.node.members.digest),
        ]
        how = self.chance.random()
        plain = msgpack.packb(self.material.twist(envelope) if how < 0.1 else envelope, use_bin_type=True)
        data = KEYRING.seal(self.material.spoil(plain) if how > 0.9 else plain, purpose=TCP, nonce=self.chance.randbytes(24))
        if 0.1 < how < 0.2:
            data = self.material.spoil(data)
        far.count += 1
        before = dict(self.node.counters)
        effects = self._run("frame", data, lambda: self.node.frame(stream, data, self.now))
        self._count("frames", before, answered=bool(effects))
        self.do(effects)
        if stream in self.streams and self.chance.random() < 0.05:
            self._hang_up(stream)

    def _hang_up(self, stream: int) -> None:
        del self.streams[stream]
        self.do(self._run("end of a stream", b"", lambda: self.node.closed(stream, self.now)))

    def _count(self, what: str, before: dict[str, int], *, answered: bool) -> None:
        after = self.node.counters
        if any(count > before.get(name, 0) for name, count in after.items() if name.startswith("refused")):
            self.tally[f"{what}: refused, whole or in part"] += 1
        elif after["received"] > before["received"] or after.get("strangers", 0) > before.get("strangers", 0):
            self.tally[f"{what}: taken"] += 1
        else:
            self.tally[f"{what}: {'answered' if answered else 'taken, nothing to answer'}"] += 1

    def _run(self, what: str, data: bytes, work: Callable[[], list[Effect]]) -> list[Effect]:
        try:
            return work()
        except Exception as error:
            raise Broken(f"{what}: {type(error).__name__}: {error}; seed {self.seed}, input {data.hex()}") from error

    def do(self, effects: list[Effect]) -> None:
        """What a driver would; all that is written must be readable for a member."""
        for effect in effects:
            match effect:
                case Send(data=data):
                    if len(data) > DATAGRAM_MAX:
                        raise Broken(f"sends {len(data)} bytes")
                    self.tally["sent"] += 1
                case Open(stream=stream):
                    self._answer_call(stream)
                case Write(stream=stream, data=data) if stream in self.streams:
                    if len(data) > RING_FRAME_MAX + OVERHEAD:
                        raise Broken(f"writes {len(data)} bytes")
                    self.streams[stream].theirs = self.codec.decode_frame(data)[0]
                case Close(stream=stream):
                    self.streams.pop(stream, None)
                case _:
                    pass

    def _answer_call(self, stream: int) -> None:
        if self.chance.random() < 0.3:
            self.do(self._run("call that fails", b"", lambda: self.node.closed(stream, self.now)))
            return
        self.streams[stream] = Far(self.chance.randbytes(8))
        self.do(self._run("call", b"", lambda: self.node.opened(stream, self.now)))


class Far:
    """The other end of a stream: numbers and nonces that let its frames count."""

    def __init__(self, nonce: bytes) -> None:
        self.nonce = nonce or b"opposite"
        self.theirs = b""
        self.count = 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Broken when a rule does not hold."""
    fuzz = Fuzz(options.seed)
    resident: list[float] = []
    begun = time.process_time()
    for done in range(1, options.count + 1):
        fuzz.one()
        if done % options.life == 0 or done == options.count:
            fuzz.end()
            fuzz.material.begin()
            fuzz.begin()
        if done % max(1, options.count // SAMPLES) == 0:
            gc.collect()
            resident.append(rss_mb())
    return {
        "inputs": options.count,
        "seed": options.seed,
        "CPU s": round(time.process_time() - begun, 1),
        "what became of them": dict(sorted(fuzz.tally.items())),
        "counted by nodes": dict(sorted(fuzz.counters.items())),
        "RSS MB after each tenth": resident,
    }


def rss_mb() -> float:
    return round(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--life", type=int, default=5_000, help="inputs that one node gets")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
