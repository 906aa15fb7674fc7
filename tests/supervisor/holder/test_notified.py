"""Services that say themselves when they are ready, held by real holders: nothing is lost, whoever is killed, and when."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest

from supervisor.attach import Exited, HolderClient, HolderEvent, SaidReady, SaidStatus
from supervisor.holder import procfs
from tests.supervisor.holder.stand import DEADLINE_S, Stand, eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]

SENDER = """
import os, pathlib, socket, sys, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(text, os.environ["NOTIFY_SOCKET"])
tell(b"STATUS=warming up")
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
tell(b"READY=1")
pathlib.Path(sys.argv[1] + ".said").touch()
while True:
    time.sleep(0.01)
    try:
        tell(b"WATCHDOG=1")
    except OSError:
        pathlib.Path(sys.argv[1] + ".refused").touch()
        time.sleep(1000)
"""
FLOOD = """
import os, socket
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    client.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
"""
# Closes its descriptor at once, as s6's services do.
WRITER = "while ! [ -e {go} ]; do sleep 0.01; done; echo >&3; exec 3>&-; touch {go}.said; exec sleep 1000"


class Told:
    """What one client hears."""

    def __init__(self, client: HolderClient) -> None:
        self.events: list[HolderEvent] = []
        self._client, self._task = client, asyncio.ensure_future(self._hear())

    async def _hear(self) -> None:
        async for event in self._client.events():
            self.events.append(event)

    async def until(self, event: HolderEvent) -> None:
        await eventually(lambda: event in self.events, f"{event} was not told, but {self.events}")

    async def close(self) -> None:
        await self._client.close()
        await asyncio.wait_for(self._task, DEADLINE_S)


def service(stand: Stand, kind: str) -> object:
    go = stand.state / "go"
    if kind == "notify":
        return stand.request(sys.executable, "-c", SENDER, str(go), notify=str(stand.state / "n"))
    return stand.shell(WRITER.format(go=go), notify_fd=3)


def left(stand: Stand) -> list[str]:
    """Names that are there for readiness only."""
    return [str(path) for path in (stand.state / "n", stand.log("web").with_name("web.log.ready")) if path.exists()]


def numbers(pid: int) -> list[int]:
    """Of a process's descriptors."""
    return sorted(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())


def behind(pid: int, number: int) -> Path:
    return Path(f"/proc/{pid}/fd/{number}").readlink()


