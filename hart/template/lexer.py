"""Template text → pieces: literal text, and tags cut into words. White space control is done here.

Rules, after Handlebars and the Rust crate that Habitat uses:
- `\\{{` is a literal `{{`; before a live tag, of two or more backslashes one goes away.
- `~` inside a tag takes all white space on that side of it.
- a block, else, end or comment tag that stands alone on its line takes the whole line with it.
- `{{!-- … --}}` may hold `}}`; `{{! … }}` may not. `{{{{raw}}}} … {{{{/raw}}}}` is text, whatever it holds.

What words mean is the parser's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hart.limits import TEMPLATE_WORDS
from hart.template.source import Source


class TagKind(StrEnum):
    OUTPUT = "{{"
    RAW_OUTPUT = "{{{"
    OPEN = "{{#"
    CARET = "{{^"
    ELSE = "{{else"
    CLOSE = "{{/"
    RAW_OPEN = "{{{{"


class WordKind(StrEnum):
    """`NAME` is a path, a number, a keyword or a helper's name; `MARK` one of ( ) = |."""

    NAME = "name"
    STRING = "string"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Word:
    kind: WordKind
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Tag:
    """`at` and `end` are offsets of the whole tag in the source."""

    kind: TagKind
    words: tuple[Word, ...]
    at: int
    end: int


Piece = str | Tag

HEAD = re.compile(r"\{\{(~?)\s*(\{~?|!--|!|\#\*|\#>|\#|/|\^|&|>|\*|)")
ELSE = re.compile(r"\s*else(?=[\s~}])")
_WORD = r"""\s*(?:
    (?P<close>CLOSE)
  | (?P<name>(?:[^\s!"\#%&'()*+,;<=>`{|}~\[\]\\^]|\[[^\]\n]*\])+)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<mark>[()=|])
)"""


def _words(close: str) -> re.Pattern[str]:
    return re.compile(_WORD.replace("CLOSE", close), re.VERBOSE | re.DOTALL)


DOUBLE: Final = _words(r"~?\}\}")
TRIPLE: Final = _words(r"~?\}\}\}|\}~?\}\}")
QUADRUPLE: Final = _words(r"~?\}\}\}\}")
LONG_COMMENT_END = re.compile(r"--~?\}\}")
RAW_END = re.compile(r"\{\{\{\{\s*(~?)\s*/\s*([^\s~}]*)\s*(~?)\s*\}\}\}\}")
BLANK_AFTER = re.compile(r"[ \t]*(?:\r?\n|\r|\Z)")
KINDS: Final = {kind.value: kind for kind in WordKind}
SIGILS: Final = {
    "": TagKind.OUTPUT,
    "{": TagKind.RAW_OUTPUT,
    "{~": TagKind.RAW_OUTPUT,
    "&": TagKind.RAW_OUTPUT,
    "#": TagKind.OPEN,
    "^": TagKind.CARET,
    "/": TagKind.CLOSE,
}
UNSUPPORTED: Final = {">": "partials", "#>": "partial blocks", "*": "decorators", "#*": "inline partials"}
INLINE: Final = frozenset({TagKind.OUTPUT, TagKind.RAW_OUTPUT})


def pieces(source: Source) -> list[Piece]:
    """The template as text and tags in order; raises TemplateError and LimitError."""
    return _Lexer(source).run()


