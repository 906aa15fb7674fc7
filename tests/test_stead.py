"""The roof: finding verbs, loading one wing only, errors as people see them."""

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import stead
from hart.errors import EXIT_BUG, NotFoundError, SteadError

WINGS = ("builder", "depot", "supervisor")


def stead_process(*args: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "stead", *args]
    return subprocess.run([sys.executable, *program], capture_output=True, text=True, timeout=60, check=False)


def test_every_verb_of_the_table_is_a_click_command_with_help() -> None:
    """A row of VERBS that does not load is a dead command; help text is what a newcomer reads first."""
    for name in stead.VERBS:
        command = stead.load(name)
        assert isinstance(command, click.Command), name
        assert command.help, name


def test_every_verb_that_prints_data_takes_json() -> None:
    """Each command prints one JSON document for scripts; those that only act, or hand over to another program, are listed here."""
    without = {"pkg exec", "pkg sign", "sup run", "sup unit", "origin key export", "ring key export", "plan render"}
    for name in stead.VERBS:
        options = {option for parameter in stead.load(name).params for option in parameter.opts}
        assert ("--json" in options) != (name in without), name


def test_every_group_of_the_table_has_verbs_and_every_verb_a_group() -> None:
    """A group without verbs, or a verb below an unknown group, cannot be reached."""
    for group in stead.GROUPS:
        assert stead.children(group), group
    for verb in stead.VERBS:
        assert " ".join(verb.split()[:-1]) in stead.GROUPS, verb


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["pkg", "--help"], []])
def test_version_and_help_load_no_wing(args: list[str]) -> None:
    """`stead --help` must not pay for aiohttp, nor `--version` for click."""
    code = f"""
import sys, stead
try:
    stead.main({args!r})
finally:
    heavy = [m for m in sys.modules if m.split(".")[0] in ({", ".join(map(repr, (*WINGS, "aiohttp", "rich", "jsonschema", "nacl")))})]
    assert not heavy, heavy
    if {args!r} == ["--version"]:
        assert "click" not in sys.modules
"""
    done = stead_process(code=code)
    assert "Error" not in done.stderr.replace("Usage", ""), done.stderr
    assert done.returncode in (0, 2)


def test_an_unknown_command_is_answered_with_the_nearest_one() -> None:
    """A typing error costs one line to mend."""
    done = stead_process("pkg", "instal")
    assert done.returncode == 2
    assert "did you mean `stead pkg install`?" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("svc update core/redis", "stead svc load --force"),
        ("bldr channel list core", "stead pkg promote"),
        ("studio enter", "stead pkg build"),
        ("install core/redis", "did you mean `stead pkg install`?"),
        ("sup depart 10.0.0.1", "stead ring depart"),
        ("svc status -r 10.0.0.1", "reached on its own host"),
        ("setup", "nothing to set up"),
    ],
)
def test_words_of_habitat_are_answered_with_ours(line: str, said: str) -> None:
    """Whoever comes from Habitat types what they know; the answer says what to type here."""
    done = stead_process(*line.split())
    assert done.returncode == 2
    assert said in done.stderr


def test_a_wrong_command_line_is_json_too_when_json_was_asked_for() -> None:
    """A script reads one kind of error, whatever went wrong."""
    for line in ("pkg list --nope --json", "pkg path --json", "svc frobnicate --json", "sup status --wait soon --json"):
        done = stead_process(*line.split())
        assert (done.returncode, json.loads(done.stderr)["exit_code"], done.stdout) == (2, 2, ""), line


def test_help_has_a_short_name() -> None:
    """`-h`, as in Habitat, at every level."""
    for args in (["-h"], ["pkg", "-h"], ["pkg", "list", "-h"]):
        done = stead_process(*args)
        assert (done.returncode, done.stdout.startswith("Usage: ")) == (0, True), args


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "grün → \udcff".encode(errors="surrogateescape")),
        ("latin-1", b"gr\xfcn \\u2192 \\udcff"),
        ("ascii", b"gr\\xfcn \\u2192 \\udcff"),
    ],
)
def test_data_that_the_terminal_cannot_show_is_escaped(encoding: str, shown: bytes) -> None:
    """A name from elsewhere does not crash a command where the locale is old; where it is UTF-8, a file's name keeps its bytes."""
    code = "import stead; stead.run = lambda _: print('gr\\xfcn \\u2192 \\udcff'); stead.main(['pkg'])"
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True, env=env)
    assert done.stdout.strip() == shown


def test_an_error_shows_the_thing_the_cause_and_the_next_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody reads a traceback at three in the morning."""
    refuse(monkeypatch, NotFoundError("package core/x", "is not installed", next="stead pkg install core/x"))
    with pytest.raises(SystemExit) as stop:
        stead.main(["pkg", "list"])
    assert stop.value.code == 5
    assert capsys.readouterr().err == "error: package core/x: is not installed\n  next: stead pkg install core/x\n"


def test_an_error_is_json_when_json_was_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads JSON can read the failure too."""
    refuse(monkeypatch, NotFoundError("package core/x", "is not installed"))
    monkeypatch.setattr(sys, "argv", ["stead", "pkg", "list", "--json"])
    with pytest.raises(SystemExit):
        stead.main(["pkg", "list", "--json"])
    assert json.loads(capsys.readouterr().err)["error"] == "NotFoundError"


def test_a_fault_of_our_own_says_so_and_keeps_the_trace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug is not blamed on the caller: exit 70."""
    refuse(monkeypatch, ZeroDivisionError("planted"))
    with pytest.raises(SystemExit) as stop:
        stead.main(["pkg", "list"])
    assert stop.value.code == EXIT_BUG
    shown = capsys.readouterr().err
    assert "planted" in shown
    assert "fault of stead itself" in shown


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, 9), (errno.ENOSPC, 9), (errno.EIO, 9), (errno.ENOENT, EXIT_BUG), (errno.EBADF, EXIT_BUG)]
)
def test_what_the_system_refuses_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    """`stead plan check /root/x` as somebody else; a file that we lose ourselves stays a bug."""
    refuse(monkeypatch, OSError(number, os.strerror(number), "/somewhere/x"))
    with pytest.raises(SystemExit) as stop:
        stead.main(["pkg", "list"])
    assert stop.value.code == code
    shown = capsys.readouterr().err
    assert "/somewhere/x" in shown
    assert ("Traceback" in shown) == (code == EXIT_BUG)


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def planted() -> None:
        raise error

    command = click.Command("list", callback=planted, params=[click.Option(["--json"], is_flag=True, expose_value=False)])
    monkeypatch.setattr(stead, "load", lambda _name: command)


def test_exit_codes_are_documented_and_distinct() -> None:
    """The tree at the top of hart/errors.py, the README and the classes say the same."""
    families = SteadError.__subclasses__()
    codes = {family.exit_code for family in families}
    assert len(codes) == len(families)
    document = importlib.import_module("hart.errors").__doc__ or ""
    readme = Path(stead.__file__).with_name("README.md").read_text()
    for family in families:
        assert f"{family.__name__}" in document
        assert f"| {family.exit_code} |" in readme, f"exit code {family.exit_code} is not in the README's table"
