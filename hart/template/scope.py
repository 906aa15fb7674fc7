"""Which value a path means at a place in a template, decided before anything is rendered.

Rules, after Handlebars: `each`, `eachAlive`, `with` and sections open a scope, `if` and `unless` do not; a name is a block parameter of
the nearest block that has it, else a key of the innermost scope's value; it never falls through to outer scopes. `@index`, `@key`,
`@first` and `@last` belong to the nearest loop; `with` passes them on. More `../` than there are scopes is nothing in strict templates;
in lenient ones it is the root, which is what the plans that do it mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hart.template.nodes import Call, Expression, Literal, Path


class FrameKind(StrEnum):
    ROOT = "root"
    LOOP = "loop"
    ALIVE = "alive"  # a loop that counts from 1
    WITH = "with"


class Slot(StrEnum):
    """What of a frame a path starts at."""

    VALUE = "value"
    KEY = "key"
    INDEX = "index"
    FIRST = "first"
    LAST = "last"


LOCALS = {"index": Slot.INDEX, "key": Slot.KEY, "first": Slot.FIRST, "last": Slot.LAST}


@dataclass(frozen=True, slots=True)
class Frame:
    """One scope. `depth` is its place in the stack, `params` its block parameters, `foreign` whether its value comes from outside
    the package."""

    kind: FrameKind
    depth: int
    params: dict[str, Slot] = field(default_factory=dict)
    foreign: bool = True

    @property
    def is_loop(self) -> bool:
        return self.kind in (FrameKind.LOOP, FrameKind.ALIVE)


ROOT = Frame(FrameKind.ROOT, 0)
Scope = tuple[Frame, ...]  # outermost first


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path starts and the keys that are left. `overshot`: it had more `../` than there are scopes."""

    frame: Frame
    slot: Slot
    keys: tuple[str, ...]
    overshot: bool = False


def enter(scope: Scope, kind: FrameKind, params: tuple[str, ...], *, foreign: bool) -> Scope:
    """The scope inside a block whose value has been found."""
    second = Slot.INDEX if kind is FrameKind.ALIVE else Slot.KEY
    names = dict(zip(params, (Slot.VALUE, second), strict=False))
    return (*scope, Frame(kind, len(scope), names, foreign))


def resolve(path: Path, scope: Scope) -> Target | None:
    """What a path means here; None for an `@name` that no block gives."""
    if path.root:
        return Target(scope[0], Slot.VALUE, path.keys)
    level = len(scope) - 1 - path.up
    if path.local:
        slot = LOCALS.get(path.keys[0])
        while level > 0 and not scope[level].is_loop:  # `with` and the root have none of their own
            level -= 1
        if slot is None or level <= 0 or len(path.keys) > 1:
            return None
        return Target(scope[level], slot, ())
    if path.keys and not path.up and not path.here:
        for frame in reversed(scope):
            if path.keys[0] in frame.params:
                return Target(frame, frame.params[path.keys[0]], path.keys[1:])
    return Target(scope[max(level, 0)], Slot.VALUE, path.keys, overshot=level < 0)


# results that are one of few words whatever they are given
HARMLESS = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len", "pkgPathFor"})


def is_foreign(expression: Expression, scope: Scope) -> bool:
    """Whether a value comes from outside the package: from configuration, from the ring or from the host.

    Only `pkg.…`, literals, places in a loop, and tests on anything are the package's own.
    """
    if isinstance(expression, Literal):
        return False
    if isinstance(expression, Call):
        if expression.name in HARMLESS:
            return False
        return any(is_foreign(argument, scope) for argument in expression.arguments)
    target = resolve(expression, scope)
    if target is None or target.slot in (Slot.INDEX, Slot.FIRST, Slot.LAST):
        return False
    if target.frame.kind is FrameKind.ROOT:
        return target.keys[:1] != ("pkg",)
    return target.frame.foreign
