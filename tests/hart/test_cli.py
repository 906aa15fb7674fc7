"""hart.cli: the verbs of the installed tree, as people and scripts call them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hart import cli
from hart.errors import FormatError, NotFoundError, SteadError, UsageError
from hart.installed import InstalledTree
from hart.keys import KeyCache
from hart.root import Root
from tests.hart.building import KEY, ident, make_artifact, metadata, trust

OLD, WEB, LIB = ident("web", "1.0"), ident("web", "2.0"), ident("lib")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """lib ← web 1.0 and web 2.0, under STEAD_ROOT."""
    top = tmp_path / "root"
    monkeypatch.setenv("STEAD_ROOT", str(top))
    tree = InstalledTree(Root(top))
    tree.install(make_artifact(tmp_path, metadata(LIB)), trust)
    for of in (OLD, WEB):
        here = (f"/hab/pkgs/{of}/bin",)
        meta = metadata(of, [LIB], path=here, runtime_path=here, runtime_environment={"GREETING": "it's $HOME"})
        tree.install(make_artifact(tmp_path, meta, {"bin/greet": b'#!/bin/sh\necho "$GREETING" "$@"\n'}), trust)
    return top


def run(command: object, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)  # type: ignore[arg-type]


def fails(command: object, *arguments: str) -> SteadError:
    with pytest.raises(SteadError) as caught:
        run(command, *arguments)
    return caught.value


def test_list_shows_all_of_an_origin_or_of_an_ident(root: Path) -> None:
    """One ident a line, oldest first; JSON has more."""
    assert run(cli.list_installed).stdout.split() == [str(LIB), str(OLD), str(WEB)]
    assert run(cli.list_installed, "-a").stdout == run(cli.list_installed, "-o", "acme").stdout
    assert run(cli.list_installed, "acme/web/1.0").stdout.split() == [str(OLD)]
    rows = json.loads(run(cli.list_installed, "acme/lib", "--json").stdout)
    assert rows == [{"ident": str(LIB), "path": f"{root}/pkgs/{LIB}", "service": False}]


def test_an_empty_list_says_what_to_do_next(root: Path, tmp_path: Path) -> None:
    """On stderr, so that scripts see nothing."""
    done = run(cli.list_installed, "acme/nothing")
    assert done.stdout == ""
    assert "stead pkg install acme/nothing" in done.stderr
    assert "stead pkg install" in run(cli.list_installed, "--root", str(tmp_path / "empty")).stderr
    assert run(cli.list_installed, "-o", "none", "--json").stdout.strip() == "[]"


def test_list_takes_one_way_to_choose(root: Path) -> None:
    """Contradictions are told, not guessed."""
    assert isinstance(fails(cli.list_installed, "-a", "acme/web"), UsageError)
    assert isinstance(fails(cli.list_installed, "no ident"), FormatError)


def test_path_is_that_of_the_newest(root: Path) -> None:
    """For use in scripts."""
    assert run(cli.path, "acme/web").stdout == f"{root}/pkgs/{WEB}\n"
    assert json.loads(run(cli.path, "acme/web/1.0", "--json").stdout) == {"ident": str(OLD), "path": f"{root}/pkgs/{OLD}"}
    error = fails(cli.path, "acme/gone")
    assert isinstance(error, NotFoundError)
    assert error.next == "stead pkg install acme/gone"


def test_env_is_safe_to_evaluate(root: Path) -> None:
    """Sorted, and quoted for a shell: a value is never run."""
    shown = run(cli.env, "acme/web").stdout
    assert shown.splitlines()[1] == f"export PATH={root}/pkgs/{WEB}/bin"
    done = subprocess.run(["/bin/sh", "-c", f'{shown}\nprintf %s "$GREETING"'], check=True, capture_output=True, text=True)
    assert done.stdout == "it's $HOME"
    assert json.loads(run(cli.env, "acme/web", "--json").stdout)["GREETING"] == "it's $HOME"


def test_dependencies_in_both_directions(root: Path) -> None:
    """Direct or transitive; who needs a package."""
    assert run(cli.dependencies, "acme/web").stdout.split() == [str(LIB)]
    assert run(cli.dependencies, "acme/web", "-t").stdout.split() == [str(LIB)]
    assert run(cli.dependencies, "acme/lib", "-r").stdout.split() == [str(OLD), str(WEB)]
    assert json.loads(run(cli.dependencies, "acme/lib", "-r", "-t", "--json").stdout) == [{"ident": str(OLD)}, {"ident": str(WEB)}]
    assert "needs no other package" in run(cli.dependencies, "acme/lib").stderr
    assert "no installed package needs" in run(cli.dependencies, "acme/web", "-r").stderr


def test_provides_finds_files_by_name(root: Path) -> None:
    """Names of packages, or releases, or paths."""
    assert run(cli.provides, "greet").stdout.split() == ["acme/web"]
    assert run(cli.provides, "greet", "-r").stdout.split() == [str(OLD), str(WEB)]
    assert run(cli.provides, "greet", "-p").stdout.splitlines()[0] == f"acme/web\t{root}/pkgs/{OLD}/bin/greet"
    assert "stead pkg search nothing" in run(cli.provides, "nothing").stderr
    assert isinstance(fails(cli.provides, "bin/greet"), UsageError)


def test_exec_of_an_unknown_command_says_where_it_looked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of a package that is not installed."""
    monkeypatch.setenv("PATH", str(root))
    error = fails(cli.exec_command, "acme/web", "no-such-command", "--flag")
    assert isinstance(error, NotFoundError)
    assert error.next == "stead pkg provides no-such-command"
    assert isinstance(fails(cli.exec_command, "acme/web", str(root)), UsageError)
    assert isinstance(fails(cli.exec_command, "acme/gone", "true"), NotFoundError)


