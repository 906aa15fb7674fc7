"""Settings of the ring and the gateway: what is safe by default, what is refused, and that the holder's command line carries all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import NotFoundError, TrustError, UsageError
from hart.keys import KeyCache, generate_ring_key, generate_signing_pair
from hart.root import Root
from supervisor import settings
from supervisor.cli_ring_options import NAMES, http_settings, ring_settings
from supervisor.gossip.records import Records
from supervisor.ring_key import choose_ring
from supervisor.ring_keyfiles import first_keyring
from supervisor.settings import HttpSettings, RingSettings, Settings, parse_address, show_address

NONE = dict.fromkeys(NAMES) | {"peers": (), "sources": ()}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def add_key(root: Root, name: str, revision: str = "20260101000000") -> bytes:
    key = generate_ring_key(name, revision)
    KeyCache(root.keys).store(key)
    return key.raw


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 9638)),
        ("127.0.0.1:7000", ("127.0.0.1", 7000)),
        (":7000", ("0.0.0.0", 7000)),
        ("[::]:7000", ("::", 7000)),
        ("[::1]", ("::1", 9638)),
        ("::1", ("::1", 9638)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_an_address_to_listen_on_is_a_literal_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, port=9638, thing="x") == address
    assert parse_address(show_address(address), port=1, thing="x") == address


@pytest.mark.parametrize("text", ["", "db-1", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "[::1", "1.2.3:7000", "[::1]x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        parse_address(text, port=9638, thing="--listen-gossip")


def test_without_a_ring_key_there_is_only_loopback(root: Root) -> None:
    """Secure by default: nobody on the network can reconfigure a host because an option was left out."""
    assert ring_settings(root, {}, **NONE).listen[0] == "127.0.0.1"
    with pytest.raises(UsageError, match="loopback only") as caught:
        ring_settings(root, {}, **NONE | {"listen_gossip": "0.0.0.0"})
    assert "stead ring key generate" in caught.value.next


def test_a_ring_key_in_the_cache_is_used_without_any_option(root: Root) -> None:
    add_key(root, "prod")
    chosen = ring_settings(root, {}, **NONE)
    assert (chosen.name, chosen.listen, chosen.mdns) == ("prod", ("0.0.0.0", 9638), True)
    assert ring_settings(root, {}, **NONE | {"local_gossip": True}).listen[0] == "127.0.0.1"


def test_of_several_rings_one_must_be_named(root: Root) -> None:
    for name in ("prod", "test"):
        add_key(root, name)
    cache = KeyCache(root.keys)
    with pytest.raises(UsageError, match="prod, test"):
        choose_ring(cache, None, {})
    assert choose_ring(cache, "test", {}) == "test"
    assert choose_ring(cache, None, {"HAB_RING": "prod"}) == "prod"
    with pytest.raises(NotFoundError, match="key of ring live"):
        choose_ring(cache, "live", {})


def test_a_key_from_the_environment_is_kept_in_the_cache(root: Root) -> None:
    """As Habitat's HAB_RING_KEY; the supervisor's environment does not carry it any further."""
    key = generate_ring_key("prod", "20260101000000")
    cache = KeyCache(root.keys)
    assert choose_ring(cache, None, {"HAB_RING_KEY": key.text()}) == "prod"
    assert keys_of(cache) == (key.raw,)
    secret = generate_signing_pair("prod", "20260101000000")
    with pytest.raises(TrustError, match="not a ring key"):
        choose_ring(cache, None, {"STEAD_RING_KEY": secret.text()})


def test_the_latest_revision_seals_and_four_earlier_ones_open(root: Root) -> None:
    raws = [add_key(root, "prod", f"2026010100000{number}") for number in range(7)]
    assert keys_of(KeyCache(root.keys)) == tuple(raws[:1:-1])


def keys_of(cache: KeyCache) -> tuple[bytes, ...]:
    """Of a process that starts now."""
    return first_keyring(cache, "prod", Records(b"ringring"))[0].keys


def test_a_gateway_beyond_loopback_needs_a_token_or_somebody_who_says_so() -> None:
    wide = NONE | {"listen_http": "0.0.0.0:9631"}
    with pytest.raises(UsageError, match="everybody"):
        http_settings({}, **wide)
    assert http_settings({"STEAD_GATEWAY_AUTH_TOKEN": "x"}, **wide).listen == ("0.0.0.0", 9631)
    assert http_settings({}, **wide | {"http_open": True}).anybody
    assert http_settings({}, **NONE | {"no_http": True}).listen is None


def test_all_of_it_goes_through_the_command_line_unchanged() -> None:
    """A supervisor that the holder starts again runs as the first one did."""
    given = Settings(
        root=Root(Path("/some where")),
        ip="2001:db8::1",
        json_logs=True,
        ring=RingSettings(
            name="prod",
            listen=("::", 7000),
            listen_fixed=True,
            peers=("db-1", "[2001:db8::7]:7000"),
            watch_file="/etc/peers here",
            sources=("dns:ring.example",),
            mdns=False,
            preset="wan",
        ),
        http=HttpSettings(listen=("::1", 1), listen_fixed=True, anybody=True, key="/k", certs="/c", ca_certs="/a"),
    )
    assert settings.parse(given.arguments()) == given
    assert settings.parse(Settings(root=Root(Path("/x"))).arguments()) == Settings(root=Root(Path("/x")))
    assert settings.parse(Settings(root=Root(Path("/x")), http=HttpSettings(listen=None)).arguments()).http.listen is None


@pytest.mark.parametrize("ip", ["localhost", "1.2.3", "0x7f000001"])
def test_an_own_address_is_an_ip_address(ip: str) -> None:
    with pytest.raises(UsageError, match="not an IP address"):
        Settings(root=Root(Path("/x")), ip=ip)
