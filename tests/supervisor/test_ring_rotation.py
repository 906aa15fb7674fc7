"""A ring changes its key while it works, with real processes: nobody is declared dead, nothing that is applied meanwhile is lost. Who was
away for all of it says what is wrong, and comes back with the key by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from hart.errors import ConflictError, UnavailableError
from hart.keys import KeyCache, KeyKind, generate_ring_key
from supervisor.gossip.keyring import key_id
from supervisor.ring_keyfiles import issued
from tests.supervisor.test_ring import DB, KEY, Rack, healths, rack, until_together
from tests.supervisor.workshop import Supervised, lay_package

pytestmark = pytest.mark.slow

OLD = key_id(KEY.raw).hex()


def rotate(host: Supervised) -> str:
    """add, use, remove; each is done when everybody who lives has followed. The new key's id."""
    new: str = follow(host, "add")["key"]
    follow(host, "use", key=new)
    follow(host, "remove", key=OLD)
    return new


def follow(host: Supervised, command: str, **fields: Any) -> dict[str, Any]:
    done: dict[str, Any] = host.ask(f"ring key {command}", **fields)
    assert done["waiting_for"] == [], (command, host.log())
    return done


def apply_on(host: Supervised, stop: Event) -> int:
    """One version after the other, until told to stop; the last one."""
    version = 0
    while not stop.is_set():
        version += 1
        done = host.apply("db.default", version, f"port = {7000 + version}\n")
        assert (done["accepted"], done["rendered"], done["failed"]) == (2, 2, [])
    return version


def seals_with(host: Supervised) -> tuple[str, list[str]]:
    status = host.ask("ring status")
    return status["key"], status["other_keys"]


def cached(hosts: Rack, name: str) -> set[str]:
    return {key_id(key.raw).hex() for key in issued(KeyCache(hosts.root(name).keys), "prod")}


def test_the_key_is_changed_while_configuration_is_applied_and_nobody_is_lost(tmp_path: Path) -> None:
    with rack(tmp_path) as hosts:
        a, b, c = every = tuple(hosts.start(name) for name in ("a", "b", "c"))
        for name in ("a", "b"):
            lay_package(hosts.root(name), "t/db/1/20260101000000", files=DB)
        until_together(*every)
        a.load("t/db")
        b.load("t/db")
        stop = Event()
        with ThreadPoolExecutor(1) as pool:
            applying = pool.submit(apply_on, b, stop)
            try:
                with pytest.raises(ConflictError, match="is the one in use"):
                    c.ask("ring key remove", key=OLD)
                new = rotate(a)
            finally:
                stop.set()
            version = applying.result(timeout=60)
        assert version >= 1
        for name, host in zip(("a", "b", "c"), every, strict=True):
            host.until("it seals with the new key alone", lambda host=host: seals_with(host) == (new, []))
            host.until("its cache has it", lambda name=name: {new} == cached(hosts, name))
            assert set(healths(host).values()) == {"alive"}
            assert ": dead: " not in host.log()
            assert ": suspect: " not in host.log()
        (row,) = c.ask("ring key list")["keys"]
        assert (row["id"], len(row["used_by"]), row["lacking"]) == (new, 3, [])
        for name in ("a", "b"):
            assert (hosts.root(name).service("db") / "config" / "db.conf").read_text() == f"port={7000 + version}\n"
        for host in every:  # with the old key in the cache again, too
            KeyCache(host.root.keys).store(KEY)
            host.kill_supervisor()
        until_together(*every)
        assert [seals_with(host) for host in every] == [(new, [])] * 3


def test_somebody_with_the_old_key_is_shut_out_by_a_key_that_never_travels_through_the_ring(tmp_path: Path) -> None:
    """As SECURITY.md says it: brought by hand, supervisors started again, the old ones removed; also after rotations of the usual kind."""
    with rack(tmp_path) as hosts:
        a, b = hosts.start("a"), hosts.start("b")
        until_together(a, b)
        known = rotate(a)
        key = generate_ring_key("prod", "20990101000000")
        for host in (a, b):
            KeyCache(host.root.keys).store(key)
            host.kill_supervisor()
        until_together(a, b)
        new = key_id(key.raw).hex()
        assert [seals_with(host) for host in (a, b)] == [(new, [known])] * 2
        follow(b, "remove", key=known)
        for host in (a, b):
            host.until("it has nothing else", lambda host=host: seals_with(host) == (new, []))
        for host in (a, b):
            host.kill_supervisor()
        until_together(a, b)
        assert [seals_with(host) for host in (a, b)] == [(new, [])] * 2


def test_a_host_that_was_away_for_all_of_it_says_so_and_comes_back_with_the_key_by_hand(tmp_path: Path) -> None:
    """It starts with a key that nobody opens any more: both sides name the cause and the next command; its services are its own."""
    with rack(tmp_path) as hosts:
        a, b, c = (hosts.start(name) for name in ("a", "b", "c"))
        lay_package(hosts.root("c"), "t/db/1/20260101000000", files=DB)
        until_together(a, b, c)
        c.load("t/db", wait_s=20)
        assert c.stop() == 0
        a.until("c is away", lambda: "departed" in healths(a).values())
        new = rotate(a)
        c = hosts.start("c")
        c.until_listed("db", "ready")
        assert seals_with(c) == (OLD, [])
        a.until("a names the cause", lambda: "somebody seals with a key that is not here" in a.log())
        c.until("c is told why it may be alone", lambda: "their key was changed without this host; next: stead ring key list" in c.log())
        assert "stead ring key import" in c.ask("ring status")["alone"]
        refused = next(row for row in a.ask("ring status")["refused"] if row["reason"] == "key")
        assert "stead ring key import" in refused["next"]
        with pytest.raises(UnavailableError, match="no member has answered; a member whose ring key is another one does not"):
            c.ask("ring join", addresses=[f"127.0.0.1:{hosts.ports['a']}"], wait_s=1)
        latest = KeyCache(hosts.root("a").keys).latest("prod", KeyKind.RING)
        KeyCache(hosts.root("c").keys).store(latest)  # stead ring key export prod, there; stead ring key import, here
        c.kill_supervisor()
        until_together(a, b, c)
        c.until("it has followed", lambda: seals_with(c) == (new, []))
        assert c.ask("ring status")["alone"] is None
        assert c.row("db")["state"] == "ready"
