"""hart/template/lexer.py: text and tags, white space, escapes, comments, raw blocks."""

from __future__ import annotations

from contextlib import suppress

import pytest

from hart.errors import LimitError, TemplateError
from hart.template.lexer import Tag, TagKind, pieces
from hart.template.source import Source


def texts(text: str) -> list[str]:
    """The literal text that is left between the tags."""
    return [piece for piece in pieces(Source("t", text)) if isinstance(piece, str)]


def kinds(text: str) -> list[TagKind]:
    return [piece.kind for piece in pieces(Source("t", text)) if isinstance(piece, Tag)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{{x}}", TagKind.OUTPUT),
        ("{{{x}}}", TagKind.RAW_OUTPUT),
        ("{{{~x~}}}", TagKind.RAW_OUTPUT),
        ("{{~{x}~}}", TagKind.RAW_OUTPUT),
        ("{{&x}}", TagKind.RAW_OUTPUT),
        ("{{#x}}", TagKind.OPEN),
        ("{{ # x }}", TagKind.OPEN),
        ("{{^x}}", TagKind.CARET),
        ("{{^}}", TagKind.CARET),
        ("{{else}}", TagKind.ELSE),
        ("{{~ else if x ~}}", TagKind.ELSE),
        ("{{elsewhere}}", TagKind.OUTPUT),
        ("{{/x}}", TagKind.CLOSE),
    ],
)
def test_each_form_of_tag_has_its_kind(text: str, kind: TagKind) -> None:
    """A tag's first characters say what it is."""
    assert kinds(text) == [kind]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a \n {{~x~}} \n b", ["a", "b"]),
        ("a {{~x}} b", ["a", " b"]),
        ("a {{x~}} b", ["a ", "b"]),
        ("a {{~! c ~}} b", ["a", "b"]),
        ("a {{~!-- c --~}} b", ["a", "b"]),
        ("a {{~#x~}} b {{~/x~}} c", ["a", "b", "c"]),
    ],
)
def test_a_tilde_takes_all_white_space_on_its_side(text: str, left: list[str]) -> None:
    """White space control."""
    assert texts(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\n{{#x}}\nb\n{{/x}}\nc", ["a\n", "b\n", "c"]),
        ("a\n  {{#x}}  \nb\n\t{{/x}}\t\nc", ["a\n", "b\n", "c"]),
        ("{{#x}}\r\nb\r\n{{/x}}\r\nc", ["b\r\n", "c"]),
        ("a\n{{! note }}\nb", ["a\n", "b"]),
        ("a\n{{!-- note\n over two }} lines --}}\nb", ["a\n", "b"]),
        ("  {{#x}}\nb{{/x}}", ["b"]),
        ("a\n  {{/x}}  ", ["a\n"]),
        ("a\n {{else}} \nb", ["a\n", "b"]),
        ("a\n  {{x}}\nb", ["a\n  ", "\nb"]),
        ("a {{#x}}\nb", ["a ", "\nb"]),
        ("{{#x}} a\n", [" a\n"]),
        ("{{#x}}{{#y}}\na", ["\na"]),
    ],
)
def test_a_block_or_comment_alone_on_its_line_takes_the_line_with_it(text: str, left: list[str]) -> None:
    """Standalone lines are removed whole; a mustache that writes something never is."""
    assert texts(text) == left


def test_an_escaped_tag_is_text() -> None:
    r"""`\{{` is a literal `{{`; the next live tag is live again."""
    assert texts(r"a \{{x}} b {{y}}") == ["a {{x}} b "]
    assert texts(r"\{{{{raw}}}}") == ["{{{{raw}}}}"]


def test_of_two_backslashes_before_a_live_tag_one_goes_away() -> None:
    r"""`\\{{x}}` is a backslash and a value."""
    assert texts("\\\\{{x}}") == ["\\"]
    assert texts("\\\\\\{{x}}") == ["\\\\"]


def test_a_comment_may_hold_braces_when_it_is_long() -> None:
    """`{{!-- --}}` ends at its own end, `{{! }}` at the first braces."""
    assert texts("a{{!-- {{x}} --}}b") == ["a", "b"]
    assert texts("a{{! {{x}} b") == ["a", " b"]
    assert texts("a{{!-- x }}b") == ["a", "b"], "without --}} it is a short comment"


def test_a_raw_block_is_text_whatever_it_holds() -> None:
    """Nothing inside of four braces is looked at."""
    assert texts("a {{{{raw}}}} {{x}} {{{y}}} \\{{ {{{{/raw}}}} b") == ["a ", " {{x}} {{{y}}} \\{{ ", " b"]


def test_strings_may_hold_braces() -> None:
    """The end of a tag is the first one outside of strings."""
    assert texts("""{{f "}}" '}}'}}b""") == ["b"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a\n{{x", "never closed"),
        ("{{x}", "do not match"),
        ("{{{x}}", "do not match"),
        ("{{f 'x}}", "string that starts with '"),
        ("{{! x", "comment is never closed"),
        ("{{{{raw}}}} x", "raw block is never closed"),
        ("{{{{foo}}}}{{{{/foo}}}}", "raw block"),
        ("{{> x}}", "partials are not supported"),
        ("{{#> x}}", "partial blocks are not supported"),
        ("{{#*inline 'x'}}", "inline partials are not supported"),
        ("{{* x}}", "decorators are not supported"),
        ("{{a % b}}", "'%' has no meaning"),
        ("{{a {{b}}", "next one opens"),
    ],
)
def test_what_is_no_tag_is_refused_with_its_line(text: str, cause: str) -> None:
    """An error says what is wrong and where."""
    with pytest.raises(TemplateError, match=cause) as caught:
        pieces(Source("t", text))
    assert caught.value.data["line"] == text.count("\n") + 1


def test_words_are_capped() -> None:
    """A template cannot make the compiler work without end."""
    with pytest.raises(LimitError, match="words"):
        pieces(Source("t", "{{a}}" * 60_000))


@pytest.mark.parametrize("text", ["{{!--" * 100_000, "{{!}}" * 100_000, " " * 500_000 + "{{#x}}", "{{" + " " * 500_000, "\\{{" * 100_000])
def test_hostile_text_takes_time_in_proportion(text: str) -> None:
    """No construct makes the lexer look at the same text again and again (the test's timeout is the judge)."""
    with suppress(TemplateError):
        pieces(Source("t", text))
