"""hart/schema.py, schema_document.py, schema_words.py: what a schema allows, and what it says about the rest."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.config import Problem, Schema, default_problems, redact
from hart.errors import ConfigError, LimitError

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["port"],
    "properties": {
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "level": {"enum": ["debug", "info", "warn"], "reload": True},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 10},
        "since": {"type": "string", "format": "date"},
        "address": {"type": "string", "format": "ipv4"},
        "ratio": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5},
        "ids": {"type": "array", "uniqueItems": True, "maxItems": 3, "items": {"type": "integer"}},
        "db": {"$ref": "#/$defs/db"},
        "users": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "password": {"type": "string", "secret": True}}},
        },
        "free": {"type": "object"},
        "tokens": {"type": "object", "additionalProperties": {"type": "string", "minLength": 8, "secret": True}},
        "mode": {"anyOf": [{"type": "integer", "maximum": 5}, {"const": "auto"}]},
    },
    "$defs": {
        "db": {
            "type": "object",
            "properties": {"host": {"type": "string"}, "password": {"type": "string", "minLength": 8, "secret": True}},
            "dependentRequired": {"password": ["host"]},
        }
    },
}


def load(schema: Any) -> Schema:
    return Schema.load(json.dumps(schema), thing="config.schema.json")


def said(config: dict[str, Any], schema: Any = None) -> list[str]:
    """The problems of a configuration that is complete but for what is given."""
    return [str(problem) for problem in load(schema or SCHEMA).check({"port": 1, **config} if schema is None else config)]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"port": 70000}, "cfg.port: 70000 is more than the maximum 65535"),
        ({"port": 0}, "cfg.port: 0 is less than the minimum 1"),
        ({"port": "80"}, 'cfg.port: "80" is not a whole number'),
        ({"port": True}, "cfg.port: true is not a whole number"),
        ({"prot": 1}, "cfg.prot: is not a key of this configuration; did you mean port?"),
        ({"level": "inof"}, 'cfg.level: "inof" is none of "debug", "info", "warn"; did you mean "info"?'),
        ({"name": "a1"}, 'cfg.name: "a1" does not match the pattern ^[a-z]+$'),
        ({"name": "abcdefghijk"}, 'cfg.name: "abcdefghijk" is longer than 10 characters'),
        ({"since": "soon"}, 'cfg.since: "soon" is not written as date is'),
        ({"address": "1.2.3"}, 'cfg.address: "1.2.3" is not written as ipv4 is'),
        ({"ratio": 0}, "cfg.ratio: 0 is not more than 0"),
        ({"ratio": 0.7}, "cfg.ratio: 0.7 is not a multiple of 0.5"),
        ({"ratio": float("nan")}, "cfg.ratio: is not a finite number"),
        ({"ids": [1, 1.0]}, "cfg.ids: a list of 2 entries holds one of them twice"),
        ({"ids": [1, "x"]}, 'cfg.ids[1]: "x" is not a whole number'),
        ({"ids": [1, 2, 3, 4]}, "cfg.ids: a list of 4 entries is more than 3"),
        ({"db": 5}, "cfg.db: the value is not a table"),
        ({"db": {"host": "h", "hots": 1}}, "cfg.db.hots: is not a key of this configuration; did you mean host?"),
        ({"users": [{"name": "a"}, {"nam": "b"}]}, "cfg.users[1].nam: is not a key of this configuration; did you mean name?"),
        ({"mode": "fast"}, 'cfg.mode: "fast" fits none of the 2 allowed forms; nearest: "fast" is not '),
        ({"mode": 9}, "cfg.mode: 9 fits none of the 2 allowed forms"),
    ],
)
def test_a_problem_names_the_key_the_value_and_the_bound(config: dict[str, Any], problem: str) -> None:
    """One sentence that can be acted on."""
    (only,) = said(config)
    assert only.startswith(problem)


def test_a_good_configuration_has_no_problems() -> None:
    """Dates of TOML are strings here; free tables take anything."""
    config = {
        "port": 80,
        "level": "info",
        "since": date(2024, 1, 2),
        "db": {"host": "h", "password": "long enough"},
        "users": [{"name": "a", "password": "p"}],
        "free": {"any": {"thing": [1]}},
        "tokens": {"a b": "12345678"},
        "mode": "auto",
    }
    assert said(config) == []


def test_every_problem_is_reported_at_once_in_order_of_keys() -> None:
    """Nobody fixes one at a time."""
    problems = load(SCHEMA).check({"name": "A", "level": "x", "zzz": 1})
    assert [problem.key for problem in problems] == ["level", "name", "port", "zzz"]
    assert Problem("port", "is required, and missing") in problems


def test_reports_are_bounded() -> None:
    """A thousand unknown keys give a hundred lines."""
    assert len(load(SCHEMA).check({f"x{n}": n for n in range(1000)})) == 100


@pytest.mark.parametrize(
    "config",
    [
        {"db": {"host": "h", "password": "hunter2"}},
        {"db": {"host": "h", "password": ["hunter2"]}},
        {"tokens": {"a": "hunter2"}},
        {"users": [{"password": {"hunter2": 1}}]},
        {"users": "hunter2"},
        {"db": "hunter2"},
    ],
)
def test_a_secret_value_is_in_no_message(config: dict[str, Any]) -> None:
    """Not when it is wrong itself, nor when it stands where a table with secrets belongs."""
    problems = said(config)
    assert problems
    assert "hunter2" not in " ".join(problem for problem in problems if "is not a key" not in problem)


def test_marks_are_found_through_references_lists_and_free_tables() -> None:
    """`*` is any entry and any name."""
    schema = load(SCHEMA)
    assert schema.secrets() == {"db.password", "users.*.password", "tokens.*"}
    assert schema.reloads() == {"level"}


def test_redaction_hides_marked_values_and_nothing_else() -> None:
    """Lists and free tables included; the configuration itself is left as it is."""
    config = {"port": 1, "db": {"host": "h", "password": "p"}, "users": [{"name": "a", "password": "p"}], "tokens": {"x": "p"}}
    hidden = redact(config, load(SCHEMA).secrets())
    assert hidden == {
        "port": 1,
        "db": {"host": "h", "password": "***"},
        "users": [{"name": "a", "password": "***"}],
        "tokens": {"x": "***"},
    }
    assert config["db"]["password"] == "p"
    assert redact({"a.b": {"c": 1}}, {'"a.b".c'}) == {"a.b": {"c": "***"}}
    assert redact({"a": 1}, set()) == {"a": 1}


def test_defaults_may_leave_out_what_the_operator_has_to_give() -> None:
    """A required key without a default is how a plan asks for it; a wrong default is a problem."""
    schema = load(SCHEMA)
    assert default_problems({}, schema) == []
    assert [str(problem) for problem in default_problems(tomllib.loads("port = 0"), schema)] == ["cfg.port: 0 is less than the minimum 1"]


def test_a_table_is_closed_over_all_that_combinations_declare() -> None:
    """Keys of allOf, of conditions and of references count; `additionalProperties` opens or closes by itself."""
    schema = {
        "properties": {"a": {}, "t": {"properties": {"on": {"type": "boolean"}}}},
        "allOf": [{"properties": {"b": {}}}, {"$ref": "#/$defs/more"}],
        "if": {"properties": {"t": {"properties": {"on": {"const": True}}, "required": ["on"]}}, "required": ["t"]},
        "then": {"properties": {"t": {"properties": {"cert": {}}, "required": ["cert"]}}},
        "$defs": {"more": {"properties": {"c": {}}}},
    }
    assert said({"a": 1, "b": 2, "c": 3, "t": {"on": True, "cert": "x"}}, schema) == []
    assert said({"t": {"on": True}}, schema) == ["cfg.t.cert: is required, and missing"]
    assert [line.split(":")[0] for line in said({"d": 1, "t": {"off": 1}}, schema)] == ["cfg.d", "cfg.t.off"]
    assert said({"x": 1}, {"properties": {"a": {}}, "additionalProperties": True}) == []
    assert said({"hots": 1}, {"properties": {"host": {}}, "additionalProperties": False}) == [
        "cfg.hots: is not a key of this configuration; did you mean host?"
    ]


def test_names_of_free_tables_can_be_checked() -> None:
    """`propertyNames`."""
    schema = {"properties": {"t": {"propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": True}}}
    assert said({"t": {"A": 1}}, schema) == ['cfg.t: a key of it is wrong: "A" does not match the pattern ^[a-z]+$']


def test_a_text_too_long_for_its_pattern_is_a_problem() -> None:
    """It is never tried, so it can cost nothing."""
    assert "longer than the 4096 characters" in said({"a": "x" * 5000}, {"properties": {"a": {"pattern": "^x*$"}}})[0]


@pytest.mark.parametrize(
    ("schema", "cause"),
    [
        ([], "not a JSON object"),
        ({"properties": {"a": {"maximun": 1}}}, "#/properties/a: 'maximun' is not a keyword"),
        ({"properties": {"a": {"type": "strin"}}}, "#/properties/a/type"),
        ({"properties": {"a": 5}}, "#/properties/a: is neither a schema"),
        ({"properties": 5}, "#/properties"),
        ({"$ref": "https://example.com/x.json"}, "leads out of this document"),
        ({"$ref": "other.json#/x"}, "leads out of this document"),
        ({"$ref": 5}, "leads out of this document"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "leads to no schema"),
        ({"properties": {"a": {"$ref": "#/properties"}}}, "leads to no schema"),
        ({"properties": {"a": {"$ref": "#"}}}, "leads back"),
        ({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "leads back"),
        ({"properties": {"a": {"pattern": "(a+)+$"}}}, "pattern"),
        ({"properties": {"a": {"pattern": "("}}}, "pattern"),
        ({"properties": {"a": {"format": "uri"}}}, "format 'uri' is not checked"),
        ({"properties": {"a": {"secret": "yes"}}}, "true or false"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "another draft"),
        ({"properties": {"a": {"$id": "x"}}}, "at the top only"),
        ({"patternProperties": {"a": {}}}, "not a keyword"),
        ({"$dynamicRef": "#a"}, "not a keyword"),
    ],
)
def test_a_schema_that_checks_less_than_it_says_is_refused(schema: Any, cause: str) -> None:
    """The place in it and the reason."""
    with pytest.raises(ConfigError, match=cause.replace("$", r"\$")):
        load(schema)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', '{"minimum": NaN}', "[]", '"x"'])
def test_what_is_not_json_is_refused(text: str) -> None:
    """With the file's name."""
    with pytest.raises(ConfigError, match=r"config\.schema\.json"):
        Schema.load(text, thing="config.schema.json")


def test_attack_schemas_that_grow_or_nest_without_end_are_refused() -> None:
    """Size, depth, and references that double at each step."""
    doubling = {"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}}}
    nested: dict[str, Any] = {}
    for _ in range(60):
        nested = {"properties": {"a": nested}}
    for schema in ({**doubling, "$ref": "#/$defs/d0"}, nested):
        with pytest.raises(LimitError):
            load(schema)
    for text in (" " * 300_000, '{"not":' * 20_000):
        with pytest.raises(LimitError):
            Schema.load(text, thing="config.schema.json")


def test_attack_a_configuration_nested_without_end_is_refused() -> None:
    """A cap, not a crash."""
    deep: Any = 1
    for _ in range(3000):
        deep = {"free": deep}
    with pytest.raises(LimitError):
        load(SCHEMA).check(deep)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["port", "db", "users", "name", "password", "x y"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), values))
def test_any_data_gets_a_list_of_problems(config: dict[str, Any]) -> None:
    """Nothing else comes out, and the same twice."""
    problems = SHARED.check(config)
    assert problems == SHARED.check(config)
    assert all(problem.message for problem in problems)


SHARED = load(SCHEMA)
