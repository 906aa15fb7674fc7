"""The keys with which this process seals and opens, from its start on, and what the ring may count on of them.

Rules: what the ring's document says holds here at once (gossip/rotation.py); the others are told only of what a restart would find again,
in the ring's documents on disk or in the key cache. Else a member that is counted on for a key could come back without it, when that is
the only one in use. Somebody who seals with a key that is not here is told to a person once, for as long as the keys stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hart.errors import InputError
from hart.keys import KeyCache
from supervisor.gossip import rotation
from supervisor.gossip.codec import Codec
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import Record
from supervisor.ring_keyfiles import keep


class Keychain:
    """`told` is this member's fact of its keys, without its prefix. `say(subject, because)` goes to the journal."""

    def __init__(self, codec: Codec, cache: KeyCache, say: Callable[[str, str], None]) -> None:
        self.codec, self.cache, self._say = codec, cache, say
        self.told = rotation.fact(codec.keyring)
        self.untold: Record | None = None  # what neither disk nor cache has taken
        self._refused, self._wondered = 0, False  # packets under other keys; whether a person was told

    @property
    def keyring(self) -> Keyring:
        return self.codec.keyring

    def adopt(self, record: Record, by: str) -> None:
        """The ring has changed its keys. What cannot be read changes nothing."""
        try:
            keyring = rotation.adopt(self.keyring, record)
        except InputError as error:
            self._say("ring keys", f"what {by} wrote is left out: {error}; stead ring key add writes it anew")
            return
        if keyring.keys == self.keyring.keys:
            return
        self.codec.keyring, self._wondered = keyring, False
        others = ", ".join(each.hex() for each in keyring.key_ids[1:])
        self._say("ring keys", f"{keyring.primary_id.hex()} seals{f', {others} still open' if others else ''}: so told by {by}")

    async def keep(self, record: Record, *, stored: bool) -> bool:
        """Bring the key cache up to the ring's newest document; `stored`: it is on disk. Whether there is something else to tell now."""
        if self.keyring.primary is None or record.body is None:
            return False
        try:
            document = rotation.read(record.body)
        except InputError:  # was said when it came
            return False
        troubles = await asyncio.to_thread(keep, self.cache, self.keyring.ring, document)
        for trouble in troubles:
            self._say("ring keys", trouble)
        self.untold = record if troubles and not stored else None
        told, self.told = self.told, self.told if self.untold else rotation.fact(self.keyring)
        return self.told != told

    def wonder(self, refused: int) -> None:
        """So many packets in all were sealed with keys that are not here."""
        if refused > self._refused and not self._wondered:
            self._wondered = True
            cause, advice = rotation.MISSED
            have = ", ".join(each.hex() for each in self.keyring.key_ids)
            self._say("ring keys", f"{cause}; here is {have}; next: {advice}")
        self._refused = refused
