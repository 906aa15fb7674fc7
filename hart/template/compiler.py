"""Tree → Python function.

A template becomes one Python function whose source is made of fixed words, variable numbers and indexes into a table of constants: no
character of the template or of a value is ever part of it. Scopes become local variables (`c1` a value, `i1` its index, `k1` its key,
`l1` the last index), so that `../x` and block parameters cost nothing at run time.

Rules: strict templates take `need` for lookups, which refuses what is not defined, everywhere but behind `lookup`; lenient ones take
`walk`, which gives nothing. In a strict hook a foreign value that is not quoted by `sh` is guarded: only characters without a meaning to
the shell pass; `{{{x}}}` says that the author wants the text as it is.

Not here: what lookups and helpers do (values, vocabulary), errors for people (engine).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, Final

from hart.template import values
from hart.template.nodes import Block, Body, Call, Expression, Literal, Output, Path, Text
from hart.template.parser import BLOCK_HELPERS, TESTS
from hart.template.scope import ROOT, FrameKind, Scope, Slot, is_foreign, resolve
from hart.template.shell import inner_scope, inside_quotes, is_quoted
from hart.template.source import Source
from hart.template.values import Budget, DataError, HelperError, scalar, show
from hart.template.vocabulary import HELPERS, Helper, shell_word

Render = Callable[[Budget, Any], list[str]]
SAFE_IN_SHELL = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
SECTION: Final = "#section"


def compile_body(source: Source, body: Body, *, strict: bool, hook: bool) -> tuple[Render, list[Expression]]:
    """The function that renders, and the expression of each site; raises TemplateError for names and counts that cannot be right."""
    compiler = _Compiler(source, strict=strict, guarded=strict and hook)
    compiler.body(body, (ROOT,), 1)
    lines = ["def render(budget, c0):", " out = []", " add = out.append", *compiler.lines, " return out"]
    code = compile("\n".join(lines), "<template>", "exec", dont_inherit=True, optimize=2)
    namespace: dict[str, Any] = compiler.constants
    namespace.update(RUNTIME)
    exec(code, namespace)  # noqa: S102  the source is made of our own words and numbers only, see above
    return namespace["render"], compiler.sites


def call(budget: Budget, site: int, helper: Helper, *arguments: Any) -> Any:
    """Run a helper; what it refuses becomes a DataError at its place."""
    try:
        return helper.run(budget, *arguments)
    except HelperError as refused:
        raise DataError(site, refused.cause, next=refused.next) from None
    except DataError as fault:
        raise DataError(site, fault.cause, next=fault.next) from None


def guard(value: Any, budget: Budget, site: int) -> str:
    """A foreign value in a strict hook, as text that the shell takes for nothing but text."""
    text = value if type(value) is str else show(value, budget, site)
    if SAFE_IN_SHELL.fullmatch(text):
        return text
    raise DataError(site, "the value has characters that the shell would interpret", next="quote it: {{sh …}}, outside of other quotes")


def guard_quoted(value: Any, budget: Budget, site: int) -> str:
    """A foreign value in `sh` inside quotes, where the quotes that sh adds protect nothing."""
    text = shell_word(budget, value)
    if (
        not text
        or text == scalar(value)
        or text
        == shlex.join(map(scalar, value) if isinstance(value, list) else ())
        == " ".join(map(scalar, value) if isinstance(value, list) else ())
    ):
        return text
    raise DataError(
        site, "the value needs the quotes of sh, which protect nothing inside other quotes", next="take away the quotes around it"
    )


RUNTIME: Final[dict[str, Any]] = {
    "__builtins__": {},
    "call": call,
    "each": values.each,
    "each_alive": values.each_alive,
    "guard": guard,
    "guard_quoted": guard_quoted,
    "need": values.need,
    "section": values.section,
    "show": show,
    "str": str,
    "truth": values.truth,
    "truth_or_zero": values.truth_or_zero,
    "type": type,
    "walk": values.walk,
    "MISSING": values.MISSING,
}


class _Compiler:
    def __init__(self, source: Source, *, strict: bool, guarded: bool) -> None:
        self.source = source
        self.strict = strict
        self.guarded = guarded
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.known: dict[tuple[type, Any], str] = {}
        self.sites: list[Expression] = []

    def constant(self, value: Any) -> str:
        """The name of a constant: the same for the same value."""
        key = (type(value), value)
        name = self.known.get(key)
        if name is None:
            name = self.known[key] = f"K{len(self.known)}"
            self.constants[name] = value
        return name

    def site(self, expression: Expression) -> int:
        self.sites.append(expression)
        return len(self.sites) - 1

    def body(self, body: Body, scope: Scope, indent: int) -> None:
        """Statements for a list of nodes; at least one."""
        space = " " * indent
        if not body:
            self.lines.append(f"{space}pass")
        for node in body:
            if isinstance(node, Text):
                self.lines.append(f"{space}add({self.constant(node.value)})")
            elif isinstance(node, Output):
                self.lines.append(space + self.output(node, scope))
            else:
                self.block(node, scope, indent, "if")

    def output(self, node: Output, scope: Scope) -> str:
        expression = node.expression
        if isinstance(expression, Call) and expression.name == "log":
            for argument in expression.arguments:
                self.value(argument, scope)  # for its complaints
            return "pass"
        if isinstance(expression, Literal):
            return f"add({self.constant(scalar(expression.value))})"
        if self.guarded and not node.raw and is_foreign(expression, scope):
            if not is_quoted(expression):
                return f"add(guard({self.value(expression, scope)}, budget, {self.site(expression)}))"
            if inside_quotes(self.source, node.at):
                value = self.value(self.checked(expression).arguments[0], scope)
                return f"add(guard_quoted({value}, budget, {self.site(expression)}))"
        value = self.value(expression, scope)
        return f"add(v if type(v := {value}) is str else show(v, budget, {self.site(expression)}))"

    def value(self, expression: Expression, scope: Scope, *, optional: bool = False) -> str:
        """A Python expression for a value."""
        if isinstance(expression, Literal):
            return self.constant(expression.value)
        if isinstance(expression, Path):
            return self.path(expression, scope)
        checked = self.checked(expression)
        helper = self.constant(HELPERS[checked.name])
        arguments = [self.value(argument, scope) for argument in checked.arguments]
        return f"call(budget, {self.site(expression)}, {', '.join([helper, *arguments])})"

    def checked(self, expression: Call) -> Call:
        """A call to a helper that exists, with as many arguments as it takes."""
        helper = HELPERS.get(expression.name)
        if helper is None:
            if expression.name in BLOCK_HELPERS:
                raise self.source.error(expression.at, f"{expression.name} is a block helper", next=f"{{{{#{expression.name} …}}}}")
            raise self.source.error(expression.at, f"there is no helper {expression.name!r}", next=near(expression.name, [*HELPERS, "log"]))
        given = len(expression.arguments)
        if given < helper.least or (helper.most is not None and given > helper.most and self.strict):
            takes = f"{helper.least} or more" if helper.most is None else str(helper.least)
            raise self.source.error(expression.at, f"{helper.name} takes {takes} values, not {given}")
        if expression.hash and self.strict:
            raise self.source.error(expression.at, f"{helper.name} takes no argument {expression.hash[0][0]}=")
        if helper.most is not None and given > helper.most:  # lenient: as Habitat, which looks at the first ones only
            return Call(expression.name, expression.arguments[: helper.most], (), expression.at)
        return expression

    def path(self, path: Path, scope: Scope) -> str:
        target = resolve(path, scope)
        if target is None:
            if self.strict:
                raise self.source.error(path.at, f"{path.text} is not defined here", next="@index, @key, @first and @last belong to each")
            return "MISSING"
        if target.overshot and self.strict:
            raise self.source.error(
                path.at, f"{path.text} goes further out than the template is nested", next="@root starts at the outside"
            )
        depth = target.frame.depth
        first = 1 if target.frame.kind is FrameKind.ALIVE else 0
        match target.slot:
            case Slot.VALUE:
                start = f"c{depth}"
            case Slot.KEY:
                start = f"k{depth}"
            case Slot.INDEX:
                start = f"i{depth}"
            case Slot.FIRST:
                return f"(i{depth} == {self.constant(first)})"
            case Slot.LAST:
                return f"(i{depth} == l{depth})"
        if not target.keys:
            return start
        keys = self.constant(target.keys)
        return f"need({start}, {keys}, {self.site(path)})" if self.strict else f"walk({start}, {keys})"

    def block(self, block: Block, scope: Scope, indent: int, keyword: str) -> None:
        """A block's statements. `keyword` is `elif` when it continues a chain of tests."""
        self.check(block)
        space = " " * indent
        if block.helper == "raw":
            self.body(block.body, scope, indent)
            return
        if block.inverted and block.helper not in ("if", "unless"):
            self.lines.append(f"{space}{keyword} not truth({self.subject(block, scope)}):")
            self.body(block.body, scope, indent + 1)
        elif block.helper in ("if", "unless") or block.helper in TESTS:
            self.lines.append(f"{space}{keyword} {self.test(block, scope)}:")
            self.body(block.body, scope, indent + 1)
        elif block.helper == "with":
            depth = len(scope)
            self.lines.append(f"{space}if truth(c{depth} := {self.subject(block, scope)}):")
            self.body(block.body, inner_scope(block, scope), indent + 1)
        else:
            self.loop(block, scope, indent)
        if block.inverse is None:
            return
        only = block.inverse[0] if len(block.inverse) == 1 else None
        if isinstance(only, Block) and only.chained and (only.helper in ("if", "unless") or only.helper in TESTS):
            self.block(only, scope, indent, "elif")
        else:
            self.lines.append(f"{space}else:")
            self.body(block.inverse, scope, indent + 1)

    def subject(self, block: Block, scope: Scope) -> str:
        if block.helper in TESTS:
            return self.value(Call(block.helper, block.arguments, block.hash, block.at), scope)
        return self.value(block.arguments[0], scope)

    def test(self, block: Block, scope: Scope) -> str:
        """The condition of `if`, `unless`, or of a helper such as `eq` as a block."""
        zero = next((value for name, value in block.hash if name == "includeZero"), None)
        truth = "truth_or_zero" if isinstance(zero, Literal) and zero.value is True else "truth"
        no = "not " if (block.helper == "unless") != block.inverted else ""
        return f"{no}{truth}({self.subject(block, scope)})"

    def loop(self, block: Block, scope: Scope, indent: int) -> None:
        """`each`, `eachAlive` or a section: an `if` on the number of turns, with the loop in it."""
        space, depth = " " * indent, len(scope)
        weight = max(len(block.body), 1)
        subject = self.subject(block, scope)
        if block.helper is None:
            turns = f"section({subject}, {self.current(scope)}, budget, {weight})"
        else:
            name = "each_alive" if block.helper == "eachAlive" else "each"
            turns = f"{name}({subject}, budget, {weight}, {self.site(block.arguments[0])})"
        last = f"n{depth}" if block.helper == "eachAlive" else f"n{depth} - {self.constant(1)}"
        self.lines += [
            f"{space}n{depth}, t{depth} = {turns}",
            f"{space}if n{depth}:",
            f"{space} l{depth} = {last}",
            f"{space} for i{depth}, k{depth}, c{depth} in t{depth}:",
        ]
        self.body(block.body, inner_scope(block, scope), indent + 2)

    def current(self, scope: Scope) -> str:
        return f"c{scope[-1].depth}"

    def check(self, block: Block) -> None:
        """Counts and names of a block's arguments. Lenient templates may give too many, as Habitat's may."""
        name, given = block.helper, len(block.arguments)
        if name in TESTS:
            return  # `checked` does it
        wanted = 0 if name == "raw" else 1
        if given < wanted or (given > wanted and self.strict):
            hint = "combine tests with (and a b) or (or a b)" if name in ("if", "unless") else ""
            raise self.source.error(block.at, f"{name} takes {wanted} value, not {given}" if wanted else "raw takes no values", next=hint)
        unknown = next((key for key, _ in block.hash if not (key == "includeZero" and name in ("if", "unless"))), None)
        if unknown is not None and self.strict:
            raise self.source.error(block.at, f"{name} takes no argument {unknown}=")


def near(name: str, known: list[str]) -> str:
    """A hint: what the author may have meant."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"helpers: {', '.join(sorted(known))}"
