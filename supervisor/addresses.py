"""By which address others reach this host, where nobody said it: the one that it would leave by, else one that an interface has.

A network without a default route is a network too: a rack of its own, a laboratory. Loopback is the last resort, and means that nobody
else can come.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared, not bound
_FAR = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def reached_by(listening: str) -> str:
    """For a supervisor that listens at `listening`, which may be everywhere. `::` takes both families, so either may be it."""
    if listening not in ANYWHERE:
        return listening
    families = (socket.AF_INET6, socket.AF_INET) if listening == "::" else (socket.AF_INET,)
    found = [_leaves_by(family) for family in families]
    found += [best(interfaces(), v6=family == socket.AF_INET6) for family in families]
    return next(filter(None, found), _LOOPBACK[families[0]])


def best(addresses: Iterable[str], *, v6: bool) -> str:
    """Of some interfaces' addresses the first that other hosts can use; empty where there is none."""
    for each in addresses:
        address = ip_address(each.partition("%")[0])
        if (address.version == 6) == v6 and not (
            address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
        ):
            return str(address)
    return ""


def interfaces() -> list[str]:
    """All addresses of this host."""
    import ifaddr  # only where there is no route: it is memory that most hosts need not pay

    found = [each.ip for adapter in ifaddr.get_adapters() for each in adapter.ips]
    return [each if isinstance(each, str) else each[0] for each in found]


def _leaves_by(family: socket.AddressFamily) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # nothing is sent: the kernel chooses a source address
        try:
            probe.connect((_FAR[family], 9))
            found: str = probe.getsockname()[0]
        except OSError:
            return ""
    return found if best([found], v6=family == socket.AF_INET6) else ""
