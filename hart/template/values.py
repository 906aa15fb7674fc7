"""What templates may do with data: look up, test, loop, write out. This is the run-time half of the compiler.

Rules: a lookup reads a Mapping by a string key or a list by an index and nothing else, so no attribute or method of a Python object can
be reached. Values look as the Rust crate writes them: strings as they are, true and false, numbers as in JSON, null as nothing, a list
as `[a, b]`, a table as `[object]`. Everything that grows with the data is paid for from the budget of one rendering.

Source: serde_json and the Rust crate's `JsonRender` and `JsonTruthy`. Not here: helpers (vocabulary), formats (notation).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, Final

from hart.limits import TEMPLATE_DATA_DEPTH, TEMPLATE_LOOPS, TEMPLATE_MADE, TEMPLATE_STEPS


class Missing:
    """The value of a path that leads nowhere. Falsy; there is one, `MISSING`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()


class DataError(Exception):
    """A template met data that it cannot use. `site` numbers the place in the template; the engine makes a TemplateError of it."""

    def __init__(self, site: int, cause: str, *, next: str = "") -> None:  # noqa: A002  the field's word, as in hart.errors
        super().__init__(cause)
        self.site = site
        self.cause = cause
        self.next = next


class UndefinedError(DataError):
    """A strict template named what is not there: `keys[at]` is not in `value`."""

    def __init__(self, site: int, value: object, keys: tuple[str, ...], at: int) -> None:
        super().__init__(site, "is not defined")
        self.value = value
        self.keys = keys
        self.at = at


class BudgetError(Exception):
    """A cap was passed while rendering; the engine makes a LimitError of it."""


class HelperError(Exception):
    """A helper cannot work with what it was given. `next` helps."""

    def __init__(self, cause: str, *, next: str = "") -> None:  # noqa: A002
        super().__init__(cause)
        self.cause = cause
        self.next = next


class Budget:
    """What one rendering may still use, and what helpers need to know about it."""

    __slots__ = ("loops", "made", "root", "steps", "strict")

    def __init__(self, root: object, *, strict: bool) -> None:
        self.root = root
        self.strict = strict
        self.loops = TEMPLATE_LOOPS
        self.steps = TEMPLATE_STEPS
        self.made = TEMPLATE_MADE

    def spend(self, characters: int) -> None:
        """Pay for text that is about to be made."""
        self.made -= characters
        if self.made < 0:
            raise BudgetError(f"its helpers make more than {TEMPLATE_MADE} characters")

    def turn(self, turns: int, weight: int) -> None:
        """Pay for a loop of so many turns over a body of so many pieces."""
        self.loops -= turns
        self.steps -= turns * weight
        if self.loops < 0:
            raise BudgetError(f"its loops take more than {TEMPLATE_LOOPS} turns")
        if self.steps < 0:
            raise BudgetError(f"its loops write more than {TEMPLATE_STEPS} pieces")


def step(value: Any, key: str) -> Any:
    """One key of any value; MISSING when it has none."""
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if isinstance(value, list | tuple) and key.isdecimal() and key.isascii() and len(key) <= 9:
        index = int(key)
        return value[index] if index < len(value) else MISSING
    return MISSING


def walk(value: Any, keys: tuple[str, ...]) -> Any:
    """Follow keys; MISSING when one leads nowhere."""
    for key in keys:
        value = value.get(key, MISSING) if type(value) is dict else step(value, key)
    return value


def need(value: Any, keys: tuple[str, ...], site: int) -> Any:
    """Follow keys; raises UndefinedError when one leads nowhere."""
    for key in keys:
        found = value.get(key, MISSING) if type(value) is dict else step(value, key)
        if found is MISSING:
            raise UndefinedError(site, value, keys, keys.index(key))
        value = found
    return value


def truth(value: Any) -> bool:
    """Whether `if` takes it: false, null, 0, NaN and what is empty are no; everything else is yes."""
    if type(value) is float:
        return not math.isnan(value) and value != 0
    return bool(value)


