"""The environment that a build's steps see (reference: packages 4.3 steps 7 and 13).

Rules: nothing of the caller's environment passes except its PATH (host tools are found there): no tokens, no keys, no
proxies. PATH is own bin directories, then those of direct build, direct run, transitive build, transitive run dependencies, then the
host's; compiler flags come from direct dependencies. Pure.
"""

from __future__ import annotations

import calendar
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.layering import layer
from hart.ident import Ident

HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """What a build needs to know of one installed package; directories are absolute, flags are words."""

    ident: Ident
    path: Path
    bin_dirs: tuple[str, ...] = ()
    ld_run_path: tuple[str, ...] = ()
    pkg_config_path: tuple[str, ...] = ()
    cflags: str = ""
    ldflags: str = ""
    runtime_environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """The four groups, each in order; a package may be in several."""

    build: tuple[Dependency, ...] = ()
    run: tuple[Dependency, ...] = ()
    build_closure: tuple[Dependency, ...] = ()
    run_closure: tuple[Dependency, ...] = ()

    @property
    def direct(self) -> tuple[Dependency, ...]:
        return (*self.build, *self.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The directories of one build, all absolute. `destdir` + `prefix` is where files are put that end up in the package."""

    prefix: Path
    destdir: Path
    src: Path
    sources: Path
    plan_dir: Path
    context_dir: Path
    home: Path
    tmp: Path

    @property
    def out(self) -> Path:
        return self.destdir / self.prefix.relative_to("/")


def release_epoch(release: str) -> int:
    """The seconds since 1970 that a release's 14 digits (UTC) mean; ValueError when they are no time."""
    return calendar.timegm(time.strptime(release, "%Y%m%d%H%M%S"))


def epoch_release(epoch_s: float) -> str:
    """The release of a time."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(epoch_s))


def search_path(own: Sequence[Path], deps: Dependencies, host: str) -> str:
    """PATH: every directory once, at its first place."""
    groups = (deps.build, deps.run, deps.build_closure, deps.run_closure)
    directories = [str(path) for path in own]
    directories += [directory for group in groups for dep in group for directory in dep.bin_dirs]
    return ":".join(unique([*directories, *(part for part in host.split(":") if part.startswith("/"))]))


def build_environment(
    ident: Ident, target: str, places: Places, deps: Dependencies, *, host_path: str | None, jobs: int, lib_dirs: Iterable[str] = ()
) -> dict[str, str]:
    """All variables of a shell step; `ident` is full."""
    assert ident.version is not None, ident
    assert ident.release is not None, ident
    layered = layer([dep.runtime_environment or {} for dep in deps.direct], {}, {}, {})
    run_path = [str(places.prefix / directory) for directory in lib_dirs] + [path for dep in deps.run for path in dep.ld_run_path]
    return layered | {
        "PATH": search_path([places.prefix / "bin"], deps, host_path or HOST_PATH),
        "HOME": str(places.home),
        "TMPDIR": str(places.tmp),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "SOURCE_DATE_EPOCH": str(release_epoch(ident.release)),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CFLAGS": " ".join(unique([dep.cflags for dep in deps.direct if dep.cflags])),
        "CPPFLAGS": " ".join(unique([dep.cflags for dep in deps.direct if dep.cflags])),
        "CXXFLAGS": " ".join(unique([dep.cflags for dep in deps.direct if dep.cflags])),
        "LDFLAGS": " ".join(unique([dep.ldflags for dep in deps.direct if dep.ldflags])),
        "LD_RUN_PATH": ":".join(unique(run_path)),
        "PKG_CONFIG_PATH": ":".join(unique([path for dep in deps.direct for path in dep.pkg_config_path])),
        "prefix": str(places.prefix),
        "PREFIX": str(places.prefix),
        "destdir": str(places.destdir),
        "out": str(places.out),
        "src": str(places.src),
        "sources": str(places.sources),
        "plan_dir": str(places.plan_dir),
        "context_dir": str(places.context_dir),
        "jobs": str(jobs),
        "origin": ident.origin,
        "name": ident.name,
        "version": ident.version,
        "release": ident.release,
        "pkg_prefix": str(places.prefix),
        "pkg_origin": ident.origin,
        "pkg_name": ident.name,
        "pkg_version": ident.version,
        "pkg_release": ident.release,
        "pkg_target": target,
    }


def prelude(deps: Dependencies) -> str:
    """Shell functions that a step can call: `pkg_path_for NAME` finds a direct dependency by the tail or head of its ident."""
    lines = ["pkg_path_for() {", '  case "/$1/" in']
    seen: set[str] = set()
    for dep in deps.direct:
        assert dep.ident.version is not None, dep
        parts = [dep.ident.origin, dep.ident.name, dep.ident.version, str(dep.ident.release)]
        spellings = ["/".join(parts[first:last]) for first in (0, 1) for last in (2, 3, 4)]
        patterns = [shlex.quote(f"/{spelling}/") for spelling in spellings if spelling not in seen]
        seen.update(spellings)
        if patterns:
            lines.append(f"    {'|'.join(patterns)}) printf '%s\\n' {shlex.quote(str(dep.path))} ;;")
    lines += ['    *) echo "pkg_path_for: $1 is not in deps or build_deps of this plan" >&2; return 1 ;;', "  esac", "}"]
    return "\n".join(lines) + "\n"


def unique(values: Iterable[str]) -> list[str]:
    """Each value once, at its first place."""
    return list(dict.fromkeys(values))
