"""hart/template/shell.py: what a hook writes into shell."""

from __future__ import annotations

import pytest

from hart.errors import TemplateError
from hart.template.engine import unquoted_in_shell


def found(text: str) -> list[str]:
    return [finding.expression for finding in unquoted_in_shell(text, name="run")]


@pytest.mark.parametrize(
    "expression",
    [
        "{{cfg.x}}",
        "{{{cfg.x}}}",
        "{{&cfg.x}}",
        "{{~cfg.x~}}",
        "{{bind.db.first.sys.ip}}",
        "{{svc.me.member_id}}",
        "{{sys.ip}}",
        "{{toJson cfg}}",
        "{{strJoin cfg.list ' '}}",
        "{{lookup cfg 'x'}}",
        "{{@root.cfg.x}}",
    ],
)
def test_values_from_outside_the_package_are_found(expression: str) -> None:
    """Configuration, binds, the service's and the host's facts, however they are written."""
    assert found(f"a\n{expression} {{{{sh cfg.y}}}}") == [expression]


@pytest.mark.parametrize(
    "text",
    [
        "{{sh cfg.x}}",
        "{{sh (strJoin cfg.list ',')}}",
        "{{pkg.path}}/bin/x",
        "{{pkgPathFor 'core/x'}}",
        "{{#if cfg.x}}a{{/if}}",
        "{{#each cfg.list}}{{@index}}{{sh this}}{{/each}}",
        "{{eq cfg.x 1}} {{len cfg.list}}",
        "{{log cfg.x}}",
        "{{'text'}}",
        "{{! cfg.x }}",
        "{{#with pkg}}{{path}}{{/with}}",
        "{{#each pkg.deps as |dep|}}{{dep.name}}{{/each}}",
    ],
)
def test_what_cannot_carry_shell_is_left_alone(text: str) -> None:
    """Quoted values, the package's own facts, tests, places in a loop, arguments of blocks."""
    assert found(text) == []


def test_values_are_followed_through_blocks() -> None:
    """Where a block's value comes from decides for what is inside of it."""
    assert found("{{#each cfg.list}}{{this}}{{@key}}{{../pkg.path}}{{/each}}") == ["{{this}}", "{{@key}}"]
    assert found("{{#with pkg as |p|}}{{p.path}}{{../cfg.x}}{{else}}{{cfg.y}}{{/with}}") == ["{{../cfg.x}}", "{{cfg.y}}"]
    assert found("{{#eachAlive svc.members as |m|}}{{m.ip}}{{/eachAlive}}{{#bind.x}}{{ip}}{{/bind.x}}") == ["{{m.ip}}", "{{ip}}"]
    assert found("{{^cfg.x}}{{cfg.y}}{{/cfg.x}}") == ["{{cfg.y}}"]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('echo "{{sh cfg.x}}"', True),
        ("echo '{{sh cfg.x}}'", True),
        ("echo 'a' {{sh cfg.x}} 'b'", False),
        ('echo \\" {{sh cfg.x}}', False),
        ("# don't {{sh cfg.x}}", False),
        ("echo \"{{sh 'a'}}\" {{sh cfg.x}}", False),
        ("'\n{{sh cfg.x}}", False),
    ],
)
def test_sh_inside_quotes_is_found(text: str, inside: bool) -> None:
    """The quotes that sh adds protect only outside of others."""
    assert [finding.expression for finding in unquoted_in_shell(text, name="run") if "cfg" in finding.expression] == (
        ["{{sh cfg.x}}"] if inside else []
    )


def test_a_finding_says_where_and_what_to_write() -> None:
    """Line, reason, suggestion."""
    first, second, third = unquoted_in_shell("a\n{{cfg.x}} {{toJson cfg.y}}\n'{{sh cfg.z}}'", name="run")
    assert (first.line, first.suggestion) == (2, "{{sh cfg.x}}")
    assert (second.line, second.suggestion) == (2, "{{sh (toJson cfg.y)}}")
    assert (third.line, third.suggestion) == (3, "{{sh cfg.z}} without the quotes around it")
    assert "interpret" in first.reason


def test_a_hook_that_is_no_template_is_refused() -> None:
    """The same errors as when it is compiled."""
    with pytest.raises(TemplateError):
        unquoted_in_shell("{{#if x}}", name="run")
