"""`stead pkg uninstall`: what it shows, keeps and removes, and the hook that runs before the files go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from depot.cli import uninstall
from hart.errors import ConflictError, ServiceError, SteadError
from hart.installed import InstalledTree
from hart.root import Root
from tests.hart.building import ident, make_artifact, metadata, trust

OLD, WEB, LIB = ident("web", "1.0"), ident("web", "2.0"), ident("lib")


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty root, under STEAD_ROOT."""
    monkeypatch.setenv("STEAD_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def fill(top: Path, hooks: dict[object, str] | None = None) -> InstalledTree:
    """lib ← web 1.0 and web 2.0, with these uninstall hooks; a hook says what it saw in `<root>/ran`."""
    tree = InstalledTree(Root(top))
    for of in (LIB, OLD, WEB):
        needs = [] if of == LIB else [LIB]
        files = {"hooks/uninstall": text.encode()} if (text := (hooks or {}).get(of)) is not None else {}
        tree.install(make_artifact(top.parent, metadata(of, needs, default_config='word = "hello"\n'), files), trust)
    return tree


def left(tree: InstalledTree) -> list[object]:
    return [package.ident for package in tree.list()]


def hook(top: Path, after: str = "") -> str:
    says = f'echo "{{{{pkg.name}}}} {{{{pkg.version}}}} {{{{cfg.word}}}}" >> {top}/ran'
    return f'#!/bin/sh\n{says}\ntest -e "{{{{pkg.path}}}}/IDENT" || exit 9\n{after}'


def ran(top: Path) -> list[str]:
    return (top / "ran").read_text().splitlines() if (top / "ran").exists() else []


def run(*arguments: str) -> Result:
    return CliRunner().invoke(uninstall, list(arguments), catch_exceptions=False)


def fails(*arguments: str) -> SteadError:
    with pytest.raises(SteadError) as caught:
        run(*arguments)
    return caught.value


def test_it_shows_before_it_removes(top: Path) -> None:
    """A dry run, then the older ones, then the last with what only it needed."""
    tree = fill(top)
    assert run("acme/web", "-d").stdout.splitlines() == [f"would be removed\t{WEB}"]
    assert run("acme/web", "--keep-latest", "1").stdout.splitlines() == [f"removed\t{OLD}"]
    assert "stead pkg list" in run("acme/web", "--keep-latest", "1").stderr
    assert isinstance(fails("acme/lib"), ConflictError)
    rows = json.loads(run("acme/web", "--json").stdout)
    assert rows == [{"ident": str(WEB), "state": "removed"}, {"ident": str(LIB), "state": "removed"}]
    assert left(tree) == []


def test_it_keeps_what_it_is_told_to_keep(top: Path) -> None:
    """--exclude and --no-deps; what is kept of what was asked for is told."""
    tree = fill(top)
    done = run("acme/web", "--keep-latest", "0", "--exclude", "acme/web/1.0", "--exclude", "acme/lib")
    assert done.stdout.splitlines() == [f"removed\t{WEB}"]
    assert f"kept {OLD}: is excluded" in done.stderr
    assert run("acme/web", "--no-deps").stdout.splitlines() == [f"removed\t{OLD}"]
    assert left(tree) == [LIB]


def test_the_uninstall_hook_runs_once_before_the_last_release_of_its_name_goes(top: Path) -> None:
    """While another release is there, what the install hook did is still in use (packages 5.5)."""
    tree = fill(top, {OLD: hook(top), WEB: hook(top)})
    run("acme/web/1.0")
    assert ran(top) == []
    assert run("acme/web", "-d").exit_code == 0
    assert ran(top) == []
    assert f"uninstall hook of {WEB} succeeded" in run("acme/web").stderr
    assert ran(top) == ["web 2.0 hello"]
    assert left(tree) == []


def test_when_all_releases_go_at_once_the_newest_hook_runs(top: Path) -> None:
    """It knows best what there is to undo. A dependency that goes with them says farewell too, and after them."""
    tree = fill(top, {OLD: hook(top), WEB: hook(top), LIB: hook(top)})
    run("acme/web", "--keep-latest", "0")
    assert ran(top) == ["web 2.0 hello", "lib 1.0 hello"]
    assert left(tree) == []


def test_a_failed_uninstall_hook_leaves_its_package_and_says_what_to_do(top: Path) -> None:
    """What the install hook did elsewhere can be undone by nobody else. What had gone before it is told."""
    tree = fill(top, {WEB: hook(top), LIB: hook(top, "echo no >&2; exit 7\n")})
    run("acme/web/1.0")
    with pytest.raises(ServiceError, match="failed with exit code 7, so the package stays") as caught:
        run("acme/web")
    log = top / "svc/lib/logs/uninstall.stderr.log"
    assert log.read_text() == "no\n"
    assert caught.value.next is not None
    assert str(log) in caught.value.next
    assert "--ignore-uninstall-hook" in caught.value.next
    assert (tree.root.package(LIB) / "UNINSTALL_HOOK_STATUS").read_text() == "7\n"
    assert left(tree) == [LIB]
    assert run("acme/lib", "--ignore-uninstall-hook").exit_code == 0
    assert left(tree) == []


def test_what_went_before_a_hook_failed_is_told(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(top, {LIB: "#!/bin/sh\nexit 1\n"})
    run("acme/web/1.0")
    command = uninstall.make_context("uninstall", ["acme/web"])
    with command, pytest.raises(ServiceError):
        uninstall.invoke(command)
    assert f"removed {WEB}" in capsys.readouterr().err


def test_a_hook_that_cannot_be_run_leaves_its_package_too(top: Path) -> None:
    """No interpreter, or a template that cannot be rendered."""
    tree = fill(top, {LIB: "#!/no/such/program\n", WEB: "{{#if}}"})
    assert "cannot be run" in str(fails("acme/web", "--keep-latest", "0"))
    assert WEB in left(tree)
    run("acme/web", "--keep-latest", "0", "--no-deps", "--ignore-uninstall-hook")
    assert "cannot be started" in str(fails("acme/lib"))
    assert left(tree) == [LIB]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may switch users")
def test_the_hook_runs_as_the_services_user_unless_told_otherwise(top: Path) -> None:
    """As install hooks do."""
    for path in (top.parent, *top.parent.parents):
        if str(path).startswith("/tmp/pytest"):
            path.chmod(0o755)
    tree = InstalledTree(Root(top))
    text = b"#!/bin/sh\nid -un\nexit 3\n"
    tree.install(make_artifact(top.parent, metadata(LIB, svc_user="nobody", svc_group="nogroup"), {"hooks/uninstall": text}), trust)
    log = top / "svc/lib/logs/uninstall.stdout.log"
    fails("acme/lib")
    assert log.read_text() == "nobody\n"
    fails("acme/lib", "--own-user")
    assert log.read_text() == "root\n"
