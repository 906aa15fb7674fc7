"""What the last step may touch: the tree of this build, and nothing that a link in it leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.assemble import open_up
from hart.errors import BuildError, FormatError
from tests.builder.workshop import Workshop

PLAN = """
    [package]
    name = "tiny"
    version = "1.0"
    [steps]
    install = '''
    {install}
    '''
    [service]
    run = "sleep 1"
"""
PLAN_SH = """
    pkg_name=tiny
    pkg_version=1.0
    do_build() {{ return 0; }}
    do_install() {{
      {install}
    }}
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A directory of somebody else's."""
    place = tmp_path / "canary"
    place.mkdir()
    (place / "run").write_text("precious")
    return place


def untouched(canary: Path) -> bool:
    return [path.name for path in canary.iterdir()] == ["run"] and (canary / "run").read_text() == "precious"


@pytest.mark.parametrize("at", ['"$out"', '"$(dirname "$out")"', '"$out/hooks"', '"$out/config"'])
def test_nothing_is_written_through_a_link_that_a_step_left(workshop: Workshop, canary: Path, at: str) -> None:
    """Not where the package should be, not above it, not where the plan's files go: such a tree is refused, what it leads to stays."""
    install = f'mkdir -p "$out"; rm -rf {at}; ln -s {canary} {at}'
    with pytest.raises(BuildError, match="link"):
        workshop.build(workshop.plan(PLAN.format(install=install), config__a="x"))
    assert untouched(canary)
    assert workshop.leftovers() == []


def test_a_link_in_place_of_a_file_of_the_plan_is_replaced(workshop: Workshop, canary: Path) -> None:
    """The hook is the plan's, and what the link led to stays."""
    install = f'mkdir -p "$out/hooks"; ln -s {canary}/run "$out/hooks/run"'
    package = workshop.install(workshop.build(workshop.plan(PLAN.format(install=install))))
    assert "sleep 1" in (package.path / "hooks/run").read_text()
    assert untouched(canary)


@pytest.mark.parametrize("at", ['"$pkg_prefix"', '"$out"', '"$(dirname "$out")"'])
def test_a_plan_sh_cannot_make_its_prefix_a_link(workshop: Workshop, canary: Path, at: str) -> None:
    """Neither the prefix nor the staging directory may lead to files of others, which would be moved into the package."""
    install = f'mkdir -p "$(dirname {at})"; rm -rf {at}; ln -s {canary} {at}'
    if "dirname" in at:
        install += "; mkdir -p $out"
    with pytest.raises(BuildError, match=r"link|no directory"):
        workshop.build(workshop.plan(PLAN_SH.format(install=install), file="plan.sh"))
    assert (canary / "run").read_text() == "precious"
    assert not (canary / "IDENT").exists()
    assert workshop.leftovers() == []


def test_a_link_that_a_plan_sh_left_at_its_prefix_never_looks_installed(workshop: Workshop, canary: Path) -> None:
    """Also when it leads to a package: the link goes, what it led to stays."""
    (canary / "IDENT").write_text("acme/other/1/20260101000000")
    with pytest.raises(BuildError):
        workshop.build(workshop.plan(PLAN_SH.format(install=f'rm -rf "$pkg_prefix"; ln -s {canary} "$pkg_prefix"'), file="plan.sh"))
    assert sorted(path.name for path in canary.iterdir()) == ["IDENT", "run"]
    assert not list(workshop.root.pkgs.rglob("*/IDENT"))
    assert not [path for path in workshop.root.pkgs.rglob("*") if path.is_symlink()]


def test_a_directory_in_place_of_a_file_of_the_plan_is_refused(workshop: Workshop) -> None:
    """With the name that is meant."""
    with pytest.raises(BuildError, match="hooks/run in the package: is a directory"):
        workshop.build(workshop.plan(PLAN.format(install='mkdir -p "$out/hooks/run"')))


def test_modes_that_the_steps_left_do_not_stand_in_the_way(workshop: Workshop) -> None:
    """Read-only directories and files that even we may not read: the package has modes of its own. (Root would not notice.)"""
    install = (
        'mkdir -p "$out/lib/deep"; echo x >"$out/lib/deep/x"; chmod 0 "$out/lib/deep/x"; chmod 0500 "$out/lib/deep"; chmod 0500 "$out"'
    )
    plan = workshop.plan(PLAN.format(install=install))
    package = workshop.install(workshop.build(plan))
    assert (package.path / "lib/deep/x").stat().st_mode & 0o777 == 0o644
    assert (package.path / "lib/deep").stat().st_mode & 0o777 == 0o755


def test_open_up_lets_the_owner_in_and_follows_no_link(tmp_path: Path) -> None:
    """Below the tree only."""
    outside = tmp_path / "outside"
    outside.touch(mode=0o000)
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a/x").touch(mode=0o000)
    (tree / "a/link").symlink_to(outside)
    (tree / "a").chmod(0o000)
    open_up(tree)
    assert [path.stat().st_mode & 0o700 for path in (tree / "a", tree / "a/x", outside)] == [0o700, 0o400, 0]


def test_a_default_toml_that_the_steps_wrote_is_judged_too(workshop: Workshop) -> None:
    """Not UTF-8, not TOML, or a port that is none: a refusal, and no fault of ours."""
    for number, content in enumerate(("\\\\377", "a =")):
        with pytest.raises((BuildError, FormatError), match=r"default\.toml"):
            workshop.build(workshop.plan(PLAN.format(install=f'printf "{content}" >"$out/default.toml"'), name=f"plan{number}"))
    plan = """
        pkg_name=tiny
        pkg_version=1.0
        pkg_exports=([port]=http.port)
        pkg_exposes=(port)
        do_build() { return 0; }
        do_install() { return 0; }
        do_build_config() { do_default_build_config; echo 'x = 1' >"$pkg_prefix/default.toml"; }
    """
    with pytest.raises(BuildError, match="must be a port"):
        workshop.build(workshop.plan(plan, name="sh", file="plan.sh", default_dot_toml="[http]\nport = 80\n"))
    assert workshop.leftovers() == []
