"""The codec: what is encoded comes back, it fits a datagram, and whatever bytes arrive, nothing but Refused leaves it."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.limits import DATAGRAM_MAX, RING_GENERATION_MAX
from supervisor.gossip.codec import PACKET_ROOM, Codec, PlainCodec, size_of, to_packet, unpack
from supervisor.gossip.keyring import OVERHEAD, TCP, Keyring, Reason, Refused
from supervisor.gossip.messages import ANYBODY, Announcement, Claim, Health, Kind, Notice, Packet, Record, Version

KEY = b"k" * 32
ID = st.binary(min_size=16, max_size=16)
NUMBER = st.integers(0, RING_GENERATION_MAX)
VERSION = st.builds(Version, NUMBER, NUMBER)
TEXT = st.text(max_size=60)
HOST = st.sampled_from(["192.0.2.7", "2001:db8:1111:2222:3333:4444:5555:6666"])
ADDRESS = st.tuples(HOST, st.integers(0, 65535))
ANNOUNCEMENT = st.builds(
    Announcement,
    st.binary(min_size=32, max_size=32),
    NUMBER,
    NUMBER,
    st.binary(min_size=8, max_size=8),
    HOST,
    st.integers(0, 65535),
    TEXT,
    st.booleans(),
    st.binary(min_size=64, max_size=64),
)
CLAIM = st.builds(Claim, st.sampled_from([1, 2]), ID, NUMBER, NUMBER, ID)
RECORD = st.builds(
    Record,
    TEXT,
    VERSION,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=64, max_size=64),
    st.none() | st.binary(max_size=100),
)
NOTICE = st.builds(Notice, TEXT, VERSION, ID)
PACKET = st.builds(
    Packet,
    ID,
    NUMBER,
    NUMBER,
    st.just(ANYBODY) | ID,
    NUMBER,
    st.sampled_from([int(kind) for kind in Kind]),
    NUMBER,
    st.just(b"") | ID,
    st.none() | ADDRESS,
    st.lists(ANNOUNCEMENT, max_size=1).map(tuple),
    st.lists(CLAIM, max_size=2).map(tuple),
    st.lists(RECORD, max_size=1).map(tuple),
    st.lists(NOTICE, max_size=1).map(tuple),
)


def reason_of(act: Any) -> Reason | None:
    """Why it is refused; None when it is not."""
    try:
        act()
    except Refused as refused:
        return refused.reason
    return None


def codec(key: bytes | None = KEY) -> Codec:
    return Codec(Keyring("ring", key), random.Random(1).randbytes)


def bare(**changes: Any) -> Packet:
    fields: dict[str, Any] = {
        "sender": b"s" * 16, "generation": 1, "counter": 1, "to": b"t" * 16, "epoch": 1, "kind": 1, "seq": 1, "target": b"",
        "address": None, "announcements": (), "claims": (), "records": (), "notices": (),
    }  # fmt: skip
    return Packet(**(fields | changes))


@given(PACKET, st.sampled_from([KEY, None]))
def test_what_is_encoded_comes_back(packet: Packet, key: bytes | None) -> None:
    """Every field of every item, sealed or plain; types too."""
    back = codec(key).decode(codec(key).encode(packet))
    assert back == packet
    assert all(type(one) is type(other) for one, other in zip(back.records, packet.records, strict=True))


@given(st.lists(ANNOUNCEMENT | CLAIM | RECORD | NOTICE))
def test_items_of_packet_room_always_fit_a_datagram(items: list[Any]) -> None:
    """size_of never says less than an item takes, and all other fields may be as large as they can."""
    room, chosen = PACKET_ROOM, []
    for item in items:
        if size_of(item) <= room:
            room -= size_of(item)
            chosen.append(item)
    most = RING_GENERATION_MAX
    kinds = {kind: tuple(item for item in chosen if isinstance(item, kind)) for kind in (Announcement, Claim, Record, Notice)}
    packet = bare(
        generation=most, counter=most, epoch=most, seq=most, kind=int(Kind.PING_REQ), target=b"t" * 16,
        address=("2001:db8:1111:2222:3333:4444:5555:6666", 65535), announcements=kinds[Announcement], claims=kinds[Claim],
        records=kinds[Record], notices=kinds[Notice],
    )  # fmt: skip
    assert len(codec().encode(packet)) <= DATAGRAM_MAX


def test_an_idle_ping_is_small() -> None:
    """Two sent and two received a second are the whole cost of an idle member."""
    assert len(codec().encode(bare(generation=1_700_000_000, counter=100_000, epoch=1_000_000, seq=100_000))) < 140


@given(st.binary(max_size=DATAGRAM_MAX - OVERHEAD))
def test_any_bytes_under_the_right_key_are_a_packet_or_refused(plain: bytes) -> None:
    """A member that holds the key can send anything."""
    assert reason_of(lambda: to_packet(unpack(plain))) in (None, Reason.SHAPE)


@given(PACKET, st.data())
def test_a_packet_that_is_changed_anywhere_is_a_packet_or_refused(packet: Packet, data: st.DataObject) -> None:
    plain = bytearray(msgpack.packb(packet))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(plain)))
    assert reason_of(lambda: to_packet(unpack(bytes(plain)))) in (None, Reason.SHAPE)
    assert reason_of(lambda: to_packet(unpack(bytes(plain[:cut])))) is Reason.SHAPE or cut == len(plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": b"short"}, {"sender": "s" * 16}, {"generation": -1}, {"generation": 1 << 63}, {"generation": True}, {"counter": 1.0},
        {"kind": 0}, {"kind": 6}, {"kind": True}, {"to": b"short"}, {"to": None}, {"target": b"short"}, {"address": ["192.0.2.7"]},
        {"address": ("192.0.2.7", 65536)}, {"address": ("x" * 46, 1)}, {"announcements": None}, {"announcements": [[1]]},
        {"claims": [[0, b"t" * 16, 1, 1, b"a" * 16]]}, {"claims": [[3, b"t" * 16, 1, 1, b"a" * 16]]},
        {"records": [["k", [1], b"a" * 32, b"s" * 64, b""]]},
        {"records": [["k" * 513, [1, 1], b"a" * 32, b"s" * 64, b""]]}, {"records": [["k", [1, 1], b"a" * 32, b"s" * 64, "text"]]},
        {"notices": [["k", [1, 1], b"short"]]},
    ],
)  # fmt: skip
def test_a_field_of_another_type_or_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    """Each rule has a packet that breaks only it."""
    assert to_packet(unpack(msgpack.packb(bare()))) == bare()
    with pytest.raises(Refused):
        to_packet(unpack(msgpack.packb(bare(**changes))))


@pytest.mark.parametrize(
    "plain", [b"\x91" * 1300, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x80", b"\xc7\x01\x05x", b"", b"\xc1"]
)
def test_bombs_are_refused(plain: bytes) -> None:
    """Nesting, lengths that lie, maps, extensions, nothing at all."""
    with pytest.raises(Refused):
        to_packet(unpack(plain))


def test_an_oversized_datagram_is_refused_unopened() -> None:
    with pytest.raises(Refused) as caught:
        codec().decode(bytes(DATAGRAM_MAX + 1))
    assert caught.value.reason is Reason.SIZE


@given(st.recursive(st.none() | st.integers(0, 9) | st.binary(max_size=9) | TEXT, lambda inner: st.lists(inner, max_size=4)))
def test_a_frame_comes_back_and_is_no_datagram(value: Any) -> None:
    frame = codec().encode_frame(value)
    assert codec().decode_frame(frame) == value
    with pytest.raises(Refused) as caught:
        codec().decode(frame)
    assert caught.value.reason in (Reason.PURPOSE, Reason.SIZE)


@given(st.binary(max_size=300))
def test_any_frame_under_the_right_key_is_a_value_or_refused(plain: bytes) -> None:
    frame = Keyring("ring", KEY).seal(plain, purpose=TCP, nonce=b"n" * 24)
    assert reason_of(lambda: codec().decode_frame(frame)) in (None, Reason.SHAPE)


def test_the_simulators_codec_gives_back_what_it_got() -> None:
    plain, packet = PlainCodec(Keyring("ring", KEY)), bare(claims=(Claim(int(Health.DEAD), b"t" * 16, 1, 1, b"a" * 16),))
    assert plain.decode(plain.encode(packet)) is packet
    assert plain.decode_frame(plain.encode_frame([1])) == [1]
