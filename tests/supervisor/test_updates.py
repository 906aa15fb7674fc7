"""Following a channel at once: a real depot, a real supervisor, good releases and bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hart.errors import TrustError
from hart.root import Root
from tests.supervisor.workshop import SERVICE_TOML, supervised
from tests.supervisor.workshop_depot import TestDepot, depot

pytestmark = pytest.mark.slow

ONE, TWO, THREE = "t/web/1.0/20260101000000", "t/web/1.1/20260102000000", "t/web/1.2/20260103000000"
FOLLOW = {"strategy": "at-once", "channel": "stable"}
NEVER_READY = SERVICE_TOML.replace("deadline_s = 20", "deadline_s = 1").replace("exec = '", "exec = 'false && ")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TestDepot]:
    with depot(tmp_path / "depot") as made:
        yield made


@pytest.fixture
def root(tmp_path: Path, store: TestDepot) -> Root:
    made = Root(tmp_path / "root")
    store.trusted_by(made)
    return made


def test_a_new_head_is_installed_and_started(store: TestDepot, root: Root) -> None:
    store.publish(ONE)
    with supervised(root, "--update-period=1", f"--url={store.url}") as host:
        assert host.load("t/web", **FOLLOW)["release"] == ONE
        store.publish(TWO)
        host.until("it is updated", lambda: (host.row("web")["release"], host.row("web")["state"]) == (TWO, "ready"))
        host.until("it is proved", lambda: host.row("web")["on_trial"] is None)
        assert "updated from" in str(host.row("web")["update"]) or "has the release that runs" in str(host.row("web")["update"])
        host.kill_supervisor()
        assert host.until_listed("web", "ready")["release"] == TWO


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        ({"service.toml": NEVER_READY}, "not ready within 1 s"),
        ({"hooks/init": "#!/bin/sh\nexit 9\n"}, "the init hook exited with code 9"),
        ({"hooks/run": "#!/bin/sh\nexit 9\n"}, "exited with code 9"),
        ({"hooks/run": "#!/bin/sh\nsleep 3\nexit 9\n", "service.toml": ""}, "exited with code 9"),
        ({"hooks/install": "#!/bin/sh\nexit 9\n"}, "install"),
    ],
    ids=["never ready", "init fails", "crashes", "is ready and then crashes", "install hook fails"],
)
def test_a_bad_release_goes_back_and_is_not_tried_again(store: TestDepot, root: Root, bad: dict[str, str], because: str) -> None:
    """It is in quarantine until the channel moves; then the next one is taken."""
    store.publish(ONE)
    with supervised(root, "--update-period=1", f"--url={store.url}") as host:
        host.load("t/web", **FOLLOW)
        store.publish(TWO, files=bad)
        host.until("it is in quarantine", lambda: host.row("web")["quarantined"] == TWO)
        row = host.until_state("web", "ready")
        assert row["release"] == ONE
        journal = (root.sup / "journal.jsonl").read_text()
        assert because in journal
        assert f"back to {ONE}" in journal or f"{TWO} is not taken" in journal
        host.until("it is seen again and left alone", lambda: "in quarantine until" in (host.row("web")["update"] or ""))
        assert host.row("web")["pid"] == row["pid"]
        store.publish(THREE)
        host.until("the next one is taken", lambda: (host.row("web")["release"], host.row("web")["state"]) == (THREE, "ready"))


def test_a_release_that_does_not_take_the_configuration_never_stops_the_old_one(store: TestDepot, root: Root) -> None:
    """It is rehearsed with this host's configuration while the old release serves."""
    store.publish(ONE)
    with supervised(root, "--update-period=1", f"--url={store.url}") as host:
        pid = host.load("t/web", **FOLLOW)["pid"]
        store.publish(TWO, files={"config/service.json": "{{cfg.nobody_sets_this}}"})
        host.until("it is in quarantine", lambda: host.row("web")["quarantined"] == TWO)
        assert "nobody_sets_this" in host.row("web")["update"]
        assert (host.row("web")["pid"], host.row("web")["restarts"]) == (pid, 0)


def test_track_channel_goes_back_with_the_channel(store: TestDepot, root: Root) -> None:
    store.publish(ONE)
    store.publish(TWO)
    with supervised(root, "--update-period=1", f"--url={store.url}") as host:
        assert host.load("t/web", condition="track-channel", **FOLLOW)["release"] == TWO
        store.demote(TWO)
        host.until("it goes back", lambda: (host.row("web")["release"], host.row("web")["state"]) == (ONE, "ready"))


def test_a_depot_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    with depot(tmp_path / "depot") as store:
        store.trusted_by(root)
        store.publish(ONE)
        url = store.url
        with supervised(root, f"--url={url}") as host:
            host.load("t/web", **FOLLOW)
    with supervised(root, "--update-period=1", f"--url={url}") as host:
        pid = host.until_listed("web", "ready")["pid"]
        host.until("it says so", lambda: "no update" in (host.row("web")["update"] or ""))
        assert host.row("web")["pid"] == pid


def test_a_key_that_nobody_trusted_is_not_fetched(store: TestDepot, tmp_path: Path) -> None:
    store.publish(ONE)
    with supervised(Root(tmp_path / "other"), f"--url={store.url}") as host, pytest.raises(TrustError, match="is not in") as caught:
        host.load("t/web")
    assert "stead origin key download t" in caught.value.next


def test_a_disk_that_refuses_an_update_stops_nobody(store: TestDepot, root: Root) -> None:
    """The supervisor goes on, the old release serves, and the update is taken when there is room."""
    store.publish(ONE)
    with supervised(root, "--update-period=1", f"--url={store.url}") as host:
        pid, supervisor = host.load("t/web", **FOLLOW)["pid"], host.ask("sup status")["pid"]
        refused = root.service("web") / "hooks" / "install"
        refused.mkdir()  # the rendered hook cannot be written there, as little as on a full disk
        store.publish(TWO, files={"hooks/install": "#!/bin/sh\ntrue\n"})
        host.until("it says so", lambda: str(refused) in (host.row("web")["update"] or ""))
        assert (host.row("web")["pid"], host.ask("sup status")["pid"]) == (pid, supervisor)
        assert host.row("web")["quarantined"] is None
        refused.rmdir()
        host.until("it is updated", lambda: (host.row("web")["release"], host.row("web")["state"]) == (TWO, "ready"))
