"""A root with a signing key, and builds in it, without a command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

from builder.build import Built, Options, build
from builder.reporter import Reporter
from hart.archive import read_metafiles
from hart.artifact import read_header, verify
from hart.installed import InstalledPackage, InstalledTree
from hart.keys import KeyCache, generate_signing_pair
from hart.root import Root

RELEASE = "20260102030405"
HOST = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Workshop:
    """One root below a test's directory."""

    def __init__(self, base: Path, *, origin: str = "acme") -> None:
        self.base = base
        self.root = Root(base / "root")
        self.keys = KeyCache(base / "keys")
        self.keys.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.keys.store_pair(generate_signing_pair(origin, "20260101000000", seed=b"s" * 32))
        self.options = Options(
            root=self.root,
            keys=self.keys,
            results=base / "results",
            environ=HOST,
            now_s=1_800_000_000.0,
            jobs=1,
            channel="stable",
            origin=origin,
            release=RELEASE,
        )

    def plan(self, text: str, *, name: str = "plan", file: str = "plan.toml", **files: str) -> Path:
        """A plan's folder; names of files are written with __ for / and _dot_ for a dot."""
        folder = self.base / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(dedent(text))
        for key, content in files.items():
            path = folder / key.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(content))
        return folder

    def build(self, folder: Path, **changes: object) -> Built:
        return build(folder, replace(self.options, **changes), Reporter(quiet=True))  # type: ignore[arg-type]

    def install(self, built: Built) -> InstalledPackage:
        return InstalledTree(self.root).install(built.path, self.keys.public)

    def metafiles(self, built: Built) -> dict[str, bytes]:
        """What an artifact says about itself, after its signature was verified."""
        with built.path.open("rb") as stream:
            verify(stream, self.keys.public, thing=built.path.name)
            stream.seek(0)
            read_header(stream)
            return read_metafiles(stream)

    def leftovers(self) -> list[str]:
        """Files of the packages' tree and the caches that a build must not leave, whatever happened to it."""
        found = [path for place in ("pkgs", "cache/artifacts") for path in (self.root.path / place).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.root.path)) for path in found)
