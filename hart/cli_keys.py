"""`stead origin key generate | import | export | list`: the keys on this host, with Habitat's names and arguments (packages 2.3).

Not here: fetching keys from a depot and uploading them (`depot/cli.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hart.options import cache_options, json_option

if TYPE_CHECKING:
    from hart.keys import KeyCache, KeyKind

Command = TypeVar("Command", bound=Callable[..., Any])


def key_cache(root: str | None, cache_key_path: str | None) -> KeyCache:
    """The cache that the options and the environment choose."""
    from hart.keys import KeyCache
    from hart.root import Root

    return KeyCache.choose(Root.choose(root, os.environ), os.environ, cache_key_path)


def chosen_origin(given: str | None, *, how: str) -> str:
    """The origin given, else STEAD_ORIGIN or HAB_ORIGIN; UsageError with the command `how` to name one, FormatError for no origin name."""
    from hart.errors import FormatError, UsageError
    from hart.ident import ORIGIN

    origin = given or os.environ.get("STEAD_ORIGIN") or os.environ.get("HAB_ORIGIN")
    if not origin:
        raise UsageError("origin", "is not given", next=f"{how}, or set STEAD_ORIGIN")
    if not ORIGIN.fullmatch(origin):
        raise FormatError(f"origin {origin!r}", "is not lowercase letters, digits, - and _, beginning with a letter or digit")
    return origin


def kind_words(kind: KeyKind) -> str:
    """A kind as people say it: `signing public`."""
    return kind.name.lower().replace("_", " ")


@click.command("generate")
@click.argument("origin", required=False)
@cache_options
@json_option
def generate(origin: str | None, root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """Make a signing key pair for ORIGIN (default: STEAD_ORIGIN) and keep it in the key cache."""
    from hart.console import show_facts
    from hart.keys import generate_signing_pair

    name = chosen_origin(origin, how="stead origin key generate ORIGIN")
    cache = key_cache(root, cache_key_path)
    secret = generate_signing_pair(name, cache.free_revision(name, time.time()))  # noqa: TID251  a revision is wall time
    public_path, secret_path = cache.store_pair(secret)
    facts = {"key": str(secret.key), "fingerprint": secret.fingerprint, "public": str(public_path), "secret": str(secret_path)}
    show_facts(facts, as_json=as_json)


@click.command("import")
@cache_options
@json_option
def import_key(root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """Keep one key, public or secret, that comes on standard input. A secret one brings its public half."""
    from hart.console import say, show_facts, standard_input
    from hart.errors import UsageError
    from hart.keys import KeyKind, SecretBoxKey, SecretSigningKey, parse_key
    from hart.limits import KEY_TEXT_MAX

    stream = standard_input()
    if stream.isatty():
        say("paste the key, then press Enter and Ctrl-D")
    data = stream.read(KEY_TEXT_MAX + 1)
    if not data.strip():
        raise UsageError("standard input", "is empty", next="stead origin key import < ORIGIN-REVISION.pub")
    key = parse_key(data, thing="the key on standard input")
    if any(line.strip() in frozenset(KeyKind) for line in data.decode().split("\n")[4:]):
        raise UsageError("standard input", "has more than one key", next="import one at a time")
    cache = key_cache(root, cache_key_path)
    paths = list(cache.store_pair(key)) if isinstance(key, SecretSigningKey | SecretBoxKey) else [cache.store(key)]
    facts = {"key": str(key.key), "kind": kind_words(key.kind), "fingerprint": key.fingerprint, "files": [str(path) for path in paths]}
    show_facts(facts, as_json=as_json)


@click.command("export")
@click.argument("origin", required=False)
@click.option("-t", "--type", "which", type=click.Choice(["public", "secret"]), default="public", show_default=True, help="Which half.")
@cache_options
def export(origin: str | None, which: str, root: str | None, cache_key_path: str | None) -> None:
    """Print the latest key of ORIGIN (default: STEAD_ORIGIN), or exactly the key named ORIGIN-REVISION."""
    from hart.console import standard_output
    from hart.errors import FormatError, NotFoundError
    from hart.keys import KeyKind, KeyName

    cache = key_cache(root, cache_key_path)
    kind = KeyKind.SIGNING_PUBLIC if which == "public" else KeyKind.SIGNING_SECRET
    name = chosen_origin(origin, how="stead origin key export ORIGIN")
    try:
        found = cache.latest(name, kind)
    except NotFoundError:
        try:
            exact = KeyName.parse(name)
        except FormatError:
            exact = None
        if exact is None:
            raise
        found = cache.load(exact, kind)
    with standard_output() as out:
        out.write(found.text() + ("\n" if out.isatty() else ""))  # Habitat's files end without a newline


@click.command("list")
@click.argument("origin", required=False)
@cache_options
@json_option
def list_keys(origin: str | None, root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """List the keys in the key cache, all or those of one name, with their fingerprints."""
    from hart.console import show_rows

    cache = key_cache(root, cache_key_path)
    rows = [
        {
            "name": entry.key.name,
            "revision": entry.key.revision,
            "kind": kind_words(entry.kind) if entry.kind else None,
            "fingerprint": entry.fingerprint,
            "problem": entry.problem or None,
            "path": str(entry.path),
        }
        for entry in cache.list()
        if origin in (None, entry.key.name)
    ]
    columns = ["name", "revision", "kind", "fingerprint"] + (["problem"] if any(row["problem"] for row in rows) else [])
    show_rows(rows, columns, as_json=as_json, empty=f"no keys in {cache.path}" + (f" for {origin}" if origin else ""))
