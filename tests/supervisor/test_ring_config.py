"""Two hosts of one ring: configuration, files and binds that follow what happens on the other one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hart.errors import ConflictError, NotFoundError, ServiceError
from hart.root import Root
from tests.ports import free_port
from tests.supervisor.workshop import RECONFIGURE, SERVICE_TOML, Supervised, config, lay_package, supervised

pytestmark = pytest.mark.slow

WEB, REDIS = "t/web/1.0/20260101000000", "t/redis/1.0/20260101000000"
SHORT = """{"type": "object", "properties": {"word": {"type": "string", "maxLength": 8}, "crash": {"type": "boolean"},
  "stubborn": {"type": "boolean"}, "python": {"type": "string"}, "password": {"type": "string", "secret": true}}}"""


@contextmanager
def two_hosts(tmp_path: Path) -> Iterator[tuple[Supervised, Supervised]]:
    """Two supervisors without a ring key, that know each other."""
    ports = [free_port(), free_port()]
    places = [(Root(tmp_path / name), f"127.0.0.1:{port}") for name, port in zip(("one", "two"), ports, strict=True)]
    with (
        supervised(places[0][0], f"--listen-gossip={places[0][1]}", "--http-disable") as one,
        supervised(places[1][0], f"--listen-gossip={places[1][1]}", f"--peer={places[0][1]}", "--http-disable") as two,
    ):
        one.until("they know each other", lambda: all(host.ask("ring status")["counts"]["alive"] == 2 for host in (one, two)))
        yield one, two


def rendered(host: Supervised, name: str = "web") -> dict[str, object]:
    content: dict[str, object] = json.loads((host.root.service(name) / "config" / "service.json").read_text())
    return content


def test_configuration_is_merged_accepted_by_all_and_reverted(tmp_path: Path) -> None:
    """Demands 6: two partial applies, and both keys are there, on both hosts; every version can be gone back to."""
    for name in ("one", "two"):
        lay_package(Root(tmp_path / name), WEB, files={"hooks/reconfigure": RECONFIGURE})
    with two_hosts(tmp_path) as (one, two):
        for host in (one, two):
            host.load("t/web")
        one.until("both are known", lambda: len(one.ask("ring records", prefix="member/")["rows"]) >= 4)
        done = one.ask("config apply", group="web.default", body=b'word = "second"\n', by="ann", why="first try")
        assert (done["version"], done["accepted"], done["rendered"], done["failed"]) == (1, 2, 2, [])
        done = two.ask("config apply", group="web.default", body=b"stubborn = true\n", by="bob")
        assert (done["version"], done["accepted"], done["rendered"]) == (2, 2, 2)
        assert [(rendered(host)["word"], rendered(host)["stubborn"]) for host in (one, two)] == [("second", True)] * 2
        again = one.ask("config apply", group="web.default", body=b"stubborn = true\n")
        assert (again["version"], again["changed"]) == (2, False)
        with pytest.raises(ConflictError) as caught:
            one.ask("config apply", group="web.default", body=b"stubborn = false\n", expect=1)
        assert caught.value.data["current"] == 2
        two.ask("config apply", group="web.default", body=b"", unset=["word"])
        assert (rendered(one)["word"], rendered(one)["stubborn"]) == ("first", True)
        assert one.ask("config revert", group="web.default", version=2)["version"] == 4
        assert [rendered(host)["word"] for host in (one, two)] == ["second"] * 2
        rows = two.ask("config history", group="web.default")["rows"]
        assert [(row["version"], row["members"]) for row in rows] == [(4, 2), (3, 0), (2, 0), (1, 0)]
        assert (rows[-1]["why"], rows[-1]["by"].partition("@")[0], rows[0]["changed"]) == ("first try", "ann", ["word"])
        diff = one.ask("config diff", group="web.default", versions=[1])
        assert (diff["from"], diff["to"], diff["rows"]) == (1, 4, [{"key": "stubborn", "before": None, "after": True}])


def test_a_member_that_cannot_take_a_version_keeps_the_one_before_also_after_a_restart(tmp_path: Path) -> None:
    """Refused by one of two: whoever applied it is told where and why, and nobody stops running for it."""
    lay_package(Root(tmp_path / "one"), WEB)
    lay_package(Root(tmp_path / "two"), WEB, files={"config.schema.json": SHORT})
    with two_hosts(tmp_path) as (one, two):
        for host in (one, two):
            host.load("t/web")
        one.until("both are known", lambda: len(one.ask("ring records", prefix="member/")["rows"]) >= 4)
        one.ask("config apply", group="web.default", body=b'word = "short"\n')
        pid = two.row("web")["pid"]
        said = r"accepted by 1, rendered by 1; failed on .* because .*version 2 .* version 1 is: .*word"
        with pytest.raises(ServiceError, match=said) as caught:
            one.ask("config apply", group="web.default", body=b'word = "much too long"\n')
        assert "config revert web.default 1" in caught.value.next
        assert (rendered(one)["word"], rendered(two)["word"], two.row("web")["pid"]) == ("much too long", "short", pid)
        assert "version 2 of its configuration is not in force, version 1 is" in two.row("web")["degraded"]
        two.ask("stop", name="web")
        assert two.ask("start", name="web")["state"] == "ready"
        two.kill_supervisor()
        two.until_listed("web", "ready")
        assert (rendered(two)["word"], two.row("web")["config"]) == ("short", 1)
        assert "version 1 is" in two.row("web")["degraded"]
        shown = two.ask("config show", target="web")
        assert (shown["version"], shown["newest"], shown["config"]["word"]) == (1, 2, "short")
        one.ask("config apply", group="web.default", body=b'word = "fits"\n')
        assert (rendered(two)["word"], two.row("web")["degraded"]) == ("fits", None)


def test_binds_follow_readiness_on_the_other_host(tmp_path: Path) -> None:
    """Acceptance 8: what stops is gone from what depends on it, and what comes back is there again."""
    every = '{{~#each bind.redis.members}}"{{cfg.word}}"{{#unless @last}},{{/unless}}{{~/each}}'
    template = config(f', "first": "{{{{bind.redis.first.cfg.word}}}}", "all": [{every}]')
    for name in ("one", "two"):
        lay_package(Root(tmp_path / name), REDIS, metafiles={"EXPORTS": "word=word\n"})
    files = {"config/service.json": template, "hooks/reconfigure": RECONFIGURE}
    lay_package(Root(tmp_path / "two"), WEB, files=files, metafiles={"BINDS": "redis=word\n"})
    with two_hosts(tmp_path) as (one, two):
        for host, word in ((one, "A"), (two, "B")):
            user = host.root.user_config("redis")
            user.parent.mkdir(parents=True)
            user.write_text(f'word = "{word}"\n')
        two.load("t/web", wait_s=0, binds=["redis:redis.default"])
        one.load("t/redis")
        two.until_state("web", "ready")
        assert (rendered(two)["first"], rendered(two)["all"]) == ("A", ["A"])
        two.load("t/redis")
        two.until("both feed it", lambda: rendered(two)["all"] in (["A", "B"], ["B", "A"]))
        pid = two.row("web")["pid"]
        two.ask("unload", name="redis")
        two.until("one is left", lambda: rendered(two)["all"] == ["A"])
        one.ask("stop", name="redis")
        two.until("nobody is listed", lambda: rendered(two)["all"] == [])
        assert (rendered(two)["first"], two.row("web")["pid"]) == ("A", pid)
        assert "redis.default" in two.row("web")["degraded"]
        one.ask("start", name="redis")
        two.until("it is back", lambda: rendered(two)["all"] == ["A"])
        assert two.row("web")["degraded"] is None


def test_a_supervisor_that_dies_changes_nothing_for_anybody(tmp_path: Path) -> None:
    """kill -9, on the side that feeds and on the side that is fed: no rendered file changes, and nothing is restarted or reconfigured."""
    peers = '{{~#each svc.members}}"{{member_id}}"{{#unless @last}},{{/unless}}{{~/each}}'
    feeders = '{{~#each bind.redis.members}}"{{cfg.word}}"{{#unless @last}},{{/unless}}{{~/each}}'
    check = f"{SERVICE_TOML}[health]\nexec = 'sleep 0.5'\ninterval_s = 1\n"
    # with the hook: whoever restarts because the other does not serve for a moment makes the other restart, and so on
    files = {"config/service.json": config(f', "peers": [{peers}], "feeders": [{feeders}]'), "hooks/reconfigure": RECONFIGURE}
    for name in ("one", "two"):
        lay_package(Root(tmp_path / name), WEB, files=files, metafiles={"BINDS_OPTIONAL": "redis=word\n"})
    lay_package(Root(tmp_path / "one"), REDIS, metafiles={"EXPORTS": "word=word\n"}, files={"service.toml": check})
    with two_hosts(tmp_path) as (one, two):
        one.load("t/redis")
        for host in (one, two):
            host.load("t/web", binds=["redis:redis.default"], binding_mode="relaxed")
        both = (one, two)
        one.until("all is known", lambda: all((len(rendered(host)["peers"]), rendered(host)["feeders"]) == (2, ["first"]) for host in both))
        one.until("both are up with it", lambda: all(host.row("web")["state"] == "ready" for host in both))
        one.until("it is saved whom to ask", lambda: all((host.root.sup / "ring" / "members").exists() for host in both))
        first = two.ask("config apply", group="web.default", body=b"crash = false\n")
        assert (first["accepted"], first["rendered"]) == (2, 2), "and no hook is on its way"
        notes = [host.notes("web") for host in both]
        changed = [written(host) for host in both]
        for host in both:
            host.kill_supervisor()
            one.until("they know each other again", lambda: all(each.ask("ring status")["counts"]["alive"] == 2 for each in both))
            one.until("all is told again", lambda: all(len(each.ask("ring records", prefix="member/")["rows"]) == 5 for each in both))
            one.until("it is healthy again", lambda: one.row("redis")["health"] == "healthy")
        again = two.ask("config apply", group="web.default", body=b"stubborn = false\n")
        assert (again["accepted"], again["rendered"]) == (2, 2), "everybody has looked once more"
        assert [host.notes("web") for host in both] == notes
        assert [written(host) for host in both] == changed


def written(host: Supervised) -> int:
    return (host.root.service("web") / "config" / "service.json").stat().st_mtime_ns


def test_files_reach_every_member_also_those_that_come_later(tmp_path: Path) -> None:
    updated = "#!/bin/sh\ncat {{pkg.svc_files_path}}/* >> {{pkg.svc_data_path}}/seen\necho . >> {{pkg.svc_data_path}}/seen\n"
    for name in ("one", "two"):
        lay_package(Root(tmp_path / name), WEB, files={"hooks/file-updated": updated})
    with two_hosts(tmp_path) as (one, two):
        one.load("t/web")
        own = one.root.service("web") / "files" / "own.txt"
        own.write_text("its own\n")
        seen = one.root.service("web") / "data" / "seen"
        done = two.ask("file upload", group="web.default", name="list.txt", data=b"a\n", by="ann")
        assert (done["version"], done["changed"]) == (1, True)
        assert two.ask("file upload", group="web.default", name="list.txt", data=b"a\n")["changed"] is False
        there = [host.root.service("web") / "files" / "list.txt" for host in (one, two)]
        one.until("it is there", there[0].exists)
        one.until("the hook has run", lambda: seen.exists() and seen.read_text() == "a\nits own\n.\n")
        two.load("t/web")
        assert there[1].read_bytes() == b"a\n"
        assert there[1].stat().st_mode & 0o007 == 0
        one.ask("file upload", group="web.default", name="list.txt", data=b"b\n")
        two.until("it is the new one", lambda: there[1].read_bytes() == b"b\n")
        (row,) = two.ask("file list", group="web.default")["rows"]
        assert (row["name"], row["version"], row["size"]) == ("list.txt", 2, 2)
        two.ask("file remove", group="web.default", name="list.txt")
        one.until("it is removed on both", lambda: not any(path.exists() for path in there))
        assert own.read_text() == "its own\n"
        with pytest.raises(NotFoundError):
            one.ask("file remove", group="web.default", name="list.txt")


def test_a_group_is_configured_before_anybody_runs_it(tmp_path: Path) -> None:
    """Preseeded, from a host that never runs it; kept over a restart of everything."""
    lay_package(Root(tmp_path / "two"), WEB)
    with two_hosts(tmp_path) as (one, two):
        assert one.ask("config apply", group="web.default", body=b'word = "seed"\n')["accepted"] == 0
        two.until("it has arrived", lambda: two.ask("ring records", prefix="group/")["rows"])
        assert one.ask("config show", target="web.default")["schema"] is False
    with supervised(Root(tmp_path / "two"), "--http-disable") as two:
        two.load("t/web")
        assert (rendered(two)["word"], two.row("web")["config"]) == ("seed", 1)
        origin = two.ask("config show", target="web", why="word")["why"]
        assert [(row["layer"], row["value"], row["wins"]) for row in origin if row["value"] is not None] == [
            ("version 1 of web.default", "seed", True),
            ("package", "first", False),
        ]
