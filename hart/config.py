"""Configuration: layers, one over the other, and where each value came from (reference: supervisor 4.1).

Layers, the later wins: the package's default.toml < the environment (`HAB_<NAME>`, then `STEAD_<NAME>`) < the operator's user.toml <
the ring's document. Tables are merged; every other value, arrays too, is replaced whole; a layer cannot take a key away.
A layer that is nested too deeply is refused with its name; Habitat drops it and goes on.

Keys are written as in TOML, `a.b."odd key"`. What values mean is the schema's business (`hart/schema.py`), which is found here as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hart.errors import ConfigError, FormatError, LimitError
from hart.limits import CONFIG_DEPTH, CONFIG_ENVIRONMENT_MAX
from hart.schema import Problem, Schema, default_problems, redact
from hart.toml import loads

__all__ = [
    "Problem",
    "Schema",
    "default_problems",
    "dotted",
    "environment_layer",
    "key_path",
    "layered",
    "merge",
    "redact",
]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Variables of the tools themselves: a package of such a name is not configured through the environment
RESERVED: Final = frozenset(
    {
        "HAB_AUTH_TOKEN",
        "HAB_BLDR_URL",
        "HAB_CACHE_KEY_PATH",
        "HAB_ORIGIN",
        "HAB_RING",
        "HAB_RING_KEY",
        "STEAD_DEPOT_URL",
        "STEAD_KEYS",
        "STEAD_ORIGIN",
        "STEAD_ROOT",
        "STEAD_TOKEN",
    }
)


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One table of all layers, the later wins; shares no table or array with them. LimitError when one is nested too deeply."""
    merged, _ = layered([(f"layer {number}", layer) for number, layer in enumerate(layers, 1)])
    return merged


def layered(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The merged table of (name, layer) pairs, and for each dotted key that holds a value the name of the layer it came from.

    An empty table counts as a value. LimitError (with the layer's name) when a layer is nested deeper than CONFIG_DEPTH.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, Any] = {}  # the same shape: a table where `merged` has one, else the layer's name
    givers: dict[tuple[str, ...], str] = {}  # of tables
    for name, layer in layers:
        _lay(merged, origins, givers, layer, name, ())
    flat: dict[str, str] = {}
    _flatten(origins, givers, (), flat)
    return merged, flat


def _lay(
    merged: dict[str, Any],
    origins: dict[str, Any],
    givers: dict[tuple[str, ...], str],
    layer: Mapping[str, Any],
    name: str,
    path: tuple[str, ...],
) -> None:
    for key, value in layer.items():
        here = (*path, key)
        if isinstance(value, Mapping):
            _check_depth(len(here), name)
            if not isinstance(merged.get(key), dict):
                merged[key], origins[key] = {}, {}
            givers[here] = name
            _lay(merged[key], origins[key], givers, value, name, here)
        else:
            merged[key], origins[key] = _copy(value, name, len(here)), name


def _copy(value: Any, name: str, depth: int) -> Any:
    """A value that shares nothing that could be changed."""
    if isinstance(value, Mapping):
        _check_depth(depth, name)
        return {key: _copy(inner, name, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        _check_depth(depth, name)
        return [_copy(inner, name, depth + 1) for inner in value]
    return value


def _check_depth(depth: int, name: str) -> None:
    if depth > CONFIG_DEPTH:
        raise LimitError(f"configuration, {name}", f"is nested deeper than {CONFIG_DEPTH}", next="flatten it")


def _flatten(origins: Mapping[str, Any], givers: Mapping[tuple[str, ...], str], path: tuple[str, ...], flat: dict[str, str]) -> None:
    for key, origin in origins.items():
        here = (*path, key)
        if isinstance(origin, dict) and origin:
            _flatten(origin, givers, here, flat)
        else:
            flat[dotted(here)] = givers[here] if isinstance(origin, dict) else origin


def dotted(path: Sequence[str]) -> str:
    """A key as TOML writes it: `a.b."odd key"`."""
    return ".".join(key if BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False) for key in path)


def key_path(key: str) -> list[str]:
    """The parts of a dotted key as TOML writes it; FormatError."""
    if "=" in key or "\n" in key:
        raise FormatError(f"key {key[:80]!r}", "is not a key", next='such as http.port, or http."odd key"')
    table: Any = loads(f"{key} = 0", thing=f"key {key[:80]}")
    path = []
    while isinstance(table, Mapping):
        if len(table) != 1:
            raise FormatError(f"key {key[:80]!r}", "is not a key", next='such as http.port, or http."odd key"')
        ((name, table),) = table.items()
        path.append(name)
    return path


def variables(name: str) -> tuple[str, str]:
    """The environment variables that configure a package: Habitat's and ours."""
    upper = name.upper().replace("-", "_")
    return f"HAB_{upper}", f"STEAD_{upper}"


def environment_layer(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """A package's layer from the environment: `HAB_<NAME>`, with `STEAD_<NAME>` over it; each is TOML, else JSON.

    Empty when neither is set. ConfigError names the variable, never its value, which may hold a secret.
    """
    layers = [
        _read_variable(variable, environ[variable]) for variable in variables(name) if variable not in RESERVED and variable in environ
    ]
    return merge(*layers)


def _read_variable(variable: str, text: str) -> dict[str, Any]:
    thing = f"environment variable {variable}"
    if len(text) > CONFIG_ENVIRONMENT_MAX:
        raise ConfigError(thing, f"is larger than {CONFIG_ENVIRONMENT_MAX} bytes")
    try:
        return loads(text, thing=thing)
    except LimitError as error:
        toml_cause = error.cause
        if not text.lstrip().startswith("{"):
            raise ConfigError(thing, error.cause) from None
    except FormatError as error:
        toml_cause = error.cause
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        if not isinstance(data, dict):
            raise ConfigError(thing, "is JSON, but not an object", next='{"key": "value"}')
        _check_json(data, 1)
    except RecursionError:
        raise ConfigError(thing, f"is nested deeper than {CONFIG_DEPTH}") from None
    except json.JSONDecodeError as error:
        cause = f"is neither TOML ({toml_cause}) nor JSON (line {error.lineno}, column {error.colno}: {error.msg})"
        raise ConfigError(thing, cause, next=f"{variable}='key = \"value\"'") from None
    except ValueError as error:
        raise ConfigError(thing, f"is JSON that no configuration can hold: {error}") from None
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is there twice")
    return table


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check_json(value: Any, depth: int) -> None:
    """What JSON has and TOML has not: null, halves of surrogate pairs, integers beyond 64 bits; ValueError."""
    if depth > CONFIG_DEPTH:
        raise ValueError(f"it is nested deeper than {CONFIG_DEPTH}")
    if value is None:
        raise ValueError("null is no value")
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError is a ValueError
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("an integer has more than 64 bits")
    elif isinstance(value, dict):
        for key, inner in value.items():
            key.encode()
            _check_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner, depth + 1)
