"""What an uninstall removes: mark from what must stay, sweep the rest. Pure (reference: packages 5.5).

Rules: only the packages asked for, and what they need, can go. Roots are all other packages, and whatever is pinned or excluded; what a
root needs, directly or not, stays. A package asked for that stays is refused with the names of those that need it. Removal is in an order
that never leaves an installed package without one that it needs. Reading pins is `hart/pins.py`, removing is `hart/installed.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hart.ident import Ident
from hart.version import ident_key

Needs = Mapping[Ident, Collection[Ident]]  # installed packages → what each needs, directly and transitively


@dataclass(frozen=True, slots=True)
class Kept:
    """A package asked for that stays. `needed_by` is empty when it is pinned or excluded."""

    ident: Ident
    why: str
    needed_by: tuple[Ident, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`remove` in order, dependants first; `kept` are packages that were asked for."""

    remove: tuple[Ident, ...]
    kept: tuple[Kept, ...]


def plan(
    needs: Needs,
    targets: Iterable[Ident],
    *,
    pinned: Collection[Ident] = (),
    exclude: Collection[Ident] = (),
    no_deps: bool = False,
) -> Plan:
    """`targets` are installed; `pinned` and `exclude` may be partial idents, then each package that satisfies them stays."""
    asked = set(targets)
    candidates = asked if no_deps else asked | reach(asked, needs)
    held = {ident: why for ident in needs if (why := holder(ident, pinned, exclude))}
    marked = reach(held.keys() | (needs.keys() - candidates), needs)
    kept = [
        Kept(ident, held.get(ident, "is needed"), needed_by=() if ident in held else dependants(ident, needs, marked))
        for ident in sorted(asked & marked, key=ident_key)
    ]
    remove = sorted(candidates - marked, key=lambda ident: (-len(reach({ident}, needs)), ident_key(ident)))
    return Plan(tuple(remove), tuple(kept))


def last_of_their_name(installed: Iterable[Ident], remove: Collection[Ident]) -> set[Ident]:
    """The newest release of each name of which nothing stays."""
    gone = set(remove)
    stay = {ident.family for ident in installed if ident not in gone}
    newest = {ident.family: ident for ident in sorted(gone, key=ident_key)}
    return {ident for family, ident in newest.items() if family not in stay}


def reach(start: Iterable[Ident], needs: Needs) -> set[Ident]:
    """These installed packages and all installed ones that they need."""
    seen: set[Ident] = set()
    todo = [ident for ident in start if ident in needs]
    while todo:
        ident = todo.pop()
        if ident not in seen:
            seen.add(ident)
            todo.extend(need for need in needs[ident] if need in needs)
    return seen


def dependants(ident: Ident, needs: Needs, among: Collection[Ident]) -> tuple[Ident, ...]:
    """Who of these needs a package."""
    return tuple(sorted((other for other in among if other != ident and ident in needs[other]), key=ident_key))


def holder(ident: Ident, pinned: Collection[Ident], exclude: Collection[Ident]) -> str:
    """Why a package may not go, empty when it may."""
    if any(ident.satisfies(pin) for pin in pinned):
        return "is used by the supervisor or pinned"
    return "is excluded" if any(ident.satisfies(wanted) for wanted in exclude) else ""


def outdated(idents: Iterable[Ident], keep_latest: int) -> list[Ident]:
    """All but the newest `keep_latest`."""
    ordered = sorted(idents, key=ident_key)
    return ordered[: max(0, len(ordered) - keep_latest)]