class _Lexer:
    """One pass over one source. `texts` and `tags` alternate: text, tag, text, …, text; a comment is a tag of None."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.texts: list[str] = []
        self.tags: list[Tag | None] = []
        self.eats_space = False  # what the last tag takes of the text behind it
        self.eats_line = False
        self.long_comments = True  # false once a search has found no end of one: searching again would be quadratic
        self.words_left = TEMPLATE_WORDS

    def run(self) -> list[Piece]:
        position, literal = 0, ""
        text = self.text
        while (start := text.find("{{", position)) >= 0:
            slashes = start - len(text[position:start].rstrip("\\")) - position
            if slashes == 1:
                opening = "{{{{" if text.startswith("{{{{", start) else "{{"
                literal += text[position : start - 1] + opening
                position = start + len(opening)
                continue
            literal += text[position : start - 1 if slashes else start]
            position = self.raw_block(start, literal) if text.startswith("{{{{", start) else self.tag(start, literal)
            literal = ""
        self.push_text(literal + text[position:])
        made: list[Piece] = []
        for index, literal in enumerate(self.texts):
            if literal:
                made.append(literal)
            tag = self.tags[index] if index < len(self.tags) else None
            if tag is not None:
                made.append(tag)
        return made

    def push_text(self, literal: str) -> None:
        """Literal text behind the last tag, less what that tag takes."""
        if self.eats_space:
            literal = literal.lstrip()
        elif self.eats_line:
            literal = literal[BLANK_AFTER.match(literal).end() :] if literal else literal  # type: ignore[union-attr]
        self.eats_space = self.eats_line = False
        self.texts.append(literal)

    def push_tag(self, tag: Tag | None, start: int, end: int, *, before: bool, after: bool, inline: bool) -> None:
        """A tag, and what it takes of the text before and behind it. `before` and `after` are its tildes."""
        self.tags.append(tag)
        if before:
            self.texts[-1] = self.texts[-1].rstrip()
        if not inline and self.stands_alone(start, end):
            self.texts[-1] = self.texts[-1].rstrip(" \t")
            self.eats_line = True
        self.eats_space = after

    def stands_alone(self, start: int, end: int) -> bool:
        text = self.text
        while start > 0 and text[start - 1] in " \t":
            start -= 1
        return (start == 0 or text[start - 1] in "\r\n") and BLANK_AFTER.match(text, end) is not None

    def tag(self, start: int, literal: str) -> int:
        """Read the tag at `start`; gives the offset behind it."""
        self.push_text(literal)
        head = HEAD.match(self.text, start)
        assert head is not None
        before, sigil = head[1] == "~", head[2]
        if sigil in ("!", "!--"):
            return self.comment(start, head.end(), before=before, long=sigil == "!--")
        if sigil in UNSUPPORTED:
            raise self.source.error(start, f"{UNSUPPORTED[sigil]} are not supported", next="write the text into this template")
        kind, position = SIGILS[sigil], head.end()
        if kind is TagKind.OUTPUT and (match := ELSE.match(self.text, position)):
            kind, position = TagKind.ELSE, match.end()
        words, end, after = self.words(start, position, TRIPLE if sigil.startswith("{") else DOUBLE)
        self.push_tag(Tag(kind, words, start, end), start, end, before=before or sigil == "{~", after=after, inline=kind in INLINE)
        return end

    def words(self, start: int, position: int, pattern: re.Pattern[str]) -> tuple[tuple[Word, ...], int, bool]:
        """The words up to the tag's end, the offset behind it, and whether it ends with a tilde."""
        text = self.text
        made: list[Word] = []
        while True:
            match = pattern.match(text, position)
            if match is None:
                raise self.unreadable(start, position)
            group = match.lastgroup
            assert group is not None
            if group == "close":
                return tuple(made), match.end(), "~" in match[0]
            self.words_left -= 1
            if self.words_left < 0:
                raise self.source.limit(f"has more than {TEMPLATE_WORDS} words in its tags", next="split the template")
            made.append(Word(KINDS[group], match[group], match.start(group)))
            position = match.end()

    def unreadable(self, start: int, position: int) -> Exception:
        rest = self.text[position:].lstrip()
        at = len(self.text) - len(rest)
        if not rest:
            return self.source.error(start, "this tag is never closed", next="close it with as many braces as it opens with")
        if rest[0] in "\"'":
            return self.source.error(at, f"the string that starts with {rest[0]} is never closed")
        if rest[0] == "}":
            return self.source.error(at, "the braces that close this tag do not match those that open it")
        if rest.startswith("{{"):
            return self.source.error(start, "this tag is not closed before the next one opens")
        return self.source.error(at, f"{rest[0]!r} has no meaning inside a tag")

    def comment(self, start: int, position: int, *, before: bool, long: bool) -> int:
        text = self.text
        match = LONG_COMMENT_END.search(text, position) if long and self.long_comments else None
        self.long_comments = self.long_comments and (match is not None or not long)
        end = match.end() if match else text.find("}}", position) + 2  # `{{!-- x }}` without --}} is a short comment
        if end < 2:
            raise self.source.error(start, "this comment is never closed", next="close it with }} or --}}")
        after = text[end - 3] == "~" and end - 3 >= position
        self.push_tag(None, start, end, before=before, after=after, inline=False)
        return end

    def raw_block(self, start: int, literal: str) -> int:
        """`{{{{name}}}}text{{{{/name}}}}`: the text becomes one literal between an open and a close tag."""
        self.push_text(literal)
        before = self.text.startswith("~", start + 4)
        words, body, after = self.words(start, start + (5 if before else 4), QUADRUPLE)
        if not words or words[0].text != "raw":
            raise self.source.error(
                start, "four braces open a raw block, and that is written {{{{raw}}}}", next="{{{{raw}}}} … {{{{/raw}}}}"
            )
        self.push_tag(Tag(TagKind.RAW_OPEN, words, start, body), start, body, before=before, after=after, inline=False)
        end = RAW_END.search(self.text, body)
        while end is not None and end[2] != "raw":
            end = RAW_END.search(self.text, end.end())
        if end is None:
            raise self.source.error(start, "this raw block is never closed", next="close it with {{{{/raw}}}}")
        self.push_text(self.text[body : end.start()])
        closing = Tag(TagKind.CLOSE, (Word(WordKind.NAME, "raw", end.start(2)),), end.start(), end.end())
        self.push_tag(closing, end.start(), end.end(), before=end[1] == "~", after=end[3] == "~", inline=False)
        return end.end()
