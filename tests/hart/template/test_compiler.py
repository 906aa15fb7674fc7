"""hart/template/compiler.py, scope.py and values.py: what each construct renders to."""

from __future__ import annotations

from collections import UserDict
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hart.errors import LimitError, TemplateError
from hart.template.engine import compile_template

CONTEXT: dict[str, Any] = {
    "cfg": {
        "port": 80,
        "ratio": 0.5,
        "big": 1e20,
        "tiny": 1e-7,
        "nan": float("nan"),
        "zero": 0,
        "yes": True,
        "no": False,
        "nothing": None,
        "empty": "",
        "name": "web",
        "none": [],
        "list": ["a", "b", "c"],
        "nested": [[1, 2], [True, None]],
        "table": {"x": 1, "y": 2},
        "odd key": "odd",
        "pairs": [{"k": "a", "v": [1, 2]}, {"k": "b", "v": [3]}],
        "day": date(2024, 1, 2),
        "moment": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    },
    "members": [{"alive": True, "ip": "1"}, {"alive": False, "ip": "2"}, {"alive": True, "ip": "3"}, "no member"],
    "top": "T",
}


def lenient(text: str, context: Any = CONTEXT) -> str:
    return compile_template(text, name="t", strict=False).render(context)


def strict(text: str, context: Any = CONTEXT) -> str:
    return compile_template(text, name="t", strict=True).render(context)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        # values
        ("{{cfg.port}} {{cfg.ratio}} {{cfg.big}} {{cfg.tiny}}", "80 0.5 1e20 1e-7"),
        ("{{cfg.yes}} {{cfg.no}} [{{cfg.nothing}}] [{{cfg.nan}}]", "true false [] []"),
        ("{{cfg.list}} {{cfg.nested}} {{cfg.none}} {{cfg.table}}", "[a, b, c] [[1, 2], [true, ]] [] [object]"),
        ("{{cfg.day}} {{cfg.moment}}", "2024-01-02 2024-01-02T03:04:05Z"),
        ("{{{cfg.name}}} {{&cfg.name}} {{{{raw}}}}{{cfg.name}}{{{{/raw}}}}", "web web {{cfg.name}}"),
        ("{{top}} {{this.top}} {{./top}} {{@root.top}}", "T T T T"),
        ("{{cfg.list.[1]}} {{cfg.list.1}} {{cfg.list[1]}} {{cfg.[odd key]}} {{cfg/name}}", "b b b odd web"),
        ('{{"text"}} {{true}} {{12}}', "text true 12"),
        # if, unless
        ("{{#if cfg.port}}1{{else}}2{{/if}}{{#if cfg.zero}}1{{else}}2{{/if}}", "12"),
        ("{{#if cfg.zero includeZero=true}}1{{else}}2{{/if}}{{#if cfg.nan includeZero=true}}1{{else}}2{{/if}}", "12"),
        ("{{#if cfg.nothing}}1{{/if}}{{#if cfg.empty}}1{{/if}}{{#if cfg.none}}1{{/if}}{{#if cfg.nan}}1{{/if}}", ""),
        ("{{#if cfg.table}}1{{/if}}{{#if cfg.list}}2{{/if}}{{#if cfg.name}}3{{/if}}", "123"),
        ("{{#unless cfg.no}}1{{else}}2{{/unless}}{{#unless cfg.yes}}1{{else}}2{{/unless}}", "12"),
        ("{{#if cfg.no}}1{{else if cfg.zero}}2{{else unless cfg.no}}3{{else}}4{{/if}}", "3"),
        ("{{#if cfg.no}}1{{else if cfg.no}}2{{^}}3{{/if}}", "3"),
        ("{{#if cfg.no}}1{{else each cfg.list}}{{this}}{{else}}2{{/if}}", "abc"),
        ("{{#if cfg.no}}1{{^if cfg.yes}}2{{/if}}", "2"),
        ("{{#eq cfg.port 80}}1{{else}}2{{/eq}}{{#and cfg.yes cfg.no}}1{{else}}2{{/and}}", "12"),
        ("{{#if cfg.no}}1{{else eq cfg.port 80}}2{{/if}}", "2"),
        # each
        ("{{#each cfg.list}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}", "0a,1b,2c"),
        ("{{#each cfg.list}}{{#if @first}}({{/if}}{{.}}{{#if @last}}){{/if}}{{/each}}", "(abc)"),
        ("{{#each cfg.list as |v i|}}{{i}}{{v}}{{/each}}", "0a1b2c"),
        ("{{#each cfg.table}}{{@key}}={{this}} {{/each}}", "x=1 y=2 "),
        ("{{#each cfg.table as |v k|}}{{k}}={{v}}@{{@index}}{{#if @last}}.{{/if}}{{/each}}", "x=1@0y=2@1."),
        ("{{#each cfg.none}}1{{else}}none{{/each}}", "none"),
        ("{{#each cfg.nothing}}1{{else}}none{{/each}}", "none"),
        ("{{#each cfg.pairs}}{{k}}:{{#each v}}{{../k}}{{this}}{{@../index}}{{/each}};{{/each}}", "a:a10a20;b:b31;"),
        ("{{#each cfg.pairs as |p|}}{{#each p.v as |n|}}{{p.k}}{{n}}{{../../top}}{{/each}}{{/each}}", "a1Ta2Tb3T"),
        ("{{#each cfg.pairs}}{{#if k}}{{../top}}{{/if}}{{/each}}", "TT"),
        # with
        ("{{#with cfg.table}}{{x}}{{../top}}{{/with}}", "1T"),
        ("{{#with cfg.table as |t|}}{{t.x}}{{x}}{{@root.top}}{{/with}}", "11T"),
        ("{{#with cfg.nothing}}1{{else}}2{{/with}}", "2"),
        ("{{#each cfg.pairs}}{{#with v}}{{@index}}{{/with}}{{/each}}", "01"),
        # sections
        ("{{#cfg.yes}}{{top}}{{/cfg.yes}}{{#cfg.no}}1{{/cfg.no}}{{^cfg.no}}2{{/cfg.no}}", "T2"),
        ("{{#cfg.list}}{{this}}{{@index}}{{/cfg.list}}{{#cfg.table}}{{x}}{{/cfg.table}}", "a0b1c21"),
        ("{{#cfg.none}}1{{else}}2{{/cfg.none}}{{^cfg.none}}3{{/cfg.none}}{{^if cfg.no}}4{{/if}}", "234"),
        # eachAlive
        ("{{#eachAlive members}}{{@index}}{{ip}}{{#unless @last}},{{/unless}}{{/eachAlive}}", "11,23"),
        ("{{#eachAlive members as |m i|}}{{#if @first}}({{/if}}{{i}}{{m.ip}}{{/eachAlive}}", "(1123"),
        ("{{#eachAlive cfg.none}}1{{else}}none{{/eachAlive}}", "none"),
        # comments, log
        ("a{{! b }}{{!-- {{c}} --}}d{{log cfg.port}}", "ad"),
    ],
)
def test_constructs(text: str, result: str) -> None:
    """Strict and lenient templates agree on what is defined."""
    assert lenient(text) == result
    assert strict(text) == result


