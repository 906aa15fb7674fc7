"""`sup run --json-logs`: every line on the terminal is one JSON object."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.journal import Journal, json_line
from supervisor.terminal import JsonLines

PROCESS = """
import asyncio, logging, sys, warnings
from pathlib import Path
from supervisor.journal import Journal
from supervisor.terminal import speak_json
speak_json()
speak_json()
Journal(Path(sys.argv[1]), echo=sys.stderr, json_lines=True).write("service", "web", "crashed\\nbadly", state="backoff", pid=7)
print("supervisor: the holder is lost", file=sys.stderr, flush=True)
print("half ", end="", file=sys.stderr)
print("a line", file=sys.stderr)
logging.getLogger("asyncio").error("Task exception was never retrieved")
warnings.warn("old", DeprecationWarning, stacklevel=1)
raise RuntimeError("a bug\\nof two lines")
"""


def test_everything_that_a_process_writes_is_json_lines(tmp_path: Path) -> None:
    """Decisions, prints, the logs of libraries, and a traceback as one object."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", PROCESS, str(tmp_path / "journal")], capture_output=True, text=True, timeout=60, check=False
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"at", "level", "topic", "because"} <= set(line) for line in lines)
    assert (lines[0]["level"], lines[0]["topic"], lines[0]["because"]) == ("warning", "web", "crashed\nbadly")
    assert (lines[0]["kind"], lines[0]["state"], lines[0]["pid"]) == ("service", "backoff", 7)
    said = [line["because"] for line in lines]
    assert said[1:4] == ["the holder is lost", "half a line", "Task exception was never retrieved"]
    assert any("DeprecationWarning" in each for each in said)
    assert said[-1] == "bug: RuntimeError: a bug\nof two lines"
    assert "Traceback" in lines[-1]["traceback"]


@given(st.text(max_size=9000), st.text(max_size=9000), st.dictionaries(st.sampled_from(["pid", "effects", "why"]), st.text(max_size=5000)))
def test_a_line_is_whole_json_that_a_pipe_takes_at_once(topic: str, because: str, data: dict[str, str]) -> None:
    """A line that is cut in its middle breaks the reader of all others."""
    made = json_line("2026-01-01T00:00:00Z", "info", topic, because, **data)
    assert len(made.encode(errors="replace")) < select.PIPE_BUF
    assert "\n" not in made
    assert json.loads(made)["level"] == "info"


def test_the_journal_on_disk_is_the_same_with_json_lines_and_without(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as reader, os.fdopen(write_end, "w") as writer:
        for name, json_lines in (("plain", False), ("json", True)):
            Journal(tmp_path / name, echo=writer, json_lines=json_lines).write("spec", "web", "its spec is new", level="warning")
        writer.close()
        first, second = reader.read().splitlines()
    assert first == "web: its spec is new"
    assert json.loads(second)["level"] == "warning"
    plain, other = (json.loads((tmp_path / name).read_text()) for name in ("plain", "json"))
    assert {**plain, "at": ""} == {**other, "at": ""}
    assert set(plain) == {"at", "kind", "subject", "because"}


def test_a_text_without_an_end_is_not_kept_for_ever() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as reader, os.fdopen(write_end, "w") as writer:
        lines = JsonLines(writer)
        for _ in range(65):
            lines.write("x" * 1024)
        writer.close()
        assert len(reader.read().splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "topic", "because"),
    [("supervisor: gone", "supervisor", "gone"), ("Traceback (most recent): x", "supervisor", "Traceback (most recent): x")],
)
def test_a_topic_is_one_small_word(line: str, topic: str, because: str) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as reader, os.fdopen(write_end, "w") as writer:
        JsonLines(writer).write(f"{line}\n")
        writer.close()
        told = json.loads(reader.read())
    assert (told["topic"], told["because"]) == (topic, because)


def test_the_holder_speaks_json_too_when_its_supervisor_does(tmp_path: Path) -> None:
    """What it says before a supervisor is there must not break the reader either."""
    holder = [sys.executable, "-P", "-m", "supervisor.holder.main", "--state", "/dev/null/no", "--supervisor", sys.executable]
    for more, is_json in ([], False), (["--json-logs"], True):
        done = subprocess.run([*holder, *more], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert done.returncode == 9
        (line,) = done.stderr.splitlines()
        if is_json:
            told = json.loads(line)
            assert (told["level"], told["topic"]) == ("warning", "holder")
            assert "/dev/null" in told["because"]
        else:
            assert line.startswith("stead holder: ")
