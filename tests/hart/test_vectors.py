"""Habitat's own artifacts and keys, byte for byte (tests/vectors): each line of the README there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hart import artifact
from hart.errors import FormatError, TrustError
from hart.ident import Ident
from hart.keys import KeyCache, SecretBoxKey, SecretSigningKey, parse_key

VECTORS = Path(__file__).parent.parent / "vectors"
GOOD = sorted((VECTORS / "hart").glob("neurosis-*.hart")) + sorted((VECTORS / "hart").glob("happyhumans-*.hart"))
KEYS = [path for path in sorted((VECTORS / "keys").iterdir()) if "invalid" not in path.name]
INVALID_KEYS = sorted((VECTORS / "keys").glob("*invalid-version*"))


def name(path: Path) -> str:
    return path.name


@pytest.fixture
def cache(tmp_path: Path) -> KeyCache:
    cache = KeyCache(tmp_path / "keys")
    for path in KEYS:
        cache.store(parse_key(path.read_bytes()))
    return cache


def test_every_vector_is_there() -> None:
    """A glob that finds nothing would pass every test below."""
    assert len(GOOD) == 4
    assert len(KEYS) == 11
    assert len(INVALID_KEYS) == 3


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_habitats_artifacts_verify(path: Path, cache: KeyCache) -> None:
    """The signature, the digest, and that the key is the origin's; the stream is left at the payload, an xz stream."""
    with path.open("rb") as stream:
        verified = artifact.verify(stream, cache.public, thing=path.name)
        assert stream.read(6) == b"\xfd7zXZ\x00"
    assert verified.size == path.stat().st_size - verified.header.payload_offset
    origin, package = path.name.split("-")[:2]
    artifact.authorise_key(verified.header.key, Ident(origin, package))


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_signing_habitats_payloads_again_gives_the_same_bytes(path: Path, cache: KeyCache, tmp_path: Path) -> None:
    """A `.hart` of ours is a `.hart` of theirs."""
    data = path.read_bytes()
    with path.open("rb") as stream:
        header = artifact.read_header(stream)
    payload, out, key = tmp_path / "payload", tmp_path / "out.hart", cache.latest_secret(header.key.name)
    payload.write_bytes(data[header.payload_offset :])
    artifact.sign_payload(payload, out, key)
    assert out.read_bytes() == data
    assert artifact.sign_bytes(payload.read_bytes(), key) == data


def test_the_checksum_is_what_habitat_computes() -> None:
    """BLAKE2b-256 of the whole file, from Habitat's own test."""
    path = VECTORS / "hart" / "happyhumans-possums-8.1.4-20160427165340-x86_64-linux.hart"
    assert artifact.checksum(path) == "74d368d3642721b5045929845f6a1146fad50c7ecab7ab547603965e45a29a82"


def test_verify_refuses_a_repacked_payload_under_an_old_header(cache: KeyCache) -> None:
    """Upstream's fixture for it: a well formed header, a valid signature, another payload."""
    path = next((VECTORS / "hart").glob("unhappyhumans-*.hart"))
    with path.open("rb") as stream:
        header = artifact.read_header(stream)
        message = cache.public(header.key).open(header.signature)
        with pytest.raises(TrustError, match="damaged or exchanged") as caught:
            artifact.verify(stream, cache.public, thing=path.name)
    assert caught.value.data["signed"] == message.decode()


def test_a_corrupt_artifact_is_refused_at_its_key_name(cache: KeyCache) -> None:
    """The line is named."""
    with (VECTORS / "hart" / "bogus_and_corrupt.hart").open("rb") as stream, pytest.raises(FormatError, match=r"line 2: .*not-valid-ident"):
        artifact.verify(stream, cache.public, thing="bogus")


@pytest.mark.parametrize("path", KEYS, ids=name)
def test_habitats_keys_parse_and_are_stored_under_their_names(path: Path, cache: KeyCache) -> None:
    """The same bytes as Habitat writes, where the fixture has no newline added."""
    key = parse_key(path.read_bytes())
    assert key.key.file_name(key.kind) == path.name
    assert (cache.path / path.name).read_bytes() == path.read_bytes().rstrip(b"\n")


@pytest.mark.parametrize("path", [path for path in KEYS if path.name.endswith((".sig.key", ".box.key"))], ids=name)
def test_the_halves_of_each_pair_belong_together(path: Path) -> None:
    """The public key of the secret file is the one in the public file."""
    secret = parse_key(path.read_bytes())
    assert isinstance(secret, SecretSigningKey | SecretBoxKey)
    assert parse_key((path.parent / f"{secret.key}.pub").read_bytes()) == secret.public


@pytest.mark.parametrize("path", INVALID_KEYS, ids=name)
def test_keys_with_an_unknown_tag_are_refused(path: Path, tmp_path: Path) -> None:
    """As text, and as a file that somebody copied into the cache."""
    with pytest.raises(FormatError, match="NONSENSE-1"):
        parse_key(path.read_bytes())
    shutil.copy(path, tmp_path / path.name)
    (tmp_path / path.name).chmod(0o400)
    [entry] = KeyCache(tmp_path).list()
    assert "NONSENSE-1" in entry.problem
