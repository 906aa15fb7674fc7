"""A template's text and name, and how an error points into it.

Rule: every complaint about a template says file, line, column and the line itself. Offsets are indexes into the text; lines and columns
are counted from 1 and only when somebody has to read them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hart.errors import LimitError, TemplateError

SHOWN_MAX = 120  # characters of a source line in a message: more wraps in any terminal


@dataclass(frozen=True, slots=True)
class Source:
    """`name` is what people call the template: usually its path in the package."""

    name: str
    text: str

    def line_of(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def column_of(self, offset: int) -> int:
        return offset - (self.text.rfind("\n", 0, offset) + 1) + 1

    def line_at(self, offset: int) -> str:
        """The source line around an offset, without its end, cut to what a message can show."""
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        line = self.text[start : end if end >= 0 else len(self.text)].strip()
        shown = "".join(character if character.isprintable() else " " for character in line[: SHOWN_MAX * 2])
        return shown if len(shown) <= SHOWN_MAX else shown[: SHOWN_MAX - 1] + "…"

    def error(self, offset: int, cause: str, *, next: str = "") -> TemplateError:  # noqa: A002  the field's word, as in hart.errors
        """What is wrong at an offset, as an error to raise."""
        line, column, shown = self.line_of(offset), self.column_of(offset), self.line_at(offset)
        where = f"template {self.name}, line {line}, column {column}"
        full = f"{cause}, in: {shown}" if shown else cause
        return TemplateError(where, full, next=next, name=self.name, line=line, column=column, source=shown, problem=cause)

    def limit(self, cause: str, *, next: str = "") -> LimitError:  # noqa: A002
        """A cap that the template as a whole has passed, as an error to raise."""
        return LimitError(f"template {self.name}", cause, next=next, name=self.name)
