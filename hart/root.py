"""The root: the directory that stands for `/hab`, and where each thing lives under it (reference: packages 5.3, supervisor 2.5).

Rules: the root is a parameter (`--root`, `STEAD_ROOT`), so everything also works without privileges under a prefix. Nothing here touches
the disk. Inside an artifact the members are always `hab/pkgs/…`, whatever the root (see `hart/archive.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hart.ident import Ident

DEFAULT_ROOT = Path("/hab")


@dataclass(frozen=True, slots=True)
class Root:
    """One tree of packages, caches and services. `path` is absolute."""

    path: Path

    @classmethod
    def choose(cls, option: str | None, environ: Mapping[str, str]) -> Root:
        """`--root` if given, else `STEAD_ROOT`, else `/hab`."""
        return cls(Path(option or environ.get("STEAD_ROOT") or DEFAULT_ROOT).absolute())

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
