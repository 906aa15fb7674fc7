"""What a change of rendered files asks for (reference: supervisor 4.3)."""

from __future__ import annotations

import pytest

from supervisor.service.change import Act, decide

BASE = {"hooks/run": "1", "hooks/init": "1", "config/app.json": "1", "hooks/health-check": "1"}
WITH_HOOK = {**BASE, "hooks/reconfigure": "1"}


@pytest.mark.parametrize(
    ("applied", "changes", "act", "named"),
    [
        (BASE, {}, Act.NOTHING, "nothing"),
        (BASE, {"config/app.json": "2"}, Act.RESTART, "config/app.json"),
        (WITH_HOOK, {"config/app.json": "2"}, Act.RECONFIGURE, "config/app.json"),
        (WITH_HOOK, {"hooks/reconfigure": "2"}, Act.RECONFIGURE, "hooks/reconfigure"),
        (WITH_HOOK, {"config/app.json": "2", "hooks/run": "2"}, Act.RESTART, "hooks/run"),
        (WITH_HOOK, {"hooks/init": "2"}, Act.RESTART, "hooks/init"),
        (BASE, {"hooks/post-run": "1"}, Act.RESTART, "hooks/post-run"),
        (BASE, {"run": "1"}, Act.RESTART, "run"),
        (BASE, {"hooks/health-check": "2"}, Act.REWRITE, "hooks/health-check"),
        (WITH_HOOK, {"hooks/post-stop": "1"}, Act.REWRITE, "hooks/post-stop"),
        (WITH_HOOK, {"config/new.json": "1"}, Act.RECONFIGURE, "config/new.json"),
    ],
)
def test_the_first_rule_that_fits_decides_and_names_the_files(
    applied: dict[str, str], changes: dict[str, str], act: Act, named: str
) -> None:
    verdict = decide(applied, {**applied, **changes})
    assert verdict.act is act
    assert named in verdict.because


def test_a_file_that_vanished_is_a_change() -> None:
    without = {path: digest for path, digest in WITH_HOOK.items() if path != "config/app.json"}
    assert decide(WITH_HOOK, without).act is Act.RECONFIGURE
