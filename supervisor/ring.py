"""This host in its ring: puts key, node, driver, disk and discovery together, and tells the host what has changed.

Rules: what was accepted is on disk before it is told (a document that this host proposes), or as soon as it is learned (one of another's).
A copied identity ends this process: the holder starts it again under a new key, and services go on. A member that departed, by its own
command or another's, stays out, also after a restart, until `stead ring join`. No trouble of the ring ends the supervisor.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from hart.errors import ConflictError, StorageError, UnavailableError
from hart.files import storage, write_atomic
from hart.keys import KeyCache
from hart.limits import RING_ALONE_S, RING_LOOK_S, RING_SAVE_APART_S, RING_SAVE_S, RING_STIR_S
from supervisor import clock
from supervisor.addresses import reached_by
from supervisor.backlog import Backlog
from supervisor.gossip.codec import Codec
from supervisor.gossip.discovery.follow import Follow
from supervisor.gossip.discovery.mdns import Mdns
from supervisor.gossip.discovery.source import Source
from supervisor.gossip.discovery.sources import parse_source
from supervisor.gossip.discovery.static import Static
from supervisor.gossip.discovery.watchfile import WatchFile
from supervisor.gossip.driver import Driver
from supervisor.gossip.identity import member_id
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import (
    Address,
    Announcement,
    Cloned,
    Close,
    Contested,
    Dismissed,
    Effect,
    Expired,
    Health,
    Learned,
    MemberId,
    Noted,
    Open,
    Record,
    Seen,
    Send,
    Write,
)
from supervisor.gossip.node import Node
from supervisor.gossip.presets import PRESETS
from supervisor.gossip.records import Records
from supervisor.gossip.rotation import DOCUMENT
from supervisor.gossip.sockets import Sockets, open_sockets
from supervisor.gossip.store import RingStore, Saved
from supervisor.ring_keychain import Keychain
from supervisor.ring_view import why_alone
from supervisor.settings import RingSettings, Settings, show_address


class Ring:
    """One supervisor's part in the ring. `say(subject, because)` goes to the journal."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        store: RingStore,
        saved: Saved,
        records: Records,
        *,
        cache: KeyCache,
        tasks: asyncio.TaskGroup,
        say: Callable[[str, str], None],
    ) -> None:
        """Takes the address at once, since services are told of it; UnavailableError when it is taken."""
        self.settings, self.store, self.records = settings, store, records
        self.name, self.encrypted = settings.ring.name, bool(settings.ring.name)
        self.identity = store.identity()
        for complaint in self.identity.complaints:
            say("ring", complaint)
        self.trouble = ""  # what the disk last refused
        self._taken = ""  # why our identity is another's, until the disk knows it
        self.follow: Follow | None = None
        self._announcements, self._tasks, self._say = saved.announcements, tasks, say
        self.had_company = bool(saved.announcements)  # when this host was last up
        self._stir: Callable[[], None] = lambda: None
        self._end: Callable[[str], None] = lambda _: None
        self._facts: Callable[[], dict[str, bytes]] = dict
        self._stirring: asyncio.TimerHandle | None = None
        self._unwritten = Backlog()
        self._durable: Record | None = None  # of those, what this host has proposed and written already
        self._putting = asyncio.Lock()
        self.because: dict[MemberId, str] = {}  # the last reason of each member's health
        self._seeking: asyncio.Task[None] | None = None
        self.driver: Driver | None = None
        self.departed = self._read_departed()
        self._sockets = None if self.departed else bind(settings.ring, say)
        self.address = settings.ring.listen if self._sockets is None else self._sockets.address
        self.codec = Codec(keyring, secrets.token_bytes)
        self.keys = Keychain(self.codec, cache, say)
        self._changed, self._heard, self._saved_at = False, False, float("-inf")  # who is there
        self.alone = False  # somebody should be there, and nobody has answered
        self.node = self._make_node()

    # --- life

    def _make_node(self) -> Node:
        return Node(
            key=self.identity.key,
            generation=self.identity.generation,
            session=secrets.token_bytes(8),
            address=(own_ip(self.settings), self.address[1]),
            name=socket.gethostname(),
            ring=self.keyring.ring_id,
            preset=PRESETS[self.settings.ring.preset],
            codec=self.codec,
            chance=Random(secrets.randbits(64)),  # noqa: S311  who is probed and told, not secrets
            records=self.records,
            known=self._announcements,
        )

    async def start(self, *, stir: Callable[[], None], end: Callable[[str], None], facts: Callable[[], dict[str, bytes]]) -> None:
        """Take part, unless this member has departed. `stir` is called after changes, not too often; `end(because)` when this process
        must be another member; `facts` are this member's."""
        self._stir, self._end, self._facts = stir, end, facts
        self._tasks.create_task(self._write(), name="ring documents")
        self._tasks.create_task(self._look_after(), name="ring members")
        if (keys := self.records.get(DOCUMENT)) is not None:
            self._unwritten.put(keys)  # its keys may have missed the key cache
        if self._sockets is None:
            self._say("ring", f"this host does not take part: {self.departed}; stead ring join brings it back")
        else:
            if not self.encrypted:
                self._say("ring", "no ring key, so the ring is on loopback only, in plain text; next: stead ring key generate NAME")
            await self._take_part(self._sockets)

    async def _take_part(self, sockets: Sockets) -> None:
        self.driver = Driver(self.node, sockets, hear=self._hear, clock=clock.now)
        await self.driver.start()
        self.publish()
        sources = self._sources()
        self.follow = Follow(
            sources,
            join=self.join,
            known=self._known,
            chance=Random(secrets.randbits(64)),  # noqa: S311  jitter
            say=partial(self._say, "discovery"),
        )
        self._seeking = self._tasks.create_task(self.follow.run(), name="discovery")

    def _sources(self) -> list[Source]:
        ring = self.settings.ring

        def say(name: str) -> Callable[[str], None]:
            return lambda because: self._say("discovery", f"{name}: {because}")

        found: list[Source] = [Static(f"--peer {peer}", [peer], say(f"--peer {peer}")) for peer in ring.peers]
        if ring.watch_file:
            found.append(WatchFile(Path(ring.watch_file), say("--peer-watch-file")))
        found += [parse_source(text, say(f"--join {text}")) for text in ring.sources]
        if ring.mdns and ring.name:
            own = (own_ip(self.settings), self.address[1])
            found.append(Mdns(self.keyring.ring_id, self.identity.key.id, own, say("mdns")))
        return found

    def _known(self) -> list[Address]:
        return [member.address for member in self.node.members.alive()]

    @property
    def discovery(self) -> list[dict[str, Any]]:
        """Each source, what it found and what troubles it."""
        if self.follow is None:
            return []
        return [
            {"source": source.name, "trouble": self.follow.trouble(source), "addresses": sorted(self.follow.found.get(source.name, ()))}
            for source in self.follow.sources
        ]

    @property
    def keyring(self) -> Keyring:
        return self.codec.keyring

    @property
    def drops(self) -> dict[str, int]:
        return self.driver.drops if self.driver is not None else {}

    async def close(self) -> None:
        """Say goodbye and stop listening."""
        if self._seeking is not None:
            self._seeking.cancel()
        if self.driver is not None:
            self.driver.do(self.node.depart(clock.now()))
            driver, self.driver = self.driver, None
            await driver.close()
        self._save_members()

    # --- what others ask of it

    def publish(self) -> None:
        """Tell what this member's facts are now."""
        if self.driver is not None:
            self.driver.do(self.node.publish(self._facts() | self.keys.told, clock.now()))

    async def put(self, key: str, body: bytes | None, *, expect: int | None, revision: int | None = None) -> Record:
        """Propose a document: durable here, then told. ConflictError when it is not, or no longer, the newest."""
        async with self._putting:  # else two of this host could draft one revision, and both be told that theirs counts
            record = self.node.draft(key, body, expect=expect, revision=revision, now=clock.now())
            await asyncio.to_thread(self.store.write, record)
            self._durable = record
            self._do(self.node.adopt(record, clock.now()))
        if (current := self.records.get(key)) != record:
            assert current is not None
            raise ConflictError(
                f"{key} {record.version.major}", "somebody else was faster", next="look at it and try again", current=current.version.major
            )
        self._stir_soon()
        return record

    def join(self, addresses: Iterable[Address]) -> None:
        """Greet who listens there."""
        if self.driver is not None:
            self._do(self.node.join(addresses, clock.now()))

    async def come_back(self) -> None:
        """Take part again after a departure, as a new generation of the same member."""
        if not self.departed:
            return
        sockets = bind(self.settings.ring, self._say)
        try:  # what the disk refuses leaves this host as it is: outside, and to be asked again
            identity = self.store.identity()
            with storage(self._marker):
                self._marker.unlink(missing_ok=True)
        except StorageError:
            sockets.close()
            raise
        self.departed = ""
        self.identity, self.address = identity, sockets.address
        self.node = self._make_node()
        await self._take_part(sockets)
        self._say("ring", "this host takes part again")

    async def depart(self, because: str = "it was told to leave") -> None:
        """Leave until told to come back; services go on."""
        self._mark_departed(because)
        await self.close()
        self._stir_soon()

    async def dismiss(self, member: MemberId, why: str) -> Record:
        """Tell the ring that a member has departed for good."""
        async with self._putting:
            record = self.node.dismiss(member, why, clock.now())
            await asyncio.to_thread(self.store.write, record)
            self._do(self.node.adopt(record, clock.now()))
        return record

    # --- what the node says

    def _do(self, effects: Sequence[Effect]) -> None:
        if self.driver is not None:
            self.driver.do(effects)
        else:
            for effect in effects:
                if not isinstance(effect, Send | Open | Write | Close):  # who has left tells nobody; the others learn it when it is back
                    self._hear(effect)

    def _hear(self, effect: Effect) -> None:
        match effect:
            case Seen(member, health, because):
                self._changed = self._heard = True
                self.because.pop(member, None)
                if health is not None:
                    self.because[member] = because
                word = "forgotten" if health is None else health.name.lower()
                self._say(self._text(member), f"{word}: {because}")
                self._stir_soon()
            case Learned(record):
                if record.key == DOCUMENT:
                    self.keys.adopt(record, self._text(member_id(record.author)))
                if not record.key.startswith("member/"):
                    self._unwritten.put(record)
                self._stir_soon()
            case Expired():
                self._stir_soon()
            case Noted(topic, because):
                self._say(self._text(bytes.fromhex(topic)) if len(topic) == 32 else topic, because)
            case Cloned(because):
                self._taken = because
                self._give_up_identity()
            case Contested(generation, because):
                self._say("ring", f"a copy of this host's identity runs elsewhere and will have to become a new member: {because}")
                asyncio.get_running_loop().call_soon(self._count_on, generation)
            case Dismissed(because):
                self._mark_departed(because)
                self._tasks.create_task(self.close(), name="ring departure")
            case _:
                raise AssertionError(effect)

    def _give_up_identity(self) -> None:
        """Another has it. While the disk does not take that this host becomes a new member, it is outside the ring, and tries again."""
        trouble = attempt(self.store.renew, self._taken)
        self._try(trouble)
        if not trouble:
            because, self._taken = self._taken, ""
            self._end(f"this host's identity in the ring belongs to another: {because}; it becomes a new member")

    def _count_on(self, generation: int) -> None:
        """Stay who we are, as a later generation; without a disk to count on, nothing is claimed and the other one wins."""
        if trouble := attempt(self.store.count_on, generation):
            self._try(trouble)
        elif self.driver is not None:
            self.driver.do(self.node.count_on(generation, clock.now()))

    def _text(self, member: MemberId) -> str:
        """A member's name and the beginning of its id."""
        known = self.node.members.get(member)
        return f"member {known.text if known is not None else member.hex()[:8]}"

    def _stir_soon(self) -> None:
        """Many changes of one moment are one for the services."""
        if self._stirring is None:
            self._stirring = asyncio.get_running_loop().call_later(RING_STIR_S, self._stir_now)

    def _stir_now(self) -> None:
        self._stirring = None
        self._stir()

    # --- disk

    async def _write(self) -> None:
        """Others' documents, one after the other."""
        while True:
            record = await self._unwritten.get()
            trouble = "" if record is self._durable else await asyncio.to_thread(attempt, self.store.write, record)
            self._try(trouble)
            if record == self.records.get(DOCUMENT) and await self.keys.keep(record, stored=not trouble):
                self.publish()

    async def _look_after(self) -> None:
        """What is looked at now and then: who is there goes to disk soon after it has changed, else seldom."""
        while True:
            await asyncio.sleep(RING_LOOK_S)
            if self._taken:
                self._give_up_identity()
            self.keys.wonder(self.node.counters.get("refused key", 0))
            self._look_for_company()
            if clock.now() - self._saved_at < (RING_SAVE_APART_S if self._changed else RING_SAVE_S):
                continue
            self._saved_at = clock.now()
            if (known := self._worth_asking()) is not None:
                self._changed = False
                self._try(await asyncio.to_thread(attempt, self.store.save_members, known))
            if self.keys.untold is not None:
                self._unwritten.put(self.keys.untold)

    def _look_for_company(self) -> None:
        """Members who cannot open what we seal are as silent as those who are not there: a person may know."""
        me = self.node.me
        named = {each for found in (self.follow.found.values() if self.follow is not None else ()) for each in found}
        expected = self.had_company or bool(named - {self.address, (me.host, me.port)})
        alone = expected and self.driver is not None and not self._heard and clock.now() - self.node.members.me.since >= RING_ALONE_S
        if alone and not self.alone:
            self._say("ring", "; next: ".join(why_alone(self.encrypted)))
        self.alone = alone

    def _worth_asking(self) -> list[Announcement] | None:
        """Whom a restart should greet: who lives, or where nobody else does, who may come back. None while nobody has been heard of: then
        the list of the time before is still the best."""
        others = [member for member in self.node.members if member is not self.node.members.me]
        living = [member for member in others if member.health in (Health.ALIVE, Health.SUSPECT)]
        found = living or [member for member in others if member.health is Health.DEAD]
        return [member.announcement for member in found] if found or self._heard else None

    def _save_members(self) -> None:
        if (known := self._worth_asking()) is not None:
            self._try(attempt(self.store.save_members, known))

    def _try(self, trouble: str) -> None:
        if trouble != self.trouble and trouble:
            self._say("ring", f"what was learned is not on disk: {trouble}")
        self.trouble = trouble

    @property
    def _marker(self) -> Path:
        return self.settings.ring_state / "DEPARTED"

    def _read_departed(self) -> str:
        try:
            return self._marker.read_text(errors="replace").strip() or "it departed"
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"{self._marker} cannot be read: {error.strerror}"

    def _mark_departed(self, because: str) -> None:
        self.departed = because
        self._try(attempt(write_atomic, self._marker, f"{because}\n".encode()))


def attempt(act: Callable[..., object], *arguments: Any) -> str:
    """Do it; the disk's trouble in words, or nothing."""
    try:
        act(*arguments)
    except StorageError as error:
        return str(error)
    return ""


def bind(ring: RingSettings, say: Callable[[str, str], None]) -> Sockets:
    """Sockets that listen; where nobody asked for the port and only loopback is concerned, another one when it is taken."""
    try:
        return open_sockets(ring.listen, sealed=bool(ring.name))
    except UnavailableError:
        if ring.listen_fixed or ring.name:
            raise
        sockets = open_sockets((ring.listen[0], 0), sealed=False)
        say("ring", f"port {ring.listen[1]} is taken by another, so this host listens at {show_address(sockets.address)}")
        return sockets


def own_ip(settings: Settings) -> str:
    """What others reach this host by: as told, else where it listens, else what its interfaces say."""
    return settings.ip or reached_by(settings.ring.listen[0])
