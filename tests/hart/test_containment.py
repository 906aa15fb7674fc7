"""Limits: what a plan, a spec and a command line may say, and what they come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.containment import DEFAULTS, LEAST, LIMITS, MOST, Containment, amount, containment_of, limits_of, shown
from hart.errors import FormatError
from hart.limits import GIB, MIB


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("memory", "512 MiB", 512 * MIB),
        ("memory", "512MiB", 512 * MIB),
        ("memory", "1.5 GiB", 1.5 * GIB),
        ("memory", 64 * MIB, 64 * MIB),
        ("memory", str(64 * MIB), 64 * MIB),
        ("core", 0, 0),
        ("cpu", 1.5, 1.5),
        ("cpu", "0.5", 0.5),
        ("pids", 100, 100),
        ("pids", "100", 100),
        ("nofile", 4096, 4096),
    ],
)
def test_an_amount_is_a_number_or_a_text_with_a_unit(name: str, value: object, number: float) -> None:
    assert amount(name, value, thing="it") == number


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("memory", 512, "not between"),  # a forgotten unit
        ("memory", "512 MB", "not a size"),
        ("memory", "lots", "not a size"),
        ("memory", "-1 GiB", "not a size"),
        ("memory", True, "not a size"),
        ("memory", None, "not a size"),
        ("memory", float("nan"), "not"),
        ("memory", float("inf"), "not"),
        ("pids", 0, "not between"),
        ("pids", 1.5, "not a whole number"),
        ("pids", "1 KiB", "not a whole number"),
        ("cpu", 0, "not between"),
        ("cpu", "2 cores", "not a number of cores"),
        ("cpu", [1], "not a number of cores"),
        ("nofile", 3, "not between"),
        ("disk", 3, "is not a limit"),
    ],
)
def test_what_is_no_amount_says_what_it_should_be(name: str, value: object, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        amount(name, value, thing="it")


@given(st.sampled_from(LIMITS), st.floats(0, 1))
def test_what_is_shown_is_read_again(name: str, share: float) -> None:
    number = LEAST[name] + share * (min(MOST[name], 1e12) - LEAST[name])
    number = number if name == "cpu" else float(int(number))
    again = amount(name, shown(name, number), thing="it") if name in ("memory", "core") else number
    assert again == pytest.approx(number, rel=1e-3)


def test_an_operator_goes_before_the_package_and_that_before_the_defaults() -> None:
    said = {"limits": {"memory": "64 MiB", "pids": 50}, "private_tmp": True}
    found = containment_of(said, {"memory": 128.0 * MIB}, new_privileges=None, thing="it")
    assert found == Containment(limits={**DEFAULTS, "memory": 128 * MIB, "pids": 50}, private_tmp=True)
    assert containment_of({}, {}, new_privileges=None, thing="it") == Containment()
    logs = containment_of({"logs": {"keep": "2 MiB", "rate": 0}}, {}, new_privileges=None, thing="it")
    assert logs == Containment(log_keep=2 * MIB, log_rate=0)


def test_privileges_are_given_up_unless_somebody_says_otherwise() -> None:
    assert not containment_of({}, {}, new_privileges=None, thing="it").new_privileges
    assert containment_of({"new_privileges": True}, {}, new_privileges=None, thing="it").new_privileges
    assert not containment_of({"new_privileges": True}, {}, new_privileges=False, thing="it").new_privileges
    assert containment_of({}, {}, new_privileges=True, thing="it").new_privileges


@pytest.mark.parametrize(
    "said", [{"private_tmp": 1}, {"new_privileges": "yes"}, {"limits": 3}, {"limits": {"x": 1}}, {"logs": {"memory": 2**30}}, {"logs": []}]
)
def test_a_service_toml_that_says_it_wrongly_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        containment_of(said, {}, new_privileges=None, thing="it")


def test_a_table_of_limits() -> None:
    assert limits_of({"memory": "1 GiB", "cpu": 2}, thing="it") == {"memory": GIB, "cpu": 2}
