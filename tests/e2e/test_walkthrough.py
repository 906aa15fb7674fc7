"""examples/walkthrough.md and the README's tour are run as a person would type them.

Every `sh` block in order in one shell; every `text` block must show.
"""

import os
import re
import signal
import socket
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


def typed(script: str, folder: Path, *, timeout_s: float, **more: str) -> tuple[int, str]:
    """What one shell that is fed the script ends with and shows. What it started and did not stop is stopped."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    env = kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)} | more
    with (folder / "shown").open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = shell.wait(timeout=timeout_s)
    finally:
        shell.kill()
        shell.wait()
        for line in running_under(folder):  # the servers that the shell started; none when all went well
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGTERM)
    return code, (folder / "shown").read_text()


@pytest.mark.slow
def test_the_tour_of_the_readme_works_typed_at_once(tmp_path: Path) -> None:
    """No line waits for a person: the servers are asked the moment they were started. Only the depot's port is another one."""
    (tour,) = (body for body, _ in blocks((PROJECT / "README.md").read_text()) if "stead plan init" in body)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert tour.count("stead depot serve ") == 1
    script = "set -eu\n" + tour.replace("stead depot serve ", f"stead depot serve --port {port} ") + "\nwait\n"
    code, shown = typed(script, tmp_path, timeout_s=90, STEAD_DEPOT_URL=f"http://127.0.0.1:{port}")
    assert code == 0, shown
    expected = [
        "building me/hello/0.1.0/… for …",
        "…, in channel stable",
        "hello …up ready yes healthy …",
        "… Hello, world",
        "stopped hello",
    ]
    assert not missing(expected, shown.splitlines()), shown
    assert not running_under(tmp_path), "left running"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walkthrough_does_what_it_says(tmp_path: Path) -> None:
    """Typed from top to bottom in an empty folder, it works and shows what it says."""
    found = blocks(WALKTHROUGH.read_text())
    assert len(found) >= 8
    (tmp_path / "plans").symlink_to(PROJECT / "plans")
    script = "set -eu\n" + "".join(f"{commands}\necho '{MARK.format(number)}'\n" for number, (commands, _) in enumerate(found))
    code, shown = typed(script, tmp_path, timeout_s=500)
    assert code == 0, shown
    for number, (commands, expected) in enumerate(found):
        part = shown.split(MARK.format(number))[0].rsplit("=== block ", 1)[-1].splitlines()
        assert not missing(expected, part), f"after\n{commands}\nnot shown:\n{missing(expected, part)}\nbut\n" + "\n".join(part)
    assert not running_under(tmp_path), "left running"
