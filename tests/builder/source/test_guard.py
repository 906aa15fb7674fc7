"""Addresses that a plan may not make us connect to (threats S19)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.source.guard import refusal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1",
        "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "not an address",
    ],
)  # fmt: skip
def test_private_and_special_addresses_are_refused(address: str) -> None:
    """Also when IPv6 only wraps them."""
    assert refusal(address) is not None


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "151.101.0.223", "2606:4700:4700::1111"])
def test_public_addresses_are_taken(address: str) -> None:
    """Globally routable unicast."""
    assert refusal(address) is None


@given(st.ip_addresses(v=4))
def test_no_address_is_taken_that_the_standard_library_calls_private(address: ipaddress.IPv4Address) -> None:
    """Plain and mapped alike; the guard may be stricter, never laxer."""
    for spelling in (str(address), f"::ffff:{address}"):
        if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
            assert refusal(spelling) is not None
