"""`stead origin create | info`, `stead origin key upload | download`, with Habitat's names and arguments (reference: depot API 2).

Secret keys never leave this host: Habitat's `--secret` has no counterpart here. Keys on this host are in `hart/cli_keys.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depot.cli_options import ask, depot_options, make_depot
from hart.cli_keys import chosen_origin, key_cache
from hart.options import cache_options, json_option

if TYPE_CHECKING:
    from depot.client import Depot


@click.command("create")
@click.argument("name", metavar="ORIGIN")
@depot_options
@json_option
def origin_create(name: str, url: str | None, auth: str | None, *, as_json: bool) -> None:
    """Create ORIGIN in a depot; its owner is the token's account."""
    from hart.console import say, show_json

    depot = make_depot(url, auth)
    ask(depot, lambda depot: depot.create_origin(name))
    if as_json:
        show_json({"name": name, "depot": depot.url})
    else:
        say(f"origin {name} is created at {depot.url}")


@click.command("info")
@click.argument("name", required=False, metavar="[ORIGIN]")
@depot_options
@json_option
def origin_info(name: str | None, url: str | None, auth: str | None, *, as_json: bool) -> None:
    """Show ORIGIN (default STEAD_ORIGIN) as a depot knows it."""
    from hart.console import show_facts

    chosen = chosen_origin(name, how="stead origin info ORIGIN")

    async def work(depot: Depot) -> dict[str, Any]:
        found = await depot.origin(chosen)
        keys = await depot.public_keys(chosen)
        return {
            "name": found.name,
            "owner": found.owner,
            "default_package_visibility": found.default_visibility,
            "keys": [str(key) for key in keys],
            "depot": depot.url,
        }

    show_facts(ask(make_depot(url, auth), work), as_json=as_json)


@click.command("upload")
@click.argument("origin", required=False, metavar="[ORIGIN]")
@click.option("--pubfile", type=click.Path(path_type=Path), metavar="FILE", help="Upload this public key file.")
@depot_options
@cache_options
@json_option
def key_upload(
    origin: str | None,
    pubfile: Path | None,
    url: str | None,
    auth: str | None,
    root: str | None,
    cache_key_path: str | None,
    *,
    as_json: bool,
) -> None:
    """Upload ORIGIN's latest public signing key (default STEAD_ORIGIN). Secret keys stay here."""
    from hart.console import say, show_json
    from hart.errors import UsageError
    from hart.keys import PublicSigningKey

    if pubfile is not None:
        key = _public_key_file(pubfile)
    else:
        key = key_cache(root, cache_key_path).latest_public(chosen_origin(origin, how="stead origin key upload ORIGIN"))
    if not isinstance(key, PublicSigningKey):
        raise UsageError(str(pubfile), "is not a public signing key", next="it begins with SIG-PUB-1")
    depot = make_depot(url, auth)
    new = ask(depot, lambda depot: depot.upload_public_key(key.text()))
    if as_json:
        show_json({"key": str(key.key), "fingerprint": key.fingerprint, "new": new, "depot": depot.url})
    else:
        say(f"public key {key.key} {'is uploaded to' if new else 'was already at'} {depot.url} ({key.fingerprint})")


def _public_key_file(path: Path) -> Any:
    from hart.errors import NotFoundError
    from hart.files import storage
    from hart.keys import parse_key
    from hart.limits import DEPOT_KEY_MAX

    with storage(path):
        try:
            with path.open("rb") as file:
                return parse_key(file.read(DEPOT_KEY_MAX), thing=str(path))
        except FileNotFoundError as error:
            raise NotFoundError(str(path), "no such file", next="stead origin key list") from error


@click.command("download")
@click.argument("origin", required=False, metavar="[ORIGIN]")
@click.argument("revision", required=False)
@depot_options
@cache_options
@json_option
def key_download(
    origin: str | None,
    revision: str | None,
    url: str | None,
    auth: str | None,
    root: str | None,
    cache_key_path: str | None,
    *,
    as_json: bool,
) -> None:
    """Download ORIGIN's public keys (default STEAD_ORIGIN) and trust them from now on: compare the fingerprints with their owner."""
    from hart.console import say, show_rows
    from hart.errors import ConflictError, NotFoundError, TrustError
    from hart.keys import KeyName, PublicSigningKey, parse_key

    name = chosen_origin(origin, how="stead origin key download ORIGIN")
    cache = key_cache(root, cache_key_path)

    async def work(depot: Depot) -> list[dict[str, Any]]:
        wanted = await depot.public_keys(name) if revision is None else [KeyName(name, revision)]
        if not wanted:
            raise NotFoundError(f"keys of origin {name}", f"{depot.url} has none", next=f"stead origin info {name}")
        found = [(key, parse_key(await depot.public_key(key), thing=f"public key {key}")) for key in wanted]
        known = {entry.key for entry in cache.list() if entry.path.suffix == ".pub"}
        rows = []
        for key, each in found:
            if not isinstance(each, PublicSigningKey) or each.key != key:
                raise TrustError(f"public key {key}", f"the depot sent another one: {each.key}", next="tell the depot's operator")
            try:
                path = cache.store(each)
            except ConflictError as error:
                raise TrustError(
                    f"public key {key}",
                    f"the depot has another one ({each.fingerprint}) than {cache.path}",
                    next="ask the origin's owner which one is theirs; until then nothing was changed here",
                ) from error
            rows.append({"key": str(key), "fingerprint": each.fingerprint, "new": key not in known, "path": str(path)})
        return rows

    rows = ask(make_depot(url, auth), work)
    show_rows(rows, ("key", "fingerprint", "new", "path"), as_json=as_json, empty="")
    if any(row["new"] for row in rows):
        say(f"packages that these keys sign for {name} are trusted from now on: compare the fingerprints with the origin's owner")
