"""Packets and frames as bytes: positional msgpack, sealed by the keyring. Pure but for the nonce, whose source is an argument.

Rules: a message is a list of known length, each value of one type within one range; what differs anywhere is Refused as a whole, and
nothing else ever leaves `decode` and `decode_frame`. A datagram is at most DATAGRAM_MAX bytes when its items are at most PACKET_ROOM. What
the values mean, and whether signatures fit, is for those who read them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]  # it ships no types

from hart.errors import SteadError
from hart.limits import DATAGRAM_MAX, RING_FRAME_MAX, RING_GENERATION_MAX, RING_KEY_TEXT_MAX, RING_NAME_MAX
from hart.wire import decode as decode_value
from hart.wire import encode as encode_value
from supervisor.gossip.keyring import HEAD, OVERHEAD, TCP, UDP, Keyring, Reason, Refused
from supervisor.gossip.messages import ANYBODY, Address, Announcement, Claim, Health, Kind, Notice, Packet, Record, Version

_FIXED = 1 + 18 + 9 + 9 + 18 + 9 + 1 + 9 + 18 + 51 + 4 * 3  # all fields but the items, at their largest
PACKET_ROOM = DATAGRAM_MAX - OVERHEAD - _FIXED
_HOST_MAX = 45  # characters of an IPv6 address
_KINDS = frozenset(Kind)
_ACCUSATIONS = frozenset({int(Health.SUSPECT), int(Health.DEAD)})
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class Codec:
    """Both directions, with the keyring of now."""

    __slots__ = ("_random_bytes", "keyring")

    def __init__(self, keyring: Keyring, random_bytes: Callable[[int], bytes]) -> None:
        self.keyring, self._random_bytes = keyring, random_bytes

    def encode(self, packet: Packet) -> bytes:
        """A datagram."""
        data = self.keyring.seal(_pack(packet), purpose=UDP, nonce=self._random_bytes(24))
        assert len(data) <= DATAGRAM_MAX, packet
        return data

    def decode(self, data: bytes) -> Packet:
        """Refused, and nothing else, for whatever is no packet of this ring."""
        if len(data) > DATAGRAM_MAX:
            raise Refused(Reason.SIZE)
        return to_packet(unpack(self.keyring.open(data, purpose=UDP)))

    def encode_frame(self, value: Any) -> bytes:
        """One frame of a stream; LimitError beyond RING_FRAME_MAX is our own bug: whoever makes frames cuts them."""
        return self.keyring.seal(encode_value(value), purpose=TCP, nonce=self._random_bytes(24))

    def decode_frame(self, data: bytes) -> Any:
        """A msgpack value within the bounds of hart/wire.py; Refused, and nothing else."""
        if len(data) > RING_FRAME_MAX + OVERHEAD:
            raise Refused(Reason.SIZE)
        try:
            return decode_value(self.keyring.open(data, purpose=TCP), thing="frame", limit=RING_FRAME_MAX)
        except SteadError:
            raise Refused(Reason.SHAPE) from None


class PlainCodec:
    """For a simulator that counts members and not bytes: what is encoded is the packet itself. `keyring` and sizes are as with Codec."""

    __slots__ = ("keyring",)

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def encode(self, packet: Packet) -> Any:
        return packet

    def decode(self, data: Any) -> Packet:
        assert isinstance(data, Packet)
        return data

    def encode_frame(self, value: Any) -> Any:
        return value

    def decode_frame(self, data: Any) -> Any:
        return data


def unpack(plain: bytes) -> Any:
    """The value of a datagram; sizes inside cannot pass the datagram's own."""
    size = len(plain)
    try:
        return msgpack.unpackb(
            plain,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise Refused(Reason.SHAPE) from None


def to_packet(value: Any) -> Packet:
    """Check every field; Refused."""
    if type(value) is not tuple or len(value) != 13:
        _refuse()
    sender, generation, counter, to, epoch, kind, seq, target, address, announcements, claims, records, notices = value
    _bytes(sender, 16)
    for number in (generation, counter, epoch, seq):
        _number(number)
    if to != ANYBODY or type(to) is not bytes:
        _bytes(to, 16)
    if type(kind) is not int or kind not in _KINDS:
        _refuse()
    if target or type(target) is not bytes:
        _bytes(target, 16)
    return Packet(
        sender,
        generation,
        counter,
        to,
        epoch,
        kind,
        seq,
        target,
        None if address is None else to_address(address),
        tuple(map(to_announcement, _items(announcements))) if announcements != () else (),
        tuple(map(to_claim, _items(claims))) if claims != () else (),
        tuple(map(to_record, _items(records))) if records != () else (),
        tuple(map(to_notice, _items(notices))) if notices != () else (),
    )


def to_address(value: Any) -> Address:
    host, port = _fields(value, 2)
    _text(host, _HOST_MAX)
    _number(port, (1 << 16) - 1)
    return (host, port)


def to_announcement(value: Any) -> Announcement:
    public, generation, incarnation, session, host, port, name, departing, signature = _fields(value, 9)
    _bytes(public, 32)
    _number(generation)
    _number(incarnation)
    _bytes(session, 8)
    _text(host, _HOST_MAX)
    _number(port, (1 << 16) - 1)
    _text(name, RING_NAME_MAX)
    if type(departing) is not bool:
        _refuse()
    _bytes(signature, 64)
    return Announcement(public, generation, incarnation, session, host, port, name, departing, signature)


def to_claim(value: Any) -> Claim:
    health, subject, generation, incarnation, accuser = _fields(value, 5)
    if type(health) is not int or health not in _ACCUSATIONS:
        _refuse()
    _bytes(subject, 16)
    _number(generation)
    _number(incarnation)
    _bytes(accuser, 16)
    return Claim(health, subject, generation, incarnation, accuser)


def to_record(value: Any) -> Record:
    key, version, author, signature, body = _fields(value, 5)
    _text(key, RING_KEY_TEXT_MAX)
    _bytes(author, 32)
    _bytes(signature, 64)
    if body is not None and type(body) is not bytes:
        _refuse()
    return Record(key, to_version(version), author, signature, body)


def to_notice(value: Any) -> Notice:
    key, version, digest = _fields(value, 3)
    _text(key, RING_KEY_TEXT_MAX)
    _bytes(digest, 16)
    return Notice(key, to_version(version), digest)


def to_version(value: Any) -> Version:
    major, minor = _fields(value, 2)
    _number(major)
    _number(minor)
    return Version(major, minor)


def size_of(item: Announcement | Claim | Record | Notice) -> int:
    """Bytes on the wire, or some more."""
    match item:
        case Announcement(host=host, name=name):
            return 1 + 34 + 9 + 9 + 10 + 2 + len(host) + 3 + 3 + len(name.encode()) + 1 + 66
        case Claim():
            return 1 + 1 + 18 + 9 + 9 + 18
        case Record(key=key, body=body):
            return 1 + 3 + len(key.encode()) + 19 + 34 + 66 + 5 + len(body or b"")
        case Notice(key=key):
            return 1 + 3 + len(key.encode()) + 19 + 18


def _refuse() -> NoReturn:
    raise Refused(Reason.SHAPE)


def _items(value: Any) -> Any:
    if type(value) is not tuple and type(value) is not list:
        _refuse()
    return value


def _fields(value: Any, count: int) -> Any:
    """A frame's values are lists, a datagram's tuples."""
    if (type(value) is not tuple and type(value) is not list) or len(value) != count:
        _refuse()
    return value


def _bytes(value: Any, size: int) -> None:
    if type(value) is not bytes or len(value) != size:
        _refuse()


def _number(value: Any, most: int = RING_GENERATION_MAX) -> None:
    if type(value) is not int or not 0 <= value <= most:
        _refuse()


def _text(value: Any, most: int) -> None:
    if type(value) is not str or len(value) > most:
        _refuse()


assert PACKET_ROOM > 1000, HEAD
