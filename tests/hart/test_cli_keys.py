"""`stead origin key …` on this host (hart/cli_keys.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import stead
from hart.errors import ConflictError, FormatError, InputError, LimitError, NotFoundError, SteadError, TrustError, UsageError
from hart.keys import KeyCache, KeyName, generate_box_pair, generate_ring_key, generate_signing_pair

PAIR = generate_signing_pair("acme", "20240102030405", bytes(32))
NEWER = generate_signing_pair("acme", "20250102030405", bytes([1] * 32))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyCache:
    """The root of every command below."""
    for name in ("STEAD_ORIGIN", "HAB_ORIGIN", "STEAD_KEYS", "HAB_CACHE_KEY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEAD_ROOT", str(tmp_path / "root"))
    return KeyCache(tmp_path / "root" / "cache" / "keys")


def run(*args: str, stdin: str | bytes = "") -> Result:
    """One command line; a SteadError is raised, as `stead.main` would meet it."""
    result = CliRunner().invoke(stead.command_tree(), ["origin", "key", *args], input=stdin)
    if isinstance(result.exception, SteadError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_generate_makes_a_pair_that_signs(cache: KeyCache) -> None:
    """Both halves in the cache, and their fingerprint on the screen."""
    facts = json.loads(run("generate", "acme", "--json").stdout)
    secret = cache.latest_secret("acme")
    assert cache.public(secret.key).open(secret.sign(b"x")) == b"x"
    assert facts == {
        "key": str(secret.key),
        "fingerprint": secret.fingerprint,
        "public": str(cache.path / f"{secret.key}.pub"),
        "secret": str(cache.path / f"{secret.key}.sig.key"),
    }


def test_generate_twice_in_a_second_makes_two_keys(cache: KeyCache) -> None:
    """The second gets the next free revision."""
    for _ in range(3):
        assert run("generate", "acme").exit_code == 0
    assert len({entry.key for entry in cache.list()}) == 3


def test_the_origin_comes_from_the_environment_when_it_is_not_given(cache: KeyCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours before Habitat's; nowhere is an error with the command."""
    with pytest.raises(UsageError) as caught:
        run("generate")
    assert "stead origin key generate ORIGIN" in caught.value.next
    monkeypatch.setenv("HAB_ORIGIN", "hab")
    run("generate")
    monkeypatch.setenv("STEAD_ORIGIN", "ours")
    run("generate")
    assert {entry.key.name for entry in cache.list()} == {"hab", "ours"}
    assert "\nours-" in run("export").stdout


@pytest.mark.parametrize("origin", ["Acme", "../acme", "a b", "-acme", "a" * 250, "\x1b[2J"])
def test_generate_refuses_what_is_no_origin(origin: str, cache: KeyCache) -> None:
    """Nothing is made, not even the directory."""
    with pytest.raises(InputError):
        run("generate", "--", origin)
    assert not cache.path.exists()


@pytest.mark.parametrize("text", [PAIR.public.text(), PAIR.public.text() + "\n", PAIR.public.text().replace("\n", "\r\n")])
def test_import_keeps_a_public_key(text: str, cache: KeyCache) -> None:
    """Once and again; in the bytes that Habitat writes."""
    for _ in range(2):
        assert run("import", stdin=text).exit_code == 0
    assert [path.name for path in cache.path.iterdir()] == ["acme-20240102030405.pub"]
    assert (cache.path / "acme-20240102030405.pub").read_text() == PAIR.public.text()


def test_import_of_a_secret_key_brings_its_public_half(cache: KeyCache) -> None:
    """So that what it signs can be verified on the same host."""
    facts = json.loads(run("import", "--json", stdin=PAIR.text()).stdout)
    assert facts["kind"] == "signing secret"
    assert facts["fingerprint"] == PAIR.fingerprint
    assert cache.latest_secret("acme") == PAIR
    assert cache.public(PAIR.key) == PAIR.public


def test_import_keeps_other_kinds_too(cache: KeyCache) -> None:
    """Ring keys, and encryption keys of users and services."""
    ring, box = generate_ring_key("home", "20240102030405"), generate_box_pair("redis.default@acme", "20240102030405")
    run("import", stdin=ring.text())
    run("import", stdin=box.text())
    assert cache.load(ring.key, ring.kind) == ring
    assert cache.load(box.key, box.kind) == box


@pytest.mark.parametrize(
    ("stdin", "family"),
    [
        ("", UsageError),
        (" \n", UsageError),
        ("hello", FormatError),
        (b"\xff\x00", FormatError),
        (PAIR.public.text() + "\n" + NEWER.public.text(), UsageError),
        (PAIR.public.text() + NEWER.public.text(), FormatError),
        (PAIR.public.text().replace("SIG-PUB-1", "NONSENSE-12"), FormatError),
        (PAIR.text()[:-8], FormatError),
        ("x" * 100_000, LimitError),
    ],
)
def test_import_refuses_what_is_not_one_key(stdin: str | bytes, family: type[SteadError], cache: KeyCache) -> None:
    """Nothing is kept of it."""
    with pytest.raises(family, match="standard input"):
        run("import", stdin=stdin)
    assert not cache.path.exists()


