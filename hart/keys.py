"""The key cache: one directory with the keys that this host trusts or signs with (reference: packages 2.2, 2.3).

Rules: the directory is 0700, secret files 0400, public ones 0444. A key is written once: the same content again is a no-op, other content
under the same name a ConflictError. Names match exactly (`foo` never finds `foo-bar`). Signing and encryption share `<name>-<rev>.pub`, so
the tag inside decides: the latest signing key is never an encryption key. A file whose content names another key is refused, and so is
a secret key that others can read or that is a symbolic link, and a directory that everybody can write to: who can put a public key
there can sign packages.

A host trusts what is in its cache: nothing is fetched from here. The keys themselves are in `hart/keyfile.py`, whose names this module
passes on.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hart.errors import ConflictError, FormatError, NotFoundError, SteadError, TrustError
from hart.files import make_dirs, storage, write_atomic
from hart.keyfile import (
    Key,
    KeyKind,
    KeyName,
    PublicBoxKey,
    PublicSigningKey,
    RingKey,
    SecretBoxKey,
    SecretSigningKey,
    generate_box_pair,
    generate_ring_key,
    generate_signing_pair,
    parse_key,
    revision_at,
    service_key_name,
)
from hart.limits import KEY_TEXT_MAX
from hart.root import Root

__all__ = [
    "Key",
    "KeyCache",
    "KeyEntry",
    "KeyKind",
    "KeyName",
    "PublicBoxKey",
    "PublicSigningKey",
    "RingKey",
    "SecretBoxKey",
    "SecretSigningKey",
    "generate_box_pair",
    "generate_ring_key",
    "generate_signing_pair",
    "parse_key",
    "revision_at",
    "service_key_name",
]

_FILE = re.compile(r"(?P<key>.+-[0-9]{14})\.(?P<suffix>pub|sig\.key|box\.key|sym\.key)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One file of the cache. `kind` and `fingerprint` are None when it cannot be read as a key; `problem` then says why."""

    key: KeyName
    path: Path
    kind: KeyKind | None
    fingerprint: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeyCache:
    """The keys under one directory, which need not exist yet."""

    path: Path

    @classmethod
    def choose(cls, root: Root, environ: Mapping[str, str], option: str | None = None) -> KeyCache:
        """`--cache-key-path` if given, else `STEAD_KEYS`, else `HAB_CACHE_KEY_PATH`, else the root's own."""
        chosen = option or environ.get("STEAD_KEYS") or environ.get("HAB_CACHE_KEY_PATH")
        return cls(Path(chosen).absolute() if chosen else root.keys)

    def store(self, key: Key) -> Path:
        """Write one key file. The same key is there already: nothing happens. Another one under its name: ConflictError."""
        path = self.path / key.key.file_name(key.kind)
        if self._holds(path, key):
            return path
        make_dirs(self.path.parent)
        make_dirs(self.path, mode=0o700)
        try:
            write_atomic(path, key.text().encode(), mode=0o400 if key.kind.is_secret else 0o444, replace=False)
        except ConflictError:  # another process was faster: fine when it wrote the same
            if not self._holds(path, key):
                raise
        return path

    def store_pair(self, secret: SecretSigningKey | SecretBoxKey) -> tuple[Path, Path]:
        """Write public and secret file; nothing is written when either name is taken by another key."""
        public = secret.public
        self._holds(self.path / secret.key.file_name(secret.kind), secret)
        return self.store(public), self.store(secret)

    def _holds(self, path: Path, key: Key) -> bool:
        """Whether the file is there with this key; ConflictError when it is there with anything else."""
        try:
            found = _read(path, key.key, secret=key.kind.is_secret)
        except NotFoundError:
            return False
        except FormatError as error:
            raise ConflictError(str(path), f"exists already and is not this key: {error.cause}") from error
        if found != key:
            other = "" if found.kind is key.kind else f" ({found.kind}, and this one is {key.kind})"
            raise ConflictError(
                str(path),
                f"exists already with another key{other}",
                next="a key is never replaced: make a new one, which gets a new revision",
            )
        return True

    def load(self, key: KeyName, kind: KeyKind) -> Key:
        """Exactly this key of this kind; NotFoundError, or TrustError when its file is not to be trusted."""
        self._demand_private()
        found = _read(self.path / key.file_name(kind), key, secret=kind.is_secret)
        if found.kind is not kind:
            raise NotFoundError(f"key {key}", f"{self.path} has {found.kind} under this name, not {kind}")
        return found

    def latest(self, name: str, kind: KeyKind) -> Key:
        """The key of this kind with the greatest revision; NotFoundError when there is none."""
        self._demand_private()
        keys = [key for key, suffix, _ in self._files() if key.name == name and suffix == kind.suffix]
        for key in sorted(keys, reverse=True):
            found = _read(self.path / key.file_name(kind), key, secret=kind.is_secret)
            if found.kind is kind:
                return found
        hint = "stead origin key generate" if kind is KeyKind.SIGNING_SECRET else "stead origin key download"
        what = {KeyKind.SIGNING_SECRET: "secret signing key", KeyKind.SIGNING_PUBLIC: "public signing key"}.get(kind, f"{kind} key")
        raise NotFoundError(f"{what} of {name}", f"is not in {self.path}", next=f"{hint} {name}")

    def latest_secret(self, name: str) -> SecretSigningKey:
        """The signing key to sign with: the latest, as Habitat does."""
        found = self.latest(name, KeyKind.SIGNING_SECRET)
        assert isinstance(found, SecretSigningKey)
        return found

    def latest_public(self, name: str) -> PublicSigningKey:
        found = self.latest(name, KeyKind.SIGNING_PUBLIC)
        assert isinstance(found, PublicSigningKey)
        return found

    def public(self, key: KeyName) -> PublicSigningKey:
        """The public signing key with exactly this name: a `Trust` for `hart/artifact.py`."""
        try:
            found = self.load(key, KeyKind.SIGNING_PUBLIC)
        except NotFoundError as error:
            raise NotFoundError(
                f"public key {key}",
                f"is not in {self.path}" if error.thing.endswith(".pub") else error.cause,
                next=f"stead origin key download {key.name}, or stead origin key import < {key}.pub",
            ) from error
        assert isinstance(found, PublicSigningKey)
        return found

    def list(self) -> list[KeyEntry]:
        """Every key file, by name and revision. A damaged one is an entry with a problem, not an error."""
        entries = []
        publics: dict[KeyName, Key] = {}
        for key, suffix, path in sorted(self._files(), key=lambda file: (file[0], file[1] != "pub", file[1])):
            try:
                found = _read(path, key, secret=suffix != "pub")
            except SteadError as error:
                entries.append(KeyEntry(key=key, path=path, kind=None, fingerprint=None, problem=error.cause))
                continue
            if suffix == "pub":
                publics[key] = found
            entries.append(
                KeyEntry(key=key, path=path, kind=found.kind, fingerprint=found.fingerprint, problem=_pair_problem(found, publics.get(key)))
            )
        return entries

    def free_revision(self, name: str, epoch_s: float) -> str:
        """The first revision from a time on under which this name has no key of any kind: two in one second must not share a file."""
        taken = {key.revision for key, _, _ in self._files() if key.name == name}
        while revision_at(epoch_s) in taken:
            epoch_s += 1.0
        return revision_at(epoch_s)

    def _files(self) -> Iterator[tuple[KeyName, str, Path]]:
        with storage(self.path):
            try:
                names = sorted(os.listdir(self.path))  # noqa: PTH208  names are matched, not paths
            except FileNotFoundError:
                return
        for name in names:
            match = _FILE.fullmatch(name)
            if match is not None:
                try:
                    yield KeyName.parse(match["key"]), match["suffix"], self.path / name
                except FormatError:
                    continue  # not a name that any of our keys can have

    def _demand_private(self) -> None:
        with storage(self.path):
            try:
                mode = self.path.stat().st_mode
            except FileNotFoundError:
                return
        if mode & stat.S_IWOTH:
            is_shared = mode & stat.S_ISVTX  # such as /tmp, which must stay as it is
            way_out = "keep keys in a directory of your own: --cache-key-path DIR or STEAD_KEYS"
            raise TrustError(
                f"key cache {self.path}",
                "everybody can write to it",
                next=way_out if is_shared else f"chmod 0700 {self.path}, then check its content",
            )


def _pair_problem(key: Key, public: Key | None) -> str:
    if isinstance(key, SecretSigningKey | SecretBoxKey) and public is not None and public != key.public:
        return "its public key file is of another key"
    return ""


def _read(path: Path, key: KeyName, *, secret: bool) -> Key:
    """One key file. The name inside must be the file's; a secret one must be nobody else's to read."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if secret else 0)
    with storage(path):
        try:
            fd = os.open(path, flags)
        except FileNotFoundError:
            raise NotFoundError(str(path), "no such key") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise TrustError(str(path), "a secret key must not be a symbolic link", next=f"replace it by the file: {path}") from None
            raise
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FormatError(str(path), "is not a regular file")
            if secret and status.st_mode & 0o077:
                raise TrustError(str(path), "others can read this secret key", next=f"chmod 0400 {path}")
            text = file.read(KEY_TEXT_MAX + 1)
    found = parse_key(text, thing=str(path))
    if found.key != key:
        raise TrustError(str(path), f"contains another key: {found.key}", next="a key file is named for the key inside: remove it")
    return found
