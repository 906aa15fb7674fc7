"""Services in control groups of their own, with limits, privileges and temporary files: what a real holder and a real kernel make of it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hart.limits import MIB
from supervisor.attach import Exited, HolderClient
from supervisor.holder import cgroup, procfs
from supervisor.holder.protocol import Held
from tests.supervisor.holder.stand import Stand, eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]


def usable() -> str:
    """Why this host has no groups for us; empty when it has."""
    with tempfile.TemporaryDirectory() as state:  # in a process of its own: it may move itself to a leaf
        code = "import sys; from supervisor.holder.cgroup import find_site; s = find_site(sys.argv[1]); print(s.describe()); s.close()"
        said = subprocess.run([sys.executable, "-P", "-c", code, state], capture_output=True, text=True, check=True, timeout=20).stdout
    return said if said.startswith("session only") else ""


needs_groups = pytest.mark.skipif(bool(why := usable()), reason=why or "-")
ESCAPE = """
import os, time
for _ in range(2):
    if os.fork():
        time.sleep(0.2)
        if _ == 0:
            time.sleep(1000)
        os._exit(0)
    os.setsid()
os.execve("/bin/sleep", ["/bin/sleep", {number!r}], {{}})
"""


async def started(stand: Stand, client: HolderClient, script: str, **limits: float) -> Held:
    return await client.start("web", stand.request(sys.executable, "-c", script, limits=limits))


async def the_end(client: HolderClient) -> Exited:
    async with asyncio.timeout(20):
        async for event in client.events():
            if isinstance(event, Exited):
                return event
    raise AssertionError("no end")


@needs_groups
async def test_who_forks_twice_and_clears_its_environment_does_not_get_away(stand: Stand) -> None:
    """S51: new session, new parent, empty environment; the stop reaches it all the same, and the stranger lives."""
    stand.launch()
    client = await stand.client()
    held = await started(stand, client, ESCAPE.format(number=stand.number))
    stranger = stand.stranger()
    try:
        await eventually(lambda: len(stand.sleepers()) == 2, "the escaped one does not run")
        assert await client.signal("web", held.start_id, signal.SIGTERM)
        await the_end(client)
        assert len(stand.sleepers()) == 2  # until it is forgotten nobody is killed
        await client.forget("web", held.start_id)
        assert stand.sleepers() == [stranger.pid]
    finally:
        stranger.kill()
        stranger.wait()


@needs_groups
async def test_the_next_holder_knows_the_group_of_the_last(stand: Stand) -> None:
    stand.launch()
    client = await stand.client()
    held = await started(stand, client, ESCAPE.format(number=stand.number))
    await eventually(lambda: len(stand.sleepers()) == 1, "the escaped one does not run")
    stand.kill_holder()
    os.kill(held.pid, signal.SIGKILL)
    stand.launch()
    client = await stand.client()
    await eventually(lambda: stand.sleepers() == [], f"the escaped one lives: {stand.said()}")
    assert (await client.list()) == []


@needs_groups
async def test_a_service_that_takes_too_much_memory_is_told_so(stand: Stand) -> None:
    stand.launch()
    client = await stand.client()
    held = await started(stand, client, "kept = bytearray(200 << 20)", memory=48.0 * MIB)
    if any("memory" in line for line in held.less):
        pytest.skip("; ".join(held.less))
    event = await the_end(client)
    assert (event.signal, event.cause) == (signal.SIGKILL, "out of memory (limit 48 MiB)")
    (ended,) = await client.list()
    assert ended.cause == event.cause


@needs_groups
async def test_a_fork_bomb_ends_at_its_limit(stand: Stand) -> None:
    stand.launch()
    client = await stand.client()
    script = "import os, time\nwhile True:\n try: os.fork()\n except OSError: time.sleep(0.05)"
    held = await started(stand, client, script, pids=30.0)
    if any("pids" in line for line in held.less):
        pytest.skip("; ".join(held.less))
    mark = f"STAND={stand.token}".encode()

    def count() -> int:
        return len(
            procfs.living(
                lambda found: (
                    b"while True" in procfs.read(f"/proc/{found.pid}/cmdline") and mark in procfs.read(f"/proc/{found.pid}/environ")
                )
            )
        )

    await eventually(lambda: count() >= 25, "it does not fork")
    assert count() <= 30
    assert await client.signal("web", held.start_id, signal.SIGKILL)
    await the_end(client)
    await client.forget("web", held.start_id)
    assert count() == 0


@needs_groups
async def test_limits_that_the_kernel_has_for_one_process(stand: Stand) -> None:
    stand.launch()
    client = await stand.client()
    script = "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE), flush=True)"
    held = await started(stand, client, script, nofile=200.0, core=0.0)
    assert held.less == []
    await the_end(client)
    assert "(200, 200) (0, 0)" in stand.log("web").read_text()


async def test_a_limit_above_our_own_is_had_as_far_as_it_goes_and_said(stand: Stand) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if os.geteuid() == 0:
        pytest.skip("root may raise it")
    stand.launch()
    client = await stand.client()
    held = await started(stand, client, "pass", nofile=hard + 1.0)
    assert any(line.startswith("nofile") for line in held.less)


@needs_groups
async def test_ended_groups_leave_no_directory(stand: Stand) -> None:
    stand.launch()
    client = await stand.client()
    held = await started(stand, client, "import time; time.sleep(1000)")
    groups = group_directories(held.pid)
    assert groups
    assert await client.signal("web", held.start_id, signal.SIGKILL)
    await the_end(client)
    await client.forget("web", held.start_id)
    assert [path for path in groups if path.exists()] == []


def group_directories(pid: int) -> list[Path]:
    mounts, membership = Path("/proc/self/mountinfo").read_text(), Path(f"/proc/{pid}/cgroup").read_text()
    v2, v1 = cgroup.own_groups(mounts, membership)
    return [Path(path) for path in {v2 or "/", *v1.values()} if "/stead-" in path]


@pytest.mark.parametrize("no_new_privs", [True, False])
async def test_a_service_gains_privileges_only_where_it_may(stand: Stand, no_new_privs: bool) -> None:
    """Without groups, too."""
    stand.launch()
    client = await stand.client()
    await client.start("web", stand.shell("grep NoNewPrivs /proc/self/status", no_new_privs=no_new_privs))
    await the_end(client)
    assert f"NoNewPrivs:\t{int(no_new_privs)}" in stand.log("web").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
async def test_a_tmp_of_its_own(stand: Stand) -> None:
    stand.launch()
    client = await stand.client()
    with tempfile.TemporaryDirectory(dir="/run") as own:
        mark = Path(own) / stand.token
        request = stand.shell('echo x >"/tmp/$STAND"; exec sleep 1000', tmp=own, log=f"{own}/run.log")
        held = await client.start("web", request)
        if held.less:
            pytest.skip("; ".join(held.less))
        await eventually(mark.exists, "nothing was written")
        assert not os.path.exists(f"/tmp/{mark.name}")  # noqa: PTH110, ASYNC240
        await client.signal("web", held.start_id, signal.SIGKILL)
        await the_end(client)
