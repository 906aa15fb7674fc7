"""The verbs of the builder, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builder import cli
from hart.errors import ConflictError, SteadError, TemplateError, UsageError
from hart.keys import KeyCache, generate_signing_pair


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STEAD_ORIGIN", "HAB_ORIGIN", "STEAD_DEPOT_URL", "HAB_BLDR_URL", "SOURCE_DATE_EPOCH", "STEAD_KEYS", "HAB_CACHE_KEY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEAD_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    keys = KeyCache(tmp_path / "root/cache/keys")
    keys.path.mkdir(parents=True, mode=0o700)
    keys.store_pair(generate_signing_pair("acme", "20260101000000"))
    return tmp_path


def run(command: str, *args: str) -> Result:
    result = CliRunner().invoke(getattr(cli, command), args, standalone_mode=False, catch_exceptions=False)
    assert isinstance(result, Result)
    return result


@pytest.mark.parametrize("options", [(), ("--minimal",), ("--sh",), ("--sh", "-m"), ("--origin", "acme")])
def test_a_new_plan_passes_the_check_and_builds_as_it_is(home: Path, options: tuple[str, ...]) -> None:
    """Without a change, without a warning for a plan.toml; the demo of the README."""
    run("plan_init", "hello", *options)
    checked = run("plan_check", "hello", "--json")
    findings = json.loads(checked.stdout)["findings"]
    assert [entry for entry in findings if entry["severity"] == "error"] == []
    if "--sh" not in options:
        assert findings == []
    built = json.loads(run("build", "hello", "--origin", "acme", "--json", "--release", "20260101000000").stdout)
    assert built["ident"] == "acme/hello/0.1.0/20260101000000"
    assert built["relocatable"] is True
    assert Path(built["artifact"]).stat().st_size == built["artifact_size"]
    assert Path(built["result"]) == home / "results/acme-hello-0.1.0-20260101000000-x86_64-linux.hart"
    assert (home / "results/last_build.env").read_text().startswith("pkg_origin=acme\npkg_name=hello\n")


def test_init_never_overwrites(home: Path) -> None:
    """An existing plan is an error, another existing file is kept and named."""
    (home / "hello").mkdir()
    (home / "hello/default.toml").write_text("mine = 1\n")
    made = json.loads(run("plan_init", "hello", "--json").stdout)
    assert made["kept"] == ["hello/default.toml"]
    assert (home / "hello/default.toml").read_text() == "mine = 1\n"
    with pytest.raises(ConflictError):
        run("plan_init", "hello")


def test_init_without_a_name_makes_a_habitat_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named after the folder it is in."""
    (home / "shop").mkdir()
    monkeypatch.chdir(home / "shop")
    run("plan_init")
    assert 'name = "shop"' in (home / "shop/habitat/plan.toml").read_text()
    assert json.loads(run("plan_check", "--json").stdout)["ok"]


@pytest.mark.parametrize("args", [("a b",), ("x", "--origin", "Not Valid"), ("x/y z",)])
def test_init_refuses_names_that_no_package_may_have(home: Path, args: tuple[str, ...]) -> None:
    """Before it writes anything."""
    before = sorted(home.rglob("*"))
    with pytest.raises(UsageError):
        run("plan_init", *args)
    assert sorted(home.rglob("*")) == before


def test_check_shows_all_problems_and_exits_3(home: Path) -> None:
    """Of the plan, its folder and its templates in one run."""
    (home / "p/config").mkdir(parents=True)
    (home / "p/plan.toml").write_text('[package]\nnmae = "x"\nversion = "1"\n')
    (home / "p/default.toml").write_text("a = \n")
    (home / "p/config/x").write_text("{{#if}}\n")
    result = run("plan_check", "p")
    assert result.return_value == 3
    places = [line.split(": ")[1] for line in result.stdout.splitlines()]
    assert places == ["plan.toml:1", "plan.toml:2", "default.toml:1", "config/x:1"]
    assert json.loads(run("plan_check", "p", "--json").stdout)["ok"] is False


def test_render_uses_the_plans_own_defaults(home: Path) -> None:
    """User values over defaults, the mock over both; strict unless told otherwise."""
    (home / "p/config").mkdir(parents=True)
    (home / "p/plan.toml").touch()
    (home / "p/default.toml").write_text("port = 1\nhost = 'a'\n")
    (home / "p/config/web.conf").write_text("{{cfg.host}}:{{cfg.port}} {{pkg.name}}\n")
    (home / "user.toml").write_text("port = 2\n")
    (home / "mock.json").write_text('{"pkg": {"name": "web"}}')
    result = run("plan_render", "p/config/web.conf", "-u", "user.toml", "-m", "mock.json", "-p", "-q")
    assert result.stdout == "a:2 web\n"
    assert (home / "results/web.conf").read_text() == "a:2 web\n"
    with pytest.raises(TemplateError, match=r"pkg\.name is not defined"):
        run("plan_render", "p/config/web.conf", "-n")
    assert run("plan_render", "p/config/web.conf", "-n", "-p", "--lenient").stdout == "a:1 \n"


def test_render_writes_nothing_when_told_so(home: Path) -> None:
    """-n."""
    (home / "t").write_text("x\n")
    assert run("plan_render", "t", "-n", "-p").stdout == "x\n"
    assert not (home / "results").exists()


@pytest.mark.parametrize("mock", ["[1]", "{", "nothing"])
def test_render_refuses_a_mock_that_is_no_object(home: Path, mock: str) -> None:
    """With its name."""
    (home / "t").write_text("x\n")
    (home / "m.json").write_text(mock)
    with pytest.raises(SteadError, match=r"m\.json"):
        run("plan_render", "t", "-m", "m.json")


def test_if_changed_says_that_nothing_was_built(home: Path) -> None:
    """`built` is false and the artifact is that of the first time."""
    run("plan_init", "hello", "-m")
    first = json.loads(run("build", "hello", "--origin", "acme", "--if-changed", "--json").stdout)
    second = json.loads(run("build", "hello", "--origin", "acme", "--if-changed", "--json").stdout)
    assert (first["built"], second["built"]) == (True, False)
    assert second["artifact"] == first["artifact"]


def test_compression_is_a_choice_and_part_of_what_is_compared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Habitat's HAB_HART_COMPRESSION_LEVEL; another level is another artifact."""
    run("plan_init", "hello", "-m")
    (home / "hello" / "config").mkdir(exist_ok=True)
    (home / "hello" / "config" / "large.txt").write_text("".join(f"{number * 7919 % 10007}\n" for number in range(20_000)))
    usual = json.loads(run("build", "hello", "--origin", "acme", "--if-changed", "--json", "--release", "20260101000000").stdout)
    monkeypatch.setenv("HAB_HART_COMPRESSION_LEVEL", "0")
    quick = json.loads(run("build", "hello", "--origin", "acme", "--if-changed", "--json", "--release", "20260101000001").stdout)
    assert quick["built"]
    assert quick["artifact_size"] > usual["artifact_size"]
