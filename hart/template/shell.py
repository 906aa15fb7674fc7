"""Configuration in shell: which mustaches of a hook could let a value be run as a command.

Rule: in a hook, a value from outside the package (cfg, bind, svc, sys) belongs in `{{sh …}}`, outside of quotes. `unquoted` finds the
others, before anything is rendered; strict hooks are also guarded while they are rendered (compiler).

Whether a place is inside quotes is judged from its own line alone: enough for the way hooks are written, and wrong only for strings over
several lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from hart.template.nodes import Block, Body, Call, Expression, Literal, Output, Text
from hart.template.scope import ROOT, FrameKind, Scope, enter, is_foreign
from hart.template.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One mustache: its line, what it writes, why that is unsafe, and what to write instead."""

    line: int
    expression: str
    reason: str
    suggestion: str


def unquoted(source: Source, body: Body) -> list[Finding]:
    """Every mustache that writes a foreign value into shell without `sh`, or with `sh` inside quotes, in order."""
    found: list[Finding] = []
    _search(source, body, (ROOT,), found)
    return found


def _search(source: Source, body: Body, scope: Scope, found: list[Finding]) -> None:
    for node in body:
        if isinstance(node, Output):
            _look(source, node, scope, found)
        elif isinstance(node, Block):
            _search(source, node.body, inner_scope(node, scope), found)
            _search(source, node.inverse or (), scope, found)
        else:
            assert isinstance(node, Text)


def inner_scope(block: Block, scope: Scope) -> Scope:
    """The scope of a block's body."""
    if block.inverted or block.helper not in (None, "each", "eachAlive", "with") or not block.arguments:
        return scope
    kind = {"with": FrameKind.WITH, "eachAlive": FrameKind.ALIVE}.get(block.helper or "each", FrameKind.LOOP)
    return enter(scope, kind, block.params, foreign=is_foreign(block.arguments[0], scope))


def is_quoted(expression: Expression) -> TypeGuard[Call]:
    return isinstance(expression, Call) and expression.name == "sh"


def _look(source: Source, node: Output, scope: Scope, found: list[Finding]) -> None:
    if not is_foreign(node.expression, scope) or (isinstance(node.expression, Call) and node.expression.name == "log"):
        return
    text = source.text[node.at : node.end]
    inner = text.strip("{}~& \t\n")
    if is_quoted(node.expression):
        if not inside_quotes(source, node.at):
            return
        reason, suggestion = (
            "sh inside quotes: the quotes that it adds are only text there",
            f"{{{{{inner}}}}} without the quotes around it",
        )
    else:
        simple = isinstance(node.expression, Literal) or not isinstance(node.expression, Call)
        reason, suggestion = "the shell would interpret this value", f"{{{{sh {inner}}}}}" if simple else f"{{{{sh ({inner})}}}}"
    found.append(Finding(line=source.line_of(node.at), expression=text, reason=reason, suggestion=suggestion))


def inside_quotes(source: Source, offset: int) -> bool:
    """Whether an offset stands within '…' or "…" of its own line."""
    start = source.text.rfind("\n", 0, offset) + 1
    quote, escaped, comment = "", False, False
    braces = 0
    for index in range(max(start, offset - 10_000), offset):
        character = source.text[index]
        if source.text.startswith("{{", index):
            braces += 1
        elif source.text.startswith("}}", index):
            braces -= 1
        if braces > 0 or comment:  # quotes inside a mustache are the template's
            continue
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#" and (index == start or source.text[index - 1] in " \t;"):
            comment = True
    return bool(quote) and not comment
