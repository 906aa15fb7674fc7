"""hart/template/parser.py: the tree, and complaints that name both places."""

from __future__ import annotations

import pytest

from hart.errors import LimitError, TemplateError
from hart.template.nodes import Block, Call, Expression, Literal, Output, Path
from hart.template.parser import parse
from hart.template.source import Source


def only(text: str) -> Output | Block:
    (node,) = parse(Source("t", text))
    assert isinstance(node, Output | Block)
    return node


def expression(text: str) -> Expression:
    node = only(f"{{{{{text}}}}}")
    assert isinstance(node, Output)
    return node.expression


@pytest.mark.parametrize(
    ("text", "keys", "up", "local", "root", "here"),
    [
        ("a", ("a",), 0, False, False, False),
        ("a.b.c", ("a", "b", "c"), 0, False, False, False),
        ("a/b", ("a", "b"), 0, False, False, False),
        ("list.[0].x", ("list", "0", "x"), 0, False, False, False),
        ("list[0]", ("list", "0"), 0, False, False, False),
        ("list.0", ("list", "0"), 0, False, False, False),
        ("[odd key].x", ("odd key", "x"), 0, False, False, False),
        ("a-b_c:d", ("a-b_c:d",), 0, False, False, False),
        ("this", (), 0, False, False, True),
        (".", (), 0, False, False, True),
        ("this.a", ("a",), 0, False, False, True),
        ("this/a", ("a",), 0, False, False, True),
        ("./a", ("a",), 0, False, False, True),
        ("thisone", ("thisone",), 0, False, False, False),
        ("..", (), 1, False, False, False),
        ("../a", ("a",), 1, False, False, False),
        ("../../a.b", ("a", "b"), 2, False, False, False),
        ("../this", (), 1, False, False, True),
        ("@index", ("index",), 0, True, False, False),
        ("@../index", ("index",), 1, True, False, False),
        ("../@index", ("index",), 1, True, False, False),
        ("@root", (), 0, False, True, False),
        ("@root.a.b", ("a", "b"), 0, False, True, False),
    ],
)
def test_paths(text: str, keys: tuple[str, ...], up: int, local: bool, root: bool, here: bool) -> None:
    """Every way to write a path."""
    path = expression(text)
    assert isinstance(path, Path)
    assert (path.keys, path.up, path.local, path.root, path.here) == (keys, up, local, root, here)


@pytest.mark.parametrize("text", ["a..b", "a.", "a/../b", "[a]b", "@", "@root.", "a.[", "a[0]b", "...", "/a"])
def test_what_is_no_path_is_refused(text: str) -> None:
    """A path that leads to no key is an error, not nothing."""
    with pytest.raises(TemplateError):
        expression(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a"', "a"),
        ("'a \"b\"'", 'a "b"'),
        (r"'it\'s'", "it's"),
        (r'"a\n\t\"\\\u0041"', 'a\n\t"\\A'),
        (r"'\\'", "\\"),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("null", None),
    ],
)
def test_literals(text: str, value: object) -> None:
    """Strings with the escapes of JSON, numbers, words."""
    call = expression(f"f {text}")
    assert isinstance(call, Call)
    (literal,) = call.arguments
    assert isinstance(literal, Literal)
    assert literal.value == value
    assert type(literal.value) is type(value)


@pytest.mark.parametrize("text", [r'f "\q"', r'f "\ud800"', "f 1e999", "f " + "9" * 50])
def test_a_literal_that_means_nothing_is_refused(text: str) -> None:
    """An escape that JSON does not know, half a character, a number without end."""
    with pytest.raises(TemplateError):
        expression(text)


def test_a_helper_takes_values_then_named_ones_and_nests() -> None:
    """`helper a (helper b) name=c`."""
    call = expression("f a.b (g 'x' (h)) n=1 m=(g)")
    assert isinstance(call, Call)
    assert call.name == "f"
    assert [type(argument) for argument in call.arguments] == [Path, Call]
    assert [name for name, _ in call.hash] == ["n", "m"]


