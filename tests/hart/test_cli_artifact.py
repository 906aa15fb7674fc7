"""`stead pkg header | hash | sign | verify | info` (hart/cli_artifact.py)."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import stead
from hart.artifact import checksum, sign_bytes
from hart.errors import FormatError, NotFoundError, SteadError, StorageError, TrustError, UsageError
from hart.installed import InstalledTree
from hart.keys import KeyCache, parse_key
from hart.root import Root
from tests.hart.building import KEY, OTHER, ident, make_artifact, metadata

VECTORS = Path(__file__).parent.parent / "vectors"
HAPPY = VECTORS / "hart" / "happyhumans-possums-8.1.4-20160427165340-x86_64-linux.hart"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyCache:
    """The key cache of every command below; it holds the key pairs of acme and evil."""
    for name in ("STEAD_ORIGIN", "HAB_ORIGIN", "STEAD_KEYS", "HAB_CACHE_KEY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEAD_ROOT", str(tmp_path / "root"))
    cache = KeyCache(tmp_path / "root" / "cache" / "keys")
    for key in (KEY, OTHER):
        cache.store_pair(key)
    return cache


def run(*args: str | Path, stdin: str | bytes = "") -> Result:
    """One command line; a SteadError is raised, as `stead.main` would meet it."""
    result = CliRunner().invoke(stead.command_tree(), ["pkg", *map(str, args)], input=stdin)
    if isinstance(result.exception, SteadError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_header_shows_the_four_values_of_a_signed_file() -> None:
    """With Habitat's names; of anything that is signed, trusted or not."""
    facts = json.loads(run("header", HAPPY, "--json").stdout)
    signature = HAPPY.read_bytes().split(b"\n")[3].decode()
    assert facts == {
        "package": str(HAPPY),
        "format_version": "HART-1",
        "key_name": "happyhumans-20160424223347",
        "hash_type": "BLAKE2b",
        "signature_raw": signature,
    }
    assert f"signature_raw   {signature}" in run("header", HAPPY).stdout


def test_header_of_what_is_no_signed_file_is_refused(tmp_path: Path) -> None:
    """Missing, a directory, something else."""
    with pytest.raises(NotFoundError):
        run("header", tmp_path / "missing")
    with pytest.raises(SteadError, match="directory"):
        run("header", tmp_path)
    with pytest.raises(FormatError, match="line 2"):
        run("header", VECTORS / "hart" / "bogus_and_corrupt.hart")


def test_hash_prints_checksum_and_path() -> None:
    """As the depot computes it; two spaces between, as `b2sum` does."""
    assert run("hash", HAPPY).stdout == f"74d368d3642721b5045929845f6a1146fad50c7ecab7ab547603965e45a29a82  {HAPPY}\n"


def test_hash_reads_file_names_from_standard_input(tmp_path: Path) -> None:
    """One a line, also with spaces and without UTF-8; `--json` is a list."""
    paths = [tmp_path / "a b", tmp_path / os.fsdecode(b"caf\xe9")]
    for path in paths:
        path.write_bytes(b"content")
    digest = hashlib.blake2b(b"content", digest_size=32).hexdigest()
    stdin = b"".join(os.fsencode(path) + b"\n" for path in paths)
    assert run("hash", stdin=stdin).stdout_bytes == b"".join(digest.encode() + b"  " + os.fsencode(path) + b"\n" for path in paths)
    assert json.loads(run("hash", "--json", stdin=stdin).stdout) == [{"path": str(path), "blake2b": digest} for path in paths]
    with pytest.raises(UsageError, match="NUL"):
        run("hash", stdin=b"a\0b\0")


