"""Which ring this host takes part in. Reads the key cache only; no supervisor is needed. With which keys it begins: ring_keyfiles.py.

Rules: the ring that was named; else the only one whose key is in the cache; else none, and then there is only loopback.
"""

from __future__ import annotations

from collections.abc import Mapping

from hart.errors import NotFoundError, TrustError, UsageError
from hart.keys import KeyCache, KeyKind, RingKey, parse_key


def choose_ring(cache: KeyCache, option: str | None, environ: Mapping[str, str]) -> str:
    """The ring's name; empty: no ring key. A key that the environment brings is stored in the cache first."""
    if text := environ.get("STEAD_RING_KEY") or environ.get("HAB_RING_KEY"):
        key = parse_key(text, thing="STEAD_RING_KEY")
        if not isinstance(key, RingKey):
            raise TrustError("STEAD_RING_KEY", f"is a {key.kind} key, not a ring key", next="stead ring key export NAME prints one")
        cache.store(key)
        return key.key.name
    names = sorted({entry.key.name for entry in cache.list() if entry.kind is KeyKind.RING})
    wanted = option or environ.get("STEAD_RING") or environ.get("HAB_RING")
    if wanted:
        if wanted not in names:
            raise NotFoundError(
                f"key of ring {wanted}",
                f"is not in {cache.path}",
                next=f"stead ring key generate {wanted}, or stead ring key import < FILE",
            )
        return wanted
    if len(names) > 1:
        raise UsageError("ring", f"there are keys of several: {', '.join(names)}", next="say which: --ring NAME")
    return names[0] if names else ""
