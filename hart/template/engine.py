"""Templates for the rest of the house: compile once, render often.

    template = compile_template(text, name="redis.conf", strict=True)
    template.render({"cfg": {"port": 6379}})

Strict templates (plans of our own) refuse what is not defined wherever it is named: in `{{cfg.x}}`, as an argument of a helper, and in
the head of `if`, `unless`, `each` and `with`, because a test of a misspelt key is the mistake that nobody sees. What may truly be absent
is asked for by name: `{{#if (lookup bind "database")}}`, `{{#with (lookup cfg "tls") as |tls|}}`; null counts as defined.
Lenient templates (Habitat's packages) write nothing for it.

Hooks: strict ones are guarded, so that no value from outside the package reaches the shell as anything but text. `{{sh cfg.x}}` quotes,
`{{cfg.x}}` passes plain words (a port, a path, a host) and is an error for anything else, `{{{cfg.x}}}` is the author's own risk.
`unquoted_in_shell` tells while building what this would meet while running. Lenient hooks are rendered as Habitat does.

Rules: rendering has no effects and reads nothing but its context; every cap is in hart/limits.py; whatever the text or the data, only
TemplateError and LimitError come out, with name, line and column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hart.errors import LimitError
from hart.limits import TEMPLATE_MAX, TEMPLATE_OUTPUT
from hart.template import shell
from hart.template.compiler import Render, compile_body
from hart.template.nodes import Call, Expression, Path
from hart.template.parser import parse
from hart.template.shell import Finding
from hart.template.source import Source
from hart.template.values import Budget, BudgetError, DataError, UndefinedError

__all__ = ["Finding", "Template", "compile_template", "unquoted_in_shell"]

LISTED_MAX = 8  # names in a hint


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. `name` is the one it was given; it holds no state, so it may be rendered from any thread."""

    name: str
    strict: bool
    hook: bool
    _source: Source = field(repr=False)
    _render: Render = field(repr=False)
    _sites: list[Expression] = field(repr=False)

    def render(self, context: Mapping[str, Any]) -> str:
        """The text for a context: nested mappings with str keys, lists, strings, numbers, truth values, None, dates.

        Raises TemplateError (data: name, line, column, source) and LimitError.
        """
        budget = Budget(context, strict=self.strict)
        try:
            parts = self._render(budget, context)
        except UndefinedError as undefined:
            expression = self._sites[undefined.site]
            raise self._source.error(
                expression.at, f"{spelt(expression)} is not defined", next=hint(undefined, expression, context)
            ) from None
        except DataError as fault:
            expression = self._sites[fault.site]
            said = fault.cause if isinstance(expression, Call) else f"{spelt(expression)}: {fault.cause}"
            raise self._source.error(expression.at, said, next=fault.next) from None
        except BudgetError as exhausted:
            raise self._source.limit(f"{exhausted}") from None
        except RecursionError:
            raise self._source.limit("its data is nested too deeply") from None
        if sum(map(len, parts)) > TEMPLATE_OUTPUT:
            raise self._source.limit(f"renders to more than {TEMPLATE_OUTPUT} bytes")
        text = "".join(parts)
        if not text.isascii():
            try:
                size = len(text.encode())
            except UnicodeEncodeError as error:
                line = text.count("\n", 0, error.start) + 1
                raise self._source.error(0, f"line {line} of the result has half of a surrogate pair, which is no character") from None
            if size > TEMPLATE_OUTPUT:
                raise self._source.limit(f"renders to more than {TEMPLATE_OUTPUT} bytes")
        return text


def compile_template(text: str, *, name: str, strict: bool, hook: bool = False) -> Template:
    """Compile a template. `name` is what errors call it; `hook`: the result is run by a shell.

    Raises TemplateError for what is not a template, LimitError for one that passes a cap.
    """
    source = checked(text, name)
    try:
        render, sites = compile_body(source, parse(source), strict=strict, hook=hook)
    except (RecursionError, MemoryError):
        raise source.limit("is too complex") from None
    return Template(name, strict, hook, source, render, sites)


def unquoted_in_shell(text: str, *, name: str) -> list[Finding]:
    """The mustaches of a hook that write configuration or facts of the ring into shell without `sh`. Raises as compile_template."""
    source = checked(text, name)
    return shell.unquoted(source, parse(source))


def checked(text: str, name: str) -> Source:
    if len(text) > TEMPLATE_MAX:
        raise LimitError(f"template {name}", f"is larger than {TEMPLATE_MAX} bytes", name=name)
    return Source(name, text)


def spelt(expression: Expression) -> str:
    """An expression as its author would say it."""
    if isinstance(expression, Path):
        return expression.text
    return expression.name if isinstance(expression, Call) else repr(expression.value)


def hint(undefined: UndefinedError, expression: Expression, context: Mapping[str, Any]) -> str:
    """What the author of an undefined path may have meant."""
    import difflib

    keys, at, value = undefined.keys, undefined.at, undefined.value
    wanted, before = keys[at], ".".join(keys[:at])
    guarded = f'what may be absent is tested with (lookup {before or "this"} "{wanted}")'
    if at == 0 and isinstance(expression, Path) and not expression.up and value is not context and wanted in context:
        return f"inside this block names belong to its value: write @root.{'.'.join(keys)}"
    if isinstance(value, Mapping):
        known = [key for key in value if isinstance(key, str)]
        close = difflib.get_close_matches(wanted, known[:1000], n=1)
        if close:
            return f"did you mean {'.'.join((*keys[:at], close[0], *keys[at + 1 :]))}? {guarded}"
        listed = ", ".join(sorted(known)[:LISTED_MAX]) or "nothing"
        return f"there is {listed}{', …' if len(known) > LISTED_MAX else ''}; {guarded}"
    if isinstance(value, list | tuple):
        return f"the list has {len(value)} entries; {guarded}"
    return guarded