def test_lenient_templates_write_nothing_for_what_is_missing() -> None:
    """As Habitat: no error, wherever the name stands."""
    blocks = "{{#if x}}1{{/if}}{{#each x}}1{{/each}}{{#with x}}1{{/with}}{{#unless x}}2{{/unless}}"
    assert lenient(f"[{{{{cfg.x.y}}}}{blocks}{{{{cfg.list.[9]}}}}{{{{cfg.name.x}}}}{{{{@index}}}}]") == "[2]"


def test_block_parameters_win_over_keys_but_not_over_this() -> None:
    """A name is a parameter of the nearest block that has it; `this.x` never is."""
    context = {"a": [{"v": "inner"}], "v": "outer"}
    assert strict("{{#each a as |v|}}{{v.v}} {{this.v}} {{../v}}{{/each}}", context) == "inner inner outer"
    assert strict("{{#each a as |v|}}{{#with v as |w|}}{{v.v}}{{w.v}}{{/with}}{{/each}}", context) == "innerinner"


def test_too_many_steps_out_lead_to_the_root_in_lenient_templates() -> None:
    """Plans written for an old Habitat climb further than they are nested, and mean the root."""
    assert lenient("{{#with cfg}}{{../../../top}}{{/with}}") == "T"
    with pytest.raises(TemplateError, match="further out"):
        compile_template("{{#with cfg}}{{../../top}}{{/with}}", name="t", strict=True)


