"""The folder of a plan."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.context import digest, locate, read_folder
from hart.errors import NotFoundError, PlanError

TARGET = "x86_64-linux"


@pytest.mark.parametrize("place", ["plan.toml", "plan.sh", "habitat/plan.toml", f"{TARGET}/plan.toml", f"habitat/{TARGET}/plan.sh"])
def test_a_plan_is_found_where_habitat_looks(tmp_path: Path, place: str) -> None:
    """In the folder, in habitat/, or in the target's folder; the plan's own folder is its context for files."""
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    found = locate(tmp_path, TARGET)
    assert (found.file, found.directory, found.context) == (path, path.parent, tmp_path)
    assert locate(path, TARGET).file == path


def test_the_targets_folder_wins(tmp_path: Path) -> None:
    """A plan for one target stands beside the one for all others."""
    for place in ("plan.toml", f"{TARGET}/plan.toml"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    assert locate(tmp_path, TARGET).file == tmp_path / TARGET / "plan.toml"


def test_two_plans_or_none_are_errors(tmp_path: Path) -> None:
    """Nobody guesses which one was meant."""
    with pytest.raises(NotFoundError):
        locate(tmp_path, TARGET)
    with pytest.raises(NotFoundError):
        locate(tmp_path / "nowhere", TARGET)
    (tmp_path / "plan.toml").touch()
    (tmp_path / "plan.sh").touch()
    with pytest.raises(PlanError, match=r"plan\.toml, plan\.sh"):
        locate(tmp_path, TARGET)


def test_hooks_lose_one_extension_and_leftovers_stay_out(tmp_path: Path) -> None:
    """hooks/run.sh is the hook run; editors' files are no configuration."""
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "config/sub").mkdir(parents=True)
    for name in ("a.conf", "a.conf~", "a.conf.bak", ".a.conf.swp", "sub/b.conf"):
        (tmp_path / "config" / name).write_text("x")
    folder = read_folder(tmp_path, schema_file="config.schema.json")
    assert folder.hooks == {"run": b"#!/bin/sh\n"}
    assert list(folder.config) == ["a.conf", "sub/b.conf"]
    assert folder.default_toml is None


def test_hooks_that_cannot_be_are_errors(tmp_path: Path) -> None:
    """Two files for one hook, Windows line ends."""
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/run").write_bytes(b"a\n")
    (tmp_path / "hooks/run.sh").write_bytes(b"b\n")
    with pytest.raises(PlanError, match="both the hook run"):
        read_folder(tmp_path, schema_file="s")
    (tmp_path / "hooks/run.sh").unlink()
    (tmp_path / "hooks/run").write_bytes(b"#!/bin/sh\r\n")
    with pytest.raises(PlanError, match="line ends"):
        read_folder(tmp_path, schema_file="s")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A plan from elsewhere must not put /etc/shadow into a package."""
    plan = tmp_path / "plan"
    (plan / "config").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (plan / "config/a").symlink_to(tmp_path / "secret")
    with pytest.raises(PlanError, match="leads out"):
        read_folder(plan, schema_file="s")


def test_the_digest_changes_with_what_is_built_from_and_with_nothing_else(tmp_path: Path) -> None:
    """Names, bytes and the executable bit count; results, times and the root do not."""
    plan = tmp_path / "plan"
    (plan / "config").mkdir(parents=True)
    file = plan / "config/a"
    file.write_text("1")
    seen = [digest(plan, without=[plan / "root"])]

    def changed() -> bool:
        seen.append(digest(plan, without=[plan / "root"]))
        return seen[-1] != seen[-2]

    assert not changed()
    file.write_text("2")
    assert changed()
    file.chmod(0o755)
    assert changed()
    file.rename(plan / "config/b")
    assert changed()
    for name in ("results", ".git", "root"):
        (plan / name).mkdir()
        (plan / name / "x").write_text("x")
    assert not changed()
    (plan / "tests/results").mkdir(parents=True)
    (plan / "tests/results/expected").write_text("x")
    assert changed()
    (plan / "link").symlink_to("config")
    assert changed()
    (plan / "link").unlink()
    (plan / "link").symlink_to("tests")
    assert changed()


def test_what_a_link_leads_to_outside_counts_or_nothing_is_compared(tmp_path: Path) -> None:
    """A file's bytes are part of the digest; a directory outside could change unseen."""
    plan = tmp_path / "plan"
    plan.mkdir()
    (tmp_path / "common").write_text("1")
    (plan / "link").symlink_to("../common")
    before = digest(plan, without=[])
    (tmp_path / "common").write_text("2")
    assert digest(plan, without=[]) != before
    (plan / "patches").symlink_to("..")
    assert digest(plan, without=[]) is None


def test_all_of_the_configuration_templates_are_taken(tmp_path: Path) -> None:
    """A folder may be called results there."""
    (tmp_path / "config/results").mkdir(parents=True)
    (tmp_path / "config/results/a").write_text("x")
    assert read_folder(tmp_path, schema_file="s").config == {"results/a": b"x"}


@pytest.mark.parametrize("place", ["hooks/init", "config/a"])
def test_a_pipe_is_no_file_of_a_plan(tmp_path: Path, place: str) -> None:
    """Reading one would wait for ever."""
    (tmp_path / place).parent.mkdir()
    os.mkfifo(tmp_path / place)
    with pytest.raises(PlanError, match="no regular file"):
        read_folder(tmp_path, schema_file="s")