def environment(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


@pytest.mark.parametrize("kind", ["notify", "fd"])
async def test_a_service_says_that_it_is_ready_once(stand: Stand, kind: str) -> None:
    """Told to whoever listens, kept for who comes later; and then its end is closed."""
    stand.launch()
    client = await stand.client()
    told = Told(client)
    held = await client.start("web", service(stand, kind))  # type: ignore[arg-type]
    if kind == "notify":
        await told.until(SaidStatus(service="web", start_id=held.start_id, text="warming up"))
    assert not (await client.list())[0].ready
    assert len(left(stand)) == 1
    (stand.state / "go").touch()
    await told.until(SaidReady(service="web", start_id=held.start_id))
    (now,) = await client.list()
    assert (now.ready, now.running, now.pid) == (True, True, held.pid)
    await eventually(lambda: left(stand) == [], f"{left(stand)} are still there")
    if kind == "notify":
        await eventually((stand.state / "go.refused").exists, "it can go on telling what nobody reads")
    assert sum(isinstance(event, SaidReady) for event in told.events) == 1
    await told.close()
    later = await stand.client()
    assert (await later.list())[0].ready


@pytest.mark.parametrize("kind", ["notify", "fd"])
async def test_what_is_said_while_no_holder_lives_is_not_lost(stand: Stand, kind: str) -> None:
    """Also by a service that closes its descriptor when it has written: it keeps the other end without knowing."""
    stand.launch()
    client = await stand.client()
    held = await client.start("web", service(stand, kind))  # type: ignore[arg-type]
    stand.kill_holder()
    await client.close()
    (stand.state / "go").touch()
    await eventually((stand.state / "go.said").exists, "it could not say it")
    stand.launch()
    client = await stand.client()
    told = Told(client)
    ready = False
    for _ in range(int(DEADLINE_S / 0.01)):
        (now,) = await client.list()
        ready = now.ready
        if ready:
            break
        await asyncio.sleep(0.01)
    assert ready, f"lost: {stand.said()}"
    assert (now.pid, now.running, now.adopted) == (held.pid, True, True)
    assert procfs.stat(held.pid)
    await eventually(lambda: left(stand) == [], f"{left(stand)} are still there")
    await told.close()


@pytest.mark.parametrize("kind", ["notify", "fd"])
async def test_the_next_holder_hears_what_is_said_later(stand: Stand, kind: str) -> None:
    """And one that was ready already is ready still."""
    stand.launch()
    client = await stand.client()
    held = await client.start("web", service(stand, kind))  # type: ignore[arg-type]
    await client.close()
    for _ in range(2):
        stand.kill_holder()
        stand.launch()
        await (await stand.client()).close()
    client = await stand.client()
    told = Told(client)
    (stand.state / "go").touch()
    await told.until(SaidReady(service="web", start_id=held.start_id))
    await told.close()
    stand.kill_holder()
    stand.launch()
    client = await stand.client()
    assert (await client.list())[0].ready
    assert "lost" not in stand.said(), stand.said()


@pytest.mark.parametrize("kind", ["notify", "fd"])
async def test_a_holder_killed_at_any_moment_around_the_word_loses_nothing(stand: Stand, kind: str) -> None:
    """Also between hearing it and having it on disk: until then the word stays in the kernel."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    for turn in range(10):
        stand.launch()
        client = await stand.client()
        held = await client.start("web", service(stand, kind))  # type: ignore[arg-type]
        (stand.state / "go").touch()
        await asyncio.sleep(chance.uniform(0, 0.06))
        stand.kill_holder()
        await client.close()
        await eventually((stand.state / "go.said").exists, f"seed {seed}, turn {turn}: it could not say it")
        stand.launch()
        client = await stand.client()
        told = Told(client)
        if not (await client.list())[0].ready:
            await told.until(SaidReady(service="web", start_id=held.start_id))
        assert await client.signal("web", held.start_id, signal.SIGKILL)
        await eventually(lambda: any(isinstance(event, Exited) for event in told.events), "it does not end")  # noqa: B023  awaited here
        await client.forget("web", held.start_id)
        assert left(stand) == [], f"seed {seed}, turn {turn}"
        await told.close()
        stand.kill_holder()
        for name in ("go", "go.said", "go.refused"):
            (stand.state / name).unlink(missing_ok=True)


@pytest.mark.parametrize("kind", ["notify", "fd"])
@pytest.mark.parametrize("when", ["before", "during"])
async def test_an_upgrade_of_the_holder_loses_nothing(stand: Stand, kind: str, when: str) -> None:
    """The next image has the end in hand, also of a service that has closed all descriptors that it does not know."""
    stand.launch()
    client = await stand.client()
    go = stand.state / "go"
    if kind == "notify":
        program = f"import os; os.closerange(3, 100)\n{SENDER}"
        request = stand.request(sys.executable, "-c", program, str(go), notify=str(stand.state / "n"))
    else:
        request = stand.shell(WRITER.format(go=go), notify_fd=3)
    held = await client.start("web", request)
    if when == "during":
        go.touch()
    await client.replace(sys.executable)
    await client.close()
    while True:
        client = await stand.client()
        if (await client.hello()).turn == 1:
            break
        await client.close()
    go.touch()
    told = Told(client)
    if not (await client.list())[0].ready:
        await told.until(SaidReady(service="web", start_id=held.start_id))
    (now,) = await client.list()
    assert (now.pid, now.ready, now.adopted) == (held.pid, True, False)
    await eventually(lambda: left(stand) == [], f"{left(stand)} are still there")
    assert "lost" not in stand.said()
    await told.close()


async def test_a_strangers_notification_does_not_count(stand: Stand) -> None:
    """Of the same user, but no process of this service. It is said once, and the holder is not kept busy."""
    stand.launch()
    client = await stand.client()
    told = Told(client)
    held = await client.start("web", service(stand, "notify"))  # type: ignore[arg-type]
    await told.until(SaidStatus(service="web", start_id=held.start_id, text="warming up"))
    stranger = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FLOOD),
        stderr=asyncio.subprocess.DEVNULL,
        env={"NOTIFY_SOCKET": str(stand.state / "n"), "STAND": stand.token},
    )
    await eventually(lambda: f"a notification of pid {stranger.pid} does not count" in stand.said(), "nobody noticed")
    assert not (await client.list())[0].ready
    (stand.state / "go").touch()
    await told.until(SaidReady(service="web", start_id=held.start_id))
    assert stand.said().count("does not count") == 1
    assert await asyncio.wait_for(stranger.wait(), DEADLINE_S) == 1, "its next word is an error, although the queue had been full"
    await told.close()


async def test_an_end_and_a_new_start_leave_nothing_of_the_old_one(stand: Stand) -> None:
    """Its name is removed with its process, and the next start has an end of its own."""
    stand.launch()
    client = await stand.client()
    told = Told(client)
    first = await client.start("web", service(stand, "notify"))  # type: ignore[arg-type]
    assert await client.signal("web", first.start_id, signal.SIGKILL)
    await told.until(Exited(service="web", start_id=first.start_id, code=None, signal=9, unknown=False))
    assert left(stand) == []
    second = await client.start("web", service(stand, "fd"))  # type: ignore[arg-type]
    (stand.state / "go").touch()
    await told.until(SaidReady(service="web", start_id=second.start_id))
    assert not any(isinstance(event, SaidReady) and event.start_id == first.start_id for event in told.events)
    await told.close()


async def test_a_child_of_the_service_may_say_it(stand: Stand) -> None:
    """A shell script has no other way; the child has to be there until it is heard."""
    child = "import os, socket, time; socket.socket(1, 2).sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); time.sleep(1000)"
    stand.launch()
    client = await stand.client()
    told = Told(client)
    held = await client.start("web", stand.shell(f'{sys.executable} -c "{child}" & exec sleep 1000', notify=str(stand.state / "n")))
    await told.until(SaidReady(service="web", start_id=held.start_id))
    await told.close()


async def test_a_path_that_no_socket_can_have_is_refused_with_the_reason(stand: Stand) -> None:
    """Nothing is started."""
    stand.launch()
    client = await stand.client()
    with pytest.raises(Exception, match="is longer than the 107 bytes"):
        await client.start("web", stand.request("/bin/sleep", stand.number, notify=f"{stand.state}/{'n' * 108}"))
    assert stand.sleepers() == []
    assert await client.list() == []


async def test_a_service_has_only_what_readiness_needs(stand: Stand) -> None:
    """Descriptor 3 is what it writes to; a copy above 9 only keeps the pipe. Without readiness there is nothing beside 0 to 2."""
    stand.launch()
    client = await stand.client()
    plain = await client.start("plain", stand.request("/bin/sleep", stand.number, log=str(stand.log("plain"))))
    told = await client.start("web", stand.request("/bin/sleep", stand.number, notify_fd=3))
    socket_too = await client.start("n", stand.request("/bin/sleep", stand.number, notify=str(stand.state / "n"), log=str(stand.log("n"))))

    assert numbers(plain.pid) == [0, 1, 2]
    *named, kept = numbers(told.pid)
    assert (named, kept > 9) == ([0, 1, 2, 3], True)
    assert behind(told.pid, 3) == behind(told.pid, kept)
    *named, kept = numbers(socket_too.pid)
    assert (named, kept > 9) == ([0, 1, 2], True)
    assert f"NOTIFY_SOCKET={stand.state}/n" in environment(socket_too.pid)
    assert not any(each.startswith("NOTIFY_SOCKET") for each in environment(plain.pid))
