"""`stead pkg header | hash | sign | verify | info`: signed files, one at a time, with Habitat's names and arguments (packages 5.5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hart.cli_keys import chosen_origin, key_cache
from hart.options import cache_options, json_option

if TYPE_CHECKING:
    from hart.artifact import Header
    from hart.keys import KeyCache

_FILE = click.Path(path_type=Path)
_XZ_MAGIC = b"\xfd7zXZ\x00"


@click.command("header")
@click.argument("source", type=_FILE)
@json_option
def header(source: Path, *, as_json: bool) -> None:
    """Show the signature header of SOURCE. Nothing is verified."""
    from hart.artifact import read_header
    from hart.console import show_facts
    from hart.files import storage

    with storage(source), source.open("rb") as stream:
        found = read_header(stream, thing=str(source))
    show_facts({"package": str(source)} | _header_facts(found), as_json=as_json)


@click.command("hash")
@click.argument("sources", nargs=-1, type=_FILE, metavar="[SOURCE]...")
@json_option
def hash_files(sources: tuple[Path, ...], *, as_json: bool) -> None:
    """Print the BLAKE2b checksum of each SOURCE, or of each file that a line of standard input names."""
    from hart.artifact import checksum
    from hart.console import show_json, standard_input, standard_output
    from hart.errors import UsageError

    paths = sources or tuple(Path(os.fsdecode(line.rstrip(b"\r\n"))) for line in standard_input() if line.strip())
    if any("\0" in str(path) for path in paths):
        raise UsageError("standard input", "has a NUL character", next="one file name a line, for example from find without -print0")
    if as_json:
        show_json([{"path": str(path), "blake2b": checksum(path)} for path in paths])
        return
    for path in paths:
        digest = checksum(path)
        with standard_output() as out:
            out.buffer.write(f"{digest}  ".encode() + os.fsencode(path) + b"\n")  # a name need not be UTF-8


@click.command("sign")
@click.option("--origin", metavar="ORIGIN", help="Sign with its latest secret key; default STEAD_ORIGIN.")
@click.argument("source", type=_FILE)
@click.argument("dest", type=_FILE)
@cache_options
def sign(origin: str | None, source: Path, dest: Path, root: str | None, cache_key_path: str | None) -> None:
    """Sign SOURCE, any file, into DEST."""
    from hart.artifact import sign_payload
    from hart.console import say

    name = chosen_origin(origin, how="stead pkg sign --origin ORIGIN SOURCE DEST")
    key = key_cache(root, cache_key_path).latest_secret(name)
    sign_payload(source, dest, key)
    say(f"signed {dest} with {key.key} ({key.fingerprint})")


@click.command("verify")
@click.argument("source", metavar="FILE|IDENT")
@cache_options
@json_option
def verify(source: str, root: str | None, cache_key_path: str | None, *, as_json: bool) -> None:
    """Verify a signed file, or an installed package file by file, with the keys in the key cache."""
    from hart.errors import NotFoundError
    from hart.files import storage

    keys = key_cache(root, cache_key_path)
    path = Path(source)
    is_path = path.suffix == ".hart" or path.is_absolute() or "/" not in source
    with storage(path):
        is_file = path.exists() if is_path else path.is_file()
    if is_file:
        _verify_file(path, keys, as_json=as_json)
    elif is_path:
        raise NotFoundError(source, "no such file", next="stead pkg verify FILE, or stead pkg verify ORIGIN/NAME for an installed package")
    else:
        _verify_installed(source, root, keys, as_json=as_json)


def _verify_file(path: Path, keys: KeyCache, *, as_json: bool) -> None:
    from hart import artifact
    from hart.console import show_facts
    from hart.errors import InputError
    from hart.files import open_regular
    from hart.package import read_metadata

    ident = None
    with open_regular(path) as stream:
        verified = artifact.verify(stream, keys.public, thing=str(path))
        is_xz = stream.read(len(_XZ_MAGIC)) == _XZ_MAGIC
        stream.seek(verified.header.payload_offset)
        if is_xz or path.suffix == ".hart":
            try:
                ident = read_metadata(stream, thing=str(path)).ident
            except InputError:
                if path.suffix == ".hart":
                    raise  # it says that it is a package; any other signed file may be what it likes
            else:
                artifact.authorise_key(verified.header.key, ident)
    facts = {
        "file": str(path),
        "signed_by": str(verified.header.key),
        "fingerprint": keys.public(verified.header.key).fingerprint,
        "payload_blake2b": verified.payload_blake2b,
        "package": None if ident is None else str(ident),
    }
    show_facts(facts, as_json=as_json)


def _verify_installed(source: str, root: str | None, keys: KeyCache, *, as_json: bool) -> None:
    from dataclasses import asdict

    from hart.console import show_rows
    from hart.errors import TrustError
    from hart.ident import Ident
    from hart.installed import InstalledTree
    from hart.root import Root

    tree = InstalledTree(Root.choose(root, os.environ))
    package = tree.get(Ident.parse(source))
    problems = tree.verify(package, keys.public)
    rows = [asdict(problem) for problem in problems]
    show_rows(rows, list(rows[0]) if rows else [], as_json=as_json, empty=f"{package.ident} is as it was signed")
    if problems:
        raise TrustError(
            f"package {package.ident}",
            f"{len(problems)} of its files are not as they were signed",
            next=f"stead pkg uninstall {package.ident}, then stead pkg install {package.ident}",
        )


@click.command("info")
@click.argument("source", type=_FILE)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
def info(source: Path, *, as_json: bool) -> None:
    """Show what the artifact SOURCE says about itself. Nothing is verified."""
    from hart.artifact import checksum
    from hart.console import show_facts
    from hart.package import read_artifact

    package = read_artifact(source)
    data = package.metadata
    ident = data.ident
    facts: dict[str, Any] = {
        **_header_facts(package.header),
        "ident": str(ident),
        "origin": ident.origin,
        "name": ident.name,
        "version": ident.version,
        "release": ident.release,
        "checksum": checksum(source),
        "target": str(data.target),
        "is_a_service": data.is_service,
        "deps": [str(dep) for dep in data.deps],
        "tdeps": [str(dep) for dep in data.tdeps],
        "build_deps": [str(dep) for dep in data.build_deps],
        "build_tdeps": [str(dep) for dep in data.build_tdeps],
        "exposes": list(data.exposes),
        "svc_user": data.svc_user,
        "svc_group": data.svc_group,
        "package_type": data.package_type,
        "relocatable": data.relocatable,
        "build_root": data.build_root or "/hab",
        "templates": "strict" if data.strict_templates else "lenient",
    }
    if as_json:
        facts |= {"manifest": data.manifest, "config": data.default_config}
    show_facts(facts, as_json=as_json)


def _header_facts(found: Header) -> dict[str, str]:
    import base64

    return {
        "format_version": found.format,
        "key_name": str(found.key),
        "hash_type": found.hash_type,
        "signature_raw": base64.b64encode(found.signature).decode(),
    }
