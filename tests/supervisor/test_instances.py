"""Several services of one package on a host, and which starts first: with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import ConflictError, FormatError, NotFoundError
from hart.root import Root
from tests.supervisor.workshop import SERVICE_TOML, config, lay_package, supervised

pytestmark = pytest.mark.slow

WEB = "t/web/1.0/20260101000000"
GATE = 'test -e "{{pkg.svc_data_path}}/open" && ' + SERVICE_TOML.split("'")[1]
GATED = f"[ready]\nexec = '{GATE}'\ninterval_s = 0.05\n"  # ready when somebody says so


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def test_instances_have_their_own_directories_configuration_and_group(root: Root) -> None:
    """One package, two services: nothing of the one is the other's, and a restart of the supervisor keeps them apart."""
    more = ', "group": "{{svc.service}}.{{svc.group}}", "data": "{{pkg.svc_data_path}}", "pid": "{{pkg.svc_pid_file}}"'
    lay_package(root, WEB, files={"config/service.json": config(more)})
    for name in ("web-a", "web-b"):
        path = root.user_config(name)
        path.parent.mkdir(parents=True)
        path.write_text(f'word = "{name}"\n')
    with supervised(root) as host:
        rows = [host.load("t/web", name=name) for name in ("web-a", "web-b")]
        assert [(row["service"], row["group"], row["ready"]) for row in rows] == [
            ("web-a", "web-a.default", True),
            ("web-b", "web-b.default", True),
        ]
        rendered = (root.service("web-b") / "config" / "service.json").read_text()
        assert '"web-b.default"' in rendered
        assert f'"{root.service("web-b")}/data"' in rendered
        assert [host.notes(name) for name in ("web-a", "web-b")] == [["start web-a"], ["start web-b"]]
        assert not root.service("web").exists()
        with pytest.raises(ConflictError, match="web-a: is loaded already"):
            host.load("t/web", name="web-a")
        with pytest.raises(FormatError, match="is not a name"):
            host.load("t/web", name="../a")
        with pytest.raises(NotFoundError, match="services that run this package: web-a, web-b"):
            host.ask("stop", name="t/web")
        host.apply("web-a.default", 1, 'word = "third"\n')
        host.until("only that one is restarted", lambda: host.notes("web-a")[-1] == "start third")
        host.kill_supervisor()
        for row in rows:
            host.until_state(row["service"], "ready")
        assert host.row("web-b")["pid"] == rows[1]["pid"]
        host.ask("unload", name="web-a")
        host.until("the other one goes on", lambda: [row["service"] for row in host.ask("status")] == ["web-b"])
        assert host.notes("web-b") == ["start web-b"]


def test_a_service_starts_when_those_before_it_are_there_and_stops_before_them(root: Root) -> None:
    """`after` waits for a start, `requires-ready` for readiness; and the reason is shown."""
    lay_package(root, WEB)
    lay_package(root, "t/db/1.0/20260101000000", files={"service.toml": GATED})
    with supervised(root) as host:
        row = host.load("t/web", wait_s=0, requires_ready=["db"])
        host.until("it says why", lambda: "waits for db, which is not loaded" in host.row("web")["because"])
        host.load("t/web", name="later", wait_s=20, after=["db"])
        assert host.row("later")["ready"], "what is not loaded is no reason to wait"
        host.load("t/db", wait_s=0)
        host.until("it says why", lambda: "waits for db to be ready: it is starting" in host.row("web")["because"])
        with pytest.raises(ConflictError, match="service db: would wait for itself: db after web after db"):
            host.load("t/db", force=True, after=["web"])
        (root.service("db") / "data" / "open").touch()
        host.until_state("web", "ready")
        assert row["service"] == "web"
    lines = [line for line in (root.sup / "journal.jsonl").read_text().splitlines() if '"down"' in line]
    assert [next(name for name in ("web", "later", "db") if f'"{name}"' in line) for line in lines][-1] == "db"
