"""World: equal times run in the order in which they were asked for, and time never goes back."""

from tests.sim.world import Trace, World


def test_events_come_by_time_and_then_in_the_order_in_which_they_were_asked_for() -> None:
    """Two events of one instant never change places: a seed is a whole run."""
    world, seen = World(1), []
    world.at(2.0, seen.append, "late")
    for word in ("first", "second", "third"):
        world.at(1.0, seen.append, word)
    assert world.run(3.0) == 4
    assert seen == ["first", "second", "third", "late"]
    assert world.now == 3.0


def test_what_is_asked_for_in_the_past_happens_now() -> None:
    """No event sees a clock that went back."""
    world, seen = World(1), []
    world.run(5.0)
    world.at(1.0, lambda: seen.append(world.now))
    world.run(5.0)
    assert seen == [5.0]


def test_events_that_are_made_by_events_run_in_the_same_run() -> None:
    """`run(until)` leaves nothing behind that was due."""
    world, seen = World(1), []
    world.after(1.0, lambda: world.after(1.0, seen.append, "child"))
    world.run(2.0)
    assert seen == ["child"]


def test_a_trace_keeps_the_last_lines_and_the_hash_of_all() -> None:
    """Two traces that differ in a line long gone differ in their hash."""
    one, other = Trace(), Trace()
    one.add("a")
    other.add("b")
    for trace in (one, other):
        for number in range(100):
            trace.add(str(number))
    assert one.lines == other.lines
    assert one.hash != other.hash
