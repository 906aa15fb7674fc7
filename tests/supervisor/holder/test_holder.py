"""The holder as a process: what it promises about services, whoever is killed, and when."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import pytest

from hart.errors import ServiceError, UnavailableError
from supervisor.attach import Exited, HolderClient, HolderEvent, Lost, StopRequested
from supervisor.holder import procfs
from supervisor.holder.protocol import Held, to_dict
from tests.supervisor.holder.stand import DEADLINE_S, Stand, eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]
T = TypeVar("T")


async def soon(what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, DEADLINE_S)


async def next_event(client: HolderClient) -> HolderEvent:
    events: AsyncIterator[HolderEvent] = client.events()
    return await soon(anext(events))


def zombies(parent: int) -> list[int]:
    return [pid for pid in procfs.processes() if (found := procfs.stat(pid)) and found.ppid == parent and found.dead]


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


async def test_a_service_survives_the_death_of_its_supervisor(stand: Stand) -> None:
    """P2: whatever the supervisor dies of, the service keeps its pid, and the holder starts another supervisor."""
    holder = stand.launch()
    client = await stand.client()
    held = await client.start("web", stand.sleeper())
    record = json.loads((stand.state / "supervisor.json").read_text())["held"]
    await client.close()
    os.kill(record["pid"], signal.SIGKILL)

    def replaced() -> bool:
        path = stand.state / "supervisor.json"
        return path.exists() and json.loads(path.read_text())["held"]["pid"] != record["pid"]

    await eventually(replaced, "no second supervisor")
    client = await stand.client()
    assert holder.poll() is None
    assert await client.list() == [held]
    assert stand.sleepers() == [held.pid]
    assert "ended by signal 9; starting it again at once" in stand.said()
    await client.close()


async def test_killing_the_holder_at_any_moment_leaves_exactly_one_copy(stand: Stand) -> None:
    """P3, S50: also between fork, record and gate. Whatever the last holder left half done, the next one has it or nobody runs it."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    first: Held | None = None
    for turn in range(20):
        stand.launch()
        client = await stand.client()
        now = {held.service: held for held in await client.list() if held.running}
        copies = len(stand.sleepers())
        assert copies == len(now), f"seed {seed}, turn {turn}: {copies} copies, {len(now)} held; {stand.said()}"
        if first is not None and "web" in now and chance.random() < 0.5:
            ended = now["web"]
            assert await client.signal("web", ended.start_id, signal.SIGKILL)
            assert isinstance(await next_event(client), Exited)
            now = {}
        started = None if now else asyncio.ensure_future(client.start("web", stand.sleeper()))
        await asyncio.sleep(chance.uniform(0, 0.03))
        stand.kill_holder()
        if started is not None:
            try:
                first = await soon(started)
            except UnavailableError:
                first = first or None
        else:
            first = first or now.get("web")
        await client.close()
    stand.launch()
    client = await stand.client()
    if not any(held.running for held in await client.list()):
        await client.start("web", stand.sleeper())
    (held,) = await client.list()
    await eventually(lambda: stand.sleepers() == [held.pid], f"seed {seed}: {stand.sleepers()} instead of {held.pid}; {stand.said()}")
    await client.close()


async def test_the_next_holder_adopts_and_reports_an_end_that_it_cannot_know(stand: Stand) -> None:
    """An adopted process is held by its identity; its status went to init, so its end is `unknown`."""
    stand.launch()
    client = await stand.client()
    held = await client.start("web", stand.sleeper())
    stand.kill_holder()
    assert isinstance(await next_event(client), Lost)
    await client.close()
    stand.launch()
    client = await stand.client()
    (adopted,) = await client.list()
    assert (adopted.start_id, adopted.pid, adopted.running, adopted.adopted) == (held.start_id, held.pid, True, True)
    with pytest.raises(ServiceError, match="runs already"):
        await client.start("web", stand.sleeper())
    assert await client.signal("web", held.start_id, signal.SIGTERM)
    event = await next_event(client)
    assert event == Exited(service="web", start_id=held.start_id, code=None, signal=None, unknown=True)
    await client.forget("web", held.start_id)
    assert await client.list() == []
    await client.close()


