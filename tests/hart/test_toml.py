"""Bounded TOML (hart/toml.py)."""

from __future__ import annotations

import tomllib
import tracemalloc
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hart import toml
from hart.errors import FormatError, InputError, LimitError, NotFoundError
from hart.limits import TOML_DEPTH_MAX, TOML_DOTS_MAX, TOML_KEYS_MAX, TOML_MAX, TOML_NESTING_MAX, TOML_WORD_MAX

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), VALUES, max_size=5)


@given(DOCUMENTS)
def test_reading_what_was_written_is_the_identity(data: dict[str, object]) -> None:
    """Every kind of value, any text as key."""
    text = toml.dumps(data)
    assert toml.loads(text, thing="document") == data
    assert toml.loads(text.encode(), thing="document") == data
    assert toml.dumps(data) == text


@given(st.one_of(st.text(max_size=60), st.text("[]{}=.,'\"\\#\n \tab1-_", max_size=60)))
@example("a = '''x''''' # y\nb = 1")
@example('a = """x\\"""y"""""\n[t]')
@example('a = "#" # "')
@example("a = '\\'\nb = 2")
def test_the_scan_refuses_nothing_that_is_small(text: str) -> None:
    """Small texts pass no cap: what tomllib reads is read, what it refuses is refused."""
    try:
        expected = tomllib.loads(text)
    except ValueError:
        with pytest.raises(FormatError):
            toml.loads(text, thing="text")
    else:
        assert repr(toml.loads(text, thing="text")) == repr(expected)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_refused(data: bytes) -> None:
    """Never another exception."""
    try:
        read = toml.loads(data, thing="bytes")
    except InputError:
        return
    assert repr(read) == repr(tomllib.loads(data.decode()))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a = 1\nb = \n", 2, 5),
        ("a = 1\nb", 2, 2),
        ("a = 1\r\nb = [1,\r\n2", 3, 2),
        ("a = 1\na = 2", 2, 6),
        (b"a = 1\nb = '\xff'", 2, 6),
    ],
)
def test_an_error_names_line_and_column(text: str | bytes, line: int, column: int) -> None:
    """In the message for people, and as data for tools."""
    with pytest.raises(FormatError, match=f"plan.toml: line {line}, column {column}: ") as caught:
        toml.loads(text, thing="plan.toml")
    assert caught.value.data == {"line": line, "column": column}


def test_a_byte_order_mark_is_named() -> None:
    """tomllib would point at a character that nobody can see."""
    with pytest.raises(FormatError, match="byte order mark"):
        toml.loads("\ufeffa = 1".encode(), thing="plan.toml")


