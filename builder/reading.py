"""Reading a parsed TOML table key by key, gathering every problem instead of stopping at the first.

Rules: each `take_*` removes the key it reads; what is left over at the end is unknown, an error with a "did you mean". A value of a
wrong shape is reported and replaced by the default, so that reading can go on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from builder.keylines import KeyPath
from builder.plan import Problem
from hart.errors import FormatError
from hart.ident import Ident

T = TypeVar("T")

NAMES = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


class TableReader:
    """One table of a plan at `path`; problems go to the list that all readers of the plan share."""

    def __init__(
        self,
        data: Mapping[str, Any],
        path: KeyPath,
        problems: list[Problem],
        *,
        aliases: Mapping[str, str] | None = None,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self.left = dict(data)
        self.path = path
        self.problems = problems
        self.known: set[str] = set()
        self.aliases = aliases or {}  # words of plan.sh or of other tools → our key, for better hints
        self.elsewhere = elsewhere or {}  # our keys → where they belong, of all tables of the plan

    def problem(self, key: str | None, message: str) -> None:
        self.problems.append(Problem(self.path if key is None else (*self.path, key), message))

    def take(self, key: str, kind: type[T], default: T) -> T:
        """The value of a key when it has the kind, else the default (and a problem)."""
        self.known.add(key)
        if key not in self.left:
            return default
        value = self.left.pop(key)
        right = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
        if not right or (isinstance(value, bool) and kind is not bool):
            quoted = f'; write {key} = "{value}"' if kind is str and type(value) in (int, float) else ""
            shown = "one with a fraction" if kind is int and isinstance(value, float) else shape(value)
            self.problem(key, f"{key} must be {NAMES[kind]}, not {shown}{quoted}")
            return default
        return cast("T", float(value) if kind is float else value)

    def take_whole(self, key: str, low: int, high: int) -> int | None:
        """A whole number of the range; None when the key is absent or wrong."""
        if key not in self.left:
            self.known.add(key)
            return None
        value = self.take(key, int, low)
        if not low <= value <= high:
            self.problem(key, f"{key} must be between {low} and {high}")
            return None
        return value

    def has(self, key: str) -> bool:
        return key in self.left

    def take_text(
        self, key: str, *, required: bool = False, pattern: re.Pattern[str] | None = None, what: str = "", lines: bool = False
    ) -> str | None:
        """A string: one line unless `lines`, and of the pattern (`what` says it in words)."""
        if required and key not in self.left:
            self.known.add(key)
            self.problem(None, f"{key} is missing")
            return None
        given = key in self.left
        right = isinstance(self.left.get(key), str)
        value = self.take(key, str, "")
        if not given or not right:
            return None
        if has_controls(value, lines=lines):
            self.problem(key, f"{key} must be {'text' if lines else 'one line'} without control characters")
            return None
        if required and not value.strip():
            self.problem(key, f"{key} is empty")
            return None
        if pattern is not None and value and not pattern.fullmatch(value):
            self.problem(key, f"{brief(value)} is not {what}")
            return None
        return value

    def take_texts(
        self, key: str, *, pattern: re.Pattern[str] | None = None, what: str = "", single: bool = False
    ) -> tuple[str, ...] | None:
        """A list of one-line strings; None when the key is absent. With `single` one string stands for a list of one."""
        given = key in self.left
        if single and isinstance(self.left.get(key), str):
            self.left[key] = [self.left[key]]
        values = self.take(key, list, [])
        if not given:
            return None
        out = []
        for value in values:
            if not isinstance(value, str):
                self.problem(key, f"{key} must be a list of strings, not of {shape(value)}")
            elif not value or has_controls(value, lines=False):
                self.problem(key, f"{brief(value)} in {key} is not one line without control characters")
            elif pattern is not None and not pattern.fullmatch(value):
                self.problem(key, f"{brief(value)} in {key} is not {what}")
            else:
                out.append(value)
        return tuple(out)

    def take_idents(self, key: str) -> tuple[Ident, ...]:
        """A list of package idents of two to four parts."""
        out = []
        for text in self.take_texts(key) or ():
            try:
                out.append(Ident.parse(text))
            except FormatError as error:
                self.problem(key, f"{text!r} in {key} {error.cause} ({error.next})")
        return tuple(out)

    def take_map(self, key: str, read: Callable[[TableReader, str], T | None]) -> dict[str, T]:
        """A table whose keys are free names; `read` takes one of them from its reader."""
        return self.take_table(key).names(read)

    def names(self, read: Callable[[TableReader, str], T | None]) -> dict[str, T]:
        """All keys of this table, as free names."""
        out = {}
        for name in list(self.left):
            value = read(self, name)
            if value is not None:
                out[name] = value
        return out

    def take_table(self, key: str) -> TableReader:
        """A sub-table, empty when absent."""
        return TableReader(self.take(key, dict, {}), (*self.path, key), self.problems, elsewhere=self.elsewhere)

    @property
    def words(self) -> list[str]:
        """The path without positions."""
        return [part for part in self.path if isinstance(part, str)]

    def take_tables(self, key: str, *, limit: int, aliases: Mapping[str, str] | None = None) -> list[TableReader]:
        """An array of tables, empty when absent."""
        if isinstance(self.left.get(key), dict):
            self.problem(
                key, f"{key} is a list of tables: write its header with two brackets, [[{'.'.join([*map(str, self.words), key])}]]"
            )
            self.left[key] = []
        values = self.take(key, list, [])
        if len(values) > limit:
            self.problem(key, f"more than {limit} [[{key}]] tables")
            values = values[:limit]
        out = []
        for number, value in enumerate(values):
            if isinstance(value, dict):
                out.append(TableReader(value, (*self.path, key, number), self.problems, aliases=aliases, elsewhere=self.elsewhere))
            else:
                self.problem(key, f"{key} must be [[{key}]] tables, not {shape(value)}")
        return out

    def finish(self) -> None:
        """Report what nobody took."""
        for key in self.left:
            message = f"unknown key {key!r}"
            if key in self.aliases:
                message += f"; here it is {self.aliases[key]}"
            elif key in self.elsewhere:
                message += f" here; it belongs {self.elsewhere[key]}"
            elif near := difflib.get_close_matches(key.lower(), sorted(self.known), n=1, cutoff=0.6):
                message += f", did you mean {near[0]!r}?"
            elif self.known and len(self.known) <= 30:
                message += f"; known here: {', '.join(sorted(self.known))}"
            self.problem(key, message)


def has_controls(text: str, *, lines: bool) -> bool:
    """Whether a text holds control characters, which could fool whoever prints it. Tabs are none, nor line breaks in `lines`."""
    allowed = "\t\n" if lines else "\t"
    return any((char < " " or char == "\x7f") and char not in allowed for char in text)


def brief(text: str) -> str:
    """A value in a message, quoted and cut."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def shape(value: object) -> str:
    """A TOML value's kind in words."""
    for kind in (bool, int, float, str, list, dict):
        if isinstance(value, kind):
            return NAMES[kind]
    return "a date or time"
