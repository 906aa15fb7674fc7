"""The checks of `stead doctor`, one row for what each may find; and the probes, on this host."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hart.keys import KeyCache, generate_signing_pair
from hart.limits import GIB, MIB
from hart.root import Root
from supervisor import checkup
from supervisor.cli_doctor import doctor
from supervisor.doctor import CHECKS, PORTS, Disk, Facts, KeyFile, Level, Port, examine

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
FREE = tuple(Port(number=number, protocol=protocol, owner="", ours=False) for number, protocol in PORTS)
WELL = Facts(
    now=NOON,
    newest=NOON - 1,
    synchronised=True,
    disks=(Disk(path="/", free=90 * GIB, inodes=1_000_000, read_only=False),),
    nofile=65536,
    nproc=1 << 62,
    kernel=(6, 12),
    pidfd=True,
    subreaper=True,
    cgroup="v2",
    cgroup_writable=True,
    socket_path="/hab/sup/default/control.sock",
    ports=FREE,
    key_cache="/hab/cache/keys",
    key_cache_mode=0o700,
    keys=(KeyFile(path="/hab/cache/keys/a-1.sig.key", secret=True, mode=0o400, problem=""),),
    rings=("blue",),
    root="/hab",
    root_mode=0o755,
    root_owner="root",
    depot="https://depot.test",
    depot_skew_s=0.5,
    version="1.0",
    supervisor="1.0",
    holder_pid=7,
    systemd=True,
    unit={"KillMode": "process", "Delegate": "yes"},
)


def disk(**changes: Any) -> dict[str, Any]:
    return {"disks": (replace(WELL.disks[0], **changes),)}


def taken(number: int, protocol: str, **changes: Any) -> dict[str, Any]:
    return {"ports": (replace(Port(number=number, protocol=protocol, owner="nginx (9)", ours=False), **changes),)}


def key(**changes: Any) -> dict[str, Any]:
    return {"keys": (replace(WELL.keys[0], **changes),)}


def test_a_host_that_is_well_has_nothing_but_ok() -> None:
    found = examine(WELL)
    assert {finding.level for finding in found} == {Level.OK}
    assert len({finding.check for finding in found}) >= 12


@pytest.mark.parametrize(
    ("changes", "check", "level", "said"),
    [
        ({"now": 0.0, "newest": None}, "clock", Level.BAD, "cannot be"),
        ({"now": 1e300, "newest": None}, "clock", Level.BAD, "cannot be"),
        ({"newest": NOON + 4000}, "clock", Level.BAD, "set back"),
        ({"synchronised": False}, "clock", Level.WARN, "nothing keeps it right"),
        ({"synchronised": None}, "clock", Level.OK, "does not say"),
        (disk(free=500 * MIB), "disk", Level.WARN, "500 MiB free"),
        (disk(free=MIB), "disk", Level.BAD, "1 MiB free"),
        (disk(inodes=10_000), "disk", Level.WARN, "10000 inodes"),
        (disk(inodes=5), "disk", Level.BAD, "5 inodes"),
        (disk(inodes=None), "disk", Level.OK, "free"),
        (disk(read_only=True), "disk", Level.BAD, "read-only"),
        ({"nofile": 256}, "open files", Level.WARN, "256"),
        ({"nproc": 100}, "processes", Level.WARN, "100"),
        ({"pidfd": False}, "kernel", Level.BAD, "no pidfd"),
        ({"subreaper": False}, "kernel", Level.BAD, "no subreaper"),
        ({"kernel": (5, 10)}, "kernel", Level.OK, "signalled by number"),
        ({"cgroup": ""}, "cgroups", Level.WARN, "none"),
        ({"cgroup_writable": False}, "cgroups", Level.WARN, "not ours"),
        ({"socket_path": "/" + "a" * 120}, "socket", Level.WARN, "121 bytes"),
        (taken(9631, "tcp"), "port", Level.WARN, "9631/tcp is taken: nginx (9)"),
        (taken(9638, "udp"), "port", Level.BAD, "9638/udp is taken"),
        (taken(9638, "tcp", owner="?"), "port", Level.BAD, "you may not see"),
        ({**taken(9638, "tcp"), "rings": ()}, "port", Level.WARN, "9638/tcp is taken"),
        (taken(9638, "tcp", ours=True), "port", Level.OK, "is nginx (9)"),
        ({"key_cache_mode": None}, "keys", Level.WARN, "is not there"),
        ({"key_cache_mode": 0o777}, "keys", Level.BAD, "written by others"),
        ({"keys_problem": "permission denied"}, "keys", Level.BAD, "permission denied"),
        (key(mode=0o440), "keys", Level.BAD, "read by others"),
        (key(mode=0o444, secret=False), "keys", Level.OK, "1 in"),
        (key(problem="has no header"), "keys", Level.BAD, "has no header"),
        ({"rings": ()}, "ring", Level.OK, "alone"),
        ({"rings": ("a", "b")}, "ring", Level.BAD, "several: a, b"),
        ({"rings": ("a", "b"), "ring_chosen": "b"}, "ring", Level.OK, "a key of b"),
        ({"ring_chosen": "green"}, "ring", Level.BAD, "no key of it"),
        ({"ca_file": "/ca.pem", "ca_problem": "no such file"}, "tls", Level.BAD, "/ca.pem"),
        ({"root_mode": None}, "root", Level.WARN, "not there yet"),
        ({"root_mode": 0o777}, "root", Level.BAD, "everybody"),
        ({"root_writable": False}, "root", Level.WARN, "belongs to root"),
        ({"depot": ""}, "depot", Level.OK, "none is configured"),
        ({"depot_problem": "refused"}, "depot", Level.BAD, "refused"),
        ({"depot_skew_s": None}, "depot", Level.OK, "answers"),
        ({"depot_skew_s": 90.0}, "depot", Level.WARN, "90 s ahead of ours"),
        ({"depot_skew_s": -7200.0}, "depot", Level.BAD, "7200 s behind ours"),
        ({"supervisor": ""}, "supervisor", Level.WARN, "does not run"),
        ({"supervisor": "0.9"}, "supervisor", Level.WARN, "it is 0.9, installed is 1.0"),
        ({"supervisor": "", "supervisor_problem": "said nothing for 30 s"}, "supervisor", Level.BAD, "said nothing"),
        ({"complaints": ("web: is not TOML",)}, "spec", Level.BAD, "web: is not TOML"),
        ({"unit": {"KillMode": "control-group", "Delegate": "yes"}}, "systemd", Level.BAD, "KillMode=control-group"),
        ({"unit": {"KillMode": "process", "Delegate": "no"}}, "systemd", Level.WARN, "no Delegate"),
    ],
)
def test_what_is_wrong_is_found_with_what_helps(changes: dict[str, Any], check: str, level: Level, said: str) -> None:
    found = [finding for finding in examine(replace(WELL, **changes)) if finding.check == check and said in finding.what]
    assert [finding.level for finding in found] == [level]
    if level is Level.BAD:
        assert all(finding.why and finding.fix for finding in found)


def test_what_could_not_be_found_out_is_no_fault() -> None:
    """A probe that the system refuses must not cry wolf."""
    levels = {finding.check: finding.level for finding in examine(Facts(now=NOON, key_cache="/k", root="/r"))}
    assert Level.BAD not in levels.values()
    assert len(CHECKS) == 13


def test_the_probes_find_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on this host; none changes anything under the root."""
    root = Root(tmp_path / "root")
    cache = KeyCache.choose(root, {})
    secret = generate_signing_pair("acme", "20260101000000")
    cache.store_pair(secret)
    (cache.path / "acme-20260101000000.sig.key").chmod(0o644)
    before = sorted(root.path.rglob("*"))
    facts = checkup.gather(root, {"STEAD_DEPOT_URL": "http://127.0.0.1:1", "SSL_CERT_FILE": str(tmp_path / "none.pem")})
    assert sorted(root.path.rglob("*")) == before
    assert facts.nofile is not None
    assert facts.nofile > 0
    assert (facts.pidfd, facts.subreaper, facts.supervisor) == (True, True, "")
    assert facts.kernel >= (4, 0)
    assert facts.disks
    assert facts.disks[0].free > 0
    assert facts.depot_problem
    assert facts.ca_problem
    said = [finding.what for finding in examine(facts) if finding.level is Level.BAD and finding.check == "keys"]
    assert any("acme-20260101000000.sig.key" in what for what in said)


