"""What a template says, as a tree of frozen values.

    Body       = tuple of Text | Output | Block
    Expression = Literal | Path | Call

`at` is an offset into the source. Nothing here knows how a template is written or rendered.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | float | bool | None
    at: int


@dataclass(frozen=True, slots=True)
class Path:
    """`up` counts `../`; `local` is an `@name`; `root` starts at `@root`; `here` starts with `this` or `./`, so is no block parameter."""

    keys: tuple[str, ...]
    up: int
    local: bool
    root: bool
    here: bool
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A helper with its arguments. `hash` holds the `name=value` arguments in order."""

    name: str
    arguments: tuple[Expression, ...]
    hash: tuple[tuple[str, Expression], ...]
    at: int


Expression = Literal | Path | Call


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Output:
    """A mustache. `raw` is the form `{{{x}}}` or `{{&x}}`; `end` is the offset behind it."""

    expression: Expression
    raw: bool
    at: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """`{{#name …}}body{{else}}inverse{{/name}}`.

    `helper` is None for a section (`{{#path}}`), then the path is the only argument. `inverted` is `{{^…}}`. `chained`: written as
    `{{else name …}}`, so it shares its parent's end. `inverse` is None without an else.
    """

    helper: str | None
    arguments: tuple[Expression, ...]
    hash: tuple[tuple[str, Expression], ...]
    params: tuple[str, ...]
    body: tuple[Text | Output | Block, ...]
    inverse: tuple[Text | Output | Block, ...] | None
    inverted: bool
    chained: bool
    at: int


Node = Text | Output | Block
Body = tuple[Node, ...]
