"""hart/template/notation.py: JSON, TOML and YAML that read back as the same value."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.template.notation import to_json, to_toml, to_yaml, yaml_string
from hart.template.values import HelperError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
leaves = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=15)


@given(values)
def test_json_reads_back(value: Any) -> None:
    """toJson is JSON."""
    assert json.loads(to_json(value)) == value


@given(values)
def test_toml_reads_back(value: Any) -> None:
    """toToml of a table is a document, of anything else a value."""
    if isinstance(value, dict):
        assert tomllib.loads(to_toml(value)) == value
    else:
        assert tomllib.loads(f"x = {to_toml(value)}") == {"x": value}


def test_dates_are_themselves_in_toml_and_text_elsewhere() -> None:
    """JSON and YAML have no dates that all readers share."""
    data = {"d": date(2024, 1, 2), "t": time(3, 4), "m": datetime(2024, 1, 2, tzinfo=UTC)}
    assert tomllib.loads(to_toml(data)) == data
    assert to_toml([data["d"]]) == "[2024-01-02]"
    assert json.loads(to_json(data)) == {"d": "2024-01-02", "t": "03:04:00", "m": "2024-01-02T00:00:00Z"}
    assert to_yaml(data) == "d: '2024-01-02'\nt: '03:04:00'\nm: '2024-01-02T00:00:00Z'\n"


def test_numbers_without_end() -> None:
    """NaN and infinities: null in JSON, words in YAML and TOML."""
    data = [float("nan"), float("inf"), float("-inf")]
    assert json.loads(to_json(data)) == [None, None, None]
    assert to_yaml(data) == "- .nan\n- .inf\n- -.inf\n"
    assert to_toml(data) == "[nan, inf, -inf]"


def test_yaml_of_nested_values() -> None:
    """Block style, lists at their key's indent, the empty ones in flow style."""
    data = {
        "web": {"ports": [80, 443], "hosts": [{"name": "a", "tags": ["x"]}, [1, [2]], {}], "none": [], "empty": {}},
        "odd key": None,
        "on": True,
        "f": 1.0,
        "big": 1e20,
    }
    assert to_yaml(data) == (
        "web:\n  ports:\n  - 80\n  - 443\n  hosts:\n  - name: a\n    tags:\n    - x\n  - - 1\n    - - 2\n  - {}\n  none: []\n  empty: {}\n"
        "odd key: null\n'on': true\nf: 1.0\nbig: 1.0e+20\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("two words", "two words"),
        ("a:b/c.d", "a:b/c.d"),
        ("", "''"),
        ("yes", "'yes'"),
        ("NULL", "'NULL'"),
        ("1", "'1'"),
        ("1e3", "'1e3'"),
        ("0x1", "'0x1'"),
        ("-", "'-'"),
        ("- a", "'- a'"),
        ("a: b", "'a: b'"),
        ("a:", "'a:'"),
        ("a #b", "'a #b'"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("it's", "'it''s'"),
        ("*a", "'*a'"),
        ("{a}", "'{a}'"),
        ("2024-01-02", "'2024-01-02'"),
        ("a\nb", '"a\\nb"'),
        ("\x07\u2028", '"\\u0007\\u2028"'),
        ('a"b\\c', "'a\"b\\c'"),
        ('a"\n', '"a\\"\\n"'),
        ("=", "'='"),
        ("~", "'~'"),
        ("é", "'é'"),
    ],
)
def test_a_yaml_string_is_quoted_unless_no_reader_could_mistake_it(value: str, written: str) -> None:
    """What looks like another type, or like syntax, is in quotes."""
    assert yaml_string(value) == written


def test_what_is_no_data_is_refused() -> None:
    """Objects, keys that are no strings, null in TOML, keys that YAML wants in another form."""
    for write, value in ((to_json, object()), (to_json, {1: 2}), (to_toml, {"a": [None]}), (to_toml, None), (to_yaml, {"k" * 200: 1})):
        with pytest.raises(HelperError):
            write(value)
