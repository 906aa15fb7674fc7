"""A package in its place on this host, as templates see it: `pkg` of the context (reference: supervisor 4.5). Pure.

The supervisor adds `sys`, `cfg`, `svc` and `bind` (`supervisor/context.py`); install hooks see `pkg` and `cfg` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hart.ident import Ident
from hart.metafiles import Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A package on this host: where it is, where its service lives, who runs it, its runtime environment."""

    metadata: Metadata
    path: Path
    svc_path: Path
    user: str
    group: str
    env: Mapping[str, str]


def ident_view(ident: Ident) -> dict[str, Any]:
    return {"origin": ident.origin, "name": ident.name, "version": ident.version, "release": ident.release}


def pkg_view(place: Placed) -> dict[str, Any]:
    """`pkg` of the context; also, with `cfg`, all that install hooks see."""
    metadata, svc = place.metadata, place.svc_path
    return {
        "ident": str(metadata.ident),
        **ident_view(metadata.ident),
        "deps": [ident_view(dep) for dep in metadata.deps],
        "env": dict(place.env),
        "exposes": [str(port) for port in metadata.exposes],
        "exports": dict(metadata.exports),
        "path": str(place.path),
        "svc_path": str(svc),
        "svc_config_path": str(svc / "config"),
        "svc_config_install_path": str(svc / "config_install"),
        "svc_data_path": str(svc / "data"),
        "svc_files_path": str(svc / "files"),
        "svc_static_path": str(svc / "static"),
        "svc_var_path": str(svc / "var"),
        "svc_pid_file": str(svc / "PID"),
        "svc_run": str(svc / "run"),
        "svc_user": place.user,
        "svc_group": place.group,
    }
