"""The catalog's changes, in SQLite.

Rules: one instance belongs to one open write transaction; every method that changes something also writes its audit entry, so that both
are committed or neither. Source: `depot.catalog.Writer`. Not here: who may do it (depot/access.py), commit and threads (depot/database.py).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from depot import audit, sortkey
from depot.access import Presented, Role, Scope, StoredToken
from depot.catalog import Account, Channel, NewPackage, Origin, Package
from depot.channels import PERMANENT, UNSTABLE
from depot.sqlite_reader import SqliteReader
from hart.errors import ConflictError, NotFoundError


class SqliteWriter:
    """Changes through one connection inside its transaction, by one account at one time (microseconds since 1970)."""

    def __init__(self, connection: sqlite3.Connection, *, by: str, at_us: int) -> None:
        self._connection = connection
        self._by = by
        self._at_us = at_us
        self._reader = SqliteReader(connection)

    @property
    def reader(self) -> SqliteReader:
        return self._reader

    # --- accounts and tokens

    def ensure_account(self, name: str) -> Account:
        cursor = self._do("INSERT INTO accounts (name, created_us) VALUES (?, ?) ON CONFLICT DO NOTHING", name, self._at_us)
        if cursor.rowcount:
            self._note("account.create", name)
        row = self._do("SELECT id, name, created_us FROM accounts WHERE name = ?", name).fetchone()
        return Account(id=row["id"], name=row["name"], created_us=row["created_us"])

    def add_token(self, account: Account, token: Presented, scopes: Sequence[Scope], *, expires_us: int) -> StoredToken:
        texts = [str(scope) for scope in scopes]
        self._do(
            "INSERT INTO tokens (public_id, account_id, digest, scopes, created_us, expires_us) VALUES (?, ?, ?, ?, ?, ?)",
            token.public_id, account.id, token.digest, json.dumps(texts), self._at_us, expires_us,
        )  # fmt: skip
        self._note("token.create", token.public_id, account=account.name, scopes=texts, expires_us=expires_us)
        stored = self._reader.token(token.public_id)
        assert stored is not None, token.public_id
        return stored

    def revoke_token(self, public_id: str) -> bool:
        stored = self._reader.token(public_id)
        if stored is None:
            return False
        if stored.revoked_us is None:
            self._do("UPDATE tokens SET revoked_us = ? WHERE public_id = ?", self._at_us, public_id)
            self._note("token.revoke", public_id, account=stored.account)
        return True

    def touch_token(self, public_id: str) -> None:
        self._do("UPDATE tokens SET last_used_us = ? WHERE public_id = ?", self._at_us, public_id)

    # --- origins and keys

    def add_origin(self, name: str, owner_id: int) -> Origin:
        if self._reader.origin(name) is not None:
            raise ConflictError(f"origin {name}", "exists already")
        self._do("INSERT INTO origins VALUES (?, ?, 'public', ?, ?)", name, owner_id, self._at_us, self._at_us)
        self._do("INSERT INTO members VALUES (?, ?, ?)", name, owner_id, str(Role.OWNER))
        self._note("origin.create", name)
        for channel in PERMANENT:
            self.add_channel(name, channel, owner_id)
        made = self._reader.origin(name)
        assert made is not None, name
        return made

    def add_key(self, origin: str, revision: str, body: str) -> None:
        if self._reader.key(origin, revision) is not None:
            raise ConflictError(f"key {origin}-{revision}", "exists already")
        self._do("INSERT INTO keys VALUES (?, ?, ?, ?)", origin, revision, body, self._at_us)
        self._note("key.add", f"{origin}-{revision}")

    # --- packages

    def add_package(self, new: NewPackage, owner_id: int) -> Package:
        ident = new.ident
        assert ident.version is not None, ident
        assert ident.release is not None, ident
        if self._reader.package(ident, new.target) is not None:
            raise ConflictError(f"{ident} for {new.target}", "is published already")
        columns = {
            "ident": str(ident), "target": new.target, "origin": ident.origin, "name": ident.name, "version": ident.version,
            "release": ident.release, "sort_key": sortkey.sort_key(ident.version, ident.release), "owner_id": owner_id,
            "visibility": "public", "checksum": new.checksum, "size": new.size, "key_name": new.key_name,
            "package_type": new.package_type, "is_a_service": int(new.is_a_service), "deps": json.dumps(new.deps),
            "tdeps": json.dumps(new.tdeps), "build_deps": json.dumps(new.build_deps), "build_tdeps": json.dumps(new.build_tdeps),
            "exposes": json.dumps(new.exposes), "created_us": self._at_us, "updated_us": self._at_us, "manifest": new.manifest,
            "config": new.config,
        }  # fmt: skip
        insert = f"INSERT INTO packages ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  constants
        self._do(insert, *columns.values())
        for word in words(ident.origin, ident.name):
            self._do("INSERT INTO words VALUES (?, ?, ?) ON CONFLICT DO NOTHING", word, ident.origin, ident.name)
        self._note("package.publish", str(ident), target=new.target, checksum=new.checksum, size=new.size, key=new.key_name)
        package = self._reader.package(ident, new.target)
        assert package is not None, ident
        self._enter(self._channel(ident.origin, UNSTABLE), package)
        made = self._reader.package(ident, new.target)
        assert made is not None, ident
        return made

    def note_repair(self, package: Package) -> None:
        self._note("package.repair", str(package.ident), target=package.new.target, checksum=package.new.checksum)

    # --- channels

    def add_channel(self, origin: str, name: str, owner_id: int) -> Channel:
        if self._reader.channel(origin, name) is not None:
            raise ConflictError(f"channel {name} of {origin}", "exists already")
        insert = "INSERT INTO channels (origin, name, owner_id, created_us, updated_us) VALUES (?, ?, ?, ?, ?)"
        self._do(insert, origin, name, owner_id, self._at_us, self._at_us)
        self._note("channel.create", f"{origin}/{name}")
        return self._channel(origin, name)

    def delete_channel(self, channel: Channel) -> None:
        self._do("DELETE FROM channels WHERE id = ?", channel.id)
        self._note("channel.delete", f"{channel.origin}/{channel.name}")

    def promote(self, channel: Channel, package: Package) -> bool:
        if not self._enter(channel, package):
            return False
        self._note("package.promote", str(package.ident), target=package.new.target, channel=channel.name)
        return True

    def demote(self, channel: Channel, package: Package) -> bool:
        cursor = self._do("DELETE FROM channel_packages WHERE channel_id = ? AND package_id = ?", channel.id, package.id)
        if not cursor.rowcount:
            return False
        self._note("package.demote", str(package.ident), target=package.new.target, channel=channel.name)
        return True

    def promote_all(self, source: Channel, target: Channel) -> int:
        cursor = self._do(
            """
            INSERT INTO channel_packages (channel_id, name, target, sort_key, package_id, promoted_us)
            SELECT ?, name, target, sort_key, package_id, ? FROM channel_packages WHERE channel_id = ? ON CONFLICT DO NOTHING
            """,
            target.id, self._at_us, source.id,
        )  # fmt: skip
        self._note("channel.promote", f"{source.origin}/{source.name}", channel=target.name, packages=cursor.rowcount)
        return cursor.rowcount

    def demote_all(self, source: Channel, target: Channel) -> int:
        cursor = self._do(
            """
            DELETE FROM channel_packages
            WHERE channel_id = ? AND package_id IN (SELECT package_id FROM channel_packages WHERE channel_id = ?)
            """,
            target.id, source.id,
        )  # fmt: skip
        self._note("channel.demote", f"{source.origin}/{source.name}", channel=target.name, packages=cursor.rowcount)
        return cursor.rowcount

    def _enter(self, channel: Channel, package: Package) -> bool:
        ident = package.ident
        assert ident.version is not None, ident
        assert ident.release is not None, ident
        key = sortkey.sort_key(ident.version, ident.release)
        cursor = self._do(
            "INSERT INTO channel_packages VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            channel.id, ident.name, package.new.target, key, package.id, self._at_us,
        )  # fmt: skip
        return bool(cursor.rowcount)

    def _channel(self, origin: str, name: str) -> Channel:
        channel = self._reader.channel(origin, name)
        if channel is None:
            raise NotFoundError(f"channel {name} of {origin}", "does not exist")
        return channel

    # --- audit

    def _note(self, action: str, subject: str, **detail: Any) -> None:
        seq, previous = self._reader.audit_head()
        entry = audit.Entry(seq=seq + 1, at_us=self._at_us, account=self._by, action=action, subject=subject, detail=detail)
        digest = audit.link(previous, entry)
        self._do(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)",
            entry.seq, entry.at_us, entry.account, entry.action, entry.subject, json.dumps(detail), digest,
        )  # fmt: skip
        self._do("UPDATE audit_head SET seq = ?, hash = ?", entry.seq, digest)

    def _do(self, statement: str, *params: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, params)


def words(origin: str, name: str) -> Iterable[str]:
    """What a package is found by: origin, name, and every part of both between hyphens; lower case."""
    whole = [origin.lower(), name.lower()]
    return sorted({part for text in whole for part in (text, *text.split("-")) if part})
