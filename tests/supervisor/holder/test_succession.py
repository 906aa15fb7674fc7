"""The holder becomes its next version: what goes over, what is refused, and that no child notices."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import ServiceError
from supervisor.attach import HolderClient
from supervisor.holder import procfs
from supervisor.holder.succession import MEMO, Memo, command, parse, take, with_program
from tests.supervisor.holder.stand import Stand, eventually

ROOT = Path(__file__).parents[3]


# --- pure


def test_a_memo_survives_the_environment() -> None:
    memo = Memo(python="/p", version="1.2", turn=3, fds={"lock": 7, "log web": 9})
    assert parse(memo.text()) == memo
    assert parse(json.dumps({"version": "9", "turn": 1, "fds": {}, "news": [1]})) == Memo(version="9", turn=1)


@given(
    st.text() | st.builds(json.dumps, st.dictionaries(st.sampled_from(["version", "turn", "fds"]), st.none() | st.integers() | st.text()))
)
def test_what_is_no_memo_is_an_empty_one(text: str) -> None:
    memo = parse(text)
    assert memo.turn >= 0
    assert all(fd > 2 for fd in memo.fds.values())


def test_a_memo_is_taken_out_of_the_environment_without_what_is_closed() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        environ = {MEMO: Memo(fds={"lock": fd, "log gone": 999_999}).text(), "A": "b"}
        assert take(environ).fds == {"lock": fd}
        assert environ == {"A": "b"}
        assert not os.get_inheritable(fd)
        assert take(environ) == Memo()
    finally:
        os.close(fd)


def test_only_our_own_interpreter_is_replaced_in_the_supervisors_command_line() -> None:
    assert with_program(["/old/python", "-m", "x"], "/old/python", "/new/python") == ["/new/python", "-m", "x"]
    assert with_program(["/bin/sh", "-c", "x"], "/old/python", "/new/python") == ["/bin/sh", "-c", "x"]


# --- a real holder


def other_version(directory: Path, version: str) -> str:
    """Another installation: a copy of the code with another version, behind a program that stands for its Python."""
    code = directory / version
    code.mkdir()
    for name in ("supervisor", "hart", "depot", "builder", "stead.py"):
        (code / name).symlink_to(ROOT / name)
    info = code / f"stead-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stead\nVersion: {version}\n")
    program = code / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{code}" exec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    return str(program)


async def next_image(stand: Stand, client: HolderClient, program: str) -> HolderClient:
    """Replace the holder, and connect to what it is then."""
    turn = (await client.hello()).turn
    await client.replace(program)
    await client.close()
    while True:
        client = await stand.client()
        if (await client.hello()).turn == turn + 1:
            return client
        await client.close()
        await asyncio.sleep(0.01)


def text_of(log: str) -> str:
    path = Path(log)
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
@pytest.mark.asyncio
async def test_services_and_every_line_of_theirs_survive_upgrades_and_the_way_back(stand: Stand, tmp_path: Path) -> None:
    """Same pid, same children, same lock; each line is in the log once; an end between two images has its exit code."""
    holder = stand.launch()
    client = await stand.client()
    web = await client.start("web", stand.shell("i=0; while :; do i=$((i+1)); echo line $i; sleep 0.001; done"))
    lock = (stand.state / "LOCK").stat().st_ino
    programs = [other_version(tmp_path, "9.1"), sys.executable]
    for number in range(6):
        log = str(stand.log(f"short{number}"))
        script = f"trap 'echo last words; exit {40 + number}' TERM; echo up; while :; do sleep 0.01; done"
        short = await client.start(f"short{number}", stand.shell(script, log=log))
        await eventually(lambda: "up" in text_of(log), "not up")  # noqa: B023
        await client.signal(f"short{number}", short.start_id, signal.SIGTERM)  # ends some time during the exec
        client = await next_image(stand, client, programs[number % 2])
        info = await client.hello()
        assert (info.pid, info.turn) == (holder.pid, number + 1)
        assert info.program == "9.1" if number % 2 == 0 else info.program

        async def ended() -> bool:
            return any(held.service == f"short{number}" and held.code == 40 + number for held in await client.list())  # noqa: B023

        for _ in range(500):
            if await ended():
                break
            await asyncio.sleep(0.02)
        assert await ended(), await client.list()
        assert "last words" in text_of(log)
        await client.forget(f"short{number}", short.start_id)
    (held,) = await client.list()
    assert (held.pid, held.start_id, held.running, held.adopted) == (web.pid, web.start_id, True, False)
    assert holder.poll() is None
    assert (stand.state / "LOCK").stat().st_ino == lock
    assert (stand.state / "LOCK").read_text() == f"{holder.pid}\n"
    assert MEMO not in procfs.read(f"/proc/{web.pid}/environ").decode()
    await client.signal("web", web.start_id, signal.SIGKILL)
    await eventually(lambda: (found := procfs.stat(web.pid)) is None or found.dead, "it lives")
    await client.list()  # answered after its last words were drained
    numbers = [int(line.rpartition(" ")[2]) for line in stand.log("web").read_text().splitlines() if " line " in line]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_program_that_cannot_take_over_is_refused_and_nothing_happens(stand: Stand, tmp_path: Path) -> None:
    stand.launch()
    client = await stand.client()
    held = await client.start("web", stand.sleeper())
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho SyntaxError: no >&2\nexit 1\n")
    broken.chmod(0o755)
    for program, why in ((str(broken), "SyntaxError: no"), (str(tmp_path / "none"), "No such file"), ("python", "not an absolute path")):
        with pytest.raises(ServiceError, match=why):
            await client.replace(program)
    assert (await client.hello()).turn == 0
    assert await client.list() == [held]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_records_that_the_other_program_cannot_keep_are_a_refusal(stand: Stand, tmp_path: Path) -> None:
    """The way back from a newer format: said before anything is done."""
    stand.launch()
    client = await stand.client()
    held = await client.start("web", stand.sleeper())
    path = stand.state / "held" / "web.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "format": 2}))
    with pytest.raises(ServiceError, match="has format 2"):
        await client.replace(other_version(tmp_path, "0.1"))
    assert (await client.list()) == [held]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_term_between_two_images_stops_the_services_and_ends_the_holder(stand: Stand, tmp_path: Path) -> None:
    """A signal that meets a Python that has no handler yet would kill it, and orphan everything."""
    program = other_version(tmp_path, "9.1")
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        holder = stand.launch()
        client = await stand.client()
        await client.start("web", stand.sleeper())
        await client.replace(program)
        await asyncio.sleep(delay)
        holder.terminate()
        for _ in range(100):  # there is no supervisor that would stop them, so it is asked again
            await asyncio.sleep(0.1)
            if holder.poll() is not None:
                break
            holder.terminate()
        assert holder.returncode == 0
        assert stand.sleepers() == []
        await client.close()


def test_the_command_line_is_the_holders() -> None:
    line = command("/p/python", "/s", ["/p/python", "-m", "supervisor.run", "--json-logs"])
    assert line[:4] == ["/p/python", "-P", "-m", "supervisor.holder.main"]
    assert "--json-logs" in line