def test_import_refuses_another_key_under_a_name_that_is_taken(cache: KeyCache) -> None:
    """The one that is trusted stays."""
    run("import", stdin=PAIR.public.text())
    with pytest.raises(ConflictError):
        run("import", stdin=generate_signing_pair("acme", "20240102030405").public.text())
    assert cache.public(PAIR.key) == PAIR.public


def test_export_prints_the_latest_key_or_the_one_named(cache: KeyCache) -> None:
    """Exactly the file's bytes, so that a pipe to import is a copy."""
    cache.store_pair(PAIR)
    cache.store_pair(NEWER)
    assert run("export", "acme").stdout == NEWER.public.text()
    assert run("export", "acme", "--type", "secret").stdout == NEWER.text()
    assert run("export", "acme-20240102030405").stdout == PAIR.public.text()
    assert run("export", "acme-20240102030405", "-t", "secret").stdout == PAIR.text()


def test_export_of_a_key_that_is_not_there_is_told(cache: KeyCache) -> None:
    """By what was asked for."""
    cache.store(PAIR.public)
    for args in (["export", "other"], ["export", "acme", "-t", "secret"], ["export", "acme-20990101000000"]):
        with pytest.raises(NotFoundError):
            run(*args)
    assert run("export", "acme", "-t", "both").exit_code == 2


def test_list_shows_fingerprints_and_problems(cache: KeyCache) -> None:
    """One row a file, and the command that mends nothing by itself."""
    assert json.loads(run("list", "--json").stdout) == []
    assert "no keys in" in run("list").stderr
    cache.store_pair(PAIR)
    cache.store(generate_ring_key("home", "20240102030405")).chmod(0o644)
    rows = json.loads(run("list", "--json").stdout)
    assert [(row["name"], row["kind"], row["fingerprint"], row["problem"]) for row in rows] == [
        ("acme", "signing public", PAIR.fingerprint, None),
        ("acme", "signing secret", PAIR.fingerprint, None),
        ("home", None, None, "others can read this secret key"),
    ]
    assert {row["name"] for row in json.loads(run("list", "acme", "--json").stdout)} == {"acme"}
    assert run("list", "acme").stdout.splitlines() == [
        f"acme\t20240102030405\tsigning {half}\t{PAIR.fingerprint}" for half in ("public", "secret")
    ]


def test_the_cache_is_chosen_by_option_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--root`, STEAD_KEYS, HAB_CACHE_KEY_PATH, `--cache-key-path`: the later wins."""
    run("generate", "acme", "--root", str(tmp_path / "a"))
    assert len(KeyCache(tmp_path / "a" / "cache" / "keys").list()) == 2
    monkeypatch.setenv("HAB_CACHE_KEY_PATH", str(tmp_path / "b"))
    run("generate", "acme", "--root", str(tmp_path / "a"))
    assert len(KeyCache(tmp_path / "b").list()) == 2
    monkeypatch.setenv("STEAD_KEYS", str(tmp_path / "c"))
    run("generate", "acme")
    assert len(KeyCache(tmp_path / "c").list()) == 2
    run("generate", "acme", "--cache-key-path", str(tmp_path / "d"))
    assert len(KeyCache(tmp_path / "d").list()) == 2


def test_a_secret_key_that_others_can_read_is_not_exported(cache: KeyCache) -> None:
    """The next command is the one that mends it."""
    path = cache.store(PAIR)
    path.chmod(0o440)
    with pytest.raises(TrustError) as caught:
        run("export", "acme", "-t", "secret")
    assert caught.value.next == f"chmod 0400 {path}"


def test_the_command_line_ends_with_the_family_of_the_error(tmp_path: Path) -> None:
    """The real program: thing, cause and next command on standard error, no trace, the exit code of `hart/errors.py`."""
    environment = {**os.environ, "STEAD_ROOT": str(tmp_path)}
    program = [sys.executable, stead.__file__, "origin", "key"]
    missing = subprocess.run([*program, "export", "acme"], env=environment, capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stdout) == (5, "")
    assert missing.stderr.startswith("error: public signing key of acme: ")
    assert "\n  next: stead origin key download acme\n" in missing.stderr
    made = subprocess.run([*program, "generate", "acme", "--json"], env=environment, capture_output=True, text=True, check=True)
    assert KeyName.parse(json.loads(made.stdout)["key"]).name == "acme"
