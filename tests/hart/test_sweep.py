"""hart.sweep and hart.pins: what may go, what must stay."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hart.ident import Ident
from hart.pins import supervisor_pins
from hart.root import Root
from hart.sweep import Needs, last_of_their_name, outdated, plan, reach
from tests.hart.building import ident

A, B, C, D, E = (ident(name) for name in "abcde")
# a → b → c, a → d, e → d
NEEDS: Needs = {A: [B, C, D], B: [C], C: [], D: [], E: [D]}


def test_what_only_the_package_needed_goes_with_it() -> None:
    """Dependants before what they need; d stays for e."""
    assert plan(NEEDS, [A]).remove == (A, B, C)
    assert plan(NEEDS, [A], no_deps=True).remove == (A,)


def test_a_needed_package_stays_and_says_for_whom() -> None:
    """Direct and transitive dependants are named."""
    found = plan(NEEDS, [C])
    assert found.remove == ()
    assert [(kept.ident, kept.needed_by) for kept in found.kept] == [(C, (A, B))]


def test_pinned_and_excluded_packages_and_their_needs_stay() -> None:
    """By a full ident, or by every release of a name."""
    assert plan(NEEDS, [A], pinned=[B]).remove == (A,)
    assert plan(NEEDS, [A], exclude=[B.family]).remove == (A,)
    found = plan(NEEDS, [A], pinned=[A.family])
    assert found.remove == ()
    assert (found.kept[0].ident, found.kept[0].needed_by) == (A, ())


def test_needs_that_are_not_installed_do_not_matter() -> None:
    """A damaged tree can still be cleaned."""
    assert plan({A: [B, C], C: []}, [A]).remove == (A, C)


def test_all_but_the_newest_are_outdated() -> None:
    """By version, then release."""
    old, mid, new = ident(version="1.9"), ident(version="1.10"), ident(version="1.10", release="20270101000000")
    assert outdated([new, old, mid], 1) == [old, mid]
    assert outdated([new, old], 5) == []
    assert outdated([new, old], 0) == [old, new]


IDENTS = [Ident("acme", f"p{number}", "1", "20260102030405") for number in range(8)]
GRAPHS = st.lists(st.sets(st.integers(0, 7), max_size=4), min_size=8, max_size=8).map(
    lambda edges: {IDENTS[number]: {IDENTS[other] for other in needed if other < number} for number, needed in enumerate(edges)}
)
SOME = st.sets(st.sampled_from(IDENTS), max_size=3)


@given(needs=GRAPHS, targets=SOME, pinned=SOME, no_deps=st.booleans())
def test_no_plan_ever_leaves_a_package_without_what_it_needs(
    needs: dict[Ident, set[Ident]],
    targets: set[Ident],
    pinned: set[Ident],
    no_deps: bool,
) -> None:
    """At no moment of the removal, which may be killed anywhere; pins and strangers stay."""
    found = plan(needs, targets, pinned=pinned, no_deps=no_deps)
    assert not set(found.remove) & reach(pinned, needs)
    assert set(found.remove) <= reach(targets, needs)
    assert set(found.remove) | {kept.ident for kept in found.kept} >= targets
    left = set(needs)
    for ident_ in found.remove:
        left.remove(ident_)
        assert all(needs[other] <= left for other in left)


def specs(root: Root, **files: str) -> None:
    for name, text in files.items():
        path = root.sup / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


OLD, MID, NEW = (ident("web", version) for version in ("1.0", "2.0", "3.0"))


def test_without_a_supervisor_nothing_is_pinned(tmp_path: Path) -> None:
    """No directory of specs."""
    assert supervisor_pins(Root(tmp_path), [OLD]) == set()


def test_a_loaded_service_pins_what_runs_what_is_next_and_the_way_back(tmp_path: Path) -> None:
    """As its record says; older releases may go."""
    root = Root(tmp_path)
    specs(root, specs__web_spec='ident = "acme/web"\n', running__web_toml=f'release = "{MID}"\nbase = "{MID}"\nchoice = "{NEW}"\n')
    assert supervisor_pins(root, [OLD, MID, NEW]) == {MID, NEW}
    specs(root, running__web_toml=f'release = "{OLD}"\n')
    assert supervisor_pins(root, [OLD, MID, NEW]) == {OLD, NEW}
    assert supervisor_pins(root, []) == {OLD}


def test_a_loaded_service_without_a_record_pins_every_release(tmp_path: Path) -> None:
    """Too much rather than too little; also when the record or the spec cannot be read."""
    root = Root(tmp_path)
    specs(root, specs__web_spec='ident = "acme/web"\n')
    assert supervisor_pins(root, [OLD, NEW]) == {OLD.family}
    specs(root, running__web_toml="not = [toml")
    assert supervisor_pins(root, [OLD, NEW]) == {OLD.family}
    specs(root, specs__web_spec="\x00 broken")
    assert supervisor_pins(root, [OLD, NEW]) == {OLD.family}
    specs(root, specs__web_spec="ident = 5\n", specs__gone_spec="")
    assert supervisor_pins(root, [OLD, NEW]) == {OLD.family}


def test_the_newest_release_of_a_name_of_which_nothing_stays_says_farewell() -> None:
    """Whoever keeps one release keeps what its install hook did."""
    one, two, other = ident("web", "1.9"), ident("web", "1.10"), ident("db")
    assert last_of_their_name([one, two, other], [one, other]) == {other}
    assert last_of_their_name([one, two, other], [one, two]) == {two}
    assert last_of_their_name([one, two], []) == set()
