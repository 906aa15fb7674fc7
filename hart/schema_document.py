"""A config.schema.json as a document: read within bounds, its keywords known, its references inside it.

Rules: keywords are those of KEYWORDS, formats those of FORMATS, another one is an error, so that a misspelt one cannot silently check
nothing; `$ref` leads to a schema of the same document and never back to itself, so nothing is fetched and checking ends; patterns are
safe ones (hart/pattern.py). The rest is for the metaschema of Draft 2020-12 to say.

Source: JSON Schema Core and Validation 2020-12. Not here: what the problems of a configuration are (schema).
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import unquote

from hart.errors import ConfigError, LimitError
from hart.limits import SCHEMA_DEPTH, SCHEMA_MAX, SCHEMA_SIZE
from hart.pattern import safe_pattern
from hart.schema_words import suggest

Node = dict[str, Any]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
TABLES_OF_SCHEMAS: Final = frozenset({"properties", "$defs", "dependentSchemas"})
LISTS_OF_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SCHEMAS: Final = frozenset({"additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else"})
KEYWORDS: Final = (
    TABLES_OF_SCHEMAS
    | LISTS_OF_SCHEMAS
    | SCHEMAS
    | frozenset({"$schema", "$id", "$ref", "$comment", "title", "description", "default", "examples", "deprecated"})
    | frozenset({"secret", "reload", "type", "enum", "const", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
    | frozenset({"multipleOf", "minLength", "maxLength", "pattern", "required", "minProperties", "maxProperties", "dependentRequired"})
    | frozenset({"minItems", "maxItems", "uniqueItems", "minContains", "maxContains"})
)
HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z")


def _is_host_name(text: str) -> bool:
    return HOST_NAME.match(text) is not None


FORMATS: Final = {
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
    "hostname": _is_host_name,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
}


@dataclass(frozen=True, slots=True)
class Document:
    """A schema that can be walked along the data that it describes. `places` holds every schema in it by its JSON pointer."""

    root: Node
    places: dict[str, Node] = field(repr=False)

    def in_place(self, nodes: list[Node]) -> list[Node]:
        """The nodes, and all that speak about the same value: through `$ref`, combinations and conditions, but not `not`."""
        found: list[Node] = []
        waiting = list(reversed(nodes))
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += [inner for inner in self._beside(node) if isinstance(inner, dict)]
        return found

    def _beside(self, node: Node) -> Iterator[Any]:
        if "$ref" in node:
            yield self.places[unquote(node["$ref"])]
        for keyword in ("allOf", "anyOf", "oneOf"):
            yield from node.get(keyword, ())
        for keyword in ("if", "then", "else"):
            yield node.get(keyword)
        yield from node.get("dependentSchemas", {}).values()

    def properties(self, nodes: list[Node]) -> dict[str, list[Node]]:
        """The declared keys of a table, each with the schemas of its value."""
        declared: dict[str, list[Node]] = {}
        for node in nodes:
            for key, inner in node.get("properties", {}).items():
                declared.setdefault(key, []).extend([inner] if isinstance(inner, dict) else [])
        return declared

    def others(self, nodes: list[Node]) -> list[Node]:
        """The schemas of the values of a free table."""
        return [node["additionalProperties"] for node in nodes if isinstance(node.get("additionalProperties"), dict)]

    def entries(self, nodes: list[Node]) -> list[Node]:
        """The schemas of a list's entries, whichever their place."""
        found = [node["items"] for node in nodes if isinstance(node.get("items"), dict)]
        return found + [inner for node in nodes for inner in node.get("prefixItems", ()) if isinstance(inner, dict)]

    def validator(self) -> Any:
        """A jsonschema validator for it, which never fetches anything."""
        from jsonschema import FormatChecker
        from referencing import Registry

        checker = FormatChecker(formats=())
        for name, check in FORMATS.items():
            checker.checks(name, raises=ValueError)(functools.partial(_check_format, check))
        root = {keyword: value for keyword, value in self.root.items() if keyword not in ("$schema", "$id")}
        return _validator_class()(root, registry=Registry(), format_checker=checker)


def _check_format(check: Any, value: object) -> bool:
    return not isinstance(value, str) or check(value) is not False


