"""Keys and the key cache (hart/keyfile.py, hart/keys.py)."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import ConflictError, FormatError, InputError, LimitError, NotFoundError, SteadError, TrustError
from hart.keys import (
    Key,
    KeyCache,
    KeyKind,
    KeyName,
    PublicSigningKey,
    SecretSigningKey,
    generate_box_pair,
    generate_ring_key,
    generate_signing_pair,
    parse_key,
    revision_at,
    service_key_name,
)
from hart.root import Root

REVISION = "20240102030405"
SIGNING = generate_signing_pair("acme", REVISION, bytes(32))
BOX = generate_box_pair("acme", REVISION, bytes(range(32)))
RING = generate_ring_key("home", REVISION, bytes(32))
KEYS: list[Key] = [SIGNING, SIGNING.public, BOX, BOX.public, RING]
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,20}", fullmatch=True)


@pytest.fixture
def cache(tmp_path: Path) -> KeyCache:
    return KeyCache(tmp_path / "cache" / "keys")


# --- names


@given(NAMES, st.from_regex(r"[0-9]{14}", fullmatch=True))
def test_a_key_name_is_its_text(name: str, revision: str) -> None:
    """Also for names with dashes and digits: all before the last dash is the name."""
    assert KeyName.parse(f"{name}-{revision}") == KeyName(name, revision)
    assert str(KeyName(name, revision)) == f"{name}-{revision}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "-20240102030405",
        "acme-2024010203040",
        "acme-202401020304050",
        "acme-20240102030405-not-valid-identifier!",
        "../acme-20240102030405",
        "a/b-20240102030405",
        ".acme-20240102030405",
        "ac me-20240102030405",
        "acme-20240102030405\n",
        "acme-٢٠٢٤٠١٠٢٠٣٠٤٠٥",
        "a" * 232 + "-20240102030405",
        "a" * 100_000,
    ],
)
def test_a_key_name_that_is_no_file_name_is_refused(text: str) -> None:
    """It becomes a path in the key cache, and comes from strangers' headers."""
    with pytest.raises(FormatError) as caught:
        KeyName.parse(text)
    assert len(str(caught.value)) < 400


def test_the_parts_of_a_key_name_are_checked_too() -> None:
    """A revision cannot hide in the name."""
    for name, revision in [("acme", "2024"), ("a/b", REVISION), ("", REVISION), ("a" * 232, REVISION)]:
        with pytest.raises(FormatError):
            KeyName(name, revision)


def test_the_longest_key_name_can_be_stored(cache: KeyCache) -> None:
    """Name, revision and suffix are one file name."""
    key = generate_signing_pair("a" * 231, REVISION)
    assert cache.store(key).exists()


def test_a_revision_is_the_time_in_utc() -> None:
    """14 digits."""
    assert revision_at(0.0) == "19700101000000"
    assert revision_at(1461537827.9) == "20160424224347"


# --- texts


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind.name)
def test_a_key_is_its_text(key: Key) -> None:
    """Tag, name, empty line, base64, and no newline at the end; other line ends and lines behind are tolerated."""
    text = key.text()
    assert text.split("\n")[:3] == [key.kind.value, str(key.key), ""]
    assert not text.endswith("\n")
    for variant in (text, text + "\n", text.replace("\n", "\r\n"), text + "\r\n", text + "\na comment\n"):
        assert parse_key(variant) == key
        assert parse_key(variant.encode()) == key


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "line 1"),
        ("NONSENSE-12\nacme-20240102030405\n\n" + "A" * 43 + "=", "line 1"),
        (" SIG-PUB-1\nacme-20240102030405\n\n" + "A" * 43 + "=", "line 1"),
        ("SIG-PUB-1", "fewer than four lines"),
        ("SIG-PUB-1\nacme-20240102030405\n", "fewer than four lines"),
        ("SIG-PUB-1\nacme\n\n" + "A" * 43 + "=", "line 2"),
        ("SIG-PUB-1\nacme-20240102030405\n\n", "line 4"),
        ("SIG-PUB-1\nacme-20240102030405\n\n!!!!", "line 4"),
        ("SIG-PUB-1\nacme-20240102030405\n\n" + "A" * 42 + "B=", "line 4"),
        ("SIG-PUB-1\nacme-20240102030405\n\n" + "A" * 43, "line 4"),
        ("SIG-PUB-1\nacme-20240102030405\n\n" + "A" * 40, "line 4"),
        ("SIG-SEC-1\nacme-20240102030405\n\n" + "A" * 43 + "=", "line 4"),
        (b"\xff\xfe", "not text"),
    ],
)
def test_a_malformed_key_is_refused_with_its_line(text: str | bytes, line: str) -> None:
    """Unknown tag, bad name, base64 that is not canonical, wrong length."""
    with pytest.raises(FormatError, match=line):
        parse_key(text)


