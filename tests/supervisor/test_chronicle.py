"""What the journal says of a service, and crash loops that are told once."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hart.errors import UsageError
from hart.root import Root
from supervisor.chronicle import CIRCLE, Entry, concerning, fold, parse, since
from supervisor.cli_why import why
from supervisor.settings import Settings

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def entry(subject: str, because: str, second: int = 0, **data: object) -> Entry:
    return Entry(at=f"2026-01-01T12:{second // 60:02}:{second % 60:02}Z", kind="service", subject=subject, because=because, data=data)


def line(entry: Entry) -> bytes:
    return json.dumps({"at": entry.at, "kind": entry.kind, "subject": entry.subject, "because": entry.because, **entry.data}).encode()


def test_what_was_written_is_read_again_and_what_is_no_line_is_counted() -> None:
    """A power failure leaves half a line, and an editor anything."""
    whole = entry("web", "so", state="ready")
    lines = [line(whole), b'{"at": "2026', b"[]", b"7", b'{"at": 1, "kind": "a", "subject": "b", "because": "c"}', b"[" * 100_000]
    assert parse(lines) == ([whole], 5)


def test_a_service_has_its_own_lines_its_groups_and_those_of_the_supervisor() -> None:
    entries = [
        entry("supervisor", "up", 0),
        entry("web", "its spec says up", 1),
        entry("web-2", "another one", 2),
        entry("web.default", "version 2 is applied", 3),
        entry("supervisor", "stopping all services", 4),
    ]
    assert [found.because for found in concerning(entries, "web")] == ["its spec says up", "version 2 is applied", "stopping all services"]
    assert concerning(entries, None) == entries
    assert concerning(entries, "nobody") == [], "the supervisor's own lines are about nobody in particular"
    assert [found.because for found in concerning(entries, "web", since="2026-01-01T12:00:02Z")] == [
        "version 2 is applied",
        "stopping all services",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", "2026-01-01T11:50:00Z"),
        ("1h30m", "2026-01-01T10:30:00Z"),
        ("1.5s", "2026-01-01T11:59:58Z"),
        ("2d", "2025-12-30T12:00:00Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01T03:00", "2026-01-01T03:00:00Z"),
        ("2026-01-01T03:00:00+02:00", "2026-01-01T01:00:00Z"),
        ("99999999d", ""),
    ],
)
def test_since_takes_spans_and_times(text: str, expected: str) -> None:
    assert since(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "yesterday", "10m ago", "-5m", "2026-13-01"])
def test_since_refuses_what_is_neither(text: str) -> None:
    with pytest.raises(UsageError):
        since(text, NOON)


def loop(turns: int, at: int = 0) -> list[Entry]:
    """A service that crashes, pid and waits different in each turn."""
    states = ("waiting", "spawning", "starting", "backoff")
    return [
        entry("web", f"{state}, process {turn}, in {turn}.5 s", at + 4 * turn + number, state=state)
        for turn in range(turns)
        for number, state in enumerate(states)
    ]


def test_a_crash_loop_is_told_once() -> None:
    before, after = entry("web", "loaded", 0), entry("web", "unloaded", 900)
    lines = fold([before, *loop(100, 1), after])
    assert [found.entry.state for found in lines] == ["", "waiting", "spawning", "starting", "backoff", ""]
    assert (lines[1].turns, lines[1].length, lines[1].since) == (100, 4, "2026-01-01T12:00:01Z")
    assert lines[4].entry.because == "backoff, process 99, in 99.5 s", "the last turn, not the first"
    assert sum(found.turns * found.length for found in lines if found.turns > 1) == 400


def test_one_decision_again_and_again_is_the_shortest_circle() -> None:
    (one,) = fold([entry("web", f"blocked for {second} s", second) for second in range(7)])
    assert (one.turns, one.length) == (7, 1)


@pytest.mark.parametrize("turns", [1, 2])
def test_what_comes_once_or_twice_is_shown_as_it_is(turns: int) -> None:
    entries = loop(turns)
    assert [found.entry for found in fold(entries)] == entries


def test_nothing_is_lost_when_lines_are_folded() -> None:
    """Every entry is either shown or in a circle whose last turn is shown."""
    entries = [*loop(5), *loop(2, 100), *(entry("web", word, 200) for word in "abcabcabcabd"), *loop(3, 300)]
    lines = fold(entries)
    assert sum(found.turns * found.length - (found.length - 1) for found in lines) == len(entries)
    assert all(found.length <= CIRCLE for found in lines)


def test_why_reads_the_journal_and_the_one_before_while_no_supervisor_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = Root(tmp_path_factory.mktemp("why"))
    path = Settings(root=root).journal
    path.parent.mkdir(parents=True)
    path.with_name(f"{path.name}.1").write_bytes(line(entry("web", "its spec says up", 1, state="waiting")) + b"\n")
    path.write_bytes(line(entry("web", "the ready \x1b[31mprobe passed", 2, state="ready")) + b'\n{"at": "20')
    done = CliRunner().invoke(why, ["web", "--root", str(root.path)], catch_exceptions=False)
    assert done.stdout == (
        "2026-01-01T12:00:01Z  waiting: its spec says up\n2026-01-01T12:00:02Z  ready: the ready \\x1b[31mprobe passed\n"
    )
    assert "is not running" in done.stderr
    assert "lines that cannot be read: 1" in done.stderr
    rows = json.loads(CliRunner().invoke(why, ["web", "--json", "-n", "1", "--root", str(root.path)]).stdout)
    assert [(row["state"], row["subject"]) for row in rows] == [("ready", "web")]
