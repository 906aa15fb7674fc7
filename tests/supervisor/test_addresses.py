"""Which of a host's addresses others are told."""

from __future__ import annotations

import pytest

from supervisor import addresses
from supervisor.addresses import best, interfaces, reached_by


@pytest.mark.parametrize(
    ("found", "v6", "chosen"),
    [
        (["127.0.0.1", "10.9.8.7"], False, "10.9.8.7"),
        (["127.0.0.1"], False, ""),
        (["169.254.1.2", "192.168.1.2"], False, "192.168.1.2"),
        (["::1", "fe80::1%eth0", "fd00::7"], True, "fd00::7"),
        (["10.9.8.7"], True, ""),
        ([], False, ""),
    ],
)
def test_the_first_that_others_can_use(found: list[str], v6: bool, chosen: str) -> None:
    assert best(found, v6=v6) == chosen


def test_an_address_that_was_given_is_it() -> None:
    assert reached_by("192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize(
    ("listening", "has", "told"),
    [
        ("0.0.0.0", ["127.0.0.1", "10.9.8.7"], "10.9.8.7"),
        ("0.0.0.0", ["127.0.0.1", "fd00::7"], "127.0.0.1"),
        ("::", ["127.0.0.1", "10.9.8.7"], "10.9.8.7"),
        ("::", ["10.9.8.7", "fd00::7"], "fd00::7"),
        ("::", [], "::1"),
    ],
)
def test_without_a_route_an_interface_has_it(monkeypatch: pytest.MonkeyPatch, listening: str, has: list[str], told: str) -> None:
    """A network without a default route is one too, and its hosts are to find each other."""
    monkeypatch.setattr(addresses, "_leaves_by", lambda _: "")
    monkeypatch.setattr(addresses, "interfaces", lambda: has)
    assert reached_by(listening) == told


def test_this_host_has_interfaces() -> None:
    assert "127.0.0.1" in interfaces()