async def test_what_a_service_writes_while_no_holder_lives_reaches_its_log(stand: Stand) -> None:
    """P2, P3: the pipe belongs to the service too, so writing into it neither fails nor is lost; no SIGPIPE."""
    stand.launch()
    client = await stand.client()
    flag = stand.state / "flag"
    held = await client.start(
        "web", stand.shell(f"echo before; while ! [ -e {flag} ]; do sleep 0.01; done; echo during; touch {flag}2; exec sleep 9")
    )
    await eventually(lambda: stand.log("web").exists(), "no log")
    stand.kill_holder()
    await client.close()
    flag.touch()
    await eventually(Path(f"{flag}2").exists, "the service could not write")
    stand.launch()
    client = await stand.client()
    await eventually(lambda: "during" in stand.log("web").read_text(), "lost")
    assert [line.split(" ", 1)[1] for line in stand.log("web").read_text().splitlines()] == ["before", "during"]
    assert [each.pid for each in await client.list() if each.running] == [held.pid]
    await client.close()


@pytest.mark.parametrize("other", ["start_time", "boot_id"])
async def test_a_recycled_pid_is_never_signalled(stand: Stand, other: str) -> None:
    """S51: a record whose pid now belongs to somebody else (or comes from before a reboot) is dropped, and the stranger left alone."""
    stranger = stand.stranger()
    try:
        found = procfs.stat(stranger.pid)
        assert found is not None
        held = Held(
            service="web",
            start_id="0" * 32,
            pid=stranger.pid,
            boot_id="another" if other == "boot_id" else procfs.boot_id(),
            start_time=found.start_time - (other == "start_time"),
            started_at=1.0,
            running=True,
        )
        (stand.state / "held").mkdir()
        record = {"format": 1, "held": to_dict(held), "log": str(stand.log("web")), "argv": ["/bin/true"]}
        (stand.state / "held" / "web.json").write_text(json.dumps(record))
        (stand.state / "supervisor.json").write_text(json.dumps({**record, "held": {**to_dict(held), "service": "supervisor"}}))
        holder = stand.launch()
        client = await stand.client()
        assert await client.list() == []
        assert not await client.signal("web", held.start_id, signal.SIGKILL)
        await client.shutdown()
        assert await asyncio.to_thread(holder.wait, DEADLINE_S) == 0
        assert stranger.poll() is None
        assert list((stand.state / "held").iterdir()) == []
        await client.close()
    finally:
        stranger.kill()
        stranger.wait()


async def test_orphans_leave_no_zombies_and_cost_no_status(stand: Stand) -> None:
    """P4: three hundred double-forked orphans are reaped, while an ended service keeps its status until it is forgotten."""
    holder = stand.launch()
    client = await stand.client()
    ended = await client.start("short", stand.shell("exit 7"))
    event = await next_event(client)
    assert event == Exited(service="short", start_id=ended.start_id, code=7, signal=None, unknown=False)
    done = stand.state / "done"
    script = f"i=0; while [ $i -lt 300 ]; do (/bin/true &); i=$((i+1)); done; touch {done}; exec sleep 100"
    await client.start("bomb", stand.shell(script, log=str(stand.log("bomb"))))
    await eventually(done.exists, "the storm did not end")
    await eventually(lambda: zombies(holder.pid) == [ended.pid], f"zombies: {zombies(holder.pid)}")
    assert {held.service: held.code for held in await client.list()} == {"short": 7, "bomb": None}
    await client.forget("short", ended.start_id)
    assert zombies(holder.pid) == []
    await client.close()


async def test_what_a_dead_main_process_left_behind_is_killed_before_the_next_start(stand: Stand) -> None:
    """W3, P3: children in its group, in its session, and in a session of their own, also when the holder was killed in between."""
    for kill in (False, True):
        stand.launch()
        client = await stand.client()
        script = f"sleep {stand.number} & setsid sleep {stand.number} & set -m; sleep {stand.number} & echo all; sleep 100"
        held = await client.start("web", stand.shell(script, env={"STAND": stand.token, "PATH": "/bin:/usr/bin"}))
        mark = held.start_id

        def left(mark: str = mark) -> list[int]:
            return procfs.living(lambda found: procfs.carries(found.pid, mark))

        await eventually(lambda: len(left()) == 5, f"{left()}")
        assert await client.signal("web", held.start_id, signal.SIGKILL, group=False)
        assert isinstance(await next_event(client), Exited)
        assert len(left()) == 4
        assert await client.signal("web", held.start_id, 0), "somebody is left"
        if kill:
            stand.kill_holder()
            await client.close()
            stand.launch()
            client = await stand.client()
        again = await client.start("web", stand.sleeper())
        assert left() == []
        assert stand.sleepers() == [again.pid]
        assert await client.signal("web", again.start_id, signal.SIGKILL)
        await next_event(client)
        await client.forget("web", again.start_id)
        await client.close()
        stand.kill_holder()


