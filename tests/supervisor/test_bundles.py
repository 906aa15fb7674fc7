"""Bundles on a host: loaded, stopped, started, changed and unloaded as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import ConflictError, FormatError, NotFoundError, ServiceError, UsageError
from hart.root import Root
from tests.supervisor.test_cli import stead
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = pytest.mark.slow

NOTHING = {"service.py": "", "hooks/run": "", "config/service.json": "", "service.toml": "", "default.toml": ""}
SHOP = """
[service.shop-db]
ident = "t/db"
[service.shop-web]
ident = "t/web"
requires_ready = ["shop-db"]
[service.shop-sweep]
ident = "t/web"
every = "1h"
"""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def lay_shop(root: Root, release: int, text: str) -> None:
    lay_package(root, f"t/shop/1.0/2026010{release}000000", files=NOTHING, metafiles={"bundle.toml": text})


def states(host: Supervised) -> dict[str, str]:
    return {row["service"]: row["state"] for row in host.ask("status")}


def test_a_bundle_is_loaded_stopped_started_and_unloaded_as_one(root: Root) -> None:
    for name in ("web", "db"):
        lay_package(root, f"t/{name}/1.0/20260101000000")
    lay_shop(root, 1, SHOP)
    up = {"shop-db": "ready", "shop-sweep": "scheduled", "shop-web": "ready"}
    with supervised(root) as host:
        row = host.load("t/shop")
        assert (row["service"], {name: found["state"] for name, found in row["services"].items()}) == ("shop", up)
        assert states(host) == up
        with pytest.raises(ConflictError, match="bundle t/shop: is loaded already"):
            host.load("t/shop")
        with pytest.raises(ServiceError, match="is a bundle, not a service"):
            host.load("t/shop", name="other")
        with pytest.raises(UsageError, match="takes no binds"):
            host.load("t/shop", force=True, binds=["a:b.c"])
        done = stead(root, "svc", "status", "shop")
        assert (done.returncode, all(name in done.stdout for name in up)) == (0, True)
        assert host.ask("stop", name="shop")["state"] == "down"
        assert set(states(host).values()) == {"down"}
        assert host.ask("start", name="t/shop")["services"]["shop-web"]["state"] == "ready"
        lay_shop(root, 2, SHOP.partition("[service.shop-sweep]")[0] + '[service.extra]\nident = "t/db"\n')
        host.load("t/shop", force=True)
        host.until("what it has not any more is gone", lambda: states(host) == {"extra": "ready", "shop-db": "ready", "shop-web": "ready"})
        assert host.notes("shop-web") == ["start first", "term", "start first"], "what is as it was goes on"
        assert host.ask("unload", name="shop")["state"] == "down"
        host.until("it is forgotten", lambda: states(host) == {})
        with pytest.raises(NotFoundError):
            host.ask("unload", name="shop")


@pytest.mark.parametrize(
    ("bad", "error", "why"),
    [
        ('[service.bad]\nident = "t/db"\nbinds = ["x:web.default"]\n', Exception, "has no bind x"),
        ('[service.bad]\nident = "t/db"\nevery = "often"\n', FormatError, "is not a duration"),
        ('[service.bad]\nident = "t/db"\nafter = ["bad"]\n', FormatError, "wait for itself"),
        ('[service.web]\nident = "t/db"\n', ConflictError, "service web: is loaded already, by itself"),
    ],
)
def test_a_bundle_of_which_one_cannot_be_loaded_loads_nothing(root: Root, bad: str, error: type[Exception], why: str) -> None:
    for name in ("web", "db"):
        lay_package(root, f"t/{name}/1.0/20260101000000")
    lay_shop(root, 1, SHOP + bad)
    with supervised(root) as host:
        host.load("t/web")
        with pytest.raises(error, match=why):
            host.load("t/shop")
        assert states(host) == {"web": "ready"}
