"""Bytes on the wire (hart/wire.py)."""

from __future__ import annotations

import math
import struct
import tracemalloc
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart import wire
from hart.errors import FormatError, InputError, LimitError
from hart.limits import WIRE_ARRAY_MAX, WIRE_DEPTH_MAX, WIRE_MAP_MAX, WIRE_MAX, WIRE_TEXT_MAX

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), TEXT, st.binary(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.one_of(TEXT, st.binary(max_size=8)), inner, max_size=5)),
    max_leaves=20,
)


@given(VALUES)
def test_decoding_what_was_encoded_is_the_identity(value: object) -> None:
    """Values and types; a tuple comes back as a list."""
    assert repr(wire.decode(wire.encode(value), thing="message")) == repr(value)
    assert wire.decode(wire.encode((value, (value,))), thing="message") == [value, [value]]


@given(st.one_of(st.binary(max_size=80), VALUES.map(wire.encode).flatmap(lambda data: st.builds(data.__add__, st.binary(max_size=2)))))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    """And what was accepted can be sent on."""
    try:
        value = wire.decode(data, thing="message")
    except InputError:
        return
    assert repr(wire.decode(wire.encode(value), thing="message")) == repr(value)


@given(VALUES, st.data())
def test_a_cut_message_is_refused(value: object, data: st.DataObject) -> None:
    """No prefix of a message is a message."""
    encoded = wire.encode(value)
    with pytest.raises(FormatError):
        wire.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))], thing="message")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "incomplete"),
        (b"\x01\x02", "extra data"),
        (b"\xc1", "not a message"),
        (b"\xa1\xff", "not a message"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "max_ext_len"),
        (b"\xc7\x00\x05", "extension type 5"),
        (msgpack.packb(datetime(2024, 1, 2, tzinfo=UTC), datetime=True), "max_ext_len"),
        (b"\xc7\x00\xff", "not a message"),
        (b"\x82\xa1a\x01\xa1a\x02", "same key twice"),
        (b"\x91\x82\xc4\x01a\x01\xc4\x01a\x01", "same key twice"),
        (b"\x81\x01\x02", "map key"),
        (b"\x81\xc0\x02", "map key"),
        (b"\xcb" + struct.pack(">d", math.nan), "not a number"),
        (b"\xca\x7f\xc0\x00\x00", "not a number"),
        (b"\x81\xa1a\x91\x81\xa1b\xcb\xff\xf8\x00\x00\x00\x00\x00\x01", "not a number"),
        (b"\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\xdf\xff\xff\xff\xff", "max_map_len"),
        (b"\xdb\xff\xff\xff\xff", "incomplete"),
        (b"\xc6\xff\xff\xff\xff", "incomplete"),
    ],
)
def test_a_hostile_message_is_refused(data: bytes, says: str) -> None:
    """Nothing behind the value, no extension, no duplicate key, no NaN, no length beyond the message."""
    with pytest.raises(FormatError, match=says):
        wire.decode(data, thing="packet")


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.0, b"\xcb\x7f\xf8", "\xcb\x7f\xff", [b"\xca\xff", 1.5]])
def test_what_only_looks_like_nan_is_accepted(value: object) -> None:
    """Infinity is equal to itself, and bytes are bytes."""
    assert wire.decode(wire.encode(value), thing="message") == value


@pytest.mark.parametrize("value", [math.nan, {"a": [math.nan]}, (math.nan,), 2**64, -(2**63) - 1, object(), {1, 2}, "\ud800"])
def test_what_cannot_be_decoded_is_not_encoded(value: object) -> None:
    """The fault shows where the value is made, not at every receiver."""
    with pytest.raises(FormatError, match="message"):
        wire.encode(value)


def test_a_deep_message_is_refused() -> None:
    """100,000 arrays in arrays, and maps; and one more than the table says."""
    for levels in (100_000, 600, WIRE_DEPTH_MAX + 1):
        for data in (b"\x91" * levels + b"\x01", b"\x81\xa1a" * levels + b"\x01", b"\x92\x01" * levels + b"\x01"):
            with pytest.raises(LimitError, match="nested"):
                wire.decode(data, thing="message")


def test_a_message_at_the_depth_limit_is_read_and_written() -> None:
    """Both sides count alike."""
    value: object = 1
    for _ in range(WIRE_DEPTH_MAX):
        value = {"a": value}
    assert wire.decode(wire.encode(value), thing="message") == value
    with pytest.raises(LimitError, match="nested"):
        wire.encode([value])


def test_a_large_message_is_refused() -> None:
    """By its receiver before it is read, and by its sender; a protocol may set a lower limit."""
    with pytest.raises(LimitError):
        wire.decode(bytes(WIRE_MAX + 1), thing="message")
    with pytest.raises(LimitError):
        wire.encode(["x" * WIRE_TEXT_MAX] * 5)
    assert wire.decode(wire.encode("12345"), thing="message", limit=6) == "12345"
    with pytest.raises(LimitError):
        wire.decode(wire.encode("12345"), thing="message", limit=5)


@pytest.mark.parametrize(
    ("largest", "larger"),
    [
        ([0] * WIRE_ARRAY_MAX, [0] * (WIRE_ARRAY_MAX + 1)),
        (dict.fromkeys(map(str, range(WIRE_MAP_MAX)), 0), dict.fromkeys(map(str, range(WIRE_MAP_MAX + 1)), 0)),
        ("x" * WIRE_TEXT_MAX, "x" * (WIRE_TEXT_MAX + 1)),
        (b"x" * WIRE_TEXT_MAX, b"x" * (WIRE_TEXT_MAX + 1)),
    ],
    ids=["array", "map", "text", "binary"],
)
def test_each_maximum_is_what_the_table_says(largest: object, larger: object) -> None:
    """The last that fits, and the first that does not."""
    assert wire.decode(wire.encode(largest), thing="message") == largest
    with pytest.raises(FormatError, match="exceeds"):
        wire.decode(msgpack.packb(larger), thing="message")


def test_claimed_lengths_cost_no_memory() -> None:
    """1 MB of nested array headers, each claiming the largest array, stays within what the table says."""
    data = (b"\xdd" + struct.pack(">I", WIRE_ARRAY_MAX)) * 200_000
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            wire.decode(data, thing="message")
        assert tracemalloc.get_traced_memory()[1] < 72 * 1024 * 1024
    finally:
        tracemalloc.stop()
