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

from hart.limits import DATAGRAM_MAX, RING_FRAME_MAX
from supervisor.gossip import frames
from supervisor.gossip.codec import Codec
from supervisor.gossip.identity import MemberKey, announce, sign_record
from supervisor.gossip.keyring import OVERHEAD, TCP, UDP, Keyring
from supervisor.gossip.messages import (
    ANYBODY,
    Address,
    Announcement,
    Claim,
    Close,
    Effect,
    Health,
    Kind,
    Notice,
    Open,
    Packet,
    Record,
    Send,
    Version,
    Write,
)
from supervisor.gossip.node import Node
from supervisor.gossip.presets import LAN
from supervisor.gossip.records import Records, content_hash

KEYRING: Final = Keyring("fuzz", bytes(range(32)))
PEERS: Final = 6  # members that the node knows, or may get to know
STEP_S: Final = 0.001
SAMPLES: Final = 10
NUMBERS: Final = (
    0,
    1,
    2,
    3,
    127,
    128,
    255,
    256,
    (1 << 31) - 1,
    1 << 32,
    (1 << 62) - 1,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
    -1,
    -(1 << 63),
)
COUNTS: Final = tuple(each for each in NUMBERS if 0 <= each < 1 << 63)
TEXTS: Final = (
    "",
    "x",
    "10.0.0.1",
    "::1",
    "224.0.0.1",
    "999.1.1.1",
    "member/",
    "ring/departed/",
    "group/../../x/config",
    "\x00",
    "é" * 99,
    "x" * 300,
)
OTHERS: Final = (None, True, False, 1.5, float("nan"), float("inf"), {}, [], [[]], [[[[]]]], msgpack.Timestamp(0))


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
        self.keys = [MemberKey(bytes([number + 1]) * 32) for number in range(PEERS)]
        self.key = MemberKey(b"\xff" * 32)
        self.generation = 0
        self.counts = [0] * PEERS
        self.begin()

    def begin(self) -> None:
        """The next node, which is in a ring with half of the peers."""
        self.generation += 1
        self.counts = [0] * PEERS
        self.records = Records(KEYRING.ring_id)
        self.node = Node(
            key=self.key,
            generation=self.generation,
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
        self.words = [self._announcement(number) for number in range(PEERS)]
        self.do(self.node.start(self.now))
        for number in range(PEERS // 2):
            self.do(
                self.node.receive(
                    self.codec.encode(self.packet(number, to=ANYBODY, kind=Kind.PING, own=True)), self.address(number), self.now
                )
            )

    def end(self) -> None:
        self.counters.update(
            {name: count for name, count in self.node.counters.items() if name.startswith("refused") or name == "received"}
        )

    # --- good things

    def address(self, number: int) -> Address:
        return (f"10.9.0.{number + 2}", 9638)

    def _announcement(self, number: int, *, hostile: bool = False) -> Announcement:
        """What a peer says of itself; a hostile one signs whatever fits the fields."""
        chance = self.chance
        host, port = self.address(number)
        return announce(
            self.keys[number],
            ring=KEYRING.ring_id,
            generation=chance.choice(COUNTS) if hostile and chance.random() < 0.2 else self.generation,
            incarnation=chance.choice(COUNTS) if hostile and chance.random() < 0.2 else chance.choice((0, 0, 0, 1, 7)),
            session=chance.choice((b"sessions", b"SESSIONS")),
            host=chance.choice(TEXTS) if hostile and chance.random() < 0.5 else host,
            port=chance.choice((0, 1, 65535)) if hostile and chance.random() < 0.2 else port,
            name=chance.choice(TEXTS) if hostile and chance.random() < 0.5 else f"peer{number}",
            departing=hostile and chance.random() < 0.05,
        )

    def record(self, number: int) -> Record:
        key = self.chance.choice(
            (
                f"member/{self.keys[number].id.hex()}/service/db.default",
                "group/db.default/config",
                "group/db.default/file/a",
                f"ring/departed/{self.keys[-1].id.hex()}",
                "ring/keys",
                "nothing/of/ours",
            )
        )
        version = Version(self.generation, self.chance.randrange(99)) if key[0] == "m" else Version(self.chance.randrange(1, 99), 0)
        if self.chance.random() < 0.1:
            version = Version(self.chance.choice(COUNTS), self.chance.choice(COUNTS))
        body = None if self.chance.random() < 0.1 else self.chance.randbytes(self.chance.randrange(200))
        return sign_record(self.keys[number], ring=KEYRING.ring_id, record_key=key, version=version, body=body)

    def claim(self) -> Claim:
        subject = self.chance.choice((self.key.id, *(key.id for key in self.keys)))
        return Claim(
            int(self.chance.choice((Health.SUSPECT, Health.DEAD))), subject, self.generation, self.chance.randrange(3), self.keys[0].id
        )

    def packet(self, number: int, *, to: bytes | None = None, kind: int | None = None, own: bool = False) -> Packet:
        chance = self.chance
        self.counts[number] += 1
        wanted = chance.choice(tuple(Kind)) if kind is None else kind
        target = chance.choice(self.keys)
        records = (self.record(number),) if chance.random() < 0.2 else ()
        words = self.words[number] if own or chance.random() < 0.9 else self._announcement(number, hostile=True)
        return Packet(
            self.keys[number].id,
            self.generation,
            self.counts[number],
            self.key.id if to is None else to,
            chance.randrange(1000),
            int(wanted),
            chance.randrange(100),
            target.id if wanted == Kind.PING_REQ else b"",
            self.address(0) if wanted == Kind.PING_REQ else None,
            (words,) if own or chance.random() < 0.2 else (),
            (self.claim(),) if chance.random() < 0.2 else (),
            records,
            tuple(Notice(each.key, each.version, content_hash(each)) for each in records) if chance.random() < 0.3 else (),
        )

    def said(self, number: int) -> list[Any]:
        """What a frame may say."""
        chance = self.chance
        give = frames.Give(
            (self.words[number],), (self.claim(),), (self.record(number),), chance.randbytes(16), chance.randbytes(32), False
        )
        entries = frames.join_members([(self.keys[number].id, self.generation, 0, 0)])
        part = frames.Part(False, chance.randrange(64), entries, chance.random() < 0.9)
        frame: frames.Frame = chance.choice(
            (
                frames.Sync(chance.randbytes(16), chance.randbytes(16)),
                frames.Sync(self.node.members.digest, chance.randbytes(16)),
                frames.Same(),
                frames.Sums(chance.randbytes(frames.SUMS_SIZE), chance.choice((b"", chance.randbytes(frames.SUMS_SIZE)))),
                frames.Ask((part,), chance.random() < 0.1),
                give,
                frames.Go(),
                frames.Fetch(("group/db.default/config",)),
                frames.Ping(self.key.id),
                frames.Pong(self.keys[number].id),
            )
        )
        return frames.plain(frame)

    def sealed(self, packet: Packet) -> bytes:
        """A datagram of any size; the codec's own would not be larger than allowed."""
        return KEYRING.seal(msgpack.packb(packet, use_bin_type=True), purpose=UDP, nonce=self.chance.randbytes(24))

    # --- bad things

    def spoil(self, raw: bytes) -> bytes:
        """Bytes that differ."""
        chance = self.chance
        match chance.randrange(6):
            case 0:
                spoilt = bytearray(raw)
                for _ in range(chance.randrange(1, 5)):
                    spoilt[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
                return bytes(spoilt)
            case 1:
                return raw[: chance.randrange(len(raw))]
            case 2:
                return raw + chance.randbytes(chance.randrange(1, 100))
            case 3:
                at, size = chance.randrange(len(raw)), chance.randrange(1, 40)
                return raw[:at] + chance.randbytes(size) + raw[at + size :]
            case 4:
                at = chance.randrange(len(raw))
                return raw[:at] + raw[at + chance.randrange(1, 20) :]
            case _:
                return chance.randbytes(chance.randrange(DATAGRAM_MAX + 200))

    def twist(self, value: Any) -> Any:
        """A value that differs somewhere inside."""
        chance = self.chance
        if isinstance(value, (list, tuple)) and value and chance.random() < 0.9:
            items = list(value)
            at = chance.randrange(len(items))
            match chance.randrange(12):
                case 0:
                    del items[at]
                case 1:
                    items.insert(at, items[chance.randrange(len(items))])
                case 2:
                    items += [items[at]] * chance.randrange(1, 50)
                case _:
                    items[at] = self.twist(items[at])
            return items
        match chance.randrange(12):
            case 0 | 1 | 2:
                return chance.choice(NUMBERS) if isinstance(value, int) or chance.random() < 0.1 else self._like(value)
            case 3:
                return chance.choice(TEXTS)
            case 4:
                return chance.randbytes(chance.choice((0, 1, 8, 15, 16, 17, 32, 64, 1024)))
            case 5:
                return chance.choice(OTHERS)
            case _:
                return self._like(value)

    def _like(self, value: Any) -> Any:
        """Of the same type and size, as far as it has one."""
        match value:
            case bytes():
                return self.chance.randbytes(len(value))
            case bool():
                return not value
            case int():
                return max(0, value + self.chance.choice((-1, 1, 2, 1000)))
            case str():
                return value[::-1] if self.chance.random() < 0.5 else value + "x"
            case _:
                return self.chance.choice((None, b"", 0))

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
        good = self.sealed(self.packet(number))
        data = self.spoil(good)
        if data == good:
            return
        before = sum(count for name, count in self.node.counters.items() if name.startswith("refused"))
        effects = self._run("datagram without the key", data, lambda: self.node.receive(data, self.address(number), self.now))
        after = sum(count for name, count in self.node.counters.items() if name.startswith("refused"))
        if after != before + 1 or any(isinstance(each, Send) and each.to == self.address(number) for each in effects):
            raise Broken(f"counted {after - before} times, or answered: {data.hex()}")
        self.tally["datagrams without the key: refused"] += 1
        self.do(effects)

    def _with_key(self, number: int) -> None:
        packet = self.packet(number, to=self.chance.choice((None, None, None, ANYBODY)))
        plain = self._plain(list(packet))
        data = KEYRING.seal(plain, purpose=UDP, nonce=self.chance.randbytes(24))
        before = dict(self.node.counters)
        effects = self._run("datagram with the key", data, lambda: self.node.receive(data, self.address(number), self.now))
        self._count("datagrams with the key", before, answered=bool(effects))
        self.do(effects)

    def _plain(self, value: Any) -> bytes:
        """msgpack that is good, spoilt, or says something else."""
        how = self.chance.random()
        if how < 0.5:
            value = self.twist(value)
        plain: bytes = msgpack.packb(value, use_bin_type=True)
        return plain if how < 0.85 else self.spoil(plain)

    def _on_stream(self, number: int) -> None:
        """A frame on one that is open, or on a new one."""
        if self.streams and self.chance.random() < 0.7:
            stream = self.chance.choice(tuple(self.streams))
        else:
            stream, effects = self.node.accepted(self.address(number), self.now)
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
            self.twist(self.said(number)) if self.chance.random() < 0.5 else self.said(number),
        ]
        how = self.chance.random()
        plain = msgpack.packb(self.twist(envelope) if how < 0.1 else envelope, use_bin_type=True)
        data = KEYRING.seal(self.spoil(plain) if how > 0.9 else plain, purpose=TCP, nonce=self.chance.randbytes(24))
        if 0.1 < how < 0.2:
            data = self.spoil(data)
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
