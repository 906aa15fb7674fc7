"""Control groups: where ours are made, what is written there, and what they hold."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hart.limits import MIB
from supervisor.holder import cgroup
from supervisor.holder.cgroup import Group, Site

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
"""
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


# --- pure


def test_our_own_group_of_version_1() -> None:
    membership = "6:freezer:/\n4:memory:/user/x\n3:cpu,cpuacct:/a b\n8:pids:/\n0::/\n"
    v2, v1 = cgroup.own_groups(V1_MOUNTS, membership)
    assert v2 is None
    assert v1 == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/a b",
        "memory": "/sys/fs/cgroup/memory/user/x",
        "freezer": "/sys/fs/cgroup/freezer",
        "pids": "/sys/fs/cgroup/pids",
    }


def test_our_own_group_of_version_2_is_above_the_leaf_that_we_moved_to() -> None:
    for membership in ("0::/system.slice/stead.service\n", "0::/system.slice/stead.service/stead-holder\n"):
        assert cgroup.own_groups(V2_MOUNTS, membership) == ("/sys/fs/cgroup/system.slice/stead.service", {})


@pytest.mark.parametrize(
    ("mounts", "membership"),
    [
        ("", "0::/x\n"),
        ("nonsense\n", "0::/x\n"),
        (V2_MOUNTS, ""),
        (V2_MOUNTS, "0::/../../elsewhere\n"),  # outside of our namespace
        (V2_MOUNTS, "0::/gone (deleted)\n"),
        ("30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/12\n"),
    ],
)
def test_a_group_out_of_reach_is_none(mounts: str, membership: str) -> None:
    assert cgroup.own_groups(mounts, membership) == (None, {})


def test_a_mount_of_a_part_and_a_mount_point_with_a_space() -> None:
    mounts = "30 23 0:26 /docker/1 /mnt/c\\040g rw - cgroup2 cgroup2 rw\n"
    assert cgroup.own_groups(mounts, "0::/docker/1/x\n") == ("/mnt/c g/x", {})
    assert cgroup.own_groups(mounts, "0::/docker/1\n") == ("/mnt/c g", {})


def test_version_2_with_controllers_goes_first_then_version_1_then_2_without() -> None:
    assert cgroup.choose(["memory"], ["memory"]) == 2
    assert cgroup.choose([], ["memory"]) == 1
    assert cgroup.choose([], []) == 2
    assert cgroup.choose(None, ["freezer"]) == 1
    assert cgroup.choose(None, []) == 0


def test_what_is_written_for_a_limit() -> None:
    limits = {"memory": 64.0 * MIB, "cpu": 0.5, "pids": 10.0, "nofile": 3.0}
    assert cgroup.settings(limits, 2) == [
        ("pids", "pids.max", "10"),
        ("memory", "memory.max", "67108864"),
        ("memory", "memory.swap.max", "0"),
        ("cpu", "cpu.max", "50000 100000"),
    ]
    assert cgroup.settings(limits, 1) == [
        ("pids", "pids.max", "10"),
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "67108864"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
    ]
    assert cgroup.settings({}, 2) == []


def test_out_of_memory_is_told_with_the_limit() -> None:
    assert cgroup.counter("oom 3\noom_kill 2\n", "oom_kill") == 2
    assert cgroup.counter("oom_kill_disable 1\n", "oom_kill") == 0
    assert cgroup.out_of_memory(0, 5) == ""
    assert cgroup.out_of_memory(1, 64 * MIB) == "out of memory (limit 64 MiB)"
    assert "the host" in cgroup.out_of_memory(1, None)


def test_who_belongs_is_told_by_the_last_two_names() -> None:
    path = "/sys/fs/cgroup/pids/x/stead-1-2/web.abc"
    assert cgroup.belongs("8:pids:/x/stead-1-2/web.abc\n", path)
    assert cgroup.belongs("8:pids:/stead-1-2/web.abc/below\n", path)
    assert not cgroup.belongs("8:pids:/x/stead-1-2/web.abcd\n", path)
    assert not cgroup.belongs("8:pids:/x/stead-1-3/web.abc\n0::/\n", path)


def test_under_systemd_controllers_wait_for_the_subgroup() -> None:
    assert cgroup.held_back(systemd=True, delegated=False)
    assert not cgroup.held_back(systemd=True, delegated=True)
    assert not cgroup.held_back(systemd=False, delegated=False)


def test_no_group_holds_nobody_and_harms_nobody() -> None:
    nothing = Group(())
    nothing.kill()
    nothing.remove()
    assert nothing.pids() is None
    assert not nothing.holds(os.getpid())
    assert nothing.oom() == ""
    site = Site(0, {}, "no cgroup file system is mounted here")
    assert site.describe() == "session only: no cgroup file system is mounted here"
    assert site.make("web.1", {"memory": 5.0, "nofile": 3.0}) == (Group([]), ["no memory limit: no cgroup file system is mounted here"])


# --- with the kernel


def test_a_frozen_group_is_killed_too(tmp_path: Path) -> None:
    """Of the version that this host has, and of version 2 where it is mounted beside version 1."""
    v2, v1 = cgroup.own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    tops = [Path(top) for top in (v1.get("freezer"), v2) if top is not None and os.access(top, os.W_OK)]
    for top in tops:
        path = top / cgroup.site_name(str(tmp_path)) / "web.1"
        try:
            path.mkdir(parents=True)
        except OSError:
            continue
        child = subprocess.Popen(["/bin/sleep", "1000"])
        try:
            (path / "cgroup.procs").write_text(f"{child.pid}\n")
            group = Group([str(path)])
            assert group.pids() == [child.pid]
            assert group.holds(child.pid)
            assert not group.holds(os.getpid())
            group.kill()
            assert child.wait(10) == -signal.SIGKILL
            until = time.monotonic() + 10
            while group.pids() and time.monotonic() < until:
                time.sleep(0.01)
        finally:
            child.kill()
            child.wait()
            group.remove()
            gone = not path.exists()
            path.parent.rmdir()
        assert gone
