"""TOML, read within bounds and written (`tomllib`, `tomli_w`).

Rules: a document is bounded in size, length of words, parts of dotted keys, nesting and number of keys *before* tomllib sees it, by a scan
that takes time and memory in proportion to the text: 40 KB of one dotted key cost tomllib eight seconds and 1.5 GB, 100 KB of brackets
its stack. After parsing, the depth and the size of integers (64 bits, as TOML says) are checked, so that everything read here can be
walked, merged and sent on. An error names line and column.

The scan only counts. Whether the text is TOML is tomllib's to say; the scan sees strings and comments as tomllib does up to the first
error, and tomllib looks at nothing behind that.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import tomli_w

from hart.errors import FormatError, LimitError
from hart.files import storage
from hart.limits import (
    TOML_DEPTH_MAX,
    TOML_DOTS_MAX,
    TOML_KEYS_MAX,
    TOML_MAX,
    TOML_NESTING_MAX,
    TOML_WORD_MAX,
)

# What begins a comment or a string, and what ends or escapes in each kind. No possessive quantifiers in this file: Python 3.11 before
# 3.11.5 matches them wrongly, and a scan that is wrong lets a bomb through.
_OPENER = re.compile(r"""#|\"\"\"|'''|["']""")
_LONG_END = re.compile(r"""\\.|\"{3,5}""", re.DOTALL)
_SHORT_END = re.compile(r"""\\[^\n]|["\n]""")
_PLAIN_END = re.compile(r"['\n]")
_RAW_END = re.compile(r"'{3,5}")
_BRACKET = re.compile(r"[][{}]")
# Both begin where a run of such characters begins, so that a run is looked at once.
_DOTTED = re.compile(rf"(?<![^][{{}}=,\n])(?:[^][{{}}=,\n.]*\.){{{TOML_DOTS_MAX}}}")
_WORD = re.compile(rf"(?<![^][{{}}=,\s.])[^][{{}}=,\s.]{{{TOML_WORD_MAX + 1}}}")
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_WHERE = re.compile(r"(?P<cause>.*) \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)", re.DOTALL)


def loads(text: str | bytes, *, thing: str, limit: int = TOML_MAX) -> dict[str, Any]:
    """Parse a document of at most `limit` bytes. FormatError (data: line, column) when it is not TOML, LimitError when it passes a cap."""
    if len(text) > limit:
        raise LimitError(thing, f"is larger than {limit} bytes")
    if isinstance(text, bytes):
        text = _decode(text, thing)
    if text.startswith("\ufeff"):
        raise FormatError(thing, "starts with a byte order mark", next="save it as UTF-8 without one")
    _scan(text.replace("\r\n", "\n"), thing)
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise LimitError(thing, "is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or a value that Python cannot hold
        _refuse(str(error), text, thing)
    _check(data, thing)
    return data


def load(path: Path, *, limit: int = TOML_MAX) -> dict[str, Any]:
    """Parse a file, of which at most `limit` bytes are read."""
    with storage(path), path.open("rb") as file:
        data = file.read(limit + 1)
    return loads(data, thing=str(path), limit=limit)


def dumps(data: Mapping[str, Any]) -> str:
    """Write a document: the same data, in the same order, gives the same text. FormatError for what TOML cannot hold, such as None."""
    try:
        return tomli_w.dumps(data)
    except (TypeError, ValueError) as error:
        raise FormatError("data", f"cannot be written as TOML: {error}") from error


def _decode(data: bytes, thing: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise FormatError(thing, f"line {line}, column {column}: is not UTF-8", line=line, column=column) from None


def _refuse(message: str, text: str, thing: str) -> NoReturn:
    match = _WHERE.fullmatch(message)
    if match is None:
        raise FormatError(thing, message)
    if match["line"]:
        line, column = int(match["line"]), int(match["column"])
    else:
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    raise FormatError(thing, f"line {line}, column {column}: {match['cause']}", line=line, column=column)


def _bare(text: str) -> Iterator[str]:
    """The text in pieces, with one quote and its newlines in the place of each comment and string."""
    place = 0
    while opener := _OPENER.search(text, place):
        yield text[place : opener.start()]
        place = _end(text, opener[0], opener.end())
        yield '"' + "\n" * text.count("\n", opener.start(), place)
    yield text[place:]


def _end(text: str, opener: str, start: int) -> int:
    """Where a comment or string ends that began before `start`: a line's end is not part of it, the text's end ends all."""
    if opener == "#":
        found = text.find("\n", start)
        return found if found >= 0 else len(text)
    if opener == "'":
        plain = _PLAIN_END.search(text, start)
        return plain.start() + (plain[0] == "'") if plain else len(text)
    if opener == "'''":
        raw = _RAW_END.search(text, start)
        return raw.end() if raw else len(text)
    escapes = _LONG_END if opener == '"""' else _SHORT_END
    for found_end in escapes.finditer(text, start):
        if found_end[0] == "\n":
            return found_end.start()
        if not found_end[0].startswith("\\"):
            return found_end.end()
    return len(text)


def _scan(text: str, thing: str) -> None:
    """Count what makes tomllib slow or deep; LimitError with the first line that passes a cap."""
    # A string or comment becomes one quote and keeps its newlines, so that lines are still lines.
    bare = "".join(_bare(text))

    def refuse(position: int, cause: str) -> NoReturn:
        line = bare.count("\n", 0, position) + 1
        raise LimitError(thing, f"line {line}: {cause}", line=line)

    if word := _WORD.search(bare):
        refuse(word.start(), f"a word is longer than {TOML_WORD_MAX} characters")
    if dotted := _DOTTED.search(bare):
        refuse(dotted.start(), f"a key has more than {TOML_DOTS_MAX} parts")
    depth = 0
    for bracket in _BRACKET.finditer(bare):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > TOML_NESTING_MAX:
            refuse(bracket.start(), f"brackets are nested deeper than {TOML_NESTING_MAX}")
    keys = bare.count("=") + len(_HEADER.findall(bare))
    if keys > TOML_KEYS_MAX:
        raise LimitError(thing, f"has more than {TOML_KEYS_MAX} keys")


def _check(data: dict[str, Any], thing: str) -> None:
    """Depth and integers of a parsed document, without recursion."""
    level: list[Any] = [data]
    for _ in range(TOML_DEPTH_MAX + 1):
        if not level:
            return
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise FormatError(thing, "has an integer beyond 64 bits")
        level = below
    if level:
        raise LimitError(thing, f"is nested deeper than {TOML_DEPTH_MAX}")
