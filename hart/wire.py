"""Bytes on the wire: msgpack within explicit maxima (threats 3.4).

A value is None, bool, an integer of 64 bits, a float that is a number, text, bytes, a list of values, or a map from text or bytes to
values.

Rules: decoding bounds the whole message, every array, map, text and binary; it refuses extension types (timestamps too), duplicate keys
(readers that disagree on the winner disagree on the message), NaN (not equal to itself, so no merge would end), nesting that others could
not walk, and bytes behind the value. Encoding refuses NaN, nesting and size too; the maxima inside a message are the receiver's to check.
A tuple is written as a list and read back as one.

Not here: what a message means (each protocol checks keys, types and ranges after this), encryption.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]  # it ships no types

from hart.errors import FormatError, LimitError
from hart.limits import WIRE_ARRAY_MAX, WIRE_DEPTH_MAX, WIRE_MAP_MAX, WIRE_MAX, WIRE_TEXT_MAX

# Most messages need no walk: how the first two bytes of every NaN look, as a float of 32 or 64 bits, and all bytes but those that begin an
# array or map (a value that is nested d deep has at least d of these).
_MAYBE_NAN = re.compile(rb"[\xca\xcb][\x7f\xff]")
_NO_CONTAINER = bytes(byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF))


def encode(value: Any) -> bytes:
    """One value as bytes; FormatError for what a wire cannot carry, LimitError beyond WIRE_MAX."""
    try:
        data: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError("message", f"cannot be encoded: {error}") from error
    if len(data) > WIRE_MAX:
        raise LimitError("message", f"is larger than {WIRE_MAX} bytes")
    _check(data, value, "message")
    return data


def decode(data: bytes, *, thing: str, limit: int = WIRE_MAX) -> Any:
    """The one value that all of `data` is; FormatError when it is not, LimitError beyond `limit` bytes."""
    if len(data) > limit:
        raise LimitError(thing, f"is larger than {limit} bytes")
    size = len(data)  # nothing inside can be longer, and a small message cannot claim a large array
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            use_list=True,
            object_pairs_hook=_unique,
            ext_hook=_no_extension,
            max_array_len=min(WIRE_ARRAY_MAX, size),
            max_map_len=min(WIRE_MAP_MAX, size),
            max_str_len=min(WIRE_TEXT_MAX, size),
            max_bin_len=min(WIRE_TEXT_MAX, size),
            max_ext_len=0,
        )
    except msgpack.StackError:
        raise LimitError(thing, f"is nested deeper than {WIRE_DEPTH_MAX}") from None
    except (ValueError, TypeError) as error:
        raise FormatError(thing, f"is not a message: {error}") from None
    _check(data, value, thing)
    return value


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a map has the same key twice")
    return made


def _no_extension(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not known")


def _check(data: bytes, value: Any, thing: str) -> None:
    """Depth and NaN of a value and its bytes, without recursion."""
    if len(data.translate(None, _NO_CONTAINER)) <= WIRE_DEPTH_MAX and not _MAYBE_NAN.search(data):
        return
    level = [value]
    for _ in range(WIRE_DEPTH_MAX + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, float) and math.isnan(item):
                raise FormatError(thing, "has a float that is not a number")
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, (list, tuple)):
                below.extend(item)
        level = below
    if level:
        raise LimitError(thing, f"is nested deeper than {WIRE_DEPTH_MAX}")