BOMBS = {
    "dotted key": ("a." * 20_000 + "a = 1", "parts"),
    "dotted key, quoted parts": ('"a".' * 20_000 + "a = 1", "parts"),
    "dotted key, spaced": ("a . " * 20_000 + "a = 1", "parts"),
    "dotted header": ("[" + "a." * 20_000 + "a]", "parts"),
    "dotted key in an inline table": ("x = {" + "a." * 20_000 + "a = 1}", "parts"),
    "nested arrays": ("a = " + "[" * 100_000, "nested"),
    "nested arrays over lines": ("a = " + "[\n" * 100_000, "nested"),
    "nested inline tables": ("a = " + "{a=" * 9_000, "nested"),
    "nested arrays after a comment that would close them": ("a = [ # ]\n" * 1000, "nested"),
    "nested arrays after strings that would close them": ("a = " + "[ ']', \"]\", '''\n]''', " * 100, "nested"),
    "long integer": ("a = " + "9" * 5_000, "word"),
    "long hexadecimal integer": ("a = 0x" + "f" * 200_000, "word"),
    "long bare key": ("a" * 200_000 + " = 1", "word"),
    "many keys": ("".join(f"a{number}=1\n" for number in range(TOML_KEYS_MAX + 1)), "keys"),
    "many headers": ("[[a]]\n" * (TOML_KEYS_MAX + 1), "keys"),
    "large": ("a = 1\n" * 50_000, "larger"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_toml_bombs_are_refused_before_they_are_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S20: tomllib never sees them, and the scan takes memory in proportion to the text."""
    text, says = BOMBS[name]
    monkeypatch.setattr(tomllib, "loads", lambda _text: pytest.fail("tomllib was given a bomb"))
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match=says):
            toml.loads(text, thing="bomb")
        assert tracemalloc.get_traced_memory()[1] < 20 * len(text) + 1_000_000
    finally:
        tracemalloc.stop()


def test_a_limit_names_the_line() -> None:
    """Comments and strings over several lines do not shift it."""
    text = "# c\na = \"\"\"\n\n\n\"\"\"\nb = '''\n'''\n" + "c." * 40 + "c = 1"
    with pytest.raises(LimitError, match="line 8: ") as caught:
        toml.loads(text, thing="plan.toml")
    assert caught.value.data == {"line": 8}


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * TOML_DOTS_MAX) + " = 1",
        "a = " + "[" * TOML_NESTING_MAX + "]" * TOML_NESTING_MAX,
        "a" * TOML_WORD_MAX + " = 1",
        "".join(f"a{number}=1\n" for number in range(TOML_KEYS_MAX)),
        "a = '" + "x" * (TOML_MAX - 6) + "'",
        "a = '" + "." * 100 + "' # " + "." * 100 + "[" * 100,
        'a = "' + "[" * 100 + "{" * 100 + "=" * (TOML_KEYS_MAX + 1) + '"',
        "a = '''" + "[\n" * 20_000 + "'''",
        "a = [" + "1, " * 20_000 + "]",
    ],
    ids=range(9),
)
def test_documents_at_the_limits_are_read(text: str) -> None:
    """The caps are what the table says, and strings and comments count for nothing."""
    assert toml.loads(text, thing="document") == tomllib.loads(text)


def test_depth_is_bounded_however_it_is_written() -> None:
    """A header, a dotted key and inline tables add up; each alone is within its cap."""
    dots = ".".join("a" * TOML_DOTS_MAX)
    assert toml.loads(f"[{dots}]\n{'.'.join('b' * (TOML_DEPTH_MAX - TOML_DOTS_MAX))} = 1", thing="document")
    with pytest.raises(LimitError, match="deeper"):
        toml.loads(f"[{dots}]\n{dots} = {{{dots} = 1}}", thing="document")


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "0xffffffffffffffff", "1" + "0" * 400])
def test_an_integer_beyond_64_bits_is_refused(number: str) -> None:
    """TOML says 64 bits, and nothing that carries the value on holds more."""
    with pytest.raises(FormatError, match="64 bits"):
        toml.loads(f"a = [{{b = {number}}}]", thing="document")


def test_a_date_that_does_not_exist_is_refused() -> None:
    """Python's own error for it is not TOML's."""
    with pytest.raises(FormatError, match="document"):
        toml.loads("a = 2023-02-30", thing="document")


def test_a_file_is_read_up_to_the_limit_only(tmp_path: Path) -> None:
    """50 MB cost no more than the limit."""
    path = tmp_path / "user.toml"
    path.write_text("port = 1\n")
    assert toml.load(path) == {"port": 1}
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match=r"user\.toml"):
            toml.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * TOML_MAX
    finally:
        tracemalloc.stop()
    with pytest.raises(NotFoundError):
        toml.load(tmp_path / "missing.toml")


@pytest.mark.parametrize("value", [None, object(), {1: 2}, b"bytes"])
def test_what_toml_cannot_hold_is_refused(value: object) -> None:
    """It comes from JSON or from Python, and the person is told."""
    with pytest.raises(FormatError, match="cannot be written"):
        toml.dumps({"a": {"b": value}})


def test_values_of_every_type_are_read() -> None:
    """As Python's own."""
    read = toml.loads('s="x"\ni=1\nf=1.5\nb=true\nd=1979-05-27\nt=07:32:00\nz=1979-05-27T07:32:00Z\na=[1,[2]]\n[t2]\nk={v=1}', thing="d")
    assert read == {
        "s": "x",
        "i": 1,
        "f": 1.5,
        "b": True,
        "d": date(1979, 5, 27),
        "t": time(7, 32),
        "z": datetime(1979, 5, 27, 7, 32, tzinfo=UTC),
        "a": [1, [2]],
        "t2": {"k": {"v": 1}},
    }
