"""Small packages for tests: a tree on the disk, its metafiles, the signed artifact."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hart import archive, metafiles
from hart.artifact import sign_bytes
from hart.errors import NotFoundError
from hart.filelist import files_list
from hart.ident import Ident
from hart.keyfile import KeyName, PublicSigningKey, generate_signing_pair
from hart.metafiles import Metadata
from hart.target import host_target

RELEASE = "20260102030405"
NOBODY = 65534
KEY = generate_signing_pair("acme", RELEASE, seed=bytes(32))
OTHER = generate_signing_pair("evil", RELEASE, seed=bytes([1]) * 32)


def trust(key: KeyName) -> PublicSigningKey:
    """A key cache that has the keys of acme and evil."""
    for secret in (KEY, OTHER):
        if secret.key == key:
            return secret.public
    raise NotFoundError(f"key {key}", "is not here")


def ident(name: str = "web", version: str = "1.0", release: str = RELEASE) -> Ident:
    return Ident("acme", name, version, release)


def metadata(of: Ident, tdeps: Sequence[Ident] = (), **fields: object) -> Metadata:
    """Relocatable, for this host, unless said otherwise."""
    meta = Metadata(ident=of, target=host_target(), deps=tuple(tdeps), tdeps=tuple(tdeps), relocatable=True)
    return replace(meta, **fields)  # type: ignore[arg-type]


def write_tree(tree: Path, files: Mapping[str, bytes | str], meta: Metadata, *, signed: bool = True) -> None:
    """Write files (`bytes`) and links (`str`) below `tree`; what lies in bin/ is executable. FILES is signed by acme's key."""
    for name, content in {**metafiles.render(meta), **files}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
            path.chmod(0o755 if name.startswith(("bin/", "hooks/")) else 0o644)
    if signed:
        (tree / "FILES").write_bytes(sign_bytes(files_list(tree, meta.prefix), KEY))


def payload_of(tree: Path, of: Ident) -> bytes:
    out = io.BytesIO()
    archive.pack(tree, of, out, mtime=1_700_000_000, level=0)
    return out.getvalue()


def make_artifact(
    directory: Path, meta: Metadata, files: Mapping[str, bytes | str] | None = None, *, key: object = KEY, name: str = ""
) -> Path:
    """A signed artifact of a package in `directory`."""
    tree = directory / f"tree-{meta.ident.name}-{meta.ident.version}-{meta.ident.release}"
    tree.mkdir(parents=True)
    write_tree(tree, {"bin/run": b"#!/bin/sh\nexit 0\n"} if files is None else files, meta)
    path = directory / (name or meta.ident.archive_name(meta.target))
    path.write_bytes(sign_bytes(payload_of(tree, meta.ident), key))  # type: ignore[arg-type]
    return path


@contextmanager
def unprivileged(directory: Path) -> Iterator[None]:
    """Act as nobody, who owns all below `directory` and may come to it; without root's powers we are nobody already."""
    if os.geteuid() != 0:
        yield
        return
    for above in directory.parents:
        if str(above).startswith("/tmp/"):
            above.chmod(0o755)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(path.name for path in directory.iterdir())