def test_who_listens_at_a_port_is_named() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        key = (listening.getsockname()[1], "tcp")
        inode = dict(checkup.sockets())[key]
        assert checkup.owners_of({inode}) == {inode: os.getpid()}
    assert checkup.command_of(os.getpid()) != "?"


@pytest.mark.parametrize(
    ("cmdline", "shown"),
    [
        (b"/usr/sbin/nginx\0-g\0daemon off;\0", "nginx daemon off;"),
        (b"/opt/bin/python3\0-P\0-m\0supervisor.run\0--root=/hab\0", "supervisor.run"),
        (b"/opt/bin/python3\0/opt/bin/stead\0depot\0serve\0", "stead depot"),
        (b"python3\0", "python3"),
        (b"", "?"),
    ],
)
def test_a_process_is_named_as_people_know_it(cmdline: bytes, shown: str) -> None:
    assert checkup.shown_command(cmdline) == shown


def test_doctor_is_for_people_and_for_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 12 where something is bad; every finding in the JSON."""
    for name in ("STEAD_DEPOT_URL", "HAB_BLDR_URL", "SSL_CERT_FILE", "STEAD_RING"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    root.chmod(0o777)
    done = CliRunner().invoke(doctor, ["--root", str(root), "--json"], standalone_mode=False)
    assert done.return_value == 12
    assert {"check": "root", "level": "bad"}.items() <= next(row for row in json.loads(done.stdout) if row["check"] == "root").items()
    people = CliRunner().invoke(doctor, ["--root", str(root), "-q"], standalone_mode=False)
    assert f"fix: chmod o-w {root}" in people.stdout
    assert "\nok " not in people.stdout
