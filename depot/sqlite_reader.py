"""The catalog's questions, in SQLite.

Rules: one instance belongs to one open transaction; every value goes in as a parameter; the only text that is put together is from the
constants of this file. Source: `depot.catalog.Reader`, `depot/schema.py`. Not here: changes (depot/sqlite_writer.py), threads.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from depot import sortkey
from depot.access import Role, Scope, StoredToken
from depot.audit import Entry
from depot.catalog import Account, Channel, Listed, Membership, NewPackage, Origin, Package, Page, Stored, Version, Wanted
from hart.ident import Ident

_LAST: Final = "\U0010ffff"  # after every text with the same beginning

_TOKEN: Final = "SELECT t.*, a.name AS account FROM tokens t JOIN accounts a ON a.id = t.account_id"  # noqa: S105  a query
_ORIGIN: Final = """
SELECT o.*, a.name AS owner, (SELECT max(revision) FROM keys k WHERE k.origin = o.name) AS revision,
       (SELECT count(DISTINCT p.name) FROM packages p WHERE p.origin = o.name) AS package_count
FROM origins o JOIN accounts a ON a.id = o.owner_id
"""
_IN_CHANNEL: Final = """
FROM channels c JOIN channel_packages cp ON cp.channel_id = c.id JOIN packages p ON p.id = cp.package_id
WHERE c.origin = ? AND c.name = ?
"""


class SqliteReader:
    """Answers from one connection inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- accounts and tokens

    def account(self, account_id: int) -> Account | None:
        row = self._one("SELECT * FROM accounts WHERE id = ?", account_id)
        return Account(id=row["id"], name=row["name"], created_us=row["created_us"]) if row else None

    def token(self, public_id: str) -> StoredToken | None:
        row = self._one(f"{_TOKEN} WHERE t.public_id = ?", public_id)
        return _stored_token(row) if row else None

    def tokens(self) -> list[StoredToken]:
        return [_stored_token(row) for row in self._all(f"{_TOKEN} ORDER BY a.name, t.created_us, t.public_id")]

    def role(self, account_id: int, origin: str) -> Role | None:
        row = self._one("SELECT role FROM members WHERE account_id = ? AND origin = ?", account_id, origin)
        return Role(row["role"]) if row else None

    # --- origins and keys

    def origin(self, name: str) -> Origin | None:
        row = self._one(f"{_ORIGIN} WHERE o.name = ?", name)
        return _origin(row) if row else None

    def origins_of(self, account_id: int) -> list[Origin]:
        query = f"{_ORIGIN} WHERE o.name IN (SELECT origin FROM members WHERE account_id = ?) ORDER BY o.name"  # noqa: S608  constants
        return [_origin(row) for row in self._all(query, account_id)]

    def key_revisions(self, origin: str) -> list[str]:
        return [row["revision"] for row in self._all("SELECT revision FROM keys WHERE origin = ? ORDER BY revision DESC", origin)]

    def key(self, origin: str, revision: str) -> str | None:
        row = self._one("SELECT body FROM keys WHERE origin = ? AND revision = ?", origin, revision)
        return str(row["body"]) if row else None

    # --- one package

    def package(self, ident: Ident, target: str | None, *, channel: str | None = None) -> Package | None:
        source, params = _source(ident.origin, channel)
        query, params = f"SELECT p.* {source} AND p.ident = ?", [*params, str(ident)]
        if target is not None:
            query, params = f"{query} AND p.target = ?", [*params, target]
        return self._package(self._one(f"{query} ORDER BY p.target LIMIT 1", *params))

    def latest(self, wanted: Ident, target: str, *, channel: str | None = None) -> Package | None:
        source, params = _source(wanted.origin, channel)
        of = "cp" if channel is not None else "p"  # the table whose index is in order of sort_key
        query = f"SELECT p.* {source} AND {of}.name = ? AND {of}.target = ?"
        params += [wanted.name, target]
        if wanted.version is not None:  # versions that compare equal (1 and 1.0) share a range, so the text decides
            query += f" AND {of}.sort_key > ? AND {of}.sort_key < ? AND p.version = ?"
            params += [sortkey.version_bytes(wanted.version), sortkey.after_version(wanted.version), wanted.version]
        return self._package(self._one(f"{query} ORDER BY {of}.sort_key DESC LIMIT 1", *params))

    def package_type(self, origin: str, name: str) -> str | None:
        row = self._one("SELECT package_type FROM packages WHERE origin = ? AND name = ? LIMIT 1", origin, name)
        return str(row["package_type"]) if row else None

    def memberships(self, package_id: int) -> list[Membership]:
        query = """
            SELECT c.name, c.created_us, cp.promoted_us FROM channel_packages cp JOIN channels c ON c.id = cp.channel_id
            WHERE cp.package_id = ? ORDER BY c.name DESC
        """
        return [Membership(*row) for row in self._all(query, package_id)]

    def _package(self, row: sqlite3.Row | None) -> Package | None:
        if row is None:
            return None
        channels = tuple(place.channel for place in reversed(self.memberships(row["id"])))
        return _package(row, channels)

    # --- lists

    def page(self, wanted: Wanted, *, start: int, count: int) -> Page:
        source, params = _matching(wanted)
        if wanted.distinct:
            return self._page_of_names(source, params, start, count, by_name=bool(wanted.terms))
        total = self._one(f"SELECT count(DISTINCT p.ident) AS total {source}", *params)
        order = "DESC" if wanted.newest_text_first else "ASC"
        query = f"SELECT DISTINCT p.ident {source} ORDER BY p.ident {order} LIMIT ? OFFSET ?"
        idents = [row["ident"] for row in self._all(query, *params, count, start)]
        return Page([self._listed(ident) for ident in idents], total["total"] if total else 0)

    def _page_of_names(self, source: str, params: list[Any], start: int, count: int, *, by_name: bool) -> Page:
        names = f"SELECT DISTINCT p.origin, p.name {source}"
        total = self._one(f"SELECT count(*) AS total FROM ({names})", *params)  # noqa: S608  constants
        order = "p.name, p.origin" if by_name else "p.origin, p.name"
        rows = self._all(f"{names} ORDER BY {order} LIMIT ? OFFSET ?", *params, count, start)
        return Page([Listed(row["origin"], row["name"], None, None, (), ()) for row in rows], total["total"] if total else 0)

    def _listed(self, ident: str) -> Listed:
        query = """
            SELECT p.target, c.name FROM packages p LEFT JOIN channel_packages cp ON cp.package_id = p.id
            LEFT JOIN channels c ON c.id = cp.channel_id WHERE p.ident = ?
        """
        rows = self._all(query, ident)
        channels = tuple(sorted({row["name"] for row in rows if row["name"] is not None}))
        origin, name, version, release = ident.split("/")
        return Listed(origin, name, version, release, channels, tuple(sorted({row["target"] for row in rows})))

    def versions(self, origin: str, name: str) -> list[Version]:
        query = """
            SELECT version, count(DISTINCT release) AS releases, max(release) AS latest, json_group_array(DISTINCT target) AS targets
            FROM packages WHERE origin = ? AND name = ? GROUP BY version ORDER BY version DESC
        """
        return [
            Version(
                version=row["version"],
                release_count=row["releases"],
                latest=row["latest"],
                platforms=tuple(sorted(json.loads(row["targets"]))),
            )
            for row in self._all(query, origin, name)
        ]

    # --- channels

    def channels(self, origin: str) -> list[str]:
        return [row["name"] for row in self._all("SELECT name FROM channels WHERE origin = ? ORDER BY name", origin)]

    def channel(self, origin: str, name: str) -> Channel | None:
        row = self._one("SELECT * FROM channels WHERE origin = ? AND name = ?", origin, name)
        return Channel(**row) if row else None

    def heads(self, origin: str, channel: str, target: str) -> list[Ident]:
        query = """
            SELECT p.ident FROM (
                SELECT cp.channel_id, cp.name, cp.target, max(cp.sort_key) AS top
                FROM channels c JOIN channel_packages cp ON cp.channel_id = c.id
                WHERE c.origin = ? AND c.name = ? AND cp.target = ? GROUP BY cp.channel_id, cp.name, cp.target
            ) h
            JOIN channel_packages cp ON (cp.channel_id, cp.name, cp.target, cp.sort_key) = (h.channel_id, h.name, h.target, h.top)
            JOIN packages p ON p.id = cp.package_id ORDER BY h.name
        """
        return [Ident.parse(row["ident"]) for row in self._all(query, origin, channel, target)]

    # --- checks

    def stored(self, *, after: int, count: int) -> list[Stored]:
        query = "SELECT id, ident, target, checksum, size, key_name FROM packages WHERE id > ? ORDER BY id LIMIT ?"
        return [Stored(*row) for row in self._all(query, after, count)]

    def is_referenced(self, checksum: str) -> bool:
        return self._one("SELECT 1 FROM packages WHERE checksum = ? LIMIT 1", checksum) is not None

    def audit(self, *, after: int, count: int) -> list[tuple[Entry, bytes]]:
        rows = self._all("SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", after, count)
        return [(_entry(row), row["hash"]) for row in rows]

    def audit_head(self) -> tuple[int, bytes]:
        row = self._one("SELECT seq, hash FROM audit_head")
        assert row is not None, "the schema writes the first head"
        return row["seq"], row["hash"]

    def _one(self, query: str, *params: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(query, params).fetchone()
        return row

    def _all(self, query: str, *params: Any) -> list[sqlite3.Row]:
        return self._connection.execute(query, params).fetchall()


def _source(origin: str, channel: str | None) -> tuple[str, list[Any]]:
    """Where the packages of an origin come from: all, or those of one channel."""
    if channel is not None:
        return _IN_CHANNEL, [origin, channel]
    return "FROM packages p WHERE p.origin = ?", [origin]


def _matching(wanted: Wanted) -> tuple[str, list[Any]]:
    """FROM and WHERE of a list."""
    if wanted.terms:
        return _found(wanted.terms)
    assert wanted.origin is not None, wanted
    if wanted.channel is not None:
        source, params = _IN_CHANNEL, [wanted.origin, wanted.channel]
        for column, value in (("name", wanted.name), ("version", wanted.version)):
            if value is not None:
                source, params = f"{source} AND p.{column} = ?", [*params, value]
        return source, params
    start = "/".join(part for part in (wanted.origin, wanted.name, wanted.version) if part is not None)
    return "FROM packages p WHERE p.ident > ? AND p.ident < ?", [f"{start}/", f"{start}0"]  # `0` follows `/`


def _found(terms: tuple[str, ...]) -> tuple[str, list[Any]]:
    """Names that have all the terms as words, the last one as a word's beginning."""
    *whole, last = terms
    names = [
        "SELECT origin, name FROM words WHERE word >= ? AND word <= ?",
        *["SELECT origin, name FROM words WHERE word = ?"] * len(whole),
    ]
    source = f"FROM ({' INTERSECT '.join(names)}) f JOIN packages p ON p.origin = f.origin AND p.name = f.name"
    return source, [last, last + _LAST, *whole]


def _stored_token(row: sqlite3.Row) -> StoredToken:
    return StoredToken(**{**dict(row), "scopes": tuple(map(Scope.parse, json.loads(row["scopes"])))})


def _origin(row: sqlite3.Row) -> Origin:
    return Origin(
        name=row["name"],
        owner_id=row["owner_id"],
        owner=row["owner"],
        visibility=row["visibility"],
        created_us=row["created_us"],
        updated_us=row["updated_us"],
        package_count=row["package_count"],
        key_name=f"{row['name']}-{row['revision']}" if row["revision"] else None,
    )


def _package(row: sqlite3.Row, channels: tuple[str, ...]) -> Package:
    new = NewPackage(
        ident=Ident(row["origin"], row["name"], row["version"], row["release"]),
        target=row["target"],
        checksum=row["checksum"],
        size=row["size"],
        key_name=row["key_name"],
        package_type=row["package_type"],
        is_a_service=bool(row["is_a_service"]),
        deps=tuple(json.loads(row["deps"])),
        tdeps=tuple(json.loads(row["tdeps"])),
        build_deps=tuple(json.loads(row["build_deps"])),
        build_tdeps=tuple(json.loads(row["build_tdeps"])),
        exposes=tuple(json.loads(row["exposes"])),
        manifest=row["manifest"],
        config=row["config"],
    )
    return Package(
        id=row["id"],
        new=new,
        owner_id=row["owner_id"],
        visibility=row["visibility"],
        created_us=row["created_us"],
        updated_us=row["updated_us"],
        channels=channels,
    )


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        seq=row["seq"],
        at_us=row["at_us"],
        account=row["account"],
        action=row["action"],
        subject=row["subject"],
        detail=json.loads(row["detail"]),
    )
