"""Where each key of a TOML text stands: key path to line number, for messages.

Rules: the text was already accepted by a TOML parser, so this scan only has to find keys, not to judge. Positions in arrays of tables
are ints in the path. Keys of inline tables are not listed: their parent's line is near enough (`line_of` walks up).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]

PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
# What can hide a line break or a bracket from us: long strings before short ones, then comments.
SKIP = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'|#[^\n]*",
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line numbers (from 1) of the tables and keys of a TOML text."""
    lines: dict[KeyPath, int] = {}
    arrays: dict[KeyPath, int] = {}  # array of tables → index of its last element
    table: KeyPath = ()
    position, line = 0, 1
    while position < len(text):
        end = statement_end(text, position)
        statement = text[position:end]
        content = statement.lstrip()
        at = line + statement[: len(statement) - len(content)].count("\n")
        if content.startswith("[["):
            path = within(dotted(content[2:])[0], arrays)
            arrays[path] = arrays.get(path, -1) + 1
            table = (*path, arrays[path])
            lines.setdefault(path, at)
            lines[table] = at
        elif content.startswith("["):
            table = within(dotted(content[1:])[0], arrays)
            lines.setdefault(table, at)
        elif content and not content.startswith("#"):
            parts = dotted(content)[0]
            for depth in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:depth]), at)
        line += statement.count("\n")
        position = end
    return lines


def statement_end(text: str, position: int) -> int:
    """Just past the line break that ends the statement at `position`: one that no string or open bracket of a value covers."""
    depth, in_value = 0, False
    while position < len(text):
        char = text[position]
        if char in "\"'#" and (skipped := SKIP.match(text, position)):
            position = skipped.end()
            continue
        if char == "=":
            in_value = True
        elif in_value and char in "[{":
            depth += 1
        elif in_value and char in "]}":
            depth -= 1
        elif char == "\n" and depth <= 0:
            return position + 1
        position += 1
    return len(text)


def dotted(text: str) -> tuple[tuple[str, ...], str]:
    """The dotted key at the start of a text, and what follows it."""
    parts: list[str] = []
    rest = text
    while match := PART.match(rest):
        parts.append(next(group for group in match.groups() if group is not None))
        rest = rest[match.end() :]
        if not rest.startswith("."):
            break
        rest = rest[1:]
    return tuple(parts), rest


def within(parts: tuple[str, ...], arrays: Mapping[KeyPath, int]) -> KeyPath:
    """A header's path with the positions of the arrays of tables that it goes through (not of the last part)."""
    path: KeyPath = ()
    for number, part in enumerate(parts):
        path = (*path, part)
        if path in arrays and number < len(parts) - 1:
            path = (*path, arrays[path])
    return path


def line_of(lines: Mapping[KeyPath, int], key: KeyPath) -> int | None:
    """The line of a key, or of the nearest thing around it that has one."""
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return None