@pytest.mark.slow
def test_exec_runs_in_the_packages_environment(root: Path) -> None:
    """All arguments after the command are its own, options too; the exit code is the command's."""
    stead = [sys.executable, "-m", "stead", "pkg", "exec"]
    done = subprocess.run([*stead, "acme/web", "greet", "--json", "-x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "it's $HOME --json -x\n", "")
    assert subprocess.run([*stead, "acme/web", "sh", "-c", "exit 7"], check=False).returncode == 7
    failed = subprocess.run([*stead, "acme/web", "no-such-command"], capture_output=True, text=True, check=False)
    assert failed.returncode == 5
    assert "next: stead pkg provides no-such-command" in failed.stderr


STEAD = [sys.executable, "-m", "stead"]


@pytest.mark.parametrize(
    ("arguments", "redirection", "code", "cause"),
    [
        ("pkg path acme/lib", ">&-", 9, "standard output: is closed"),
        ("pkg env acme/web", "> /dev/full", 9, "standard output: no space left on device"),
        ("pkg list", "> /dev/full", 9, "standard output: no space left on device"),
        ("pkg hash README.md", "> /dev/full", 9, "standard output: no space left on device"),
        ("pkg hash", "<&-", 2, "standard input: is closed"),
        ("origin key import", "<&-", 2, "standard input: is closed"),
        ("origin key export acme", "> /dev/full", 9, "standard output: no space left on device"),
        ("origin key export acme", ">&-", 9, "standard output: is closed"),
    ],
)
def test_streams_that_are_closed_or_full_are_told(root: Path, arguments: str, redirection: str, code: int, cause: str) -> None:
    """Not our bug, and not a success without its output."""
    KeyCache(root / "cache" / "keys").store_pair(KEY)
    command = ["bash", "-c", f'exec "$@" {redirection}', "bash", *STEAD, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[0]) == (code, f"error: {cause}")


def test_a_variable_that_no_shell_can_set_is_left_out_of_its_lines(root: Path, tmp_path: Path) -> None:
    """`eval "$(stead pkg env …)"` runs what stands where a name should be; a process can have such a variable all the same."""
    of = ident("odd")
    variables = {"$(touch canary)": "1", "a;b": "2", "A.B": "3", "GOOD_1": "4", "1ST": "5"}
    InstalledTree(Root(root)).install(make_artifact(tmp_path, metadata(of, runtime_environment=variables)), trust)
    result = run(cli.env, "acme/odd")
    assert result.stdout == "export GOOD_1=4\n"
    assert "left out: $(touch canary), 1ST, A.B, a;b" in result.stderr
    assert json.loads(run(cli.env, "acme/odd", "--json").stdout) == variables