def test_a_large_file_is_no_key() -> None:
    """It is not even looked at."""
    with pytest.raises(LimitError):
        parse_key(SIGNING.text() + "\n" * 5000)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_bytes_are_a_key_or_refused(data: bytes | str) -> None:
    """Never another exception."""
    with pytest.raises(InputError):
        parse_key(data)


def test_a_secret_key_with_another_public_half_is_refused() -> None:
    """Signing with mismatched halves gives the secret away."""
    other = generate_signing_pair("acme", REVISION, bytes([1] * 32))
    with pytest.raises(FormatError, match="do not belong together"):
        SecretSigningKey(SIGNING.key, SIGNING.raw64[:32] + other.raw64[32:])


def test_a_secret_is_never_in_a_repr() -> None:
    """Logs and tracebacks print those."""
    for key in (SIGNING, BOX, RING):
        assert "raw" not in repr(key)


def test_a_seed_makes_a_key_repeatable_and_none_makes_it_new() -> None:
    """Tests and rehearsals use the one, people the other."""
    assert generate_signing_pair("acme", REVISION, bytes(32)) == SIGNING
    assert generate_signing_pair("acme", REVISION) != generate_signing_pair("acme", REVISION)
    assert generate_box_pair("acme", REVISION) != generate_box_pair("acme", REVISION)
    assert generate_ring_key("home", REVISION) != generate_ring_key("home", REVISION)


def test_a_service_key_is_named_for_service_group_and_organisation() -> None:
    """Habitat's form."""
    key = generate_box_pair(service_key_name("redis", "default", "acme"), REVISION)
    assert key.key.file_name(key.kind) == "redis.default@acme-20240102030405.box.key"
    assert parse_key(key.text()) == key


# --- signatures and fingerprints


@given(st.binary(max_size=200))
def test_opening_what_was_signed_gives_the_message(message: bytes) -> None:
    """64 bytes of signature, then the message; the same every time."""
    signed = SIGNING.sign(message)
    assert len(signed) == 64 + len(message)
    assert SIGNING.sign(message) == signed
    assert SIGNING.public.open(signed) == message


def test_open_refuses_every_flipped_bit_and_every_cut() -> None:
    """Nothing but the exact bytes."""
    signed = SIGNING.sign(b"message")
    flipped = [signed[:at] + bytes([signed[at] ^ 1 << bit]) + signed[at + 1 :] for at in range(len(signed)) for bit in range(8)]
    for attempt in [*flipped, *(signed[:length] for length in range(len(signed))), signed + b"x"]:
        with pytest.raises(TrustError):
            SIGNING.public.open(attempt)


def test_open_refuses_another_key() -> None:
    """Of the same name and revision, even."""
    other = generate_signing_pair("acme", REVISION, bytes([1] * 32))
    with pytest.raises(TrustError, match="not valid"):
        other.public.open(SIGNING.sign(b"message"))


def test_a_fingerprint_is_sha256_of_the_raw_public_key() -> None:
    """As ordinary tools compute it, and the same for both halves."""
    expected = base64.b64encode(hashlib.sha256(SIGNING.public.raw).digest()).decode().rstrip("=")
    assert SIGNING.fingerprint == SIGNING.public.fingerprint == f"SHA256:{expected}"
    assert BOX.fingerprint == BOX.public.fingerprint
    assert RING.fingerprint not in (f"SHA256:{base64.b64encode(hashlib.sha256(RING.raw).digest()).decode().rstrip('=')}", "")
    assert len({key.fingerprint for key in KEYS}) == 3


# --- the cache


def test_files_are_private_and_named_as_habitat_names_them(cache: KeyCache) -> None:
    """0700 for the directory, 0400 for secrets, 0444 for public keys, whatever the umask."""
    before = os.umask(0)
    try:
        for key in (*cache.store_pair(SIGNING), cache.store(RING)):
            assert key.exists()
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.path.iterdir()}
    assert modes == {f"acme-{REVISION}.pub": 0o444, f"acme-{REVISION}.sig.key": 0o400, f"home-{REVISION}.sym.key": 0o400}
    assert (cache.path / f"acme-{REVISION}.pub").read_text() == SIGNING.public.text()


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind.name)
def test_storing_a_key_again_is_no_change(cache: KeyCache, key: Key) -> None:
    """Also when the file has the newline that editors add."""
    path = cache.store(key)
    written = path.stat()
    assert cache.store(key) == path
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    path.chmod(0o600)
    path.write_text(key.text() + "\n")
    assert cache.store(key) == path
    assert cache.load(key.key, key.kind) == key


