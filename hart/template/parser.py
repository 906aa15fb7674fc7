"""Pieces → tree. The grammar is Handlebars as Habitat's plans use it, with what the JavaScript original adds to sections.

Rules: blocks must be closed by their own name, and a complaint names both places; a tag that opens a block has a known block helper or
is a section over a path; `{{^name}}` with a block helper's name inside a block continues that block, as in the Rust crate, else it is an
inverted section; literals are strings (JSON escapes), numbers, true, false, null. Depth and counts are capped here, so that no later
step can recurse far.

Source: the Handlebars language guide and the grammar of the Rust crate. Not here: what names mean (scope, vocabulary).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Final

from hart.errors import SteadError
from hart.limits import TEMPLATE_ARGUMENTS, TEMPLATE_BRANCHES, TEMPLATE_DEPTH, TEMPLATE_EXPRESSION_DEPTH, TEMPLATE_PATH_PARTS
from hart.template.lexer import Piece, Tag, TagKind, Word, WordKind, pieces
from hart.template.nodes import Block, Body, Call, Expression, Literal, Node, Output, Path, Text
from hart.template.source import Source

BLOCK_HELPERS: Final = frozenset({"if", "unless", "each", "with", "eachAlive", "raw"})
TESTS: Final = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not"})  # usable as blocks too: {{#eq a b}}
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
NUMBER_DIGITS_MAX: Final = 40  # a longer number is no number that a configuration could hold
SEGMENT = re.compile(r"\[([^\]]*)\]|([^./\[\]@]+)")
KEYWORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "undefined": None}


def parse(source: Source) -> Body:
    """The template as a tree; raises TemplateError and LimitError."""
    return _Parser(source).run()


@dataclass(slots=True)
class _Open:
    """A block whose end has not come yet. `branch` collects the part that is being read."""

    tag: Tag
    name: str
    helper: str | None
    arguments: tuple[Expression, ...] = ()
    hash: tuple[tuple[str, Expression], ...] = ()
    params: tuple[str, ...] = ()
    inverted: bool = False
    chained: bool = False
    body: Body | None = None
    branch: list[Node] = field(default_factory=list)

    def close(self) -> Block:
        read = tuple(self.branch)
        body, inverse = (read, None) if self.body is None else (self.body, read)
        return Block(
            self.helper, self.arguments, self.hash, self.params, body, inverse, self.inverted, chained=self.chained, at=self.tag.at
        )


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: list[Node] = []
        self.branch = self.root  # where the next node goes
        self.stack: list[_Open] = []
        self.paths: dict[str, Path] = {}

    def run(self) -> Body:
        for piece in pieces(self.source):
            self.take(piece)
        if self.stack:
            block = next(block for block in reversed(self.stack) if not block.chained)
            raise self.source.error(
                block.tag.at,
                f"this block is not closed before the end of the file at line {self.source.line_of(len(self.source.text))}",
                next=f"close it with {{{{/{block.name}}}}}",
            )
        return tuple(self.root)

    def take(self, piece: Piece) -> None:
        if isinstance(piece, str):
            self.branch.append(Text(piece))
            return
        words = _Words(self.source, piece, self.paths)
        match piece.kind:
            case TagKind.OUTPUT | TagKind.RAW_OUTPUT:
                raw = piece.kind is TagKind.RAW_OUTPUT
                self.branch.append(Output(words.output(), raw=raw, at=piece.at, end=piece.end))
            case TagKind.OPEN | TagKind.RAW_OPEN:
                self.open(piece, words, inverted=False)
            case TagKind.CARET:
                self.caret(piece, words)
            case TagKind.ELSE:
                self.otherwise(piece, words)
            case TagKind.CLOSE:
                self.close(piece, words)

    def caret(self, tag: Tag, words: _Words) -> None:
        if not tag.words or (self.stack and self.stack[-1].body is None and tag.words[0].text in BLOCK_HELPERS | TESTS):
            self.otherwise(tag, words)
        else:
            self.open(tag, words, inverted=True)

    def open(self, tag: Tag, words: _Words, *, inverted: bool, chained: bool = False) -> None:
        depth = sum(not block.chained for block in self.stack) + 1 if len(self.stack) >= TEMPLATE_DEPTH else 0
        if depth > TEMPLATE_DEPTH:
            raise self.source.limit(f"nests blocks deeper than {TEMPLATE_DEPTH}, at line {self.source.line_of(tag.at)}")
        block = words.block(inverted=inverted, chained=chained)
        self.stack.append(block)
        self.branch = block.branch

    def otherwise(self, tag: Tag, words: _Words) -> None:
        """`{{else}}`, or `{{else name …}}`: the inverse of the parent is then one chained block."""
        if not self.stack:
            raise self.source.error(tag.at, "this else belongs to no block")
        block = self.stack[-1]
        if block.body is not None:
            raise self.source.error(tag.at, f"the block of line {self.source.line_of(block.tag.at)} has its else already")
        if block.helper == "raw":
            raise self.source.error(tag.at, "a raw block has no else")
        block.body = tuple(block.branch)
        block.branch = self.branch = []
        if tag.words:
            if sum(block.chained for block in self.stack) >= TEMPLATE_BRANCHES:
                raise self.source.limit(f"has more than {TEMPLATE_BRANCHES} branches in one block, at line {self.source.line_of(tag.at)}")
            self.open(tag, words, inverted=False, chained=True)

    def close(self, tag: Tag, words: _Words) -> None:
        name = words.closing()
        if not self.stack:
            raise self.source.error(tag.at, f"this closes {name}, but no block is open")
        block = next(block for block in reversed(self.stack) if not block.chained)
        if block.name != name:
            raise self.source.error(
                tag.at,
                f"this closes {name}, but the block that is open is {block.name} of line {self.source.line_of(block.tag.at)}",
                next=f"close it with {{{{/{block.name}}}}}",
            )
        while True:  # a chained block ends with its parent
            done = self.stack.pop()
            self.branch = self.stack[-1].branch if self.stack else self.root
            self.branch.append(done.close())
            if not done.chained:
                return


class _Words:
    """The words of one tag, read from left to right."""

    def __init__(self, source: Source, tag: Tag, paths: dict[str, Path]) -> None:
        self.source = source
        self.tag = tag
        self.words = tag.words
        self.index = 0
        self.paths = paths

    def peek(self, ahead: int = 0) -> Word | None:
        index = self.index + ahead
        return self.words[index] if index < len(self.words) else None

    def error(self, cause: str, *, next: str = "") -> SteadError:  # noqa: A002  the field's word
        word = self.peek()
        return self.source.error(word.at if word else self.tag.at, cause, next=next)

    def is_mark(self, mark: str, ahead: int = 0) -> bool:
        word = self.peek(ahead)
        return word is not None and word.kind is WordKind.MARK and word.text == mark

    def output(self) -> Expression:
        """A mustache: a value, or a helper with arguments."""
        first = self.peek()
        if first is None:
            raise self.error("this tag is empty")
        if first.kind is WordKind.NAME and len(self.words) > 1:
            return self.call(0, end_mark=None)
        expression = self.expression(0)
        if self.peek() is not None:
            raise self.error("a value takes no arguments")
        return expression

    def block(self, *, inverted: bool, chained: bool) -> _Open:
        first = self.peek()
        if first is None or first.kind is not WordKind.NAME:
            raise self.error("a block needs a name")
        name = first.text
        if name in BLOCK_HELPERS or name in TESTS:
            self.index += 1
            arguments, hash_arguments = self.arguments(0)
            params = self.params()
            if params and name not in ("each", "eachAlive", "with"):
                raise self.source.error(self.tag.at, f"{name} has no block parameters")
            return _Open(self.tag, name, name, arguments, hash_arguments, params, inverted, chained)
        section = self.expression(0)
        if not isinstance(section, Path) or not (self.peek() is None or self.is_as()):
            known = ", ".join(sorted(BLOCK_HELPERS - {"raw"}))
            raise self.source.error(
                self.tag.at, f"there is no block helper {name!r}", next=f"block helpers: {known}; a section takes one name"
            )
        params = self.params()
        return _Open(self.tag, name, None, (section,), (), params, inverted, chained)

    def closing(self) -> str:
        if len(self.words) != 1:
            raise self.source.error(self.tag.at, "a closing tag takes the name of its block and nothing else")
        return self.words[0].text

    def params(self) -> tuple[str, ...]:
        """`as |value key|`, if it is there; must be the end of the tag."""
        if not (self.is_as()):
            if self.peek() is not None:
                raise self.error("this is not expected here")
            return ()
        self.index += 2
        names: list[str] = []
        while not self.is_mark("|"):
            word = self.peek()
            if word is None or word.kind is not WordKind.NAME or not SEGMENT.fullmatch(word.text) or word.text.startswith("["):
                raise self.error("block parameters are written `as |value key|`")
            names.append(word.text)
            self.index += 1
        self.index += 1
        if not 1 <= len(names) <= 2 or len(set(names)) != len(names):
            raise self.error("a block has one or two different parameters: `as |value key|`")
        if self.peek() is not None:
            raise self.error("block parameters must come last")
        return tuple(names)

    def is_as(self) -> bool:
        word = self.peek()
        return word is not None and word.kind is WordKind.NAME and word.text == "as" and self.is_mark("|", 1)

    def call(self, depth: int, *, end_mark: str | None) -> Call:
        """`helper argument … name=argument …`; the name is the next word."""
        head = self.peek()
        if head is None or head.kind is not WordKind.NAME:
            raise self.error("a helper's name is expected here")
        self.index += 1
        arguments, hash_arguments = self.arguments(depth)
        if end_mark is not None:
            if not self.is_mark(end_mark):
                raise self.error(f"{end_mark!r} is missing: the parenthesis is not closed")
            self.index += 1
        elif self.peek() is not None:
            raise self.error("this is not expected here")
        return Call(head.text, arguments, hash_arguments, head.at)

    def arguments(self, depth: int) -> tuple[tuple[Expression, ...], tuple[tuple[str, Expression], ...]]:
        values: list[Expression] = []
        named: list[tuple[str, Expression]] = []
        while (word := self.peek()) is not None and not self.is_as() and not (word.kind is WordKind.MARK and word.text != "("):
            if len(values) + len(named) >= TEMPLATE_ARGUMENTS:
                raise self.source.limit(f"gives a helper more than {TEMPLATE_ARGUMENTS} values, at line {self.source.line_of(word.at)}")
            if word.kind is WordKind.NAME and self.is_mark("=", 1):
                self.index += 2
                named.append((word.text, self.expression(depth)))
            elif named:
                raise self.error("values come before name=value arguments")
            else:
                values.append(self.expression(depth))
        return tuple(values), tuple(named)

    def expression(self, depth: int) -> Expression:
        word = self.peek()
        if word is None:
            raise self.error("a value is missing")
        if self.is_mark("("):
            if depth >= TEMPLATE_EXPRESSION_DEPTH:
                raise self.source.limit(
                    f"nests expressions deeper than {TEMPLATE_EXPRESSION_DEPTH}, at line {self.source.line_of(word.at)}"
                )
            self.index += 1
            return self.call(depth + 1, end_mark=")")
        if word.kind is WordKind.MARK:
            raise self.error(f"{word.text!r} is not expected here")
        self.index += 1
        return self.string(word) if word.kind is WordKind.STRING else self.name(word)

    def string(self, word: Word) -> Literal:
        inner = word.text[1:-1]
        if "\\" not in inner:
            return Literal(inner, word.at)
        if word.text[0] == "'":
            inner = re.sub(
                r"\\(.)|\"", lambda match: "'" if match[0] == "\\'" else '\\"' if match[0] == '"' else match[0], inner, flags=re.DOTALL
            )
        try:
            value = json.loads(f'"{inner}"', strict=False)
            value.encode()
        except ValueError:  # UnicodeEncodeError is one: half of a surrogate pair
            raise self.source.error(word.at, "a string has an escape that JSON does not know", next=r"\n \t \" \\ \/ or \u0041") from None
        return Literal(value, word.at)

    def name(self, word: Word) -> Expression:
        text = word.text
        if text in KEYWORDS:
            return Literal(KEYWORDS[text], word.at)
        if match := NUMBER.fullmatch(text):
            if len(text) > NUMBER_DIGITS_MAX:
                raise self.source.error(word.at, "this number is too long")
            value = float(text) if match[1] or match[2] else int(text)
            if not math.isfinite(value):
                raise self.source.error(word.at, "this number is too large")
            return Literal(value, word.at)
        known = self.paths.get(text)
        if known is None:
            known = self.paths[text] = self.path(word)
        return Path(known.keys, known.up, known.local, known.root, known.here, text, word.at)

    def path(self, word: Word) -> Path:
        """`../a.b`, `a/b`, `list.[0]`, `list[0]`, `this`, `.`, `@index`, `@../index`, `@root.a`."""
        rest = word.text
        local = rest.startswith("@")
        rest = rest[1:] if local else rest
        up = 0
        while rest.startswith("../"):
            up, rest = up + 1, rest[3:]
        if rest == "..":
            up, rest = up + 1, ""
        here = rest in (".", "this") or rest.startswith(("./", "this.", "this/", "this["))
        if here:
            rest = rest.removeprefix("./") if rest.startswith("./") else rest[1:] if rest == "." else rest[4:].lstrip("./")
        if rest.startswith("@") and up and not local:
            local, rest = True, rest[1:]
        keys, position = [], 0
        while position < len(rest):
            if position and rest[position] in "./":
                position += 1
            match = SEGMENT.match(rest, position)
            if match is None or (position and rest[position] != "[" and rest[position - 1] not in "./"):
                raise self.source.error(word.at, f"{word.text!r} is not a path", next="paths are written a.b, a.[0], ../a, @root.a, @index")
            keys.append(match[2] if match[1] is None else match[1])
            position = match.end()
        if len(keys) + up > TEMPLATE_PATH_PARTS:
            raise self.source.error(word.at, f"a path has more than {TEMPLATE_PATH_PARTS} parts")
        root = local and not up and bool(keys) and keys[0] == "root"
        if root:
            keys, local = keys[1:], False
        if (local and not keys) or (not keys and not up and not here and not root):
            raise self.source.error(word.at, f"{word.text!r} is not a path", next="paths are written a.b, a.[0], ../a, @root.a, @index")
        return Path(tuple(keys), up, local, root, here, word.text, word.at)
