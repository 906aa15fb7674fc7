"""Lines of /proc, hostile names among them; and ourselves as the kernel sees us."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.holder import procfs
from supervisor.holder.procfs import Stat, parse_stat

TAIL = b" S 2 3 4 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 20"


@pytest.mark.parametrize("name", [b"web", b"we b", b") S 9 9 9", b"((", b"))", b"\xff\n", b""])
def test_a_process_cannot_forge_its_line_with_its_name(name: bytes) -> None:
    """The name stands in parentheses and may hold anything: the last one ends it."""
    assert parse_stat(b"17 (" + name + b")" + TAIL) == Stat(pid=17, state="S", ppid=2, pgrp=3, session=4, start_time=987654)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_stat_or_a_value_error(line: bytes) -> None:
    """Nothing else may come out of the parser."""
    try:
        parse_stat(line)
    except ValueError:
        return


@pytest.mark.parametrize(("state", "dead"), [("Z", True), ("X", True), ("S", False), ("R", False), ("D", False), ("T", False)])
def test_a_zombie_is_dead_and_a_stopped_process_is_not(state: str, dead: bool) -> None:
    """A zombie holds its pid and nothing else."""
    assert Stat(pid=1, state=state, ppid=1, pgrp=1, session=1, start_time=1).dead is dead


def test_we_find_ourselves() -> None:
    """The fields are where we think they are."""
    found = procfs.stat(os.getpid())
    assert found is not None
    assert (found.pid, found.ppid, found.pgrp, found.session) == (os.getpid(), os.getppid(), os.getpgid(0), os.getsid(0))
    assert procfs.stat(2**22 + 1) is None
    assert len(procfs.boot_id()) == 36


def test_ourselves_is_never_among_the_living_to_be_swept() -> None:
    """Whatever the rule says, the holder does not kill itself."""
    assert os.getpid() not in procfs.living(lambda _: True)


def test_a_process_that_no_longer_belongs_is_not_signalled() -> None:
    """Between the list and the signal it may be another one: it is looked at again."""
    assert not procfs.send(os.getppid(), 9, lambda found: found.start_time == -1)
