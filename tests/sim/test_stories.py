"""Every story in tests/scenarios ends as it is written there."""

from pathlib import Path

import pytest

from tests.sim.scenario import FOLDER, main, play

STORIES = sorted(path.name for path in FOLDER.glob("*.txt"))


@pytest.mark.parametrize("name", STORIES)
def test_the_story_leaves_the_trace_that_is_written(name: str) -> None:
    """Commands, `----`, expected trace; `python -m tests.sim.scenario --rewrite` writes what happens now."""
    text = (FOLDER / name).read_text()
    assert "\nNOT " not in text, "a story is not written down with a condition that was not met"
    assert play(text) == text


def test_a_story_that_differs_is_named_and_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command compares, and with --rewrite replaces."""
    story = tmp_path / "wrong.txt"
    story.write_text("ring 2 seed=1\nuntil one view within 20\n----\nsomething else\n")
    assert main([str(story)]) == 1
    assert "wrong.txt differs" in capsys.readouterr().out
    assert main(["--rewrite", str(story)]) == 0
    assert "one view" in story.read_text()
    assert main([str(story)]) == 0
