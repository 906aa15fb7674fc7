"""Sources that were fetched once, by the sha256 of their bytes.

Rules: a file is under the hash that its own bytes have, read-only, whole or absent; a hit needs no network; what is taken out is
hashed again, so a damaged cache is noticed and mended by fetching.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from hart.files import fsync_dir, make_dirs, storage, write_atomic
from hart.limits import CHUNK


@dataclass(frozen=True, slots=True)
class SourceCache:
    """The cache below one directory."""

    path: Path

    def place(self, sha256: str) -> Path:
        return self.path / "sha256" / sha256[:2] / sha256

    def find(self, sha256: str) -> Path | None:
        """The cached file with these bytes, after hashing them; a file that changed on disk is dropped."""
        place = self.place(sha256)
        if not place.is_file():
            return None
        if sha256_of(place) == sha256:
            return place
        with storage(place):
            place.unlink(missing_ok=True)
        return None

    def name(self, sha256: str) -> str:
        """What a cached file was called when it was fetched; empty when nobody knows."""
        try:
            return self.place(sha256).with_suffix(".name").read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def add(self, file: Path, name: str) -> tuple[Path, str]:
        """Take over a file (it is moved); where it is now, and its sha256."""
        sha256 = sha256_of(file)
        place = self.place(sha256)
        make_dirs(place.parent)
        with storage(place):
            temporary = place.with_name(f".{secrets.token_hex(8)}.tmp")
            shutil.move(file, temporary)
            temporary.chmod(0o444)
            fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            write_atomic(place.with_suffix(".name"), name.encode("ascii", "replace"))
            temporary.replace(place)
            fsync_dir(place.parent)
        return place, sha256


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with storage(path), path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
