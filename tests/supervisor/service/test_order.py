"""Who starts and stops before whom."""

from __future__ import annotations

import json

import pytest

from hart.errors import ConflictError
from supervisor.service.events import State
from supervisor.service.order import ON_THE_WAY, Standing, circle, missing, refuse_circle, start_order, stop_order
from supervisor.service.spec import ServiceSpec


def spec(name: str, *binds: str, after: tuple[str, ...] = (), requires_ready: tuple[str, ...] = ()) -> ServiceSpec:
    """A service called after its package."""
    table = {"binds": [f"{bind}:{bind}.default" for bind in binds], "after": after, "requires_ready": requires_ready}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    return ServiceSpec.parse(f'ident = "t/{name}"\n{text}', thing=name)


def stands(state: State, *, wanted: bool = True, serving: bool = False, job: bool = False, done_well: bool = False) -> Standing:
    return Standing(state=state, wanted=wanted, serving=serving, job=job, done_well=done_well)


def test_consumers_are_stopped_before_what_feeds_them() -> None:
    def spec(name: str, *binds: str) -> ServiceSpec:
        text = f'ident = "t/{name}"\nbinds = {json.dumps([f"{bind}:{bind}.default" for bind in binds])}\n'
        return ServiceSpec.parse(text, thing=name)

    specs = {name: spec(name, *binds) for name, binds in {"lb": ["web"], "web": ["db", "redis"], "db": [], "redis": ["db"]}.items()}
    assert stop_order(specs) == [["lb"], ["web"], ["redis"], ["db"]]
    circle = {"a": spec("a", "b"), "b": spec("b", "a"), "c": spec("c", "a")}
    assert stop_order(circle) == [["c"], ["a", "b"]]


def test_later_ones_are_stopped_first_and_started_last() -> None:
    specs = {"web": spec("web", after=("db",)), "db": spec("db", requires_ready=("disk",)), "disk": spec("disk"), "lb": spec("lb", "web")}
    assert stop_order(specs) == [["lb"], ["web"], ["db"], ["disk"]]
    assert start_order(specs) == ["disk", "db", "web", "lb"]


@pytest.mark.parametrize("state", State)
def test_after_waits_for_what_is_on_its_way_up_and_for_nothing_else(state: State) -> None:
    """One that has failed is waited for by those that need it, and not by those that only come after it."""
    web = spec("web", after=("db",))
    assert (missing(web, {"db": stands(state)}) is not None) == (state in ON_THE_WAY)
    assert missing(web, {"db": stands(state, wanted=False)}) is None
    assert missing(web, {"db": stands(state, job=True)}) is None
    assert missing(web, {}) is None


@pytest.mark.parametrize(
    ("db", "why"),
    [
        (None, "db, which is not loaded"),
        (stands(State.STARTING), "db to be ready: it is starting"),
        (stands(State.READY), "db to be ready: it is ready, and not healthy"),
        (stands(State.READY, serving=True), None),
        (stands(State.DOWN, wanted=False), "db to be ready: it is down"),
        (stands(State.DOWN, job=True), "a run of db that ends well"),
        (stands(State.DOWN, job=True, done_well=True), None),
    ],
)
def test_requires_ready_is_a_need(db: Standing | None, why: str | None) -> None:
    assert missing(spec("web", requires_ready=("db",)), {"db": db} if db is not None else {}) == why


def test_a_circle_is_refused_and_named() -> None:
    specs = {
        "a": spec("a", after=("b", "x")),
        "b": spec("b", requires_ready=("c",)),
        "c": spec("c", after=("a",)),
        "x": spec("x", after=("c",)),
    }
    assert circle({**specs, "c": spec("c")}, "a") == []
    with pytest.raises(ConflictError, match=r"service a: would wait for itself: a after (b after|x after) "):
        refuse_circle(specs, "a")
    with pytest.raises(ConflictError, match="itself: own after own"):
        refuse_circle({"own": spec("own", after=("own",))}, "own")
    assert circle({"d": spec("d", after=("a",)), **specs}, "d") == [], "it waits for a circle that it is not in"
