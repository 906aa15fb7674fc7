"""Targets: the machine and system that a package is built for (reference: packages 5, Habitat's names).

Rules: the text is the value, compared exactly. A package runs only where its target is the host's.
"""

from __future__ import annotations

import platform
from enum import StrEnum

from hart.errors import FormatError, UsageError

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class Target(StrEnum):
    """Every target that a depot may hold. Stead builds and runs on the Linux ones."""

    X86_64_LINUX = "x86_64-linux"
    X86_64_LINUX_KERNEL2 = "x86_64-linux-kernel2"
    X86_64_WINDOWS = "x86_64-windows"
    X86_64_DARWIN = "x86_64-darwin"
    AARCH64_LINUX = "aarch64-linux"
    AARCH64_WINDOWS = "aarch64-windows"
    AARCH64_DARWIN = "aarch64-darwin"

    @classmethod
    def parse(cls, text: str) -> Target:
        """From its text, white space around it ignored; raises FormatError."""
        try:
            return cls(text.strip())
        except ValueError:
            raise FormatError(f"target {text.strip()[:64]!r}", "is not known", next=f"one of {', '.join(cls)}") from None


def target_of(machine: str, system: str) -> Target:
    """The target of a machine as `uname -m` and `uname -s` name it; UsageError where there is none."""
    known = _MACHINES.get(machine.lower())
    try:
        return Target(f"{known}-{system.lower()}")
    except ValueError:
        raise UsageError(f"this machine ({machine} {system})", "is none of the targets that packages are built for") from None


def host_target() -> Target:
    """This machine's target."""
    return target_of(platform.machine(), platform.system())
