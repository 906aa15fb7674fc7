"""What a plan says: the model that plan.toml and plan.sh are both read into, and the rules between its parts.

Rules: values are frozen and were checked by whoever made them; a source has at least one pin, tried in order; times are seconds.
Not here: reading the text (`planfile`, `plansh`), reading the folder around it (`context`), doing any of it (`build`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hart.ident import Ident

BUILDER_FORMAT = 2  # part of the build cache's key: a change of what a build does with the same plan raises it

SIGNALS = ("HUP", "INT", "QUIT", "ILL", "ABRT", "FPE", "KILL", "USR1", "SEGV", "USR2", "ALRM", "TERM", "CHLD")
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".zip", ".crate", ".whl")


class Scheme(StrEnum):
    """Where a source comes from; each has one file in `builder/source/`."""

    URL = "url"
    FILE = "file"
    PYPI = "pypi"
    NPM = "npm"
    DEBIAN = "debian"


class WheelOrSdist(StrEnum):
    """Which kind of file of a Python release."""

    WHEEL = "wheel"
    SDIST = "sdist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One place that a source can come from. `sha256` is 64 lowercase hex digits, or None when its author has not pinned it yet."""

    scheme: Scheme
    locator: str
    sha256: str | None
    format: WheelOrSdist = WheelOrSdist.WHEEL  # pypi only
    debian_file: str | None = None  # debian only: which file of the source package
    unpack: bool | None = None  # None: by the file's name
    strip: int | None = None  # leading components to drop; None: the single directory at the top, if there is one
    plain_http: bool = False  # plan.sh only, and only when pinned: many old plans name http

    def unpacks(self, filename: str) -> bool:
        """Whether the file is unpacked."""
        return filename.lower().endswith(ARCHIVE_SUFFIXES) if self.unpack is None else self.unpack

    def __str__(self) -> str:
        return self.locator if self.scheme is Scheme.URL else f"{self.scheme} {self.locator}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source: its pins in the order they are tried, and what becomes of the file."""

    pins: tuple[Pin, ...]
    filename: str | None = None
    into: str = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTexts:
    """Shell text of the four steps that a plan writes; empty means that the step does nothing."""

    prepare: str = ""
    build: str = ""
    check: str = ""
    install: str = ""


class ProbeKind(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"
    NOTIFY = "notify"  # these two: the service says it itself, and only that it is ready
    FD = "fd"


ASKED = (ProbeKind.HTTP, ProbeKind.TCP, ProbeKind.EXEC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How a service says that it is ready or healthy. `target` is a template, of `fd` the number, of `notify` empty; `numbers` are the
    other keys of service.toml."""

    kind: ProbeKind
    target: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service section. `run` None means that hooks/run says it."""

    run: str | None = None
    user: str = "hab"
    group: str = "hab"
    stop_signal: str | None = None
    stop_timeout_s: int | None = None
    new_privileges: bool = False
    private_tmp: bool = False
    limits: dict[str, int | float | str] = field(default_factory=dict)  # as in service.toml
    logs: dict[str, int | float | str] = field(default_factory=dict)  # likewise
    ready: Probe | None = None
    health: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole plan. Directories are relative to the prefix; None means "those of the usual names that the build has made"."""

    origin: str | None  # None: the command line or the environment says it
    name: str
    version: str
    description: str = ""
    license: tuple[str, ...] = ()
    upstream_url: str = ""
    maintainer: str = ""
    deps: tuple[Ident, ...] = ()
    build_deps: tuple[Ident, ...] = ()
    bin_dirs: tuple[str, ...] | None = None
    lib_dirs: tuple[str, ...] | None = None
    include_dirs: tuple[str, ...] | None = None
    pconfig_dirs: tuple[str, ...] | None = None
    interpreters: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    steps: StepTexts = field(default_factory=StepTexts)
    service: Service | None = None
    bundle: dict[str, dict[str, Any]] = field(default_factory=dict)  # services by name, as in bundle.toml
    exports: dict[str, str] = field(default_factory=dict)
    exposes: tuple[str, ...] = ()
    binds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    binds_optional: dict[str, tuple[str, ...]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)  # set: the value replaces
    environment_push: dict[str, str] = field(default_factory=dict)  # prepended to what the dependencies say
    schema_file: str = "config.schema.json"
    schema_required: bool = False  # the plan names the schema, so it has to be there


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a plan: the key it is about, as a path (array positions are ints), and what is wrong."""

    key: tuple[str | int, ...]
    message: str


def cross_check(plan: Plan) -> list[Problem]:
    """The rules between parts of a plan; each part by itself is checked where it is read."""
    problems = [Problem(("exposes",), f"{name!r} is not one of the exports") for name in plan.exposes if name not in plan.exports]
    both = plan.binds.keys() & plan.binds_optional.keys()
    problems += [Problem(("binds_optional", name), f"{name!r} is in [binds] as well") for name in both]
    twice = plan.environment.keys() & plan.environment_push.keys()
    problems += [Problem(("environment", "push", name), f"{name!r} is in [environment.set] as well") for name in twice]
    if plan.bundle and plan.service is not None:
        problems.append(Problem(("bundle",), "a package is a bundle or a service, not both: keep [bundle] or [service]"))
    families: dict[Ident, Ident] = {}
    for dep in plan.deps:
        other = families.setdefault(dep.family, dep)
        if other is not dep:
            problems.append(Problem(("package", "deps"), f"{dep} is there twice (as {other})"))
        if (dep.origin, dep.name) == (plan.origin, plan.name):
            problems.append(Problem(("package", "deps"), f"{dep} is this package itself"))
    return problems
