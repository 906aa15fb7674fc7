"""What a schema's complaint says to people: the dotted key, and a sentence with the value and the bound.

Rules: a secret value is never part of a message; a value is shown as one short word or by its kind; what may have been meant is said.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

ANY: Final = "*"  # in a marked key: any entry of a list, any name of a free table
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
SHOWN_MAX: Final = 60  # characters of a value in a message
LISTED_MAX: Final = 8  # names in a message
KINDS: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def name(path: Sequence[str | int]) -> str:
    """A key for people and for marks: `users[0].name`, `users.*.name`, `"odd key".x`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part if part == ANY or BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{word}" if text else word
    return text


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for a key that nothing declares."""
    return f"is not a key of this configuration; {suggest(key, known)}"


def suggest(word: str, known: Iterable[str]) -> str:
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names[:1000], n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(names[:LISTED_MAX])}{', …' if len(names) > LISTED_MAX else ''}" if names else "there is none"


def explain(error: ValidationError, *, secret: bool) -> tuple[str, str]:
    """The key and the message of one complaint of jsonschema."""
    path: list[str | int] = list(error.absolute_path)
    keyword, bound = str(error.validator), error.validator_value
    instance: Any = error.instance
    if keyword == "required":
        missing = ast.literal_eval(error.message.removesuffix(" is a required property"))  # the only place that says which one
        return name([*path, missing]), "is required, and missing"
    if keyword == "additionalProperties" and isinstance(instance, dict):
        declared = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        extra = [key for key in instance if key not in declared]
        return name([*path, *extra[:1]]), unknown_key(extra[0] if extra else "", declared)
    value = "the value" if secret else show(instance)
    words = WORDS.get(keyword)
    message = words(value, bound, error) if words else f"{value} does not satisfy {keyword}"
    if "propertyNames" in error.absolute_schema_path:
        message = f"a key of it is wrong: {message}"
    return name(path), message


def show(value: Any) -> str:
    """A value as one short word."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def _kinds(bound: Any) -> str:
    names = [bound] if isinstance(bound, str) else list(bound)
    return " or ".join(KINDS.get(str(entry), str(entry)) for entry in names)


def _choice(value: str, bound: Any, error: ValidationError) -> str:
    listed = ", ".join(show(entry) for entry in bound[:LISTED_MAX]) + (", …" if len(bound) > LISTED_MAX else "")
    message = f"{value} is none of {listed}"
    if value != "the value" and isinstance(error.instance, str):
        import difflib

        close = difflib.get_close_matches(error.instance, [entry for entry in bound if isinstance(entry, str)], n=1)
        message += f"; did you mean {show(close[0])}?" if close else ""
    return message


def _forms(value: str, bound: Any, error: ValidationError) -> str:
    """`anyOf` and `oneOf`: the complaint that is nearest to being right, when there is one."""
    if not error.context:
        return f"{value} fits more than one of the {len(bound)} allowed forms"
    if value == "the value":
        return f"{value} fits none of the {len(bound)} allowed forms"
    from jsonschema.exceptions import best_match

    best = best_match(error.context)
    if best is None or best.validator in ("anyOf", "oneOf"):
        return f"{value} fits none of the {len(bound)} allowed forms"
    key, message = explain(best, secret=False)
    own = name(list(error.absolute_path))
    inner = message if key == own else f"{key}: {message}"
    return f"{value} fits none of the {len(bound)} allowed forms; nearest: {inner}"


Words = Callable[[str, Any, "ValidationError"], str]
WORDS: Final[dict[str, Words]] = {
    "type": lambda value, bound, _: f"{value} is not {_kinds(bound)}",
    "minimum": lambda value, bound, _: f"{value} is less than the minimum {bound}",
    "maximum": lambda value, bound, _: f"{value} is more than the maximum {bound}",
    "exclusiveMinimum": lambda value, bound, _: f"{value} is not more than {bound}",
    "exclusiveMaximum": lambda value, bound, _: f"{value} is not less than {bound}",
    "multipleOf": lambda value, bound, _: f"{value} is not a multiple of {bound}",
    "minLength": lambda value, bound, _: f"{value} is shorter than {bound} characters",
    "maxLength": lambda value, bound, _: f"{value} is longer than {bound} characters",
    "pattern": lambda value, _, error: f"{value} {error.message}",
    "enum": _choice,
    "const": lambda value, bound, _: f"{value} is not {show(bound)}",
    "format": lambda value, bound, _: f"{value} is not written as {bound} is",
    "minItems": lambda value, bound, _: f"{value} entries is fewer than {bound}",
    "maxItems": lambda value, bound, _: f"{value} entries is more than {bound}",
    "uniqueItems": lambda value, _bound, _: f"{value} entries holds one of them twice",
    "contains": lambda value, _bound, _: f"{value} entries has too few or too many of the wanted ones",
    "minProperties": lambda _, bound, __: f"has fewer keys than {bound}",
    "maxProperties": lambda _, bound, __: f"has more keys than {bound}",
    "dependentRequired": lambda _, _bound, error: error.message.replace("'", ""),
    "anyOf": _forms,
    "oneOf": _forms,
    "not": lambda value, _bound, _: f"{value} is one that is not allowed",
    "False schema": lambda value, _bound, _: f"{value} is not allowed here",
}
