"""A request of the control socket: typed access to its fields. They come from another process, so every one is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hart.errors import FormatError
from hart.ident import Ident
from hart.limits import RING_GENERATION_MAX


class Request:
    """Typed access to a request's fields; FormatError for what our own client never sends."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def text(self, key: str) -> str:
        value = self.fields.get(key)
        if not isinstance(value, str):
            raise FormatError("request", f"{key} is not text")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.fields.get(key, [])
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise FormatError("request", f"{key} is not a list of texts")
        return list(value)

    def number(self, key: str, default: float) -> float:
        value = self.fields.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e7:
            raise FormatError("request", f"{key} is not a number of seconds")
        return value

    def revision(self, key: str) -> int | None:
        """The number of a document's version, where one is given."""
        value = self.fields.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= RING_GENERATION_MAX):
            raise FormatError("request", f"{key} is not a version's number")
        return value

    def flag(self, key: str) -> bool:
        return self.fields.get(key) is True

    def name(self) -> str:
        """A service's name, also given as an ident or a group."""
        text = self.text("name")
        return Ident.parse(text).name if "/" in text else Ident("o", text.partition(".")[0]).name
