"""hart/config.py: layers, where values come from, the environment."""

from __future__ import annotations

from collections import UserDict
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.config import dotted, environment_layer, layered, merge
from hart.errors import ConfigError, LimitError

leaves = st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
layers = st.dictionaries(
    st.sampled_from("abc"), st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3)), max_size=3
)


def slow_merge(under: Any, over: Any) -> Any:
    """The rule in three lines."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return {key: slow_merge(under.get(key, {}), over[key]) if key in over else under[key] for key in [*under, *over]}


@given(layers, layers, layers)
def test_tables_merge_and_everything_else_is_replaced(one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]) -> None:
    """The later layer wins; arrays are replaced whole."""
    assert merge(one, two, three) == slow_merge(slow_merge(one, two), three)
    assert merge(one, one) == merge(one) == one


@given(layers, layers)
def test_each_value_has_the_layer_that_gave_it(one: dict[str, Any], two: dict[str, Any]) -> None:
    """An origin names the last layer that holds that key with that value."""
    merged, origins = layered([("default", one), ("user", two)])
    by_name = {"default": one, "user": two}

    def at(table: Any, path: list[str]) -> Any:
        for key in path:
            table = table[key] if isinstance(table, dict) else None
        return table

    for key, origin in origins.items():
        path = key.split(".")
        assert at(by_name[origin], path) == at(merged, path)

    def count(table: dict[str, Any]) -> int:
        return sum(count(value) if isinstance(value, dict) and value else 1 for value in table.values())

    assert len(origins) == count(merged)


def test_layers_are_not_shared_with_the_result() -> None:
    """What is done to the merged table is not done to a layer."""
    layer = {"t": {"list": [1, {"x": 2}]}}
    merged = merge(layer)
    merged["t"]["list"][1]["x"] = 3
    merged["t"]["more"] = 1
    assert layer == {"t": {"list": [1, {"x": 2}]}}


def test_a_table_and_a_value_replace_each_other_with_their_origins() -> None:
    """Nothing of what was replaced is left."""
    merged, origins = layered([("default", {"a": 1, "b": {"x": 1}, "e": {}}), ("user", {"a": {"y": 2}, "b": 3}), ("ring", {"a": {}})])
    assert merged == {"a": {"y": 2}, "b": 3, "e": {}}
    assert origins == {"a.y": "user", "b": "user", "e": "default"}


def test_odd_keys_are_written_as_toml_writes_them() -> None:
    """Dots and blanks in a key are in quotes."""
    assert dotted(["a", "b.c", "", "d-e_1"]) == 'a."b.c"."".d-e_1'
    assert layered([("user", {"a b": UserDict({"c": 1})})])[1] == {'"a b".c': "user"}


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: {"a": [inner]}])
def test_attack_a_layer_nested_too_deeply_is_refused_with_its_name(wrap: Any) -> None:
    """Thirty levels, in tables or arrays; nothing recurses further."""
    deep: Any = 1
    for _ in range(3000):
        deep = wrap(deep)
    with pytest.raises(LimitError, match="user"):
        layered([("default", {}), ("user", deep)])


def test_the_depth_of_thirty_is_allowed() -> None:
    """Habitat's own limit."""
    deep: Any = 1
    for _ in range(30):
        deep = {"a": deep}
    assert merge(deep) == deep


def test_the_environment_is_toml_or_json_and_ours_wins() -> None:
    """HAB_<NAME>, upper case, `-` as `_`; STEAD_<NAME> over it."""
    environ = {"HAB_MY_APP": "port = 1\n[db]\nhost = 'x'", "STEAD_MY_APP": '{"db": {"port": 5432}}', "HAB_OTHER": "a = 1"}
    assert environment_layer("my-app", environ) == {"port": 1, "db": {"host": "x", "port": 5432}}
    assert environment_layer("nothing", environ) == {}
    assert environment_layer("my-app", {"HAB_MY_APP": ""}) == {}


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("token", "STEAD_TOKEN"),
        ("root", "STEAD_ROOT"),
        ("keys", "STEAD_KEYS"),
        ("origin", "HAB_ORIGIN"),
        ("auth-token", "HAB_AUTH_TOKEN"),
        ("depot-url", "STEAD_DEPOT_URL"),
    ],
)
def test_variables_of_the_tools_configure_no_package(name: str, variable: str) -> None:
    """A package called `token` does not read the depot's token."""
    assert environment_layer(name, {variable: "secret"}) == {}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("port", "neither TOML"),
        ("{", "neither TOML"),
        ('{"a": null}', "null"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large"),
        ('{"a": 18446744073709551616}', "64 bits"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": "\\ud800"}', "surrogates"),
        ('["a"', "neither TOML"),
        ('{"a":' * 40 + "1" + "}" * 40, "nested deeper"),
        ('{"a":' * 100_000, "larger"),
        ('{"a":' * 20_000, "nested deeper"),
        ("[" * 20_000, "nested deeper"),
        ("a." * 200 + "b = 1", "parts"),
        ("secret-value", "neither TOML"),
    ],
)
def test_a_variable_that_is_no_table_is_refused_with_its_name_and_without_its_value(text: str, cause: str) -> None:
    """The value may hold a secret."""
    with pytest.raises(ConfigError, match=cause) as caught:
        environment_layer("web", {"HAB_WEB": text})
    assert "HAB_WEB" in caught.value.thing
    assert "secret-value" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_in_the_environment_gives_a_table_or_our_error(text: str) -> None:
    """Nothing else comes out."""
    with suppress(ConfigError):
        assert isinstance(environment_layer("web", {"HAB_WEB": text}), dict)
