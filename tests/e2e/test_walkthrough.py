"""examples/walkthrough.md is run as a person would type it: every `sh` block in order in one shell, every `text` block must show."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.story import running_under

PROJECT = Path(__file__).parents[2]
WALKTHROUGH = PROJECT / "examples" / "walkthrough.md"
MARK = "=== block {} ends ==="


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """(commands, expected lines) for each `sh` block; the `text` block that may follow it says what it prints."""
    found: list[tuple[str, list[str]]] = []
    for kind, body in re.findall(r"^```(sh|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind == "sh":
            found.append((body, []))
        else:
            assert found, "a text block before any sh block"
            found[-1][1].extend(body.splitlines())
    return found


def matches(expected: str, shown: str) -> bool:
    """Whether a shown line is the expected one; `…` stands for anything."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in expected.split("…"))
    return re.fullmatch(pattern, " ".join(shown.split())) is not None


def missing(expected: list[str], shown: list[str]) -> list[str]:
    """Expected lines that do not appear in order."""
    rest = iter(shown)
    return [line for line in expected if line.strip() and not any(matches(line, candidate) for candidate in rest)]


def test_an_expected_line_that_is_not_shown_is_found() -> None:
    """The check itself: order matters, `…` stands for anything, white space does not matter."""
    assert missing(["a … c", "d"], ["x", "a  b c", "d"]) == []
    assert missing(["d", "a … c"], ["a b c", "d"]) == ["a … c"]
    assert missing(["e"], ["d"]) == ["e"]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walkthrough_does_what_it_says(tmp_path: Path) -> None:
    """Typed from top to bottom in an empty folder, it works and shows what it says."""
    found = blocks(WALKTHROUGH.read_text())
    assert len(found) >= 8
    (tmp_path / "plans").symlink_to(PROJECT / "plans")
    script = "set -eu\n" + "".join(f"{commands}\necho '{MARK.format(number)}'\n" for number, (commands, _) in enumerate(found))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    env = kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    with (tmp_path / "shown").open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = shell.wait(timeout=500)
    finally:
        shell.kill()
        shell.wait()
        for line in running_under(tmp_path):  # the servers that the shell started; none when all went well
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGTERM)
    shown = (tmp_path / "shown").read_text()
    assert code == 0, shown
    for number, (commands, expected) in enumerate(found):
        part = shown.split(MARK.format(number))[0].rsplit("=== block ", 1)[-1].splitlines()
        assert not missing(expected, part), f"after\n{commands}\nnot shown:\n{missing(expected, part)}\nbut\n" + "\n".join(part)
    assert not running_under(tmp_path), "left running"