def test_lenient_templates_ignore_arguments_that_are_too_many() -> None:
    """As Habitat, which looks at the first: `{{#with with cfg.x}}` is in a core plan."""
    assert lenient("[{{#with with cfg}}{{port}}{{/with}}{{toUppercase cfg.name 2}}{{len cfg.name x=1}}]") == "[WEB3]"
    for text in ("{{#with a b}}{{/with}}", "{{toUppercase a b}}", "{{len a x=1}}", "{{#if a x=1}}{{/if}}"):
        with pytest.raises(TemplateError):
            compile_template(text, name="t", strict=True)


@pytest.mark.parametrize("strictly", [True, False])
@pytest.mark.parametrize(
    "text", ["{{foo a}}", "{{f (bar a)}}", "{{len}} {{len a}} {{(len)}}", "{{#if}}{{/if}}", "{{each a}}", "{{#if (nope a)}}{{/if}}"]
)
def test_unknown_helpers_and_wrong_counts_are_found_while_compiling(text: str, strictly: bool) -> None:
    """No data is needed to know that a helper does not exist."""
    with pytest.raises(TemplateError):
        compile_template(text, name="t", strict=strictly)


class Nosy:
    """An object whose attributes must stay out of reach."""

    secret = "secret"

    def __getitem__(self, key: object) -> str:
        return self.secret


def test_only_mappings_and_lists_are_looked_into() -> None:
    """No attribute, method or index of any other object is ever reached."""
    context = {"o": Nosy(), "s": "text", "n": 1, "d": {}, "l": [1]}
    for path in ("o.secret", "o.x", "o.__class__", "s.upper", "s.0", "n.real", "d.keys", "d.__class__", "l.append", "l.-1", "l.__len__"):
        assert lenient(f"[{{{{{path}}}}}]", context) == "[]"
    with pytest.raises(TemplateError, match="Nosy"):
        lenient("{{o}}", context)


def test_any_mapping_and_tuple_will_do() -> None:
    """A view computed from records serves as well as a dict."""
    context = UserDict({"a": UserDict({"b": (1, 2)})})
    assert strict("{{a.b.[1]}}{{#each a}}{{@key}}{{/each}}{{#with a}}{{b}}{{/with}}", context) == "2b[1, 2]"


def test_loops_are_capped() -> None:
    """Turns of all loops together, and what their bodies write."""
    with pytest.raises(LimitError, match="template t"):
        strict("{{#each l}}{{#each @root.l}}x{{/each}}{{/each}}", {"l": list(range(200))})
    with pytest.raises(LimitError, match="pieces"):
        strict("{{#each l}}" + "{{@index}}" * 300 + "{{/each}}", {"l": list(range(9000))})
    with pytest.raises(LimitError):
        strict("{{#eachAlive l}}{{/eachAlive}}", {"l": [{"alive": True}] * 10_001})
    with pytest.raises(LimitError):
        strict("{{#l}}{{/l}}", {"l": [1] * 10_001})


def test_output_is_capped_in_bytes() -> None:
    """A rendered file has at most so many bytes, not characters."""
    assert len(strict("{{a}}", {"a": "x" * 1024 * 1024})) == 1024 * 1024
    with pytest.raises(LimitError, match="bytes"):
        strict("{{a}}.", {"a": "x" * 1024 * 1024})
    with pytest.raises(LimitError, match="bytes"):
        strict("{{a}}", {"a": "é" * 600 * 1024})


def test_deep_data_is_capped() -> None:
    """A value nested without end ends in an error of ours."""
    deep: list[Any] = []
    deep.append(deep)
    for text in ("{{a}}", "{{toJson a}}", "{{toYaml a}}", "{{toToml a}}", "{{strJoin a ','}}"):
        with pytest.raises(LimitError):
            strict(text, {"a": deep})


def test_half_a_surrogate_pair_is_no_output() -> None:
    """What cannot be written to a file is refused with the line of the result."""
    with pytest.raises(TemplateError, match="line 2"):
        strict("a\n{{a}}", {"a": "\ud800"})
