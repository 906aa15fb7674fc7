"""The schema of a package's configuration: a subset of JSON Schema (Draft 2020-12), with `secret` and `reload`.

Rules:
- A table that declares `properties` is closed: a key that it does not declare is a problem, with what may have been meant, unless
  `additionalProperties` says otherwise. A table that declares none is free.
- `"secret": true` marks a value that is shown nowhere, `"reload": true` one that takes effect without a restart.
- Keywords and formats are those of `hart/schema_document.py`; another one is an error, so a misspelt one cannot silently check
  nothing.
- `$ref` leads to `#/…` in the same document and never back to itself: nothing is ever fetched, and checking ends.
- `pattern` is one that cannot run away (hart/pattern.py); a text that is too long for it is a problem.
- TOML dates are strings here; NaN and infinities are problems, since they pass every comparison.

Problems name the dotted key and never show a secret value. The jsonschema library is imported when the first schema is loaded: it is heavy.
Source: JSON Schema Core and Validation 2020-12.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final

from hart.errors import LimitError
from hart.limits import CONFIG_DEPTH, CONFIG_PROBLEMS_MAX
from hart.schema_document import Document, Node, read_document
from hart.schema_words import ANY, explain, name, unknown_key

REDACTED: Final = "***"
WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^."]+')


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one value. `key` is dotted (`users[0].name`), empty for the configuration as a whole."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"cfg.{self.key}: {self.message}" if self.key else f"cfg: {self.message}"


@dataclass(frozen=True, slots=True)
class Schema:
    """A loaded schema."""

    thing: str
    _document: Document = field(repr=False)
    _validator: Any = field(repr=False)  # a jsonschema validator: its type is not exported
    _secrets: frozenset[str] = field(repr=False)
    _reloads: frozenset[str] = field(repr=False)

    @classmethod
    def load(cls, text: str, *, thing: str) -> Schema:
        """From the text of a config.schema.json. ConfigError (or LimitError) names the place in it that is wrong."""
        document = read_document(text, thing)
        secrets, reloads = set[str](), set[str]()
        _mark(document, [document.root], (), secrets, reloads)
        return cls(thing, document, document.validator(), frozenset(secrets), frozenset(reloads))

    def check(self, config: Mapping[str, Any], *, complete: bool = True) -> list[Problem]:
        """Every problem of a configuration, in the order of its keys; empty when it is good. At most CONFIG_PROBLEMS_MAX.

        `complete` False leaves out what is required and missing: a later layer may bring it.
        """
        hidden = [_split(key) for key in self._secrets]
        problems: dict[Problem, None] = {}
        try:
            data = _plain(config, (), problems)
            unusable = {problem.key for problem in problems}  # already reported; what the library says of NaN helps nobody
            _unknown(self._document, data, [self._document.root], (), problems)
            for error in self._validator.iter_errors(data):
                if complete or error.validator not in ("required", "dependentRequired"):
                    path = tuple(error.absolute_path)
                    problem = Problem(*explain(error, secret=_is_secret(path, hidden)))
                    if problem.key not in unusable:
                        problems[problem] = None
                if len(problems) >= CONFIG_PROBLEMS_MAX:
                    break
        except RecursionError:
            raise LimitError(self.thing, "meets a configuration that is nested too deeply") from None
        return sorted(problems, key=lambda problem: (problem.key, problem.message))[:CONFIG_PROBLEMS_MAX]

    def secrets(self) -> set[str]:
        """The dotted keys with `"secret": true`; `*` stands for any list entry or any name of a free table."""
        return set(self._secrets)

    def reloads(self) -> set[str]:
        """The dotted keys with `"reload": true`."""
        return set(self._reloads)


def default_problems(default: Mapping[str, Any], schema: Schema) -> list[Problem]:
    """What is wrong with a package's default.toml. A required key may be missing there: then the operator has to give it."""
    return schema.check(default, complete=False)


def redact(config: Mapping[str, Any], secrets: set[str] | frozenset[str]) -> dict[str, Any]:
    """A copy with every value under a secret key replaced by REDACTED."""
    hidden = [_split(key) for key in secrets]
    return {key: _redact(value, [path[1:] for path in hidden if path and path[0] in (key, ANY)]) for key, value in config.items()}


def _redact(value: Any, hidden: list[tuple[str, ...]]) -> Any:
    if any(not path for path in hidden):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: _redact(inner, [path[1:] for path in hidden if path[0] in (key, ANY)]) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(inner, [path[1:] for path in hidden if path[0] == ANY]) for inner in value]
    return value


def _split(key: str) -> tuple[str, ...]:
    return tuple(json.loads(word) if word[0] == '"' else word for word in WORD.findall(key))


def _is_secret(path: tuple[str | int, ...], hidden: list[tuple[str, ...]]) -> bool:
    """Whether a value is secret, lies in one that is, or holds one."""
    return any(all(theirs in (ours, ANY) for ours, theirs in zip(path, key, strict=False)) for key in hidden)


def _mark(document: Document, nodes: list[Node], path: tuple[str, ...], secrets: set[str], reloads: set[str]) -> None:
    """Collect the keys that are marked, through the data that the schema describes."""
    here = document.in_place(nodes)
    for mark, found in (("secret", secrets), ("reload", reloads)):
        if path and any(node.get(mark) is True for node in here):
            found.add(name(path))
    for key, children in document.properties(here).items():
        _mark(document, children, (*path, key), secrets, reloads)
    for children in (document.others(here), document.entries(here)):
        if children:
            _mark(document, children, (*path, ANY), secrets, reloads)


def _unknown(document: Document, value: Any, nodes: list[Node], path: tuple[str | int, ...], problems: dict[Problem, None]) -> None:
    """Keys that nothing declares, in tables that declare some."""
    here = document.in_place(nodes)
    if isinstance(value, dict):
        declared, others = document.properties(here), document.others(here)
        closed = bool(declared) and not any("additionalProperties" in node for node in here)
        for key, inner in value.items():
            if key in declared:
                _unknown(document, inner, declared[key], (*path, key), problems)
            elif closed and len(problems) < CONFIG_PROBLEMS_MAX:
                problems[Problem(name((*path, key)), unknown_key(key, declared))] = None
            elif others:
                _unknown(document, inner, others, (*path, key), problems)
    elif isinstance(value, list) and (entries := document.entries(here)):
        for index, inner in enumerate(value):
            _unknown(document, inner, entries, (*path, index), problems)


def _plain(value: Any, path: tuple[str | int, ...], problems: dict[Problem, None]) -> Any:
    """The same data as JSON has it: dates are strings; NaN and infinities are problems."""
    if len(path) > CONFIG_DEPTH:
        raise LimitError("configuration", f"is nested deeper than {CONFIG_DEPTH}", next="flatten it")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, (*path, key), problems) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, (*path, index), problems) for index, inner in enumerate(value)]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        problems[Problem(name(path), "is not a finite number")] = None
        return None  # the library cannot compute with NaN
    return value
