"""`stead ring key generate | import | export | list`: ring keys in this host's key cache, in Habitat's format and with its names.

Importing is `hart/cli_keys.py`'s, which takes keys of every kind.
"""

from __future__ import annotations

import time

import click

from hart.cli_keys import key_cache
from hart.options import cache_options, json_option


@click.command("generate")
@click.argument("ring")
@cache_options
@json_option
def generate(ring: str, root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """Make a key for RING and keep it in the key cache. Hosts that hold it form that ring.

    Example:  stead ring key generate prod; stead ring key export prod | ssh HOST stead ring key import
    """
    from hart.console import show_facts
    from hart.keys import KeyKind, KeyName, generate_ring_key

    cache = key_cache(root, cache_key_path)
    KeyName(ring, "20260101000000").file_name(KeyKind.RING)  # refuses a name that no key can have
    key = generate_ring_key(ring, cache.free_revision(ring, time.time()))  # noqa: TID251  a revision is wall time
    path = cache.store(key)
    show_facts({"key": str(key.key), "fingerprint": key.fingerprint, "secret": str(path)}, as_json=as_json)


@click.command("export")
@click.argument("ring")
@cache_options
def export(ring: str, root: str | None, cache_key_path: str | None) -> None:
    """Print the latest key of RING. It is the ring's secret: whoever has it can take part."""
    from hart.console import standard_output, warn
    from hart.errors import NotFoundError
    from hart.keys import KeyKind

    cache = key_cache(root, cache_key_path)
    try:
        key = cache.latest(ring, KeyKind.RING)
    except NotFoundError:
        raise NotFoundError(f"key of ring {ring}", f"is not in {cache.path}", next=f"stead ring key generate {ring}") from None
    with standard_output() as out:
        if out.isatty():
            warn("this is the ring's secret, and your terminal keeps it")
        out.write(key.text() + ("\n" if out.isatty() else ""))  # Habitat's files end without a newline


@click.command("list")
@cache_options
@json_option
def list_keys(root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """List the ring keys in the key cache. The latest of a ring seals, four earlier ones still open."""
    from hart.console import show_rows
    from hart.keys import KeyKind

    cache = key_cache(root, cache_key_path)
    rows = [
        {"ring": entry.key.name, "revision": entry.key.revision, "fingerprint": entry.fingerprint, "path": str(entry.path)}
        for entry in cache.list()
        if entry.kind is KeyKind.RING
    ]
    show_rows(rows, ("ring", "revision", "fingerprint"), as_json=as_json, empty=f"no ring keys in {cache.path}")
