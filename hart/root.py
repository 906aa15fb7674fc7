"""The root: the directory that stands for `/hab`, and where each thing lives under it (reference: packages 5.3, supervisor 2.5).

Rules: the root is a parameter (`--root`, `STEAD_ROOT`), so everything also works without privileges under a prefix. Nothing here touches
the disk. Inside an artifact the members are always `hab/pkgs/…`, whatever the root (see `hart/archive.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hart.errors import UsageError
from hart.ident import Ident

DEFAULT_ROOT = Path("/hab")


@dataclass(frozen=True, slots=True)
class Root:
    """One tree of packages, caches and services. `path` is absolute."""

    path: Path

    @classmethod
    def choose(cls, option: str | None, environ: Mapping[str, str]) -> Root:
        """`--root` if given, else `STEAD_ROOT`, else `/hab`: absolute, without `..` or doubled slashes, since it is baked into packages.

        UsageError for a root that could not stand in a PATH or a metafile.
        """
        chosen = option or environ.get("STEAD_ROOT") or str(DEFAULT_ROOT)
        if ":" in chosen or not chosen.isprintable():
            raise UsageError(f"root {chosen!r}", "must not contain `:` or control characters: it becomes a part of PATH")
        return cls(Path("/" + os.path.abspath(chosen).lstrip("/")))  # noqa: PTH100  Path.absolute keeps `..`, resolve() reads the disk

    @property
    def pkgs(self) -> Path:
        return self.path / "pkgs"

    @property
    def artifacts(self) -> Path:
        """Downloaded and built `.hart` files."""
        return self.path / "cache" / "artifacts"

    @property
    def keys(self) -> Path:
        return self.path / "cache" / "keys"

    @property
    def sources(self) -> Path:
        return self.path / "cache" / "src"

    @property
    def sup(self) -> Path:
        """The supervisor's own state."""
        return self.path / "sup" / "default"

    def package(self, ident: Ident) -> Path:
        """Where a fully qualified ident is installed."""
        assert ident.version is not None, ident
        assert ident.release is not None, ident
        return self.pkgs / ident.origin / ident.name / ident.version / ident.release

    def service(self, name: str) -> Path:
        return self.path / "svc" / name

    def user_config(self, name: str) -> Path:
        return self.path / "user" / name / "config" / "user.toml"
