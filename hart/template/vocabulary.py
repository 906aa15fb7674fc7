"""The helpers that give a value: Habitat's, the Rust crate's tests, and `sh`.

    lookup collection key      one entry; null when there is none, in strict templates too
    eq ne gt gte lt lte a b    and or …  not a  len a
    pkgPathFor "origin/name"   where that dependency is installed; nothing when there is none (strict: an error)
    strConcat a …  strJoin list separator  strReplace text old new  toUppercase text  toLowercase text
    toJson a  toToml a  toYaml a
    sh a                       the value as one word of a shell command; a list as several

Rules: a helper is a pure function of its arguments, checked for count when the template is compiled; it pays for text before it makes
it. In lenient templates a missing text is an empty one. Unlike Habitat's, strConcat and strJoin take out double quotes only and leave
backslashes alone. `log` writes nowhere and is known to the compiler, as are the block helpers.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hart.template import notation
from hart.template.values import MISSING, Budget, HelperError, kind, scalar, show, step, truth

INDEX_MAX: Final = 10**9  # above any list's length


@dataclass(frozen=True, slots=True)
class Helper:
    """`least` and `most` count its arguments; `most` None means any number."""

    name: str
    run: Callable[..., Any]
    least: int
    most: int | None


def text_of(value: Any, helper: str, budget: Budget) -> str:
    """An argument as text: strings, and lenient also numbers, truth values and what is missing."""
    if isinstance(value, str):
        return str.__str__(value)
    if budget.strict and value is None:
        raise HelperError(f"{helper} needs a string, not nothing", next="give the key a value, or test it first")
    if isinstance(value, Mapping | list | tuple):
        raise HelperError(f"{helper} needs a string, not {kind(value)}")
    return scalar(value)


def lookup(_: Budget, collection: Any, key: Any) -> Any:
    """A table's entry by name, or a list's by index."""
    if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < INDEX_MAX:
        key = str(key)
    found = step(collection, key) if isinstance(key, str) else MISSING
    return None if found is MISSING else found


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 is not 1.0, nor true, nor "1"."""
    left, right = (None if value is MISSING else value for value in (left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return type(left) is type(right) and bool(left == right)


def order(left: Any, right: Any) -> int | None:
    """-1, 0 or 1; None when the two cannot be compared. A string that is a number compares with numbers."""
    if isinstance(left, str) and is_number(right):
        left = as_number(left)
    elif isinstance(right, str) and is_number(left):
        right = as_number(right)
    alike = (
        (isinstance(left, bool) and isinstance(right, bool))
        or (is_number(left) and is_number(right))
        or (isinstance(left, str) and isinstance(right, str))
    )
    if not alike or left != left or right != right:
        return None
    return int(left > right) - int(left < right)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(text: str) -> int | float | None:
    if len(text) > 64 or "_" in text or text != text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def length(_: Budget, value: Any) -> int:
    """Entries of a list or table, bytes of a string, else 0."""
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    return len(value) if isinstance(value, Mapping | list | tuple) else 0


def package_path(budget: Budget, wanted: Any) -> str:
    """The install path of the direct dependency that satisfies an ident; its root is that of `pkg.path`."""
    parts = wanted.split("/") if isinstance(wanted, str) else []
    if not 2 <= len(parts) <= 4 or not all(parts):
        raise HelperError('pkgPathFor needs an ident such as "core/openssl"')
    package = step(budget.root, "pkg")
    deps = step(package, "deps")
    names = ("origin", "name", "version", "release")
    known: list[str] = []
    for dep in deps if isinstance(deps, list | tuple) else ():
        ident = [scalar(step(dep, name)) for name in names]
        if ident[: len(parts)] == parts:
            return f"{packages_root(package)}/{'/'.join(ident)}"
        known.append("/".join(ident[:2]))
    if budget.strict:
        listed = f"its dependencies are {', '.join(sorted(known)[:8])}" if known else "it has no dependencies"
        raise HelperError(f"the package does not depend on {wanted}", next=f"{listed}; add it to the plan's deps")
    return ""


def packages_root(package: Any) -> str:
    """`<root>/pkgs`: the package's own path less its ident."""
    path = step(package, "path")
    root, *ident = path.rsplit("/", 4) if isinstance(path, str) else [""]
    return root if len(ident) == 4 and root else "/hab/pkgs"


def without_quotes(value: Any, budget: Budget) -> str:
    return show(value, budget, 0).replace('"', "")


def concat(budget: Budget, *values: Any) -> str:
    parts = [without_quotes(value, budget) for value in values if not isinstance(value, Mapping)]
    budget.spend(sum(map(len, parts)))
    return "".join(parts)


def join(budget: Budget, values: Any, separator: Any) -> str:
    if not isinstance(values, list | tuple):
        if values is MISSING and not budget.strict:
            return ""
        raise HelperError(f"strJoin needs a list, not {kind(values)}")
    between = text_of(separator, "strJoin", budget)
    parts = [without_quotes(value, budget) for value in values if not isinstance(value, Mapping)]
    budget.spend(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def replace(budget: Budget, text: Any, old: Any, new: Any) -> str:
    text, old, new = (text_of(value, "strReplace", budget) for value in (text, old, new))
    budget.spend(len(text) + text.count(old) * len(new))  # "".count("") is length + 1: an empty `old` is paid for as well
    return str(text.replace(old, new))


def changed(name: str, change: Callable[[str], str]) -> Callable[[Budget, Any], str]:
    def run(budget: Budget, value: Any) -> str:
        text = text_of(value, name, budget)
        budget.spend(len(text) * 3)  # the longest case mapping: ΐ becomes three characters
        return change(text)

    return run


def written(name: str, write: Callable[[Any], str]) -> Callable[[Budget, Any], str]:
    def run(budget: Budget, value: Any) -> str:
        try:
            text = write(value)
        except HelperError as refused:
            raise HelperError(f"{name} {refused.cause}", next=refused.next) from None
        budget.spend(len(text))
        return text

    return run


def shell_word(budget: Budget, value: Any) -> str:
    """The value quoted for a POSIX shell, outside of other quotes. A list gives a word for each entry."""
    if isinstance(value, list | tuple):
        return " ".join(shell_word(budget, entry) for entry in value)
    if isinstance(value, Mapping):
        raise HelperError("sh needs a string, not a table", next="(toJson …) makes one of it")
    text = scalar(value)
    if "\0" in text:
        raise HelperError("the value holds a NUL byte, which no argument of a command can hold")
    budget.spend(len(text))
    return shlex.quote(text)


HELPERS: Final[dict[str, Helper]] = {
    helper.name: helper
    for helper in (
        Helper("lookup", lookup, 2, 2),
        Helper("eq", lambda _, left, right: equal(left, right), 2, 2),
        Helper("ne", lambda _, left, right: not equal(left, right), 2, 2),
        Helper("gt", lambda _, left, right: order(left, right) == 1, 2, 2),
        Helper("gte", lambda _, left, right: order(left, right) in (0, 1), 2, 2),
        Helper("lt", lambda _, left, right: order(left, right) == -1, 2, 2),
        Helper("lte", lambda _, left, right: order(left, right) in (0, -1), 2, 2),
        Helper("and", lambda _, *values: all(map(truth, values)), 1, None),
        Helper("or", lambda _, *values: any(map(truth, values)), 1, None),
        Helper("not", lambda _, value: not truth(value), 1, 1),
        Helper("len", length, 1, 1),
        Helper("pkgPathFor", package_path, 1, 1),
        Helper("strConcat", concat, 1, None),
        Helper("strJoin", join, 2, 2),
        Helper("strReplace", replace, 3, 3),
        Helper("toUppercase", changed("toUppercase", str.upper), 1, 1),
        Helper("toLowercase", changed("toLowercase", str.lower), 1, 1),
        Helper("toJson", written("toJson", notation.to_json), 1, 1),
        Helper("toToml", written("toToml", notation.to_toml), 1, 1),
        Helper("toYaml", written("toYaml", notation.to_yaml), 1, 1),
        Helper("sh", shell_word, 1, 1),
    )
}