async def test_children_of_a_main_process_that_died_without_any_holder_are_not_doubled(stand: Stand) -> None:
    """P3: the record's process is gone, but what it had started carries its start id: it is removed, not joined by a second copy."""
    stand.launch()
    client = await stand.client()
    held = await client.start("web", stand.shell(f"sleep {stand.number} & wait"))
    await eventually(lambda: len(procfs.living(lambda found: procfs.carries(found.pid, held.start_id))) == 2, "no child")
    stand.kill_holder()
    os.kill(held.pid, signal.SIGKILL)
    await eventually(lambda: procfs.living(lambda found: found.pid == held.pid) == [], "alive")
    await client.close()
    stand.launch()
    client = await stand.client()
    assert procfs.living(lambda found: procfs.carries(found.pid, held.start_id)) == []
    await client.close()


async def test_a_flood_of_output_neither_grows_nor_blocks_the_holder(stand: Stand) -> None:
    """S52: fifty megabytes go by, the holder answers in between, stays small, and the log stays within its files."""
    holder = stand.launch()
    client = await stand.client()
    await client.start("quiet", stand.request("/bin/sleep", "100", log=str(stand.log("quiet"))))
    before = resident_kib(holder.pid)
    assert before <= 17 * 1024, f"{before} KiB"
    done = stand.state / "done"
    await client.start("web", stand.shell(f"yes 0123456789012345678901234567890 | head -c 50000000; touch {done}; exec sleep 100"))
    while not done.exists():
        assert len(await soon(client.list())) == 2
    await eventually(lambda: stand.log("web").exists(), "no log")
    assert resident_kib(holder.pid) - before <= 8 * 1024, "it grew"
    assert len(list(stand.state.glob("log/web.log*"))) <= 6, "four older ones, the current one, and the pipe"
    await client.close()


async def test_a_program_that_cannot_be_run_is_reported_with_the_step_and_the_reason(stand: Stand) -> None:
    """The reply says why; no record and no zombie stays, and the name is free again."""
    holder = stand.launch()
    client = await stand.client()
    script = stand.state / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    for request, why in (
        (stand.request("/no/such/program"), "exec: No such file or directory: /no/such/program"),
        (stand.request(str(script)), "the interpreter that .*/script names"),
        (stand.request("/bin/sleep", "9", cwd="/no/such/place"), "directory /no/such/place: No such file"),
        (stand.request("/bin/sleep", "9", log="/proc/self/log"), "log /proc/self/log"),
    ):
        with pytest.raises(ServiceError, match=why):
            await client.start("web", request)
    assert await client.list() == []
    assert zombies(holder.pid) == []
    assert list((stand.state / "held").iterdir()) == []
    assert (await client.start("web", stand.sleeper())).running
    await client.close()