def read_document(text: str, thing: str) -> Document:
    """A schema from its text; ConfigError names the place in it that is wrong, LimitError the cap that it passes."""
    if len(text) > SCHEMA_MAX:
        raise LimitError(thing, f"is larger than {SCHEMA_MAX} bytes")
    try:
        root = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise LimitError(thing, f"is nested deeper than {SCHEMA_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(thing, f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(thing, f"is not JSON that can be used: {error}") from None
    if not isinstance(root, dict):
        raise ConfigError(thing, "is not a JSON object", next='{"type": "object", "properties": {…}}')
    reader = _Reader(thing)
    reader.read(root, "#", 1)
    _check_against_metaschema(root, thing)
    document = Document(root, reader.places)
    reader.check_references()
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return table


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


class _Reader:
    """Walks one document, collects its schemas by JSON pointer and refuses what the subset does not have."""

    def __init__(self, thing: str) -> None:
        self.thing = thing
        self.places: dict[str, Node] = {}
        self.sizes: dict[int, int] = {}

    def error(self, where: str, cause: str, *, next: str = "") -> ConfigError:  # noqa: A002  the field's word
        return ConfigError(self.thing, f"{where}: {cause}", next=next, where=where)

    def read(self, node: Any, where: str, depth: int) -> None:
        if depth > SCHEMA_DEPTH:
            raise LimitError(self.thing, f"is nested deeper than {SCHEMA_DEPTH}")
        if not isinstance(node, dict):
            if not isinstance(node, bool):
                raise self.error(where, "is neither a schema nor true or false")
            return
        self.places[where] = node
        for keyword, value in node.items():
            if keyword not in KEYWORDS:
                raise self.error(where, f"{keyword!r} is not a keyword of the subset", next=suggest(keyword, KEYWORDS))
            self.check_keyword(keyword, value, where)
            inside = f"{where}/{_pointer(keyword)}"
            if keyword in TABLES_OF_SCHEMAS and isinstance(value, dict):
                for key, inner in value.items():
                    self.read(inner, f"{inside}/{_pointer(key)}", depth + 1)
            elif keyword in LISTS_OF_SCHEMAS and isinstance(value, list):
                for index, inner in enumerate(value):
                    self.read(inner, f"{inside}/{index}", depth + 1)
            elif keyword in SCHEMAS:
                self.read(value, inside, depth + 1)

    def check_keyword(self, keyword: str, value: Any, where: str) -> None:
        if keyword in ("$schema", "$id") and where != "#":
            raise self.error(where, f"{keyword} stands at the top only")
        if keyword == "$schema" and value not in (DRAFT, f"{DRAFT}#"):
            raise self.error(where, f"{value!r} is another draft", next=DRAFT)
        if keyword == "$ref" and not (isinstance(value, str) and (value == "#" or value.startswith("#/"))):
            raise self.error(where, f"$ref {value!r} leads out of this document", next="#/$defs/…; nothing is ever fetched")
        if keyword in ("secret", "reload") and not isinstance(value, bool):
            raise self.error(where, f"{keyword} is true or false")
        if keyword == "format" and value not in FORMATS:
            raise self.error(where, f"format {value!r} is not checked here", next=f"formats: {', '.join(sorted(FORMATS))}; or a pattern")
        if keyword == "pattern" and isinstance(value, str):
            try:
                safe_pattern(value)
            except ValueError as error:
                raise self.error(where, f"pattern {value!r} is refused: {error}", next="write a simpler one, or an enum") from None

    def check_references(self) -> None:
        """Every `$ref` leads to a schema and never back, and the whole, each with what it leads to, stays in bounds."""
        if self.size("#", self.places["#"], frozenset()) > SCHEMA_SIZE:
            raise LimitError(self.thing, f"has more than {SCHEMA_SIZE} schemas in it, each $ref counted with all that it leads to")
        for where, node in self.places.items():
            self.size(where, node, frozenset())

    def size(self, where: str, node: Node, above: frozenset[int]) -> int:
        """How many schemas a schema is, counted through its references."""
        if id(node) in above:
            raise self.error(where, "a $ref leads back to the schema that it is in", next="write the levels that you need")
        known = self.sizes.get(id(node))
        if known is not None:
            return known
        above |= {id(node)}
        total = 1
        if "$ref" in node:
            target = self.places.get(unquote(node["$ref"]))
            if target is None:
                raise self.error(where, f"$ref {node['$ref']!r} leads to no schema", next=suggest(node["$ref"], self.places))
            total += self.size(where, target, above)
        for keyword, value in node.items():
            inside = f"{where}/{_pointer(keyword)}"
            for key, inner in _below(keyword, value):
                total += self.size(f"{inside}/{_pointer(key)}" if key else inside, inner, above)
        total = min(total, SCHEMA_SIZE + 1)
        self.sizes[id(node)] = total
        return total


def _below(keyword: str, value: Any) -> Iterator[tuple[str, Node]]:
    """The schemas directly under a keyword that hold for data; `$defs` count where they are referred to."""
    if keyword in ("properties", "dependentSchemas"):
        yield from ((key, inner) for key, inner in value.items() if isinstance(inner, dict))
    elif keyword in LISTS_OF_SCHEMAS:
        yield from ((str(index), inner) for index, inner in enumerate(value) if isinstance(inner, dict))
    elif keyword in SCHEMAS and isinstance(value, dict):
        yield "", value


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _check_against_metaschema(root: Node, thing: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(root)
    except SchemaError as error:
        where = "/".join(["#", *(_pointer(str(part)) for part in error.absolute_path)])
        raise ConfigError(thing, f"{where}: {error.message[:200]}", where=where) from None


@functools.cache
def _validator_class() -> Any:
    """Draft 2020-12 with our `pattern`, and a `uniqueItems` that takes no quadratic time."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend as extend_untyped

    extend: Any = extend_untyped  # its stub has no types

    def pattern(_validator: Any, text: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str):
            compiled = _pattern(text)
            if len(instance) > compiled.longest:
                yield ValidationError(f"is longer than the {compiled.longest} characters that the pattern {text} is tried on")
            elif not compiled.found_in(instance):
                yield ValidationError(f"does not match the pattern {text}")

    def unique_items(_validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        if wanted and isinstance(instance, list) and len({_canonical(entry) for entry in instance}) < len(instance):
            yield ValidationError("holds an entry twice")

    return extend(Draft202012Validator, {"pattern": pattern, "uniqueItems": unique_items})


_pattern = functools.lru_cache(maxsize=256)(safe_pattern)


def _canonical(value: Any) -> str:
    """One text for each JSON value: 1 and 1.0 are the same number, true is none."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_canonical(inner)}" for key, inner in sorted(value.items())) + "}"
    return "[" + ",".join(map(_canonical, value)) + "]" if isinstance(value, list) else json.dumps(value)
