"""Two hosts of one ring in one process, on loopback: what is kept of the company that there was, and who is told that there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hart.errors import StorageError
from hart.keys import KeyCache
from hart.root import Root
from supervisor import ring as module
from supervisor.backlog import Backlog
from supervisor.gossip.keyring import Keyring
from supervisor.gossip.messages import Cloned, Health, Record, Seen, Version
from supervisor.gossip.records import Records
from supervisor.gossip.store import RingStore
from supervisor.ring import Ring
from supervisor.settings import RingSettings, Settings, show_address

KEY = b"k" * 32
DEADLINE_S = 20.0


class Inside:
    """One host, and what it has said."""

    def __init__(self, path: Path, tasks: asyncio.TaskGroup, *peers: str) -> None:
        self.said: list[str] = []
        self.ended: list[str] = []
        where = RingSettings(name="prod", listen=("127.0.0.1", 0), listen_fixed=True, mdns=False, preset="local", peers=peers)
        settings = Settings(root=Root(path), ring=where)
        self.store, keyring = RingStore(settings.ring_state), Keyring("prod", KEY)
        self.ring = Ring(
            settings,
            keyring,
            self.store,
            self.store.load(),
            Records(keyring.ring_id),
            cache=KeyCache(path / "keys"),
            tasks=tasks,
            say=lambda _, because: self.said.append(because),
        )

    async def start(self) -> Inside:
        await self.ring.start(stir=lambda: None, end=self.ended.append, facts=dict)
        return self

    async def crash(self) -> None:
        """No goodbye, and nothing more is written."""
        assert self.ring.driver is not None
        await self.ring.driver.close()

    @property
    def address(self) -> str:
        return show_address(self.ring.address)

    @property
    def public(self) -> bytes:
        return self.ring.node.me.public

    @property
    def saved(self) -> list[bytes]:
        """Whom a restart would greet."""
        return [each.public for each in self.store.load().announcements]


class Over(Exception):  # noqa: N818  no error: ends the tasks
    """The test is done."""


@asynccontextmanager
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise Over
    except BaseExceptionGroup as found:
        if not isinstance(found.exceptions[0], Over):
            raise found.exceptions[0] from None


async def until(true: Callable[[], object]) -> None:
    """A disk tells nobody when it changes, so it is looked at again and again."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110  no event is there to wait for
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RING_LOOK_S", "RING_SAVE_APART_S", "RING_ALONE_S"):
        monkeypatch.setattr(module, name, 0.02)


@pytest.mark.asyncio
async def test_who_was_met_is_on_disk_soon_and_outlives_a_crash_and_a_start_without_them(tmp_path: Path) -> None:
    """A host that comes up while nobody answers still knows that somebody was there, whom to ask, and that this may be said."""
    async with group() as tasks:
        a = await Inside(tmp_path / "a", tasks).start()
        b = await Inside(tmp_path / "b", tasks, a.address).start()
        await until(lambda: b.saved == [a.public] and a.saved == [b.public])
        assert not b.ring.alone
        await a.crash()
        await b.crash()
        again = await Inside(tmp_path / "b", tasks).start()
        assert again.ring.had_company
        await until(lambda: again.ring.alone)
        assert "or their key was changed without this host; next: stead ring key list" in again.said[-1]
        assert again.saved == [a.public]
        await again.ring.close()
        assert again.saved == [a.public]


@pytest.mark.asyncio
async def test_who_said_goodbye_is_not_waited_for_and_who_is_dead_is_still_asked(tmp_path: Path) -> None:
    """The dead are greeted by a restart when nobody else is left: the one that was cut off may have been this host."""
    async with group() as tasks:
        a = await Inside(tmp_path / "a", tasks).start()
        b = await Inside(tmp_path / "b", tasks, a.address).start()
        await until(lambda: b.saved == [a.public])
        held = b.ring.node.members.get(a.ring.identity.key.id)
        assert held is not None
        await a.ring.close()
        await until(lambda: b.saved == [])
        assert held.health is Health.DEPARTED
        b.ring.node.members.judge(held, Health.DEAD, 0, 0.0)
        b.ring._hear(Seen(held.id, Health.DEAD, "a test says so"))
        await until(lambda: b.saved == [a.public])
        await b.ring.close()


@pytest.mark.asyncio
async def test_a_host_that_was_always_alone_is_not_told_so(tmp_path: Path) -> None:
    """Its own address among its peers is no company."""
    async with group() as tasks:
        a = Inside(tmp_path / "a", tasks)
        looked = asyncio.Event()
        real, times = a.ring._look_for_company, iter(range(20))

        def look() -> None:
            real()
            if next(times, None) is None:
                looked.set()

        a.ring._look_for_company = look  # type: ignore[method-assign]
        await a.start()
        await asyncio.wait_for(looked.wait(), DEADLINE_S)
        assert (a.said, a.ring.alone, a.saved) == ([], False, [])
        await a.ring.close()


def refuse(*_: object) -> None:
    raise StorageError("generation", "no space left on device")


@pytest.mark.asyncio
async def test_who_has_left_can_still_propose_and_dismiss(tmp_path: Path) -> None:
    """Nobody is told yet: the others learn it when this host is back."""
    async with group() as tasks:
        a = await Inside(tmp_path / "a", tasks).start()
        b = await Inside(tmp_path / "b", tasks, a.address).start()
        await until(lambda: b.saved == [a.public] and a.saved == [b.public])
        await a.ring.depart()
        await a.ring.put("group/web.default/config", b"x", expect=0)
        await a.ring.dismiss(b.ring.identity.key.id, "a test says so")
        await b.ring.close()


@pytest.mark.asyncio
async def test_a_disk_that_refuses_leaves_a_host_outside_until_it_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the marker in place, and without sockets that nobody closes."""
    async with group() as tasks:
        a = await Inside(tmp_path / "a", tasks).start()
        await a.ring.depart()
        with monkeypatch.context() as broken:
            broken.setattr(a.store, "identity", refuse)
            for _ in range(2):
                with pytest.raises(StorageError):
                    await a.ring.come_back()
                assert a.ring.departed
                assert a.ring._marker.exists()
        await a.ring.come_back()
        assert not a.ring.departed
        assert a.ring.driver is not None
        await a.ring.close()


@pytest.mark.asyncio
async def test_an_identity_that_is_another_s_is_given_up_when_the_disk_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no end of the supervisor, and not of the wish to be a new member either."""
    async with group() as tasks:
        a = await Inside(tmp_path / "a", tasks).start()
        with monkeypatch.context() as broken:
            broken.setattr(a.store, "renew", refuse)
            a.ring._hear(Cloned("a test says so"))
            assert not a.ended
            assert "no space left" in a.ring.trouble
        await until(lambda: a.ended)
        await a.ring.close()


@pytest.mark.asyncio
async def test_a_disk_that_is_slower_than_the_ring_costs_no_memory() -> None:
    """Of each document the newest body waits, and the one before it; documents take turns."""
    backlog = Backlog()

    def body(key: str, number: int) -> Record:
        return Record(key=key, version=Version(number, 0), author=bytes(32), body=b"x", signature=b"")

    for number in range(1000):
        backlog.put(body("group/a.default/config", number))
    backlog.put(body("group/b.default/config", 1))
    assert len(backlog) == 3
    got = [await backlog.get() for _ in range(3)]
    assert [each.version.major for each in got] == [998, 999, 1]
