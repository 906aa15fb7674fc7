"""Which releases the supervisor of a root may need: those must not be uninstalled (reference: supervisor 2.1).

Rules: each `sup/default/specs/*.spec` names a package. Where `sup/default/running/<name>.toml` says which releases run, are chosen or are
the way back, those are pinned, and the newest that satisfies the spec, which the next start takes. Where nothing says it, every release of
the package is pinned. Only strings that are idents are looked at: a file of another version pins too much, never too little.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hart.errors import SteadError
from hart.files import storage
from hart.ident import Ident
from hart.limits import SPEC_MAX
from hart.metafiles import read_bounded
from hart.root import Root
from hart.toml import loads
from hart.version import ident_key


def supervisor_pins(root: Root, installed: list[Ident]) -> set[Ident]:
    """Idents, full or partial, that the supervisor of this root holds."""
    pins: set[Ident] = set()
    specs = root.sup / "specs"
    with storage(specs):
        files = sorted(specs.glob("*.spec")) if specs.is_dir() else []
    for path in files:
        wanted = ident_of(read_table(path).get("ident")) or family_named(path.stem, installed)
        recorded = {ident for value in read_table(root.sup / "running" / f"{path.stem}.toml").values() if (ident := ident_of(value))}
        if wanted is None:
            pins |= {ident.family for ident in recorded}
            continue
        candidates = [ident for ident in installed if ident.satisfies(wanted)]
        if any(ident.is_full for ident in recorded):
            pins |= recorded | {max(candidates, key=ident_key)} if candidates else recorded
        else:
            pins.add(wanted)
    return pins


def read_table(path: Path) -> dict[str, Any]:
    """A small TOML file, empty when it is not there or not readable."""
    try:
        with storage(path):
            data = read_bounded(path, SPEC_MAX)
        return loads(data or b"", thing=str(path))
    except SteadError:
        return {}


def ident_of(value: object) -> Ident | None:
    if not isinstance(value, str):
        return None
    try:
        return Ident.parse(value)
    except SteadError:
        return None


def family_named(name: str, installed: list[Ident]) -> Ident | None:
    """What a spec that cannot be read is about: it is called after its package."""
    return next((ident.family for ident in installed if ident.name == name), None)
