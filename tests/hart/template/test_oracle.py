"""The compiled template against an obviously right, slow reading of the same tree.

The tree is made here, written as a template, and rendered twice: by the engine, and by `expected`, which keeps a list of contexts and
follows the rules of Handlebars word by word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hart.template.engine import compile_template


@dataclass(frozen=True)
class Name:
    """A path: so many `../`, then keys."""

    up: int
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return "../" * self.up + (".".join(self.keys) or "this")


@dataclass(frozen=True)
class Say:
    words: str


@dataclass(frozen=True)
class Put:
    name: Name


@dataclass(frozen=True)
class Part:
    """A block: head, subject, body, else."""

    head: str
    name: Name
    body: tuple[Any, ...]
    other: tuple[Any, ...] | None


def written(nodes: tuple[Any, ...]) -> str:
    out = ""
    for node in nodes:
        if isinstance(node, Say):
            out += node.words
        elif isinstance(node, Put):
            out += f"{{{{{node.name}}}}}"
        else:
            other = "" if node.other is None else "{{else}}" + written(node.other)
            out += f"{{{{#{node.head} {node.name}}}}}{written(node.body)}{other}{{{{/{node.head}}}}}"
    return out


def found(name: Name, contexts: list[Any]) -> Any:
    """None for what is not there, which looks the same in lenient templates."""
    value = contexts[max(len(contexts) - 1 - name.up, 0)]
    for key in name.keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = None
    return value


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return {True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "[" + ", ".join(shown(entry) for entry in value) + "]"
    return "[object]" if isinstance(value, dict) else str(value)


def expected(nodes: tuple[Any, ...], contexts: list[Any]) -> str:
    out = ""
    for node in nodes:
        if isinstance(node, Say):
            out += node.words
            continue
        value = found(node.name, contexts)
        if isinstance(node, Put):
            out += shown(value)
            continue
        other = node.other or ()
        if node.head == "if":
            out += expected(node.body if value else other, contexts)
        elif node.head == "unless":
            out += expected(other if value else node.body, contexts)
        elif node.head == "with":
            out += expected(node.body, [*contexts, value]) if value else expected(other, contexts)
        else:
            entries = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
            for entry in entries:
                out += expected(node.body, [*contexts, entry])
            if not entries:
                out += expected(other, contexts)
    return out


keys = st.sampled_from(["a", "b", "0", "1"])
names = st.builds(Name, st.integers(0, 3), st.lists(keys, max_size=2).map(tuple)).filter(
    lambda name: name.up == 0 if not name.keys else name.up > 0 or not name.keys[0].isdigit()  # `{{0}}` is a number
)
says = st.builds(Say, st.text("xy, -", min_size=1, max_size=4))
nodes = st.recursive(
    says | st.builds(Put, names),
    lambda inner: st.builds(
        Part,
        st.sampled_from(["if", "unless", "each", "with"]),
        names,
        st.lists(inner, max_size=3).map(tuple),
        st.none() | st.lists(inner, max_size=2).map(tuple),
    ),
    max_leaves=10,
)
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.text("pq", max_size=2)
data = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12)
contexts = st.dictionaries(keys, data, max_size=4)


@given(st.lists(nodes, max_size=5).map(tuple), contexts)
def test_compiled_and_read_slowly_are_the_same(tree: tuple[Any, ...], context: dict[str, Any]) -> None:
    """The compiler's scopes, tests and loops follow the rules."""
    template = compile_template(written(tree), name="t", strict=False)
    assert template.render(context) == expected(tree, [context])