async def test_a_started_process_inherits_nothing_of_the_holder(stand: Stand) -> None:
    """Environment, descriptors, signal handlers and mask, umask, directory: what the request says and defaults, in a session of its own."""
    stand.launch()
    client = await stand.client()
    script = "ls /proc/$$/fd; echo $(umask) / $(pwd) / $(cut -d' ' -f6 /proc/$$/stat) $$; env"
    held = await client.start("web", stand.shell(script, umask=0o027, cwd="/usr", env={"A": "1", "STAND": stand.token}))
    assert isinstance(await next_event(client), Exited)
    zero, one, two, first, *environment = [line.split(" ", 1)[1] for line in stand.log("web").read_text().splitlines()]
    assert [zero, one, two] == ["0", "1", "2"]
    assert first == f"0027 / /usr / {held.pid} {held.pid}"
    assert {line.split("=")[0] for line in environment} - {"PWD", "OLDPWD", "SHLVL", "_"} == {"A", "STAND", "STEAD_START_ID"}
    assert f"STEAD_START_ID={held.start_id}" in environment
    await client.start(
        "plain", stand.request("/bin/cat", "/proc/self/status", log=str(stand.log("plain")))
    )  # shells set signals themselves
    assert isinstance(await next_event(client), Exited)
    status = dict(line.split(" ", 1)[1].split(":\t") for line in stand.log("plain").read_text().splitlines() if "\t" in line)
    library = 0b11 << 31  # signals 32 and 33 are the C library's; whoever make spawned has one ignored, and no program can change that
    assert {name: int(status[name], 16) & ~library for name in ("SigBlk", "SigIgn", "SigCgt")} == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}
    await client.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_a_service_runs_as_its_user_and_may_open_its_standard_output_again(stand: Stand, tmp_path: Path) -> None:
    """Many daemons log to /dev/stdout: the pipe belongs to the service's user."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory != Path("/tmp") and str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    stand.launch()
    client = await stand.client()
    await client.start("web", stand.shell("id -u; id -G; echo again > /dev/stdout; exec sleep 9", uid=65534, gid=65534, groups=[100]))
    await eventually(lambda: stand.log("web").exists() and "again" in stand.log("web").read_text(), stand.said())
    assert [line.split(" ", 1)[1] for line in stand.log("web").read_text().splitlines()] == ["65534", "65534 100", "again"]
    await client.close()


async def test_garbage_closes_its_own_connection_and_nobody_elses(stand: Stand) -> None:
    """S54: whatever the bytes, the others go on."""
    stand.launch()
    client = await stand.client()
    for garbage in (b"\n", b"{}\n", b"[" * 100_000 + b"\n", b'{"id": "x", "request": 1}\n', b"\xff\xfe\n", b"x" * 300_000):
        with socket.socket(socket.AF_UNIX) as rude:
            rude.settimeout(DEADLINE_S)
            rude.connect(str(stand.socket))
            try:
                rude.sendall(garbage)
                answer = await asyncio.to_thread(rude.recv, 100)
            except (BrokenPipeError, ConnectionResetError):
                answer = b""
            assert answer == b"", garbage[:20]
    assert (await client.hello()).version == 1
    with pytest.raises(ServiceError, match="unknown request"):
        await client._ask("dance")
    with pytest.raises(ServiceError, match="not a name"):
        await client.start("../web", stand.sleeper())
    await client.close()


async def test_a_second_holder_is_refused_and_says_who_runs(stand: Stand) -> None:
    """One holder for a state directory: exit code 6 and the pid of the first."""
    holder = stand.launch()
    client = await stand.client()
    command = [sys.executable, "-P", "-m", "supervisor.holder.main", "--state", str(stand.state), "--supervisor", "/bin/true"]
    second = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert second.returncode == 6
    assert f"a supervisor runs here already (pid {holder.pid})" in second.stderr
    assert (await client.hello()).pid == holder.pid
    await client.close()


async def test_asked_to_stop_it_lets_the_supervisor_stop_the_services(stand: Stand) -> None:
    """TERM → event → the supervisor stops its services → shutdown → exit 0; who connects later hears it too."""
    holder = stand.launch()
    client = await stand.client()
    held = await client.start("web", stand.sleeper())
    holder.terminate()
    assert await next_event(client) == StopRequested(reason="SIGTERM")
    late = await stand.client()
    assert await next_event(late) == StopRequested(reason="SIGTERM")
    assert stand.sleepers() == [held.pid]
    assert await client.signal("web", held.start_id, signal.SIGTERM)
    event = await next_event(client)
    assert event == Exited(service="web", start_id=held.start_id, code=None, signal=signal.SIGTERM, unknown=False)
    await client.forget("web", held.start_id)
    await client.shutdown()
    supervisor = json.loads((stand.state / "supervisor.json").read_text())["held"]["pid"]
    os.kill(supervisor, signal.SIGTERM)
    assert await asyncio.to_thread(holder.wait, DEADLINE_S) == 0
    assert not (stand.state / "supervisor.json").exists()
    assert isinstance(await next_event(client), Lost)
    await client.close()
    await late.close()


async def test_asked_twice_it_stops_everything_by_force(stand: Stand) -> None:
    """A second TERM does not wait for the supervisor, a third not even for those that ignore TERM."""
    holder = stand.launch()
    client = await stand.client()
    await client.start("web", stand.sleeper())
    ready = stand.state / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 1; done"
    await client.start("deaf", stand.shell(script, log=str(stand.log("deaf"))))
    await eventually(ready.exists, "not ready")
    holder.terminate()
    assert isinstance(await next_event(client), StopRequested)
    holder.terminate()
    event = await next_event(client)
    assert isinstance(event, Exited)
    assert event.service == "web"
    holder.terminate()
    assert await asyncio.to_thread(holder.wait, DEADLINE_S) == 0
    assert stand.sleepers() == []
    assert procfs.living(lambda found: f"STAND={stand.token}".encode() in procfs.read(f"/proc/{found.pid}/environ")) == []
    assert list((stand.state / "held").iterdir()) == []
    await client.close()


@pytest.mark.parametrize(("code", "expected"), [(84, 0), (86, 86)])
async def test_the_supervisors_last_word_ends_the_holder(stand: Stand, code: int, expected: int) -> None:
    """84: stop all, all is well. 86: trying again does not help, and the code says so to whoever started us."""
    flag = stand.state / "flag"
    holder = stand.launch(("/bin/sh", "-c", f"while ! [ -e {flag} ]; do sleep 0.01; done; exit {code}"))
    client = await stand.client()
    await client.start("web", stand.sleeper())
    flag.touch()
    assert await asyncio.to_thread(holder.wait, DEADLINE_S) == expected
    assert stand.sleepers() == []
    await client.close()


async def test_the_supervisor_hears_hup(stand: Stand) -> None:
    flag = stand.state / "flag"
    holder = stand.launch(("/bin/sh", "-c", f"trap 'touch {flag}1; exit 3' HUP; touch {flag}0; while :; do sleep 0.05; done"))
    client = await stand.client()
    await eventually(Path(f"{flag}0").exists, stand.said())
    holder.send_signal(signal.SIGHUP)
    await eventually(Path(f"{flag}1").exists, stand.said())
    await client.close()


async def test_a_former_supervisor_is_gone_before_the_next_one_starts(stand: Stand) -> None:
    """A supervisor that does not notice its holder's death is killed: never two."""
    stand.launch()
    client = await stand.client()
    former = json.loads((stand.state / "supervisor.json").read_text())["held"]["pid"]
    stand.kill_holder()
    await client.close()
    stand.launch()
    client = await stand.client()

    def replaced() -> bool:
        path = stand.state / "supervisor.json"
        return path.exists() and json.loads(path.read_text())["held"]["pid"] != former

    await eventually(replaced, stand.said())
    assert procfs.living(lambda found: found.pid == former) == []
    await client.close()


