"""`stead ring key generate | export | list | add | use | remove`: a ring's keys, in this host's key cache and in the ring that runs.

The first three work on the key cache, in Habitat's format and with its names; the others tell the running supervisor. A key itself is only
ever printed by `export`. Importing is `hart/cli_keys.py`'s, which takes keys of every kind.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from hart.cli_keys import key_cache
from hart.options import cache_options, json_option, root_option
from supervisor.cli_options import ask, seconds

if TYPE_CHECKING:
    from hart.keys import KeyCache

force_option = click.option("--force", is_flag=True, help="Also if some members would be left behind.")
wait_option = seconds("--wait", "wait_s", "How long to wait until all living members have followed [15].")


@click.command("generate")
@click.argument("ring")
@cache_options
@json_option
def generate(ring: str, root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """Make a key for RING and keep it in the key cache. Hosts that hold it form that ring.

    Example:  stead ring key generate prod; stead ring key export prod | ssh HOST stead ring key import
    """
    from hart.console import show_facts, warn
    from hart.keys import KeyKind, KeyName, generate_ring_key

    cache = key_cache(root, cache_key_path)
    KeyName(ring, "20260101000000").file_name(KeyKind.RING)  # refuses a name that no key can have
    if any(entry.kind is KeyKind.RING and entry.key.name == ring for entry in cache.list()):
        warn(f"{ring} has a key already; to change the key of a ring that runs: stead ring key add, which tells all its members")
    key = generate_ring_key(ring, cache.free_revision(ring, time.time()))  # noqa: TID251  a revision is wall time
    path = cache.store(key)
    show_facts({"key": str(key.key), "fingerprint": key.fingerprint, "secret": str(path)}, as_json=as_json)


@click.command("export")
@click.argument("ring")
@cache_options
def export(ring: str, root: str | None, cache_key_path: str | None) -> None:
    """Print the latest key of RING, or exactly the key RING-REVISION. It is the ring's secret: whoever has it can take part.

    Example:  stead ring key export prod | ssh HOST stead ring key import
    """
    from hart.console import standard_output, warn
    from hart.errors import FormatError, NotFoundError
    from hart.keys import KeyKind, KeyName

    cache = key_cache(root, cache_key_path)
    try:
        key = cache.latest(ring, KeyKind.RING)
    except NotFoundError:
        try:
            key = cache.load(KeyName.parse(ring), KeyKind.RING)
        except (FormatError, NotFoundError):
            raise NotFoundError(f"key of ring {ring}", f"is not in {cache.path}", next=f"stead ring key generate {ring}") from None
    with standard_output() as out:
        if out.isatty():
            warn("this is the ring's secret, and your terminal keeps it")
        out.write(key.text() + ("\n" if out.isatty() else ""))  # Habitat's files end without a newline


@click.command("list")
@cache_options
@json_option
def list_keys(root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """List the ring keys in the key cache and, while the supervisor runs, which members use which.

    Example:  stead ring key list
    """
    from hart.console import show_rows

    cache = key_cache(root, cache_key_path)
    rows = cached_rows(cache)
    if seen := running_keys(root):
        add_uses(rows, seen)
    columns = [
        "ring",
        "revision",
        "id",
        *(["use"] if seen else []),
        "fingerprint",
        *(["problem"] if any(r["problem"] for r in rows) else []),
    ]
    shown = rows if as_json else [{**row, "use": use_text(row, seen)} if seen else row for row in rows]
    show_rows(shown, columns, as_json=as_json, empty=f"no ring keys in {cache.path}")


def cached_rows(cache: KeyCache) -> list[dict[str, Any]]:
    """What is in the cache; a file that cannot be read has a problem instead of an id."""
    from hart.keys import KeyKind, RingKey
    from supervisor.gossip.keyring import key_id

    rows = []
    for entry in cache.list():
        if entry.kind is not KeyKind.RING and not entry.path.name.endswith(f".{KeyKind.RING.suffix}"):
            continue
        key = cache.load(entry.key, KeyKind.RING) if entry.kind is KeyKind.RING else None
        rows.append(
            {
                "ring": entry.key.name,
                "revision": entry.key.revision,
                "id": key_id(key.raw).hex() if isinstance(key, RingKey) else None,
                "fingerprint": entry.fingerprint,
                "path": str(entry.path),
                "problem": entry.problem or None,
            }
        )
    return rows


def running_keys(root: str | None) -> dict[str, Any]:
    """What the supervisor says, or nothing where none runs, or one without a ring key."""
    from hart.errors import NotFoundError, UnavailableError

    try:
        found: dict[str, Any] = ask(root, "ring key list")
    except (UnavailableError, NotFoundError):  # the second: one of an earlier release
        return {}
    return found if found["ring"] else {}


def add_uses(rows: list[dict[str, Any]], seen: dict[str, Any]) -> None:
    """To each key of the ring that runs, who uses it; keys of it that the cache has not get rows too."""
    for key in seen["keys"]:
        row = next((each for each in rows if each["id"] == key["id"] and each["ring"] == seen["ring"]), None)
        if row is None:
            row = {"ring": seen["ring"], "revision": key["revision"], "id": key["id"], "fingerprint": key["fingerprint"]}
            rows.append(row | {"path": None, "problem": "is not in the key cache"})
            row = rows[-1]
        row |= {name: key[name] for name in ("in_use", "used_by", "lacking")} | {"members": seen["members"]}


def use_text(row: dict[str, Any], seen: dict[str, Any]) -> str:
    """`in use by 3 of 5, not yet with h4`"""
    if "in_use" not in row:
        return "removed" if row["id"] in seen["removed"] else ("only here" if row["ring"] == seen["ring"] else "")
    used, lacking = len(row["used_by"]), row["lacking"]
    text = f"in use by {used} of {row['members']}" if used or row["in_use"] else "opens"
    return text + (f", not yet with {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}" if lacking else "")


@click.command("add")
@click.argument("key", required=False)
@root_option
@wait_option
@json_option
def add(key: str | None, root: str | None, wait_s: float | None, *, as_json: bool) -> None:
    """Give all members of the running ring a new key, or the key RING-REVISION of this host's cache. Nobody seals with it yet.

    To change a ring's key:  stead ring key add; stead ring key use NEW; stead ring key remove OLD
    """
    tell("ring key add", root, as_json=as_json, key=key, wait_s=wait_s)


@click.command("use")
@click.argument("key")
@root_option
@force_option
@wait_option
@json_option
def use(key: str, root: str | None, wait_s: float | None, *, force: bool, as_json: bool) -> None:
    """Let all members seal with KEY (its revision, or the beginning of its id). Earlier keys still open.

    Example:  stead ring key use 20260401120000
    """
    tell("ring key use", root, as_json=as_json, key=key, force=force, wait_s=wait_s)


@click.command("remove")
@click.argument("key")
@root_option
@force_option
@wait_option
@json_option
def remove(key: str, root: str | None, wait_s: float | None, *, force: bool, as_json: bool) -> None:
    """Let no member open with KEY any more. Who was away and has no later key needs one by `stead ring key import`.

    Example:  stead ring key remove 20260101120000
    """
    tell("ring key remove", root, as_json=as_json, key=key, force=force, wait_s=wait_s)


def tell(command: str, root: str | None, *, as_json: bool, **fields: Any) -> None:
    """The supervisor does it; who has not followed yet is shown."""
    from hart.console import show_facts

    found = ask(root, command, **fields)
    shown = {"key": f"{found['ring']}-{found['revision']}", "id": found["key"], "members": found["members"]}
    if found["waiting_for"]:
        shown["waiting for"] = found["waiting_for"]
    show_facts(found if as_json else shown, as_json=as_json)
