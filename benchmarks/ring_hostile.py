"""What is sent to a member under fuzz (ring_fuzz.py): good packets and frames of peers, and ways to spoil them. Repeatable: all chance is
one generator's.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hart.limits import DATAGRAM_MAX
from supervisor.gossip import frames
from supervisor.gossip.identity import MemberKey, announce, sign_record
from supervisor.gossip.keyring import UDP, Keyring
from supervisor.gossip.messages import Address, Announcement, Claim, Health, Kind, Notice, Packet, Record, Version
from supervisor.gossip.records import content_hash

KEYRING: Final = Keyring("fuzz", bytes(range(32)))
PEERS: Final = 6  # members that the node knows, or may get to know
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
OTHERS: Final[tuple[Any, ...]] = (None, True, False, 1.5, float("nan"), float("inf"), {}, [], [[]], [[[[]]]], msgpack.Timestamp(0))


class Material:
    """Of one run, for one node after the other: each is of a later generation of the same key."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.key = MemberKey(b"\xff" * 32)
        self.keys = [MemberKey(bytes([number + 1]) * 32) for number in range(PEERS)]
        self.generation = 0
        self.begin()

    def begin(self) -> None:
        """For the next node."""
        self.generation += 1
        self.counts = [0] * PEERS
        self.words = [self._announcement(number) for number in range(PEERS)]

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

    def said(self, number: int, digest: bytes) -> list[Any]:
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
                frames.Sync(digest, chance.randbytes(16)),
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
                return min(max(0, value + self.chance.choice((-1, 1, 2, 1000))), (1 << 64) - 1)
            case str():
                return value[::-1] if self.chance.random() < 0.5 else value + "x"
            case _:
                return self.chance.choice((None, b"", 0))

    def plain(self, value: Any) -> bytes:
        """msgpack that is good, spoilt, or says something else."""
        how = self.chance.random()
        if how < 0.5:
            value = self.twist(value)
        plain: bytes = msgpack.packb(value, use_bin_type=True)
        return plain if how < 0.85 else self.spoil(plain)
