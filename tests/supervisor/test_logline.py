"""A line's time, text and origin, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from hart.errors import UsageError
from supervisor.logline import Line, Lines, as_stamp, as_time, for_people, for_programs, lines_from, within

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
RAWS = [b"rest\n", b"2026-11-27T01:00:00.000Z a\n", b"tail of a\n", b"2026-11-27T02:00:00.000Z b\n"]


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("10m", "2026-11-27T11:50:00.000Z"),
        ("1h30m", "2026-11-27T10:30:00.000Z"),
        ("2d", "2026-11-25T12:00:00.000Z"),
        ("1w1s", "2026-11-20T11:59:59.000Z"),
        ("2026-11-27", "2026-11-27T00:00:00.000Z"),
        ("2026-11-27T01:00", "2026-11-27T01:00:00.000Z"),
        ("2026-11-27T01:00:00.5+02:00", "2026-11-26T23:00:00.500Z"),
        ("2026-11-27T01:00:00Z", "2026-11-27T01:00:00.000Z"),
    ],
)
def test_a_time_is_an_age_or_iso_8601_in_utc(text: str, stamp: str) -> None:
    """What the log shows can be pasted."""
    assert as_stamp(as_time(text, NOW, option="--since")) == stamp


@pytest.mark.parametrize("text", ["", "10", "m", "yesterday", "10x", "-5m", "2026-13-01", "999999999w", "0001-01-01T00:00+23:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        as_time(text, NOW, option="--since")


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    lines = list(lines_from(RAWS, "run"))
    assert [line.at[11:13] for line in lines] == ["", "01", "01", "02"]
    assert [line.text for line in lines] == ["rest", "a", "tail of a", "b"]
    assert [line.text for line in within(lines, "2026-11-27T01:00:00.000Z", "")] == ["a", "tail of a", "b"]
    assert [line.text for line in within(lines, "2026-11-27T00:59", "2026-11-27T02:00:00.000Z")] == ["a", "tail of a"]


def test_for_programs_each_line_is_one_object() -> None:
    """A JSON object stays one; what only looks like one, or is another kind of JSON, is text."""
    at = "2026-11-27T01:00:00.000Z"

    def shown(text: bytes) -> dict[str, object]:
        return json.loads(for_programs(Line(at, "run", at.encode() + b" " + text + b"\n"), "web"))

    assert shown(b'{"level": "warn", "n": 1}') == {"at": at, "service": "web", "stream": "run", "data": {"level": "warn", "n": 1}}
    for text in (b'{"broken', b"[1]", b'{"n": NaN}', b"{" * 50_000, b"plain \xff"):
        assert shown(text)["text"] == text.decode(errors="replace")


def test_for_people_a_line_is_as_in_the_log_or_has_its_stream() -> None:
    line = list(lines_from(RAWS, "init"))[1]
    assert for_people(line, named=False) == RAWS[1]
    assert for_people(line, named=True) == b"2026-11-27T01:00:00.000Z init: a\n"


def test_bytes_are_cut_into_lines_and_what_has_no_end_does_not_grow() -> None:
    cut = Lines(8)
    assert [cut.feed(block) for block in (b"ab", b"c\nd\nef", b"g\n", b"x" * 9, b"y\n")] == [
        [],
        [b"abc\n", b"d\n"],
        [b"efg\n"],
        [b"xxxxxxxxx\n"],
        [b"y\n"],
    ]
