"""Package idents: `origin/name[/version[/release]]` (reference: packages 5.1).

Rules: an origin is `[a-z0-9][a-z0-9_-]*` of at most 255 characters, a name `[A-Za-z0-9_-]+`, a version begins with a letter or digit and
has only characters that mean nothing to a shell, a path list or a terminal, a release is 14 digits (UTC). Every part is safe as one path
component. Habitat checks less. Order is in `hart/version.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hart.errors import FormatError

ORIGIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,254}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^@=,%-]{0,254}")  # no `:`, which separates the directories of PATH
RELEASE = re.compile(r"[0-9]{14}")


@dataclass(frozen=True, slots=True)
class Ident:
    """A package's name, as exactly as it is known. `release` implies `version`."""

    origin: str
    name: str
    version: str | None = None
    release: str | None = None

    def __post_init__(self) -> None:
        parts = (
            (ORIGIN, self.origin, "origin"),
            (NAME, self.name, "name"),
            (VERSION, self.version, "version"),
            (RELEASE, self.release, "release"),
        )
        for pattern, value, what in parts:
            if value is not None and not pattern.fullmatch(value):
                raise FormatError(
                    f"package ident {self.origin}/{self.name}",
                    f"{value!r} is not a valid {what}",
                    next="origin/name[/version[/release]]",
                )
        if self.release is not None and self.version is None:
            raise FormatError(f"package ident {self.origin}/{self.name}", "a release needs a version")

    @classmethod
    def parse(cls, text: str) -> Ident:
        """From `origin/name[/version[/release]]`; raises FormatError."""
        parts = text.strip().split("/")
        if not 2 <= len(parts) <= 4:
            raise FormatError(
                f"package ident {text!r}",
                "has not two to four parts",
                next="origin/name[/version[/release]], for example core/redis",
            )
        return cls(*parts)

    @classmethod
    def parse_full(cls, text: str) -> Ident:
        """As parse, but version and release must be there."""
        ident = cls.parse(text)
        if not ident.is_full:
            raise FormatError(f"package ident {text!r}", "is not fully qualified", next="origin/name/version/release")
        return ident

    @property
    def is_full(self) -> bool:
        return self.release is not None

    @property
    def family(self) -> Ident:
        """The same package, any version."""
        return Ident(self.origin, self.name)

    def satisfies(self, wanted: Ident) -> bool:
        """Whether this (usually full) ident is one of those that `wanted` names."""
        return (
            (self.origin, self.name) == (wanted.origin, wanted.name)
            and wanted.version in (None, self.version)
            and wanted.release in (None, self.release)
        )

    def archive_name(self, target: str) -> str:
        """The artifact's file name. Parts may contain dashes, so it cannot be parsed back: the truth is IDENT inside."""
        assert self.is_full, self
        return f"{self.origin}-{self.name}-{self.version}-{self.release}-{target}.hart"

    def __str__(self) -> str:
        return "/".join(part for part in (self.origin, self.name, self.version, self.release) if part is not None)
