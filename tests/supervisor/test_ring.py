"""Supervisors that find each other: real processes on loopback, each with a root of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hart.errors import UsageError
from hart.keys import KeyCache, RingKey, generate_ring_key
from hart.root import Root
from supervisor.settings import Settings
from tests.ports import free_port
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = pytest.mark.slow

KEY = generate_ring_key("prod", "20260101000000")
RUN = "#!/bin/sh\nexec sleep 1000\n"
DB = {
    "default.toml": "port = 7000\n",
    "EXPORTS": "port=port\n",
    "config/db.conf": "port={{cfg.port}}\n",
    "config/service.json": "",
    "service.toml": "",
    "hooks/run": RUN,
}
APP = {
    "BINDS": "db=port\n",
    "config/app.conf": "{{#each bind.db.members as |m|}}db={{m.sys.ip}}:{{m.cfg.port}}\n{{/each}}",
    "config/service.json": "",
    "service.toml": "",
    "hooks/run": RUN,
    "hooks/reconfigure": "#!/bin/sh\ntrue\n",
}


class Rack:
    """Hosts that are told of the first one's address."""

    def __init__(self, path: Path, stack: ExitStack, *, key: RingKey | None = KEY) -> None:
        self.path, self._stack, self._key = path, stack, key
        self.ports: dict[str, int] = {}

    def root(self, name: str) -> Root:
        return Root(self.path / name)

    def start(self, name: str, *arguments: str) -> Supervised:
        root = self.root(name)
        if self._key is not None:
            KeyCache(root.keys).store(self._key)
        port = self.ports.setdefault(name, free_port())
        first = next(iter(self.ports.values()))
        options = [f"--listen-gossip=127.0.0.1:{port}", f"--peer=127.0.0.1:{first}", "--no-mdns", "--http-disable", "--network=local"]
        return self._stack.enter_context(supervised(root, *options, *arguments))


@contextmanager
def rack(path: Path, **options: RingKey | None) -> Iterator[Rack]:
    with ExitStack() as stack:
        yield Rack(path, stack, **options)


def healths(host: Supervised) -> dict[str, str]:
    """What a host believes of each member."""
    return {row["member"]: row["health"] for row in host.ask("ring members")["rows"]}


def id_of(host: Supervised) -> str:
    found: str = host.ask("sup status")["member_id"]
    return found


def until_together(*hosts: Supervised) -> None:
    for host in hosts:
        host.until(f"{len(hosts)} are alive", lambda host=host: list(healths(host).values()).count("alive") >= len(hosts))


@pytest.mark.parametrize("key", [KEY, None], ids=["with a key", "without"])
def test_hosts_that_are_told_of_one_find_all(tmp_path: Path, key: RingKey | None) -> None:
    with rack(tmp_path, key=key) as hosts:
        until_together(*(hosts.start(name) for name in ("a", "b", "c")))


def test_a_bind_is_fed_from_another_host_and_follows_what_is_ready_there(tmp_path: Path) -> None:
    """A producer that stops, or whose host is lost, leaves what its consumers have rendered."""
    with rack(tmp_path) as hosts:
        a, b, c = (hosts.start(name) for name in ("a", "b", "c"))
        for name in ("a", "b"):
            lay_package(hosts.root(name), "t/db/1/20260101000000", files=DB)
        lay_package(hosts.root("c"), "t/app/1/20260101000000", files=APP)
        until_together(a, b, c)
        a.load("t/db")
        c.load("t/app", binds=["db:db.default"])
        rendered = hosts.root("c").service("app") / "config" / "app.conf"
        assert rendered.read_text().count("db=") == 1
        b.load("t/db")
        c.until("both feed it", lambda: rendered.read_text().count("db=127.0.0.1:7000") == 2)
        b.ask("stop", name="db")
        c.until("one feeds it", lambda: rendered.read_text().count("db=") == 1)


def test_configuration_that_one_host_applies_is_rendered_by_all(tmp_path: Path) -> None:
    """And a host that comes later starts with it."""
    with rack(tmp_path) as hosts:
        a, b = hosts.start("a"), hosts.start("b")
        for name in ("a", "b", "c"):
            lay_package(hosts.root(name), "t/db/1/20260101000000", files=DB)
        until_together(a, b)
        a.load("t/db")
        b.load("t/db")
        a.apply("db.default", 1, "port = 7001\n")
        for name in ("a", "b"):
            assert (hosts.root(name).service("db") / "config" / "db.conf").read_text() == "port=7001\n"
        c = hosts.start("c")
        until_together(a, b, c)
        c.load("t/db")
        assert (hosts.root("c").service("db") / "config" / "db.conf").read_text() == "port=7001\n"


def test_a_killed_supervisor_is_the_same_member_again_and_documents_outlive_it(tmp_path: Path) -> None:
    with rack(tmp_path) as hosts:
        a, b = hosts.start("a"), hosts.start("b")
        until_together(a, b)
        a.apply("db.default", 1, "port = 7001\n")
        before = id_of(a)
        a.kill_supervisor()
        assert id_of(a) == before
        until_together(a, b)
        assert [row["key"] for row in a.ask("ring records", prefix="group/")["rows"]] == ["group/db.default/config"]


def test_a_copied_state_directory_becomes_a_new_member(tmp_path: Path) -> None:
    """Of two hosts with one key the older copy takes a new one, and both go on."""
    with rack(tmp_path) as hosts:
        a, b = hosts.start("a"), hosts.start("b")
        until_together(a, b)
        known = id_of(b)
        shutil.copytree(hosts.root("b").sup / "ring", hosts.root("c").sup / "ring")
        for _ in range(2):  # its generation is ahead of the copy's now
            b.kill_supervisor()
        until_together(a, b)
        c = hosts.start("c")
        c.until("it has another identity", lambda: id_of(c) != known)
        until_together(a, b, c)
        assert id_of(b) == known


def test_a_host_that_departed_stays_out_until_it_is_told_to_come_back(tmp_path: Path) -> None:
    """Also after its supervisor is killed."""
    with rack(tmp_path) as hosts:
        a, b = hosts.start("a"), hosts.start("b")
        until_together(a, b)
        b.ask("ring depart")
        a.until("b has departed", lambda: healths(a)[id_of(b)] == "departed")
        b.kill_supervisor()
        assert b.ask("ring status")["departed"]
        b.ask("ring join", addresses=[f"127.0.0.1:{hosts.ports['a']}"])
        until_together(a, b)


def test_a_damaged_ring_state_is_told_and_costs_no_start(tmp_path: Path) -> None:
    with rack(tmp_path) as hosts:
        a = hosts.start("a")
        a.apply("db.default", 1, "port = 7001\n")
        a.apply("db.default", 2, "port = 7002\n")
        state = Settings(root=hosts.root("a")).ring_state
        newest = max((file for file in (state / "documents").rglob("*") if file.is_file()), key=lambda file: file.name)
        newest.write_bytes(newest.read_bytes()[:-3])
        a.kill_supervisor()
        rows = a.ask("ring records", prefix="group/")["rows"]
        assert [row["key"] for row in rows] == ["group/db.default/config"]
        assert str(newest.name) in a.log()


def test_a_taken_port_is_an_error_when_it_was_asked_for_and_gives_way_when_not(tmp_path: Path) -> None:
    with rack(tmp_path) as hosts:
        a = hosts.start("a")
        address = a.ask("ring status")["address"]
        assert address.endswith(f":{hosts.ports['a']}")
    with pytest.raises(UsageError):
        Settings(root=Root(tmp_path), ip="not an address")
