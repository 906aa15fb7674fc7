"""`plan render`: a template with the configuration it would get, without a supervisor (reference: packages 4.8). Pure.

Rules: data is `cfg` (default.toml under user.toml) with the mock merged over it; the engine is the supervisor's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hart.config import merge
from hart.errors import FormatError
from hart.template.engine import compile_template


def render(
    template: str, *, name: str, default: Mapping[str, Any], user: Mapping[str, Any], mock: Mapping[str, Any], strict: bool, hook: bool
) -> str:
    """The rendered text. TemplateError, LimitError."""
    context = merge({"cfg": merge(default, user)}, mock)
    return compile_template(template, name=name, strict=strict, hook=hook).render(context)


def read_mock(text: str, *, thing: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(thing, f"is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise FormatError(thing, "is not a JSON object", next='for example: {"pkg": {"name": "web"}}')
    return data
