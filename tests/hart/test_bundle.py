"""Bundles: services that are loaded as one."""

from __future__ import annotations

from typing import Any

import pytest

from hart.bundle import circle, parse, problems
from hart.errors import FormatError
from hart.limits import BUNDLE_SERVICES_MAX

WEB = {"ident": "t/web"}


def test_a_bundle_is_read_by_name() -> None:
    text = '[service.web]\nident = "t/web"\nafter = ["db"]\n[service.db]\nident = "t/db/1.0"\nevery = "15m"\n'
    assert parse(text, thing="it") == {"web": {**WEB, "after": ["db"]}, "db": {"ident": "t/db/1.0", "every": "15m"}}
    for wrong in ("", "service = 3", 'x = 1\n[service.web]\nident = "t/web"'):
        with pytest.raises(FormatError, match="has not just tables"):
            parse(wrong, thing="it")
    with pytest.raises(FormatError, match=r"it: service.web: web needs an ident"):
        parse("[service.web]\n", thing="it")


@pytest.mark.parametrize(
    ("services", "path", "why"),
    [
        ({}, (), "has 1 to"),
        ({f"s{number}": WEB for number in range(BUNDLE_SERVICES_MAX + 1)}, (), "has 1 to"),
        ({"a b": WEB}, ("a b",), "is no name"),
        ({"web": 3}, ("web",), "is not a table"),
        ({"web": {"ident": "web"}}, ("web", "ident"), "has not two to four parts"),
        ({"web": {**WEB, "bind": []}}, ("web", "bind"), "did you mean 'binds'"),
        ({"web": {**WEB, "run_once": "x"}}, ("web", "run_once"), "unknown key"),
        ({"web": {**WEB, "after": "db"}}, ("web", "after"), "is not a list of texts"),
        ({"web": {**WEB, "group": ["x"]}}, ("web", "group"), "is not a single value"),
        ({"web": {**WEB, "after": ["db"]}, "db": {**WEB, "requires_ready": ["web"]}}, ("web",), "wait for itself: web after db after web"),
    ],
)
def test_what_is_wrong_with_a_bundle_is_said_with_its_place(services: dict[str, Any], path: tuple[str, ...], why: str) -> None:
    ((where, message),) = problems(services)
    assert (where, why in message) == (path, True), message


def test_a_circle_is_found_through_what_is_in_it_only() -> None:
    starts = {"a": ["b"], "b": ["c"], "c": ["b"], "own": ["own"]}
    assert [circle(starts, name) for name in ("a", "b", "own", "nobody")] == [[], ["b", "c", "b"], ["own", "own"], []]
