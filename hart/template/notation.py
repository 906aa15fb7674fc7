"""Values written out whole: as JSON, TOML or YAML, for `toJson`, `toToml` and `toYaml`.

Rules: tables keep their order; a TOML date is its text in JSON and YAML; NaN and infinities are null in JSON, `.nan` and `.inf` in YAML;
TOML has no null, so null is refused there. A string is written in YAML without quotes only when no YAML 1.1 or 1.2 reader could take it
for anything else. Every value read back is the value that was written.

Source: RFC 8259, TOML 1.0, YAML 1.2.2 (5.1 printable characters, 7.3 flow scalars). Not here: reading.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any, Final

from hart.limits import TEMPLATE_DATA_DEPTH
from hart.template.values import MISSING, BudgetError, HelperError, kind, moment, number


def plain(value: Any, depth: int = TEMPLATE_DATA_DEPTH) -> Any:
    """The same data in dict, list, str, int, float, bool, None and date types; HelperError when it holds anything else."""
    if depth <= 0:
        raise BudgetError(f"it writes a value deeper than {TEMPLATE_DATA_DEPTH}")
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, bool | int | float | datetime | date | time):
        return value
    if isinstance(value, Mapping):
        return {scalar_key(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth - 1) for inner in value]
    if value is MISSING:
        return None
    raise HelperError(f"cannot write {kind(value)}: only plain data")


def scalar_key(key: Any) -> str:
    if not isinstance(key, str):
        raise HelperError(f"cannot write a table with a key that is {kind(key)}")
    return str.__str__(key)


def to_json(value: Any) -> str:
    """JSON with an indent of two."""
    return json.dumps(_json(plain(value)), indent=2, ensure_ascii=False, allow_nan=False)


def _json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date | time):
        return moment(value)
    if isinstance(value, dict):
        return {key: _json(inner) for key, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list) else value


def to_toml(value: Any) -> str:
    """A table as a TOML document; anything else as a value on one line. HelperError for null."""
    ready = plain(value)
    if holds_null(ready):
        raise HelperError("cannot write null: TOML has no such value")
    if isinstance(ready, dict):
        from hart.toml import dumps

        return dumps(ready)
    return toml_value(ready)


def holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(holds_null(inner) for inner in value.values())
    return any(holds_null(inner) for inner in value) if isinstance(value, list) else value is None


def toml_value(value: Any) -> str:
    """One value, inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value, TOML_UNPRINTABLE)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime | date | time):
        return moment(value)
    if isinstance(value, list):
        return f"[{', '.join(toml_value(inner) for inner in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{quoted(key, TOML_UNPRINTABLE)} = {toml_value(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value)


SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
TOML_UNPRINTABLE = re.compile(r'["\\\x00-\x1f\x7f]')
YAML_UNPRINTABLE = re.compile('["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]')


def quoted(text: str, escape: re.Pattern[str]) -> str:
    """A string in double quotes, with the escapes that JSON, TOML and YAML share."""
    inner = escape.sub(lambda match: SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}", text)
    return f'"{inner}"'


# Letters first, then what no indicator can start in; `: ` and ` #` end a plain scalar
YAML_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./@+%=-]|:(?=[A-Za-z0-9_./])| (?=[A-Za-z0-9_./]))*")
YAML_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"})


def yaml_string(text: str) -> str:
    """A string as a YAML scalar: plain when that is safe, else in single quotes, else in double quotes."""
    if YAML_PLAIN.fullmatch(text) and text.lower() not in YAML_WORDS:
        return text
    if YAML_UNPRINTABLE.search(text.replace('"', "").replace("\\", "")):
        return quoted(text, YAML_UNPRINTABLE)
    return "'" + text.replace("'", "''") + "'"


def yaml_scalar(value: Any) -> str:
    """Anything but a table or list that holds something."""
    if isinstance(value, str):
        return yaml_string(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        if math.isinf(value):
            return ".inf" if value > 0 else "-.inf"
        return _yaml_float(value)
    if isinstance(value, datetime | date | time):
        return f"'{moment(value)}'"
    if isinstance(value, dict):
        return "{}"
    return "[]" if isinstance(value, list) else str(value)


def _yaml_float(value: float) -> str:
    """A float that YAML 1.1 takes for one too: it wants a point before the exponent, and a sign in it."""
    digits, _, exponent = number(value).partition("e")
    digits = digits if "." in digits else f"{digits}.0"
    return f"{digits}e{int(exponent):+d}" if exponent else digits


def to_yaml(value: Any) -> str:
    """A YAML document of block style, lists at their key's indent, ending with a newline."""
    return "\n".join(_yaml_lines(plain(value), "")) + "\n"


def _yaml_lines(value: Any, indent: str) -> list[str]:
    lines: list[str] = []
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if isinstance(inner, dict) and inner:
                lines += [f"{indent}{yaml_key(key)}:", *_yaml_lines(inner, indent + "  ")]
            elif isinstance(inner, list) and inner:
                lines += [f"{indent}{yaml_key(key)}:", *_yaml_lines(inner, indent)]
            else:
                lines.append(f"{indent}{yaml_key(key)}: {yaml_scalar(inner)}")
    elif isinstance(value, list) and value:
        for inner in value:
            first, *rest = _yaml_lines(inner, indent + "  ")
            lines += [f"{indent}- {first[len(indent) + 2 :]}", *rest]
    else:
        lines.append(indent + yaml_scalar(value))
    return lines


def yaml_key(key: str) -> str:
    """A table's key. Beyond 128 characters YAML would want the long form (`? key`), which no configuration needs."""
    if len(key) > 128:
        raise HelperError("cannot write a key longer than 128 characters as YAML")
    return yaml_string(key)
