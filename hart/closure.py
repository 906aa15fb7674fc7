"""What a package needs at run time, composed from what its dependencies say: pure functions (reference: packages 3.1, 5.5).

Rules: order has meaning. TDEPS lists direct dependencies first, and a package that comes again moves to the end, so what lies deeper comes
later and the reverse is an order of installation. RUNTIME_PATH is own directories, then direct dependencies', then the rest; the first
occurrence wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from hart.ident import Ident


class Depending(Protocol):
    """What has an ident and knows all that it needs, in TDEPS order."""

    @property
    def ident(self) -> Ident: ...
    @property
    def tdeps(self) -> Sequence[Ident]: ...


class Offering(Protocol):
    """What has directories of programs, all its own."""

    @property
    def path(self) -> Sequence[str]: ...


class Running(Protocol):
    """What knows the environment that its programs run in."""

    @property
    def runtime_path(self) -> Sequence[str]: ...
    @property
    def runtime_environment(self) -> Mapping[str, str]: ...


def merge_tdeps(direct: Iterable[tuple[Ident, Iterable[Ident]]]) -> tuple[Ident, ...]:
    """TDEPS of a package from its direct dependencies, in plan order, each with its own TDEPS."""
    pairs = [(ident, list(tdeps)) for ident, tdeps in direct]
    merged = dict.fromkeys(ident for ident, _ in pairs)
    for _, tdeps in pairs:
        for ident in tdeps:
            merged.pop(ident, None)
            merged[ident] = None
    return tuple(merged)


def transitive(direct: Sequence[Depending]) -> tuple[Ident, ...]:
    """`merge_tdeps` of packages."""
    return merge_tdeps((package.ident, package.tdeps) for package in direct)


def runtime_path(own_dirs: Iterable[str], direct: Iterable[Offering], tdeps: Iterable[Offering]) -> tuple[str, ...]:
    """RUNTIME_PATH: absolute directories, each once."""
    entries = [*own_dirs, *(entry for package in (*direct, *tdeps) for entry in package.path)]
    return tuple(dict.fromkeys(entries))


def runtime_environment(package: Running) -> dict[str, str]:
    """What a package sets for its programs: its variables and PATH, sorted by name."""
    own = {key: value for key, value in package.runtime_environment.items() if key != "PATH"}
    if package.runtime_path:
        own["PATH"] = ":".join(package.runtime_path)
    return dict(sorted(own.items()))


def environment(package: Running, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program of the package: its own variables over the inherited ones, PATH before the inherited PATH.

    SSL_CERT_FILE that is set outside stays: a site's own certificate authority is configured there.
    """
    own = runtime_environment(package)
    if "SSL_CERT_FILE" in inherited:
        own.pop("SSL_CERT_FILE", None)
    if "PATH" in own and inherited.get("PATH"):
        own["PATH"] += ":" + inherited["PATH"]
    return {**inherited, **own}
