"""Environment variables that packages hand on."""

from __future__ import annotations

from builder.layering import layer, prepend, separator_of


def test_the_last_primitive_wins_and_aggregates_add_up() -> None:
    """Dependencies in plan order, the package's own values last and first in lists."""
    merged = layer([{"A": "1", "GOPATH": "/x"}, {"A": "2", "GOPATH": "/y"}], {"B": "own"}, {"GOPATH": "/own:/x", "C": "c"}, settings={})
    assert merged == {"A": "2", "GOPATH": "/own:/x:/y", "B": "own", "C": "c"}


def test_a_plan_can_say_what_a_variable_is() -> None:
    """HAB_ENV_<NAME>_TYPE and _SEPARATOR."""
    settings = {"HAB_ENV_A_TYPE": "aggregate", "HAB_ENV_A_SEPARATOR": ";", "HAB_ENV_GOPATH_TYPE": "primitive"}
    assert separator_of("A", settings) == ";"
    assert separator_of("GOPATH", settings) is None
    assert separator_of("CLASSPATH", {}) == ";"
    assert layer([{"A": "1"}, {"A": "2"}], {}, {}, settings) == {"A": "2;1"}


def test_prepending_keeps_each_entry_once() -> None:
    """At its first place, without empty entries."""
    assert prepend("/b:/a", "/a::/c", ":") == "/b:/a:/c"