def test_storing_another_key_under_a_name_is_a_conflict(cache: KeyCache) -> None:
    """A key is never replaced."""
    path = cache.store(SIGNING)
    with pytest.raises(ConflictError, match="exists already"):
        cache.store(generate_signing_pair("acme", REVISION, bytes([1] * 32)))
    assert path.read_text() == SIGNING.text()


def test_a_pair_is_stored_only_when_both_names_are_free(cache: KeyCache) -> None:
    """No half of it is left behind by a refusal."""
    cache.store(SIGNING)
    with pytest.raises(ConflictError):
        cache.store_pair(generate_signing_pair("acme", REVISION, bytes([1] * 32)))
    assert [path.name for path in cache.path.iterdir()] == [f"acme-{REVISION}.sig.key"]


def test_signing_and_encryption_of_one_second_conflict_and_a_free_revision_avoids_it(cache: KeyCache) -> None:
    """They share the `.pub` name: Habitat overwrites or fails later."""
    cache.store_pair(BOX)
    with pytest.raises(ConflictError, match="BOX-PUB-1, and this one is SIG-PUB-1"):
        cache.store_pair(SIGNING)
    assert not (cache.path / f"acme-{REVISION}.sig.key").exists()
    assert cache.free_revision("acme", 1704164645.0) == "20240102030406"
    assert cache.free_revision("acm", 1704164645.0) == REVISION


def test_two_writers_of_the_same_key_agree_and_of_different_ones_conflict(cache: KeyCache) -> None:
    """Whoever comes second sees what is there."""
    keys = [generate_signing_pair("acme", REVISION, bytes([number % 2] * 32)) for number in range(8)]
    gate, outcomes = threading.Barrier(len(keys)), []

    def write(key: SecretSigningKey) -> None:
        gate.wait()
        try:
            cache.store(key)
            outcomes.append((key.raw64, True))
        except ConflictError:
            outcomes.append((key.raw64, False))

    threads = [threading.Thread(target=write, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = cache.latest_secret("acme").raw64
    assert sorted(outcomes) == sorted((key.raw64, key.raw64 == stored) for key in keys)
    assert len(list(cache.path.iterdir())) == 1


def test_the_latest_key_has_exactly_the_name(cache: KeyCache) -> None:
    """Habitat's glob `foo-*` also finds the keys of foo-bar."""
    for name, revision in [("foo", "20200101000000"), ("foo", "20210101000000"), ("foo-bar", "20220101000000"), ("fo", "20230101000000")]:
        cache.store_pair(generate_signing_pair(name, revision))
    assert str(cache.latest_secret("foo").key) == "foo-20210101000000"
    assert str(cache.latest_public("foo").key) == "foo-20210101000000"
    with pytest.raises(NotFoundError) as caught:
        cache.latest_secret("bar")
    assert "stead origin key generate bar" in caught.value.next


def test_the_latest_signing_key_is_never_an_encryption_key(cache: KeyCache) -> None:
    """A newer box key with the same suffix is passed over."""
    cache.store_pair(generate_signing_pair("acme", "20200101000000"))
    cache.store_pair(generate_box_pair("acme", "20210101000000"))
    assert cache.latest_public("acme").key.revision == "20200101000000"
    assert cache.latest("acme", KeyKind.BOX_PUBLIC).key.revision == "20210101000000"
    with pytest.raises(NotFoundError, match="BOX-PUB-1"):
        cache.public(KeyName("acme", "20210101000000"))


def test_trust_is_exact(cache: KeyCache) -> None:
    """Another revision of the same name is another key."""
    cache.store(SIGNING.public)
    assert cache.public(SIGNING.key) == SIGNING.public
    with pytest.raises(NotFoundError) as caught:
        cache.public(KeyName("acme", "20240102030406"))
    assert "stead origin key download acme" in caught.value.next


def test_a_cache_that_does_not_exist_is_empty(cache: KeyCache) -> None:
    """Reading makes nothing."""
    assert cache.list() == []
    with pytest.raises(NotFoundError):
        cache.latest_secret("acme")
    assert not cache.path.exists()


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o410])
def test_a_secret_key_that_others_can_read_is_refused(cache: KeyCache, mode: int) -> None:
    """With the command that mends it."""
    path = cache.store(SIGNING)
    path.chmod(mode)
    with pytest.raises(TrustError) as caught:
        cache.latest_secret("acme")
    assert caught.value.next == f"chmod 0400 {path}"
    subprocess.run(["/bin/sh", "-c", caught.value.next], check=True)
    assert cache.latest_secret("acme") == SIGNING


