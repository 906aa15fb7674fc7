"""What people see (hart/console.py)."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from hart import console
from hart.errors import TrustError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From here on both streams are one terminal that likes colour (in the test itself: pytest exchanges them after fixtures ran)."""
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR and dumb terminals are respected; a pipe gets none."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.colourful(Terminal())
    assert not console.colourful(io.StringIO())
    assert console.paint("x", console.RED, io.StringIO()) == "x"
    assert console.paint("x", console.RED, Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.colourful(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not console.colourful(Terminal())


ROWS = [{"name": "redis", "running": True, "ports": [6379, 6380]}, {"name": "a\x1b[2Jb\tc", "running": False, "ports": []}]


def test_rows_as_json_are_one_document_with_the_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """All keys, whatever the columns; an empty list is a document too."""
    console.show_rows(ROWS, ["name"], as_json=True, empty="nothing")
    assert json.loads(capsys.readouterr().out) == ROWS
    console.show_rows([], ["name"], as_json=True, empty="nothing")
    assert json.loads(capsys.readouterr().out) == []


def test_rows_in_a_pipe_are_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    """One row a line, one tab between columns, whatever is in the values."""
    console.show_rows(ROWS, ["name", "running", "ports"], as_json=False, empty="nothing")
    assert capsys.readouterr().out == "redis\tyes\t6379, 6380\na\\x1b[2Jb\\tc\tno\t-\n"


def test_no_rows_are_a_sentence_beside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays empty for whoever counts lines."""
    console.show_rows([], ["name"], as_json=False, empty="nothing here")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing here\n")


def test_rows_on_a_terminal_are_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a header, underscores as spaces, and values that cannot move the cursor or mean markup."""
    terminal = use_terminal(monkeypatch)
    console.show_rows([{"exit_code": 1, "name": "[red]x\x1b[2J"}], ["name", "exit_code"], as_json=False, empty="nothing")
    shown = terminal.getvalue()
    assert "exit code" in shown
    assert "[red]x\\x1b[2J" in shown


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_table_breaks_no_value_and_no_header(width: int) -> None:
    """An ident that is folded over two lines cannot be copied; what has no room beside the first columns stands below, with its name."""
    rows = [
        {"service": "guestbook", "release": "me/guestbook/1.0.0/20261123094008", "exit_code": "77", "because": "it is not ready " * 9},
        {"service": "redis", "release": "me/redis/7.0.15/20261123094008", "exit_code": "-", "because": "日本"},
    ]
    lines = console.table(rows, ["service", "release", "exit_code", "because"], width)
    for row in rows:
        for value in row.values():
            assert any(value.rstrip() in line for line in lines), value
    assert lines[0].split()[0] == "service"
    assert ("release" in lines[0]) == (width >= 60), "who cannot stand beside stands below"
    assert lines[1].index("77") == lines[0].index("exit code"), "aligned"
    short = [line for line in lines if "it is not ready" not in line and "me/" not in line]
    assert all(console.cells(line) <= width for line in short)


def test_facts_are_aligned_and_lists_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing value is a dash."""
    console.show_facts({"ident": "core/redis", "deps": ["core/glibc", "core/gcc"], "none": None, "empty": []}, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "ident  core/redis",
        "deps   core/glibc",
        "       core/gcc",
        "none   -",
        "empty  -",
    ]
    console.show_facts({"ident": "core/redis", "deps": []}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"ident": "core/redis", "deps": []}


def test_an_error_is_thing_cause_and_next_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error; as JSON when the command line asked for JSON."""
    error = TrustError("x.hart", "is not signed", next="get it again", found="abc")
    monkeypatch.setattr(sys, "argv", ["stead", "pkg", "verify", "x.hart"])
    console.show_error(error)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: x.hart: is not signed\n  next: get it again\n")
    monkeypatch.setattr(sys, "argv", ["stead", "pkg", "verify", "x.hart", "--json"])
    console.show_error(error)
    assert json.loads(capsys.readouterr().err) == {
        "error": "TrustError",
        "thing": "x.hart",
        "cause": "is not signed",
        "next": "get it again",
        "exit_code": 4,
        "data": {"found": "abc"},
    }


def test_names_from_strangers_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape codes and undecodable bytes of a file name are shown; newlines of our own stay."""
    monkeypatch.setattr(sys, "argv", ["stead"])
    console.show_error(TrustError("a\x1b]0;owned\x07\udcff", "is\r bad", next="rm 'a\x1b[A'"))
    console.warn("b\x9bc")
    console.say("one\ntwo\x08")
    assert capsys.readouterr().err == (
        "error: a\\x1b]0;owned\\x07\\udcff: is\\r bad\n  next: rm 'a\\x1b[A'\nwarning: b\\x9bc\none\ntwo\\x08\n"
    )


def test_a_bug_keeps_its_trace_and_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """For the report."""
    with pytest.raises(KeyError) as caught:
        {}["missing"]
    console.show_bug(caught.value)
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "KeyError: 'missing'" in err
    assert "fault of stead itself" in err


def test_progress_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs get no bars."""
    with console.progress("downloading") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_shows_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no line behind when it is done."""
    terminal = use_terminal(monkeypatch)
    with console.progress("downloading") as progress:
        progress(1, None)
        progress(2, 2)
    assert "downloading" in terminal.getvalue()


SHOW = """
import os, sys
from hart import console
from hart.errors import SteadError
try:
    exec(sys.argv[2])
except (SteadError, BrokenPipeError) as error:
    os.write(int(sys.argv[1]), f"{type(error).__name__}: {error}".encode())
"""


def show(statement: str, redirection: str) -> tuple[str, str, str]:
    """One statement in its own process, its streams redirected as in a shell: stdout, stderr, what was raised. It exits in peace."""
    read, write = os.pipe()
    with os.fdopen(read) as raised:
        command = ["bash", "-c", f'exec "$0" -c "$1" {write} "$2" {redirection}', sys.executable, SHOW, statement]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, pass_fds=[write], env=BUFFERED)
        os.close(write)
        return done.stdout, done.stderr, raised.read()


# as Python is by default; unbuffered it writes at once and hides what is kept until its end
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

SHOWN = [
    "console.show_json([1])",
    "console.show_rows([{'a': 1}], ['a'], as_json=False, empty='')",
    "console.show_facts({'a': 1}, as_json=False)",
    "console.show_lines(['a'])",
]


@pytest.mark.parametrize("statement", SHOWN)
@pytest.mark.parametrize(("redirection", "cause"), [(">/dev/full", "no space left on device"), (">&-", "is closed")])
def test_data_that_cannot_be_written_is_an_error(statement: str, redirection: str, cause: str) -> None:
    """`stead … > FILE` on a full disk, at once and not when Python ends; nothing else is printed at its end."""
    assert show(statement, redirection) == ("", "", f"StorageError: standard output: {cause}")


@pytest.mark.parametrize("statement", SHOWN)
def test_a_reader_that_left_is_noticed_before_the_end(statement: str) -> None:
    """`stead … | true`: who runs us ends quietly, Python's own complaint at its end would come too late for that."""
    nobody = "read, write = os.pipe(); os.close(read); os.dup2(write, 1);"
    assert show(f"{nobody} {statement}", "") == ("", "", "BrokenPipeError: [Errno 32] Broken pipe")


def test_messages_never_end_up_among_the_data() -> None:
    """With standard error closed or full they are lost, that is all."""
    said = (
        "console.say('a'); console.warn('b'); console.show_error(SteadError('c', 'd')); console.show_bug(ValueError());"
        "console.show_rows([], [], as_json=False, empty='e');"
        "console.progress('f').__enter__()"
    )
    assert show(said, "2>&-") == ("", "", "")
    assert show(said, "2>/dev/full") == ("", "", "")


def test_a_closed_standard_input_is_told() -> None:
    """Python has no object for it then."""
    assert show("console.standard_input()", "<&-")[2] == "UsageError: standard input: is closed"
    assert show("print(console.standard_input().read())", "<<< a") == ("b'a\\n'\n", "", "")