def test_sign_makes_a_file_that_verify_accepts(tmp_path: Path, cache: KeyCache) -> None:
    """Any payload, with the origin's latest key."""
    (tmp_path / "list").write_bytes(b"any file")
    run("sign", "--origin", "acme", tmp_path / "list", tmp_path / "list.signed")
    assert (tmp_path / "list.signed").read_bytes() == sign_bytes(b"any file", cache.latest_secret("acme"))
    facts = json.loads(run("verify", tmp_path / "list.signed", "--json").stdout)
    assert facts == {
        "file": str(tmp_path / "list.signed"),
        "signed_by": str(KEY.key),
        "fingerprint": KEY.fingerprint,
        "payload_blake2b": hashlib.blake2b(b"any file", digest_size=32).hexdigest(),
        "package": None,
    }


def test_sign_takes_the_origin_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Habitat does; without one it says how to name it."""
    (tmp_path / "list").write_bytes(b"any file")
    with pytest.raises(UsageError) as caught:
        run("sign", tmp_path / "list", tmp_path / "out")
    assert "--origin" in caught.value.next
    monkeypatch.setenv("HAB_ORIGIN", "evil")
    run("sign", tmp_path / "list", tmp_path / "out")
    assert str(OTHER.key).encode() in (tmp_path / "out").read_bytes()


def test_sign_leaves_nothing_behind_when_it_cannot(tmp_path: Path) -> None:
    """No key, no source."""
    for origin, family in (("stranger", NotFoundError), ("acme", NotFoundError), ("Acme", FormatError)):
        with pytest.raises(family):
            run("sign", "--origin", origin, tmp_path / "missing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify_accepts_habitats_artifact(cache: KeyCache) -> None:
    """And says which package it is."""
    with pytest.raises(NotFoundError, match="happyhumans-20160424223347"):
        run("verify", HAPPY)
    cache.store(parse_key((VECTORS / "keys" / "happyhumans-20160424223347.pub").read_bytes()))
    assert json.loads(run("verify", HAPPY, "--json").stdout)["package"] == "happyhumans/possums/8.1.4/20160427165340"


def test_verify_refuses_a_changed_artifact(tmp_path: Path) -> None:
    """One bit of the payload."""
    path = make_artifact(tmp_path, metadata(ident()))
    assert json.loads(run("verify", path, "--json").stdout)["package"] == str(ident())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(TrustError, match="damaged or exchanged"):
        run("verify", path)


def test_verify_refuses_a_package_that_another_origin_signed(tmp_path: Path) -> None:
    """S04: the key is trusted, but not for this; whatever the file is called."""
    for name in ("", "innocent.txt"):
        directory = tmp_path / f"d{name}"
        directory.mkdir()
        path = make_artifact(directory, metadata(ident()), key=OTHER, name=name)
        with pytest.raises(TrustError, match="may not sign for acme"):
            run("verify", path)


def test_verify_refuses_a_hart_file_without_a_package(tmp_path: Path) -> None:
    """The same bytes under another name are just a signed file."""
    for payload in (b"no package", lzma.compress(b"no package")):
        signed = sign_bytes(payload, KEY)
        (tmp_path / "x.hart").write_bytes(signed)
        (tmp_path / "x.signed").write_bytes(signed)
        with pytest.raises(FormatError):
            run("verify", tmp_path / "x.hart")
        assert json.loads(run("verify", tmp_path / "x.signed", "--json").stdout)["package"] is None


def test_verify_of_what_is_neither_file_nor_package_is_told(tmp_path: Path) -> None:
    """By what it looks like."""
    for missing in ("missing.hart", "missing", tmp_path / "missing", "acme/web"):
        with pytest.raises(NotFoundError):
            run("verify", missing)
    with pytest.raises(FormatError):
        run("verify", "acme/web/1/2/3")


@pytest.mark.parametrize("verb", [["verify"], ["info"], ["sign", "--origin", "acme"]])
def test_what_is_no_regular_file_is_told_at_once(verb: list[str], tmp_path: Path) -> None:
    """A pipe can be read once, and these read twice; a directory is there, so "no such file" would mislead."""
    os.mkfifo(tmp_path / "pipe")
    out = [tmp_path / "out"] if "sign" in verb else []
    for source in (tmp_path / "pipe", tmp_path):
        with pytest.raises(FormatError, match="is no regular file"):
            run(*verb, source, *out)
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    """Longer than file systems take."""
    for name in ("a" * 300, tmp_path / ("a" * 300)):
        with pytest.raises(StorageError, match="file name too long"):
            run("verify", name)


def test_a_directory_named_like_an_ident_does_not_hide_the_package(
    tmp_path: Path, cache: KeyCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`acme/web` in the current directory."""
    InstalledTree(Root(tmp_path / "root")).install(make_artifact(tmp_path, metadata(ident())), cache.public)
    (tmp_path / "acme" / "web").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert json.loads(run("verify", "acme/web", "--json").stdout) == []


