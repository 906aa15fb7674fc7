"""Targets (hart/target.py)."""

from __future__ import annotations

import pytest

from hart.errors import FormatError, UsageError
from hart.target import Target, host_target, target_of


@pytest.mark.parametrize("target", list(Target))
def test_a_target_is_its_text(target: Target) -> None:
    """Parsing the text, with the white space of a metafile, gives the target."""
    assert Target.parse(f" {target}\n") is target
    assert str(target) == target.value


@pytest.mark.parametrize("text", ["", "linux", "x86_64", "X86_64-LINUX", "x86_64-linux\x00", "x86_64-linux-kernel3", "x" * 10_000])
def test_an_unknown_target_is_refused(text: str) -> None:
    """No guessing: a package for something else must not run here."""
    with pytest.raises(FormatError) as caught:
        Target.parse(text)
    assert "x86_64-linux" in caught.value.next
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("machine", "system", "target"),
    [
        ("x86_64", "Linux", Target.X86_64_LINUX),
        ("amd64", "Linux", Target.X86_64_LINUX),
        ("aarch64", "Linux", Target.AARCH64_LINUX),
        ("arm64", "Darwin", Target.AARCH64_DARWIN),
        ("AMD64", "Windows", Target.X86_64_WINDOWS),
    ],
)
def test_machines_have_several_names(machine: str, system: str, target: Target) -> None:
    """`uname` calls the same machine differently on different systems."""
    assert target_of(machine, system) is target


def test_a_machine_without_a_target_is_told_so() -> None:
    """No package can run there."""
    with pytest.raises(UsageError, match="riscv64 Linux"):
        target_of("riscv64", "Linux")


def test_this_host_has_a_target() -> None:
    """The tests run on Linux."""
    assert host_target() in (Target.X86_64_LINUX, Target.AARCH64_LINUX)