def truth_or_zero(value: Any) -> bool:
    """As truth, but with includeZero=true: 0 is yes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return not math.isnan(value)
    return bool(value)


def show(value: Any, budget: Budget, site: int) -> str:
    """A value as text. Only data can be shown: DataError for any other object."""
    if isinstance(value, list | tuple):
        text = _list(value, site, TEMPLATE_DATA_DEPTH)
        budget.spend(len(text))
        return text
    return scalar(value, site)


def scalar(value: Any, site: int = 0) -> str:
    """Anything but a list, as text."""
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return "[object]"
    if isinstance(value, datetime | date | time):
        return moment(value)
    if isinstance(value, list | tuple):
        return _list(value, site, TEMPLATE_DATA_DEPTH)
    raise DataError(site, f"the value is a {type(value).__name__}, and only plain data can be written")


def _list(values: Iterable[Any], site: int, depth: int) -> str:
    if depth <= 0:
        raise BudgetError(f"it writes a list deeper than {TEMPLATE_DATA_DEPTH}")
    shown = (_list(value, site, depth - 1) if isinstance(value, list | tuple) else scalar(value, site) for value in values)
    return f"[{', '.join(shown)}]"


def number(value: float) -> str:
    """A float as JSON writes it; NaN and infinities are null there, and so nothing here."""
    if not math.isfinite(value):
        return ""
    text = float.__repr__(value)
    if "e" not in text:
        return text
    digits, exponent = text.split("e")
    return f"{digits}e{int(exponent)}"


def moment(value: datetime | date | time) -> str:
    """A TOML date or time as TOML writes it."""
    return value.isoformat().removesuffix("+00:00") + ("Z" if value.isoformat().endswith("+00:00") else "")


Turns = tuple[int, Iterable[tuple[Any, Any, Any]]]
NONE: Final[Turns] = (0, ())


def each(value: Any, budget: Budget, weight: int, site: int) -> Turns:
    """The turns of a loop: how many, and (index, key, value) of each. A list's keys are its indexes.

    No list and no table: nothing in lenient templates; DataError in strict ones, but for null.
    """
    if isinstance(value, list | tuple):
        length = len(value)
        budget.turn(length, weight)
        return length, zip(range(length), range(length), value, strict=True)
    if isinstance(value, Mapping):
        length = len(value)
        budget.turn(length, weight)
        return length, zip(range(length), value.keys(), value.values(), strict=True)
    if budget.strict and value is not None:
        raise DataError(site, f"each needs a list or a table, not {kind(value)}")
    return NONE


def each_alive(value: Any, budget: Budget, weight: int, site: int) -> Turns:
    """As each, over the members with `alive: true` alone, counted from 1. A table that is not alive has no turns."""
    if isinstance(value, list | tuple):
        budget.turn(0, 0)
        budget.steps -= len(value)
        alive = [member for member in value if isinstance(member, Mapping) and member.get("alive") is True]
        length = len(alive)
        budget.turn(length, weight)
        return length, zip(range(1, length + 1), range(1, length + 1), alive, strict=True)
    if isinstance(value, Mapping):
        if value.get("alive") is not True:
            return NONE
        length = len(value)
        budget.turn(length, weight)
        return length, zip(range(1, length + 1), value.keys(), value.values(), strict=True)
    if not truth(value):
        return NONE
    raise DataError(site, f"eachAlive needs a list of members, not {kind(value)}")


def section(value: Any, current: Any, budget: Budget, weight: int) -> Turns:
    """A section's turns: none when it is not true, one in the current scope for true, each of a list, else one with the value."""
    if not truth(value):
        return NONE
    if isinstance(value, list | tuple):
        return each(value, budget, weight, 0)
    budget.turn(1, weight)
    return 1, ((0, 0, current if value is True else value),)


def kind(value: Any) -> str:
    """What people call a value's type."""
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None or value is MISSING else f"a {type(value).__name__}"