def test_blocks_nest_and_know_their_parts() -> None:
    """Body, else, parameters."""
    block = only("{{#each a as |v k|}}x{{else}}y{{/each}}")
    assert isinstance(block, Block)
    assert (block.helper, block.params, len(block.body), block.inverse is not None) == ("each", ("v", "k"), 1, True)


def test_an_else_with_a_helper_chains() -> None:
    """`{{else if}}` is a block in the inverse that ends with its parent."""
    block = only("{{#if a}}1{{else if b}}2{{else unless c}}3{{else}}4{{/if}}")
    assert isinstance(block, Block)
    assert block.inverse is not None
    (second,) = block.inverse
    assert isinstance(second, Block)
    assert second.chained
    assert second.inverse is not None
    (third,) = second.inverse
    assert isinstance(third, Block)
    assert (third.helper, third.chained) == ("unless", True)


def test_a_caret_is_else_or_opens_an_inverted_section() -> None:
    """`{{^}}` is else; `{{^name}}` is an inverted section; with a block helper's name inside a block it goes on with that block."""
    with_else = only("{{#if a}}1{{^}}2{{/if}}")
    assert isinstance(with_else, Block)
    assert with_else.inverse is not None
    inverted = only("{{^a}}1{{/a}}")
    assert isinstance(inverted, Block)
    assert (inverted.helper, inverted.inverted) == (None, True)
    chained = only("{{#if a}}1{{^if b}}2{{/if}}")
    assert isinstance(chained, Block)
    assert chained.inverse is not None


@pytest.mark.parametrize(
    ("text", "cause", "line"),
    [
        ("a\n{{#if x}}\n{{#each y}}\n", "not closed before the end of the file at line 4", 3),
        ("{{#if x}}\n{{#each y}}\n{{/if}}", "this closes if, but the block that is open is each of line 2", 3),
        ("\n{{/if}}", "no block is open", 2),
        ("{{else}}", "belongs to no block", 1),
        ("{{#if x}}\n{{else}}\n{{else}}{{/if}}", "block of line 1 has its else already", 3),
        ("{{#if x}}{{else if y}}\n", "not closed", 1),
        ("{{#iff x}}{{/iff}}", "no block helper 'iff'", 1),
        ("{{#if x as |y|}}{{/if}}", "has no block parameters", 1),
        ("{{#each x as |a b c|}}{{/each}}", "one or two", 1),
        ("{{#each x as |a a|}}{{/each}}", "one or two", 1),
        ("{{#each x as |}}{{/each}}", "block parameters", 1),
        ("{{}}", "empty", 1),
        ("{{(f x}}", "not closed", 1),
        ("{{f n=1 x}}", "values come before", 1),
        ("{{#(f)}}{{/f}}", "a block needs a name", 1),
    ],
)
def test_a_complaint_names_the_places(text: str, cause: str, line: int) -> None:
    """Unclosed and mismatched blocks say where both ends are."""
    with pytest.raises(TemplateError, match=cause) as caught:
        parse(Source("t", text))
    assert caught.value.data["line"] == line
    assert "template t, line" in str(caught.value)


def test_depth_and_counts_are_capped() -> None:
    """Nothing that follows can recurse far."""
    for text in (
        "{{#if a}}" * 17 + "{{/if}}" * 17,
        "{{#if a}}" + "{{else if a}}" * 101 + "{{/if}}",
        "{{f " + "(f " * 20 + "a" + ")" * 20 + "}}",
        "{{f " + "a " * 101 + "}}",
    ):
        with pytest.raises(LimitError):
            parse(Source("t", text))
    parse(Source("t", "{{#if a}}" * 16 + "{{/if}}" * 16))
    parse(Source("t", "{{#if a}}" + "{{else if a}}" * 100 + "{{/if}}"))
    with pytest.raises(TemplateError, match="parts"):
        parse(Source("t", "{{" + "../" * 40 + "a}}"))
