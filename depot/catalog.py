"""The catalog: what the depot knows about accounts, origins, keys, packages and channels. Interfaces and values; no database here.

Rules: the unit is a transaction. `Catalog.read` gives its function one consistent view; `Catalog.write` commits all that its function did,
durably, or nothing; every change writes its audit entry in the same transaction. Functions run outside the event loop, so they block
freely, and must not touch anything of it. A published ident never changes: no method here edits or removes a package.
Errors: ConflictError for what exists, NotFoundError for what a change needs, StorageError for the disk, UnavailableError when overloaded.
Source: DESIGN depot, ADR 0004. Not here: SQLite (depot/database.py), who may do what (depot/access.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from depot.access import Presented, Role, Scope, StoredToken
from depot.audit import Entry
from hart.ident import Ident

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: int
    name: str
    created_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    name: str
    owner_id: int
    owner: str
    visibility: str
    created_us: int
    updated_us: int
    package_count: int
    key_name: str | None  # newest public key


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    id: int
    origin: str
    name: str
    owner_id: int
    created_us: int
    updated_us: int


@dataclass(frozen=True, slots=True)
class Membership:
    """A package's place in a channel."""

    channel: str
    created_us: int
    promoted_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPackage:
    """A verified artifact, as publishing hands it over. Idents of dependencies are texts, as in the metafiles."""

    ident: Ident
    target: str
    checksum: str  # BLAKE2b-256 of the whole artifact, lowercase hex: the blob's name
    size: int
    key_name: str
    package_type: str
    is_a_service: bool
    deps: tuple[str, ...]
    tdeps: tuple[str, ...]
    build_deps: tuple[str, ...]
    build_tdeps: tuple[str, ...]
    exposes: tuple[int, ...]
    manifest: str
    config: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A published package."""

    id: int
    new: NewPackage
    owner_id: int
    visibility: str
    created_us: int
    updated_us: int
    channels: tuple[str, ...]

    @property
    def ident(self) -> Ident:
        return self.new.ident


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list: an ident on all its targets, or a name (version and release None)."""

    origin: str
    name: str
    version: str | None
    release: str | None
    channels: tuple[str, ...]
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Listed]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a package over all its releases."""

    version: str
    release_count: int
    latest: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows a list shows. `version` implies `name`; `channel` implies `origin`; `terms` is a search instead of an origin."""

    origin: str | None = None
    name: str | None = None
    version: str | None = None
    channel: str | None = None
    terms: tuple[str, ...] = ()
    distinct: bool = False
    newest_text_first: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What must be on disk for one package row."""

    id: int
    ident: str
    target: str
    checksum: str
    size: int
    key_name: str


class Reader(Protocol):
    """One consistent view."""

    def account(self, account_id: int) -> Account | None: ...
    def token(self, public_id: str) -> StoredToken | None: ...
    def tokens(self) -> list[StoredToken]: ...
    def role(self, account_id: int, origin: str) -> Role | None: ...
    def origin(self, name: str) -> Origin | None: ...
    def origins_of(self, account_id: int) -> list[Origin]: ...
    def key_revisions(self, origin: str) -> list[str]:
        """Newest first."""
        ...

    def key(self, origin: str, revision: str) -> str | None:
        """The text of a public signing key."""
        ...

    def package(self, ident: Ident, target: str | None, *, channel: str | None = None) -> Package | None:
        """A fully qualified package; `target` None means any, the first in byte order."""
        ...

    def latest(self, wanted: Ident, target: str, *, channel: str | None = None) -> Package | None:
        """The newest release of a name or of one version."""
        ...

    def package_type(self, origin: str, name: str) -> str | None:
        """The type of what was published under a name before."""
        ...

    def page(self, wanted: Wanted, *, start: int, count: int) -> Page: ...
    def versions(self, origin: str, name: str) -> Sequence[Version]:
        """In descending byte order of the version's text."""
        ...

    def memberships(self, package_id: int) -> Sequence[Membership]:
        """By channel name, descending."""
        ...

    def channels(self, origin: str) -> Sequence[str]: ...
    def channel(self, origin: str, name: str) -> Channel | None: ...
    def heads(self, origin: str, channel: str, target: str) -> Sequence[Ident]:
        """The newest of each name in a channel, by name."""
        ...

    def stored(self, *, after: int, count: int) -> Sequence[Stored]:
        """Package rows with an id above `after`, for checks that walk all of them."""
        ...

    def is_referenced(self, checksum: str) -> bool: ...
    def audit(self, *, after: int, count: int) -> Sequence[tuple[Entry, bytes]]: ...
    def audit_head(self) -> tuple[int, bytes]: ...


class Writer(Protocol):
    """One transaction of one account at one time. `reader` sees what this transaction has done."""

    @property
    def reader(self) -> Reader: ...
    def ensure_account(self, name: str) -> Account: ...
    def add_token(self, account: Account, token: Presented, scopes: Sequence[Scope], *, expires_us: int) -> StoredToken: ...
    def revoke_token(self, public_id: str) -> bool:
        """Whether it was there; revoking twice is no error."""
        ...

    def touch_token(self, public_id: str) -> None:
        """Note that a token was used; no audit entry, since it changes nothing that anybody decides by."""
        ...

    def add_origin(self, name: str, owner_id: int) -> Origin:
        """With its owner's membership and the channels unstable and stable."""
        ...

    def add_key(self, origin: str, revision: str, body: str) -> None: ...
    def add_package(self, new: NewPackage, owner_id: int) -> Package:
        """The row and its place in `unstable`."""
        ...

    def note_repair(self, package: Package) -> None:
        """Audit that a package's bytes were uploaded again."""
        ...

    def add_channel(self, origin: str, name: str, owner_id: int) -> Channel: ...
    def delete_channel(self, channel: Channel) -> None: ...
    def promote(self, channel: Channel, package: Package) -> bool:
        """False when it was there already; then there is no audit entry."""
        ...

    def demote(self, channel: Channel, package: Package) -> bool:
        """False when it was not there."""
        ...

    def promote_all(self, source: Channel, target: Channel) -> int: ...
    def demote_all(self, source: Channel, target: Channel) -> int:
        """Take everything that is in `source` out of `target`; how many there were."""
        ...


class Catalog(Protocol):
    """A catalog in use. Close it, or changes may wait in a log until the next start."""

    async def read(self, query: Callable[[Reader], T]) -> T: ...
    async def write(self, change: Callable[[Writer], T], *, by: str, at_us: int) -> T: ...
    async def close(self) -> None: ...
