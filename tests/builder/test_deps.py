"""Dependencies of a build, as installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import ConflictError, PlanError
from tests.builder.workshop import Workshop


def test_two_releases_of_one_package_in_a_run_closure_are_refused(tmp_path: Path) -> None:
    """A process that loads both would be neither; for the steps alone two are harmless."""
    workshop = Workshop(tmp_path)

    def make(name: str, release: str, deps: str = "", build_deps: str = "") -> None:
        plan = f"[package]\nname = '{name}'\nversion = '1'\ndeps = [{deps}]\nbuild_deps = [{build_deps}]\n"
        workshop.install(workshop.build(workshop.plan(plan, name=name), release=release))

    make("lib", "20260101000001")
    make("a", "20260101000002", "'acme/lib'")
    make("lib", "20260101000003")
    make("b", "20260101000004", "'acme/lib'")
    with pytest.raises(ConflictError, match="acme/lib: is needed in two releases"):
        make("top", "20260101000005", "'acme/a', 'acme/b'")
    make("top", "20260101000006", "'acme/a'", "'acme/b'")


def test_a_package_that_depends_on_itself_by_its_origin_from_outside_is_refused(tmp_path: Path) -> None:
    """The plan names no origin, so only the build can see it."""
    workshop = Workshop(tmp_path)
    with pytest.raises(PlanError, match="is this package itself"):
        workshop.build(workshop.plan("[package]\nname = 'top'\nversion = '1'\ndeps = ['acme/top']\n"))