def test_signing_onto_a_directory_names_it(tmp_path: Path) -> None:
    """Not the temporary file that nobody asked for."""
    (tmp_path / "list").write_bytes(b"any file")
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError) as caught:
        run("sign", "--origin", "acme", tmp_path / "list", tmp_path / "out")
    assert (caught.value.thing, caught.value.cause) == (str(tmp_path / "out"), "is a directory")


def test_verify_of_an_installed_package_compares_every_file(tmp_path: Path, cache: KeyCache) -> None:
    """With the signed list that came with it."""
    tree = InstalledTree(Root(tmp_path / "root"))
    package = tree.install(make_artifact(tmp_path, metadata(ident())), cache.public)
    result = run("verify", "acme/web", "--json")
    assert json.loads(result.stdout) == []
    assert "as it was signed" in run("verify", "acme/web").stderr
    (package.path / "bin" / "run").chmod(0o755)
    (package.path / "bin" / "run").write_bytes(b"#!/bin/sh\nevil\n")
    result = CliRunner().invoke(stead.command_tree(), ["pkg", "verify", "acme/web", "--json"])
    assert isinstance(result.exception, TrustError)
    assert [row["path"] for row in json.loads(result.stdout)] == ["bin/run"]


def test_info_shows_what_an_artifact_says_about_itself(tmp_path: Path) -> None:
    """With Habitat's names, header and checksum included; unverified, so also of a stranger's."""
    needed = ident("glibc", "2.27")
    path = make_artifact(tmp_path, metadata(ident(), [needed], svc_user="acme", default_config="port = 1\n", is_service=True))
    facts = json.loads(run("info", path, "--json").stdout)
    assert (facts["ident"], facts["origin"], facts["name"], facts["version"], facts["release"]) == (
        str(ident()),
        "acme",
        "web",
        "1.0",
        ident().release,
    )
    assert facts["key_name"] == str(KEY.key)
    assert base64.b64decode(facts["signature_raw"]) == base64.b64decode(path.read_bytes().split(b"\n")[3])
    assert facts["checksum"] == checksum(path)
    assert facts["deps"] == facts["tdeps"] == [str(needed)]
    assert (facts["svc_user"], facts["is_a_service"], facts["config"]) == ("acme", True, "port = 1\n")
    assert f"deps            {needed}" in run("info", path).stdout


def test_info_of_what_is_no_package_is_refused(tmp_path: Path) -> None:
    """A signed file that is something else, and no signed file."""
    (tmp_path / "x").write_bytes(sign_bytes(b"something", KEY))
    (tmp_path / "y").write_bytes(b"something")
    for path in (tmp_path / "x", tmp_path / "y"):
        with pytest.raises(FormatError):
            run("info", path)
    with pytest.raises(NotFoundError):
        run("info", tmp_path / "missing")


def test_commands_without_their_arguments_show_their_usage() -> None:
    """Exit code 2, nothing done."""
    for args in (["header"], ["sign", "a"], ["verify"], ["info"], ["header", "a", "b"], ["info", "--nonsense", "a"]):
        result = run(*args)
        assert result.exit_code == 2
        assert "Usage:" in result.stderr
