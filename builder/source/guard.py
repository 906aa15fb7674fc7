"""Which addresses a plan may make us connect to (threats 3.4, S19). Pure.

Rules: by default only globally routable unicast addresses: no loopback, link-local (cloud metadata), private, shared, multicast or
reserved ones, also when an IPv6 address only wraps one of them. The check is on the address that is then connected to, so a name that
resolves differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def refusal(address: str) -> str | None:
    """Why an address (as text, a scope id is ignored) is not connected to, or None."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is not an IP address"
    for inner in (parsed, *wrapped(parsed)):
        if not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            return f"{address} is not a public address"
    return None


def wrapped(address: Address) -> list[Address]:
    """IPv4 addresses that an IPv6 address stands for: mapped, 6to4, Teredo, NAT64, and the old compatible form."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[Address] = [candidate for candidate in (address.ipv4_mapped, address.sixtofour) if candidate is not None]
    inner += address.teredo or ()
    if address in NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return inner
