"""The tables of the catalog (SQLite's dialect, plain types so that PostgreSQL can take them over).

Rules: text compares as bytes; times are microseconds since 1970; lists are JSON texts; a package's ident is kept whole (for lists, by
range) and in parts (for the newest, by index). `channel_packages` repeats what the newest of a channel is found by, so that it is one
lookup. Source: the Builder API's data (reference: depot API 4.1), ADR 0004. Not here: queries.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

TABLES: Final = """
CREATE TABLE schema_version (version INTEGER NOT NULL);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    public_id TEXT PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, digest BLOB NOT NULL, scopes TEXT NOT NULL,
    created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, last_used_us INTEGER, revoked_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE origins (
    name TEXT PRIMARY KEY, owner_id INTEGER NOT NULL REFERENCES accounts, visibility TEXT NOT NULL,
    created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    origin TEXT NOT NULL REFERENCES origins, account_id INTEGER NOT NULL REFERENCES accounts, role TEXT NOT NULL,
    PRIMARY KEY (origin, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_account ON members (account_id, origin);

CREATE TABLE keys (
    origin TEXT NOT NULL REFERENCES origins, revision TEXT NOT NULL, body TEXT NOT NULL, created_us INTEGER NOT NULL,
    PRIMARY KEY (origin, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE packages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ident TEXT NOT NULL, target TEXT NOT NULL,
    origin TEXT NOT NULL REFERENCES origins, name TEXT NOT NULL, version TEXT NOT NULL, release TEXT NOT NULL, sort_key BLOB NOT NULL,
    owner_id INTEGER NOT NULL REFERENCES accounts, visibility TEXT NOT NULL,
    checksum TEXT NOT NULL, size INTEGER NOT NULL, key_name TEXT NOT NULL,
    package_type TEXT NOT NULL, is_a_service INTEGER NOT NULL,
    deps TEXT NOT NULL, tdeps TEXT NOT NULL, build_deps TEXT NOT NULL, build_tdeps TEXT NOT NULL, exposes TEXT NOT NULL,
    created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL,
    manifest TEXT NOT NULL, config TEXT NOT NULL,
    UNIQUE (ident, target)
) STRICT;
CREATE INDEX packages_newest ON packages (origin, name, target, sort_key);
CREATE INDEX packages_checksum ON packages (checksum);

CREATE TABLE words (
    word TEXT NOT NULL, origin TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (word, origin, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE channels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL REFERENCES origins, name TEXT NOT NULL,
    owner_id INTEGER NOT NULL REFERENCES accounts, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL,
    UNIQUE (origin, name)
) STRICT;

CREATE TABLE channel_packages (
    channel_id INTEGER NOT NULL REFERENCES channels ON DELETE CASCADE, name TEXT NOT NULL, target TEXT NOT NULL,
    sort_key BLOB NOT NULL, package_id INTEGER NOT NULL REFERENCES packages, promoted_us INTEGER NOT NULL,
    PRIMARY KEY (channel_id, name, target, sort_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX channels_of_package ON channel_packages (package_id, channel_id);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, account TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    detail TEXT NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
"""
