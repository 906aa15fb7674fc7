"""The whole path on real software, a test for each step of the demo. Stages are shared, so any order works."""

import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.story import Story, running_under, stead

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = Story(tmp_path_factory.mktemp("story"))
    yield made
    made.close()
    assert not running_under(made.home), "something is left running"


def test_an_origin_key_is_made_with_safe_modes(story: Story) -> None:
    """The secret key is readable by its owner only; the fingerprint is shown."""
    assert story.key
    (secret,) = (story.home / "build/cache/keys").glob("tale-*.sig.key")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o400


def test_redis_is_compiled_from_its_pinned_source(story: Story) -> None:
    """The artifact verifies, and its server was linked on this machine: it is a program, not a download."""
    done = story.ok("pkg", "verify", story.redis["artifact"], env=story.build_env)
    assert "tale/redis/7.0.15" in done.out + done.err
    info = story.ok("pkg", "info", story.redis["artifact"], "--json", env=story.build_env).data
    assert info["is_a_service"] is True
    logs = list(Path(story.redis["logs"]).glob("*build*"))
    assert any(re.search(r"LINK.*redis-server", log.read_text(errors="replace")) for log in logs), logs


def test_the_web_application_carries_its_dependencies(story: Story) -> None:
    """Ten packages of the Python index are inside, and nothing names the place where it was built."""
    info = story.ok("pkg", "info", story.guestbook["artifact"], "--json", env=story.build_env).data
    assert info["relocatable"] is True


def test_the_depot_needs_a_token_to_publish(story: Story) -> None:
    """Without one: exit code 8 and the way to get one; nothing is stored."""
    anonymous = {name: value for name, value in story.depot.items() if name != "STEAD_TOKEN"}
    done = stead("pkg", "upload", story.redis["artifact"], env=anonymous)
    assert done.code == 8, done.err
    assert "token" in done.err


def test_both_packages_are_unstable_and_stable(story: Story) -> None:
    """Every upload lands in unstable; promotion adds stable."""
    assert story.stable == {"redis": {"unstable", "stable"}, "guestbook": {"unstable", "stable"}}


def test_a_host_without_the_key_refuses_to_install(story: Story, tmp_path: Path) -> None:
    """Keys are pinned (ADR 8): the error names the command that fetches the key."""
    assert story.stable
    env = {"STEAD_ROOT": str(tmp_path), "STEAD_DEPOT_URL": story.depot["STEAD_DEPOT_URL"]}
    done = stead("pkg", "install", "tale/redis", env=env)
    assert done.code == 4, done.err
    assert "stead origin key download tale" in done.err
    assert not list((tmp_path / "pkgs").glob("*/*/*/*"))


def test_a_bound_service_waits_for_its_producer(story: Story) -> None:
    """The guestbook was loaded first: it says what it waits for, and starts when redis is there."""
    assert story.loaded
    assert "redis" in story.before_bind["because"], story.before_bind


def test_both_services_get_ready_and_healthy(story: Story) -> None:
    """Ready and healthy are what probes said, not that a process exists."""
    for row in story.loaded.values():
        assert row["ready"] is True
        assert row["pid"] > 0


def test_the_application_writes_to_redis_and_reads_it_back(story: Story) -> None:
    """Redis itself has what the page shows."""
    assert story.used["entries"] == ["Ada"]
    query = ("redis-cli", "-p", str(story.ports["redis"]), "lrange", "guestbook:entries", "0", "-1")
    if "stopped" not in vars(story):  # the order of tests is random; after the last stage redis is gone, and rightly so
        assert story.ok("pkg", "exec", "tale/redis", *query, env=story.host_env).out.strip() == "Ada"


def test_a_config_change_reaches_the_running_process(story: Story) -> None:
    """The reconfigure hook hands it over: same process, new title."""
    assert story.reconfigured["title"] == "Renamed"
    before, after = story.reconfigured["pids"]
    assert before == after


def test_a_second_release_is_taken_from_the_channel(story: Story) -> None:
    """The old release stays installed; data and configuration stay."""
    assert story.second["entries"] == ["Ada"]
    assert story.second["title"] == "Renamed"
    assert len(story.second["installed"]) == 2


def test_everything_stops_and_nothing_is_left(story: Story) -> None:
    """Exit 0, ports closed, no process, and no privileged file was needed."""
    assert story.stopped == 0
    for port in story.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not running_under(story.home / "host")
    assert (story.home / "host").stat().st_uid == os.getuid()
