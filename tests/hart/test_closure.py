"""hart.closure: orders that have meaning."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hart.closure import environment, merge_tdeps, runtime_environment, runtime_path, transitive
from hart.ident import Ident
from tests.hart.building import ident, metadata

A, B, C, D = (ident(name) for name in "abcd")


def test_a_repeated_package_moves_to_the_end() -> None:
    """What lies deeper comes later (packages 3.1)."""
    assert merge_tdeps([(A, [C, D]), (B, [C]), (C, [])]) == (A, B, D, C)
    assert merge_tdeps([]) == ()


def test_transitive_takes_packages() -> None:
    """The same, from their metadata."""
    assert transitive([metadata(A, [C]), metadata(C)]) == (A, C)


GRAPHS = st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=8, max_size=8)


@given(GRAPHS)
def test_the_reverse_of_tdeps_is_an_order_of_installation(edges: list[set[int]]) -> None:
    """In any graph without cycles, built bottom up: everything comes after all that needs it."""
    idents = [Ident("acme", f"p{number}", "1", "20260102030405") for number in range(8)]
    tdeps: dict[Ident, tuple[Ident, ...]] = {}
    for number, needed in enumerate(edges):
        direct = [idents[other] for other in sorted(needed) if other < number]
        tdeps[idents[number]] = merge_tdeps((dep, tdeps[dep]) for dep in direct)
    for order in tdeps.values():
        assert len(set(order)) == len(order)
        for place, member in enumerate(order):
            assert all(order.index(need) > place for need in tdeps[member])


def test_runtime_path_is_own_then_direct_then_the_rest_each_once() -> None:
    """The first occurrence wins (packages 3.1)."""
    b, c = metadata(B, path=("/b",)), metadata(C, path=("/c", "/shared"))
    assert runtime_path(["/own", "/shared"], [b], [b, c]) == ("/own", "/shared", "/b", "/c")


def test_a_program_sees_its_packages_environment_over_the_inherited() -> None:
    """Own variables win, PATH goes in front, a site's certificate file stays (packages 5.5)."""
    web = metadata(A, runtime_path=("/a/bin", "/b/bin"), runtime_environment={"X": "1", "PATH": "/legacy", "SSL_CERT_FILE": "/pkg"})
    assert runtime_environment(web) == {"PATH": "/a/bin:/b/bin", "SSL_CERT_FILE": "/pkg", "X": "1"}
    assert environment(web, {"PATH": "/usr/bin", "X": "0", "HOME": "/root"}) == {
        "PATH": "/a/bin:/b/bin:/usr/bin",
        "X": "1",
        "HOME": "/root",
        "SSL_CERT_FILE": "/pkg",
    }
    assert environment(web, {"SSL_CERT_FILE": "/site"})["SSL_CERT_FILE"] == "/site"
    assert environment(web, {"PATH": ""})["PATH"] == "/a/bin:/b/bin"
    assert environment(replace(web, runtime_path=()), {"PATH": "/usr/bin"})["PATH"] == "/usr/bin"
