"""Signed artifacts for the depot's tests: small, real, and made in a few milliseconds."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hart import archive, metafiles
from hart.artifact import sign_bytes
from hart.ident import Ident
from hart.keys import SecretSigningKey, generate_signing_pair
from hart.metafiles import Metadata
from hart.target import Target

RELEASE = "20260102030405"
KEY = generate_signing_pair("acme", RELEASE, seed=bytes(32))
STRANGER = generate_signing_pair("acme", "20260102030406", seed=bytes([2]) * 32)  # named for acme, never uploaded
OTHER = generate_signing_pair("evil", RELEASE, seed=bytes([1]) * 32)


@dataclass(frozen=True, slots=True)
class Artifact:
    ident: Ident
    target: Target
    data: bytes

    @property
    def checksum(self) -> str:
        return hashlib.blake2b(self.data, digest_size=32).hexdigest()


def ident(name: str = "web", version: str = "1.0", release: str = RELEASE) -> Ident:
    return Ident("acme", name, version, release)


def artifact(
    workspace: Path,
    of: Ident | None = None,
    *,
    target: Target = Target.X86_64_LINUX,
    content: bytes = b"hello",
    key: SecretSigningKey = KEY,
    **fields: Any,
) -> Artifact:
    """A package with one file. `fields` are those of Metadata."""
    of = of or ident()
    meta = replace(Metadata(ident=of, target=target, manifest="# made for a test\n"), **fields)
    tree = workspace / hashlib.sha256(repr((of, target, content, fields)).encode()).hexdigest()[:16]
    (tree / "bin").mkdir(parents=True, exist_ok=True)
    (tree / "bin" / "it").write_bytes(content)
    for name, text in metafiles.render(meta).items():
        (tree / name).write_bytes(text)
    out = io.BytesIO()
    archive.pack(tree, of, out, mtime=1_700_000_000, level=0)
    return Artifact(of, target, sign_bytes(out.getvalue(), key))
