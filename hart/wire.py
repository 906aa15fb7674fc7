"""Bytes on the wire: msgpack within explicit maxima (threats 3.4).

A value is None, bool, an integer of 64 bits, a float that is a number, text, bytes, a list of values, or a map from text or bytes to
values.

Rules: decoding bounds the whole message, every array, map, text and binary; it refuses extension types (timestamps too), duplicate keys
(readers that disagree on the winner disagree on the message), NaN (not equal to itself, so no merge would end), bytes behind the value, and
nesting beyond msgpack's own stack of 511. Encoding refuses what decoding would, within the same maxima of the message.
A tuple is written as a list and read back as one.

Not here: what a message means (each protocol checks keys, types and ranges after this), encryption.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]  # it ships no types

from hart.errors import FormatError, LimitError
from hart.limits import WIRE_ARRAY_MAX, WIRE_MAP_MAX, WIRE_MAX, WIRE_TEXT_MAX

# How the first two bytes of every NaN look, as a float of 32 or 64 bits; most messages have none, and need no walk.
_MAYBE_NAN = re.compile(rb"[\xca\xcb][\x7f\xff]")


def encode(value: Any) -> bytes:
    """One value as bytes; FormatError for what a wire cannot carry, LimitError beyond WIRE_MAX."""
    try:
        data: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError("message", f"cannot be encoded: {error}") from error
    if len(data) > WIRE_MAX:
        raise LimitError("message", f"is larger than {WIRE_MAX} bytes")
    _refuse_nan(data, value, "message")
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
        raise LimitError(thing, "is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise FormatError(thing, f"is not a message: {error}") from None
    _refuse_nan(data, value, thing)
    return value


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a map has the same key twice")
    return made


def _no_extension(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not known")


def _refuse_nan(data: bytes, value: Any, thing: str) -> None:
    if not _MAYBE_NAN.search(data):
        return
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, float):
            if math.isnan(item):
                raise FormatError(thing, "has a float that is not a number")
        elif isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, (list, tuple)):
            rest.extend(item)
