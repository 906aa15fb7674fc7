"""Regular expressions of foreign authors that cannot run away.

Rule: a pattern may have literals, classes, anchors, groups, alternatives and greedy quantifiers, but no back reference, no look-around,
and nothing that has a choice in it may be repeated without end: `(a+)+$`, the classic that takes for ever on thirty letters, is refused.
What is left backtracks in about `choices * length^loops` steps, from which `longest` follows: the longest text that it is tried on.
`$` is the very end, as in JSON Schema, where Python's would let a newline through.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Final

from hart.limits import PATTERN_STEPS, SCHEMA_PATTERN_MAX, SCHEMA_STRING_MAX

TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?:|[()|*+?$]|\{[0-9]*,?[0-9]*\}|[^\\]", re.DOTALL)
REPEAT_MAX: Final = 1000  # of {n,m}: Python unrolls nothing, but the cost below is multiplied by it
SHORTEST: Final = 16  # characters: a pattern that is safe only below it is of no use


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that is safe on text of up to `longest` characters."""

    text: str
    longest: int
    _compiled: re.Pattern[str]

    def found_in(self, text: str) -> bool:
        """Whether it matches anywhere in a text, which must not be longer than `longest`."""
        assert len(text) <= self.longest
        return self._compiled.search(text) is not None


@dataclass(frozen=True, slots=True)
class _Cost:
    """`loops` can each take any number of turns; the rest can go `choices` ways."""

    loops: int = 0
    choices: int = 1

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.loops + other.loops, self.choices * other.choices)

    def repeated(self, least: int, most: int | None) -> _Cost:
        if most is None:
            if self != _Cost():
                raise ValueError("something that has a quantifier or an alternative in it is repeated without end")
            return _Cost(1, 1)
        if most > REPEAT_MAX:
            raise ValueError(f"it repeats something more than {REPEAT_MAX} times")
        ways = self.choices**most if self.choices == 1 or most <= 64 else 1 << 64
        return _Cost(self.loops * most, ways * max(most - least + 1, 1))


@dataclass(slots=True)
class _Group:
    """A group that is still open: what its finished items cost, and the last item, which a quantifier may follow."""

    done: _Cost = _Cost()
    last: _Cost | None = None
    branches: int = 1

    def push(self, item: _Cost | None) -> None:
        if self.last is not None:
            self.done += self.last
        self.last = item

    def close(self) -> _Cost:
        self.push(None)
        return self.done + _Cost(0, self.branches)


def safe_pattern(text: str) -> Pattern:
    """Compile a pattern; ValueError (a clause) when it is no pattern or not one of the safe ones."""
    if len(text) > SCHEMA_PATTERN_MAX:
        raise ValueError(f"it is longer than {SCHEMA_PATTERN_MAX} characters")
    cost, translated = _scan(text)
    loops = cost.loops + (not text.startswith("^"))  # without ^ it is tried at every place
    longest = SCHEMA_STRING_MAX
    while longest >= SHORTEST and cost.choices * longest**loops > PATTERN_STEPS:
        longest = longest * 3 // 4
    if longest < SHORTEST:
        raise ValueError("it has so many quantifiers and alternatives that it could take for ever")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # a class that a later Python may read as a set operation
            compiled = re.compile(translated)
    except FutureWarning:
        raise ValueError("a class in it has two meanings: write a backslash before [ - & ~ and |") from None
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return Pattern(text, longest, compiled)


def _scan(text: str) -> tuple[_Cost, str]:
    """What a pattern costs, and the same pattern with `$` as the very end."""
    stack, made, position = [_Group()], [], 0
    quantified = False
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError("it ends in a backslash")
        part, position = match[0], match.end()
        made.append("\\Z" if part == "$" else part)
        bounds = _bounds(part)
        if bounds is not None:
            item = stack[-1].last
            if quantified or item is None:
                raise ValueError(f"{part!r} repeats nothing; lazy and possessive quantifiers are not supported")
            stack[-1].last = item.repeated(*bounds)
        elif part in ("(", "(?:"):
            if text.startswith("?", position):
                raise ValueError("look-around, flags and named groups are not supported")
            stack.append(_Group())
        elif part == ")":
            if len(stack) == 1:
                raise ValueError("a parenthesis closes nothing")
            cost = stack.pop().close()
            stack[-1].push(cost)
        elif part == "|":
            stack[-1].push(None)
            stack[-1].branches += 1
        elif part[0] == "\\" and (part[1].isdigit() or part[1] == "g"):
            raise ValueError("back references are not supported")
        else:
            stack[-1].push(_Cost())
        quantified = bounds is not None
    if len(stack) > 1:
        raise ValueError("a parenthesis is not closed")
    return stack[0].close(), "".join(made)


def _bounds(part: str) -> tuple[int, int | None] | None:
    """The least and most turns of a quantifier (most None: any number); None for another part."""
    if part in ("*", "+", "?"):
        return (1 if part == "+" else 0), (1 if part == "?" else None)
    if part[0] != "{" or part in ("{", "{}"):
        return None
    least, comma, most = part[1:-1].partition(",")
    if len(least) > 4 or len(most) > 4:
        raise ValueError(f"it repeats something more than {REPEAT_MAX} times")
    return int(least or 0), (int(most) if most else None) if comma else int(least)
