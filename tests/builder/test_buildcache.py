"""What was built before: when it is taken again, and that it never changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.errors import ConflictError
from hart.root import Root
from tests.builder.workshop import Workshop

TINY = """
    [package]
    name = "tiny"
    version = "1.0"
    [steps]
    install = 'mkdir -p "$out/share"; echo hello >"$out/share/x"'
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.mark.slow
def test_if_changed_builds_only_what_changed(workshop: Workshop) -> None:
    """Nothing when all is as before; again after a change of the plan, its files, or its artifact."""
    folder = workshop.plan(TINY, default_dot_toml="a = 1\n")

    def again(release: str) -> bool:
        return workshop.build(folder, if_changed=True, release=release).reused

    assert not again("20260101000000")
    assert again("20260101000001")
    assert (workshop.options.results / "last_build.env").read_text().splitlines()[3] == "pkg_release=20260101000000"
    (folder / "default.toml").write_text("a = 2\n")
    assert not again("20260101000002")
    artifact = workshop.root.artifacts / "acme-tiny-1.0-20260101000002-x86_64-linux.hart"
    artifact.unlink()
    assert not again("20260101000003")


@pytest.mark.slow
def test_a_plain_build_always_builds_and_a_release_never_changes(workshop: Workshop) -> None:
    """The same release with other content is refused; the first artifact stays."""
    folder = workshop.plan(TINY)
    first = workshop.build(folder)
    assert not workshop.build(folder).reused
    (folder / "plan.toml").write_text((folder / "plan.toml").read_text().replace("hello", "changed"))
    before = first.path.read_bytes()
    with pytest.raises(ConflictError, match="never changes"):
        workshop.build(folder)
    assert first.path.read_bytes() == before
    workshop.install(first)
    with pytest.raises(ConflictError, match="is installed"):
        workshop.build(folder)


def test_an_artifact_that_changed_on_disk_is_not_taken_again(workshop: Workshop) -> None:
    """The cache's entry says what its bytes were."""
    folder = workshop.plan(TINY)
    built = workshop.build(folder, if_changed=True)
    assert workshop.build(folder, if_changed=True).reused
    built.path.unlink()
    built.path.write_bytes(b"something else")
    with pytest.raises(ConflictError, match="with other content"):
        workshop.build(folder, if_changed=True)
    built.path.unlink()
    assert not workshop.build(folder, if_changed=True).reused


def test_another_release_of_a_dependency_is_a_change(workshop: Workshop) -> None:
    """Though the plan names none."""
    lib = workshop.plan("[package]\nname = 'lib'\nversion = '1'\n", name="lib")
    workshop.install(workshop.build(lib, release="20260101000001"))
    top = workshop.plan("[package]\nname = 'top'\nversion = '1'\ndeps = ['acme/lib']\n", name="top")
    workshop.build(top, if_changed=True)
    assert workshop.build(top, if_changed=True).reused
    workshop.install(workshop.build(lib, release="20260101000002"))
    assert not workshop.build(top, if_changed=True, release="20260102030406").reused


def test_a_root_that_was_moved_is_a_change(workshop: Workshop, tmp_path: Path) -> None:
    """Its packages were made for the place where it was."""
    folder = workshop.plan(TINY)
    workshop.build(folder, if_changed=True)
    workshop.root.path.rename(tmp_path / "moved")
    assert not workshop.build(folder, if_changed=True, root=Root(tmp_path / "moved"), release="20260102030406").reused