def test_a_secret_key_that_is_a_symbolic_link_is_refused(cache: KeyCache, tmp_path: Path) -> None:
    """The link's owner decides what is signed with."""
    path = cache.store(SIGNING)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrustError, match="symbolic link"):
        cache.latest_secret("acme")


def test_a_key_file_that_contains_another_key_is_refused(cache: KeyCache) -> None:
    """A renamed public key would make one origin's key another's."""
    cache.store(SIGNING.public)
    (cache.path / f"acme-{REVISION}.pub").rename(cache.path / f"victim-{REVISION}.pub")
    with pytest.raises(TrustError, match="contains another key"):
        cache.public(KeyName("victim", REVISION))


def test_a_shared_directory_is_not_advised_to_be_closed(cache: KeyCache) -> None:
    """`chmod 0700 /tmp` would stop the whole host: another directory is the way out."""
    cache.store(SIGNING.public)
    cache.path.chmod(0o1777)
    with pytest.raises(TrustError, match="everybody can write") as caught:
        cache.latest_public("acme")
    assert "chmod" not in caught.value.next
    assert "--cache-key-path" in caught.value.next


def test_a_cache_that_everybody_can_write_to_is_refused(cache: KeyCache) -> None:
    """Who can put a public key there can sign packages."""
    cache.store_pair(SIGNING)
    cache.path.chmod(0o777)
    for read in (cache.latest_secret, cache.latest_public):
        with pytest.raises(TrustError, match="everybody can write"):
            read("acme")
    with pytest.raises(TrustError, match="everybody can write"):
        cache.public(SIGNING.key)


@pytest.mark.timeout(20)
def test_a_pipe_or_directory_in_place_of_a_key_is_refused(cache: KeyCache) -> None:
    """Without waiting for a writer."""
    cache.store(RING)
    os.mkfifo(cache.path / f"acme-{REVISION}.pub")
    (cache.path / f"acme-{REVISION}.sig.key").mkdir()
    with pytest.raises(FormatError, match="regular file"):
        cache.latest_public("acme")
    with pytest.raises(SteadError):
        cache.latest_secret("acme")


def test_the_list_shows_every_key_and_what_is_wrong_with_it(cache: KeyCache) -> None:
    """A damaged file is a row with a problem; files that are no keys are not rows."""
    cache.store_pair(SIGNING)
    cache.store(RING)
    for name, text in [("odd", "NONSENSE-12\nodd-20240102030405\n\nAAAA"), ("pair", generate_signing_pair("pair", REVISION).public.text())]:
        (cache.path / f"{name}-{REVISION}.pub").write_text(text)
    cache.store(generate_signing_pair("pair", REVISION))
    (cache.path / "README").write_text("not a key")
    (cache.path / ".pair-20240102030405.pub").write_text("not a key")
    shown = [(str(entry.key), entry.kind, bool(entry.fingerprint), entry.problem[:26]) for entry in cache.list()]
    assert shown == [
        (f"acme-{REVISION}", KeyKind.SIGNING_PUBLIC, True, ""),
        (f"acme-{REVISION}", KeyKind.SIGNING_SECRET, True, ""),
        (f"home-{REVISION}", KeyKind.RING, True, ""),
        (f"odd-{REVISION}", None, False, "line 1: 'NONSENSE-12' is n"),
        (f"pair-{REVISION}", KeyKind.SIGNING_PUBLIC, True, ""),
        (f"pair-{REVISION}", KeyKind.SIGNING_SECRET, True, "its public key file is of "),
    ]


def test_the_cache_is_chosen_by_option_then_environment_then_root() -> None:
    """Habitat's variable counts when ours is not set."""
    root, both = Root(Path("/hab")), {"STEAD_KEYS": "/a", "HAB_CACHE_KEY_PATH": "/b"}
    assert KeyCache.choose(root, both, "/c").path == Path("/c")
    assert KeyCache.choose(root, both).path == Path("/a")
    assert KeyCache.choose(root, {"HAB_CACHE_KEY_PATH": "/b"}).path == Path("/b")
    assert KeyCache.choose(root, {}).path == Path("/hab/cache/keys")


def test_a_public_key_has_32_bytes() -> None:
    """Made from parts as well as from text."""
    with pytest.raises(FormatError, match="31 bytes"):
        PublicSigningKey(SIGNING.key, bytes(31))