async def test_a_corrupt_record_is_moved_aside_and_a_newer_one_refused(stand: Stand) -> None:
    """Never a crash loop; but what a newer holder wrote is not thrown away, since its process would get a twin."""
    (stand.state / "held").mkdir()
    (stand.state / "held" / "web.json").write_bytes(b'{"format": 1, "held": {"pid": -')
    holder = stand.launch()
    client = await stand.client()
    assert await client.list() == []
    assert "moved aside" in stand.said()
    assert [path.name for path in (stand.state / "held").iterdir()] == ["web.json.corrupt-1"]
    await client.shutdown()
    await asyncio.to_thread(holder.wait, DEADLINE_S)
    await client.close()
    (stand.state / "held" / "web.json").write_bytes(b'{"format": 2}')
    assert await asyncio.to_thread(stand.launch().wait, DEADLINE_S) == 3
    assert "has format 2" in stand.said()
    assert (stand.state / "held" / "web.json").read_bytes() == b'{"format": 2}'


async def test_a_state_directory_deeper_than_a_socket_address_works(tmp_path: Path) -> None:
    """A Unix address holds 107 bytes; the root may be anywhere."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    stand = Stand(deep)
    try:
        stand.launch()
        client = await stand.client()
        assert (await client.start("web", stand.sleeper())).running
        assert (stand.socket.stat().st_mode & 0o777) == 0o600
        await client.close()
    finally:
        await stand.clear()
