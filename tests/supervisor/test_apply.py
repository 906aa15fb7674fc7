"""`stead apply` and `stead export` with a real supervisor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hart.root import Root
from tests.supervisor.test_cli import stead
from tests.supervisor.workshop import DEFAULT, lay_package, supervised

pytestmark = pytest.mark.slow

WEB, WEB_2, OTHER = "t/web/1.0/20260101000000", "t/web/1.1/20260102000000", "t/other/1.0/20260101000000"
FREE = {key: dict[str, object]() for key in ("crash", "stubborn", "python")}
SCHEMA = json.dumps({"properties": {**FREE, "word": {"type": "string", "maxLength": 9}, "password": {"type": "string", "secret": True}}})
DOCUMENT = """
[service.web]
ident = "t/web"
[service.web-b]
ident = "t/web"
after = ["web"]
[config."web.default"]
word = "filed"
password = "hunter2"
"""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root(tmp_path / "root")
    lay_package(root, WEB, files={"config.schema.json": SCHEMA, "default.toml": DEFAULT + 'password = ""\n'})
    lay_package(root, OTHER)
    return root


def test_a_host_becomes_what_a_file_says_and_stays_so(root: Root, tmp_path: Path) -> None:
    """Plan, apply, apply again, export, apply the export; the process is the same throughout."""
    file = tmp_path / "host.toml"
    file.write_text(DOCUMENT)
    with supervised(root) as host:
        host.load("t/other")
        dry = stead(root, "apply", str(file), "--dry-run")
        assert dry.returncode == 12, dry.stderr
        assert dry.stdout.splitlines()[0] == "~ configure web.default: nothing is applied yet"
        assert [line for line in dry.stdout.splitlines() if line.startswith("+")] == [
            "+ load web: is not loaded",
            "+ load web-b: is not loaded",
        ]
        assert "other is here and not in the file: left alone" in dry.stderr
        assert [row["service"] for row in host.ask("status")] == ["other"], "nothing was changed"
        done = stead(root, "apply", str(file), "--wait", "30")
        assert done.returncode == 0, done.stderr
        assert "hunter2" not in done.stdout + done.stderr + dry.stdout
        assert {row["service"]: row["state"] for row in host.ask("status")} == {"other": "ready", "web": "ready", "web-b": "ready"}
        assert host.notes("web") == ["start filed"], "the first start had its configuration"
        pid = host.row("web")["pid"]
        lay_package(root, WEB_2)
        again = stead(root, "apply", str(file), "--wait", "30", "--json")
        assert (again.returncode, json.loads(again.stdout)["steps"]) == (0, [])
        exported = stead(root, "export")
        assert "hunter2" not in exported.stdout
        assert "left out as secret" in exported.stderr
        file.write_text(exported.stdout)
        assert stead(root, "apply", str(file), "--dry-run").returncode == 0
        assert stead(root, "export", "--output", str(file)).returncode == 0
        assert (file.stat().st_mode & 0o777, "hunter2" in file.read_text()) == (0o600, True)
        file.write_text(file.read_text().replace('ident = "t/web"\n', 'ident = "t/web"\nchannel = "dev"\n', 1))
        changed = stead(root, "apply", str(file))
        assert "channel differs; its process goes on" in changed.stdout
        assert (host.row("web")["pid"], host.row("web")["release"], host.row("web")["channel"]) == (pid, WEB, "dev")
        pruned = stead(root, "apply", "-", "--prune", stdin='[service.web]\nident = "t/web"\ndesired_state = "down"\n')
        assert pruned.returncode == 0, pruned.stderr
        host.until("they are gone", lambda: [row["service"] for row in host.ask("status")] == ["web"])
        host.until_state("web", "down")


def test_what_is_wrong_is_found_before_anything_is_changed(root: Root, tmp_path: Path) -> None:
    """A typing error in one service, or a value that the schema refuses, leaves the others untouched too."""
    file = tmp_path / "host.toml"
    with supervised(root) as host:
        for more, code, said in [
            ('[service.other]\nident = "t/other"\nbinds = ["db:pg.default"]\n', 3, "has no bind db"),
            ('[config."web.default"]\nword = "much too long"\n', 3, "word"),
            ('[service.other]\nident = "t/nowhere"\nbldr_url = "http://127.0.0.1:1"\n', 7, "127.0.0.1"),
        ]:
            file.write_text(f'[service.web]\nident = "t/web"\n{more}')
            done = stead(root, "apply", str(file))
            assert (done.returncode, said in done.stderr) == (code, True), done.stderr
            assert host.ask("status") == []
            assert host.ask("present")["config"] == {}
        missing = stead(root, "apply", str(file), "--dry-run")
        assert (missing.returncode, "would be installed" in missing.stderr) == (12, True), missing.stderr


def test_a_service_that_does_not_become_ready_is_waited_for_and_told(root: Root) -> None:
    """11, as from `svc load`; what was applied stays applied."""
    with supervised(root) as host:
        text = '[service.web]\nident = "t/web"\n[config."web.default"]\ncrash = true\n'
        assert stead(root, "apply", "-", "--wait", "30", stdin=text).returncode == 11
        done = stead(root, "apply", "-", "--wait", "30", stdin=text.replace("true", "false"))
        assert done.returncode == 0, done.stderr
        assert host.row("web")["state"] == "ready"
