"""What packages say about readiness and health, and what answers mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError
from hart.limits import PROBE_INTERVAL_MIN_S
from hart.toml import loads
from supervisor.service.events import Check
from supervisor.service.health import (
    Kind,
    Probe,
    first_pause_s,
    hook_check,
    http_address,
    http_check,
    pause_s,
    probes_of,
    tcp_address,
)

NOTHING: frozenset[str] = frozenset()


def test_service_toml_goes_before_hooks() -> None:
    text = '[ready]\ntcp = "127.0.0.1:1"\ndeadline_s = 5\n[health]\nhttp = "http://x/"\nfailures = 2\ninterval_s = 3\n'
    probes = probes_of(loads(text, thing="it"), frozenset({"ready", "health-check"}), interval_s=None, thing="it")
    assert probes.ready is not None
    assert probes.health is not None
    assert (probes.ready.kind, probes.ready_deadline_s) == (Kind.TCP, 5)
    assert (probes.health.kind, probes.health.interval_s, probes.health_failures) == (Kind.HTTP, 3, 2)


def test_hooks_are_probes_too_and_the_operator_sets_the_interval() -> None:
    probes = probes_of({}, frozenset({"ready", "health-check"}), interval_s=7, thing="it")
    assert probes.ready is not None
    assert probes.health is not None
    assert (probes.ready.kind, probes.health.kind, probes.health.interval_s) == (Kind.HOOK, Kind.HOOK, 7)
    assert probes_of({}, NOTHING, interval_s=7, thing="it").health is None


def test_a_service_may_say_itself_that_it_is_ready() -> None:
    """Then nobody asks, and the ready hook is not run either."""
    hooks = frozenset({"ready"})
    told = probes_of(loads("[ready]\nnotify = true\ndeadline_s = 5\n", thing="it"), hooks, interval_s=None, thing="it")
    assert (told.ready_told, told.notify, told.notify_fd, told.ready_deadline_s) == (True, True, None, 5)
    assert told.awaited == "no READY=1 on its notify socket"
    newline = probes_of(loads("[ready]\nfd = 3\n", thing="it"), hooks, interval_s=None, thing="it")
    assert (newline.ready_told, newline.notify, newline.notify_fd) == (True, False, 3)
    assert newline.awaited == "no newline on its descriptor 3"
    asked = probes_of({}, hooks, interval_s=None, thing="it")
    assert (asked.ready_told, asked.notify, asked.notify_fd, asked.awaited) == (False, False, None, "")


@pytest.mark.parametrize(
    ("table", "cause"),
    [
        ("[ready]\nnotify = false", "notify is not true"),
        ("[ready]\nnotify = 1", "notify is not true"),
        ("[ready]\nfd = 2", "between 3 and 255"),
        ("[ready]\nfd = true", "between 3 and 255"),
        ("[ready]\nfd = '3'", "between 3 and 255"),
        ("[ready]\nfd = 3\nnotify = true", "exactly one of http, tcp, exec, notify, fd"),
        ("[ready]\nfd = 3\ntcp = 'x:1'", "exactly one of http, tcp, exec, notify, fd"),
        ("[ready]\ndeadline_s = 3", "exactly one of http, tcp, exec, notify, fd"),
        ("[health]\nnotify = true", "exactly one of http, tcp, exec$"),
    ],
)
def test_what_is_no_way_to_say_it_is_refused(table: str, cause: str) -> None:
    with pytest.raises(FormatError, match=cause):
        probes_of(loads(table, thing="it"), NOTHING, interval_s=None, thing="it")


def test_thresholds_and_splay_have_defaults_and_the_splay_is_a_part_of_the_interval() -> None:
    """The operator's interval is the bound then, not the package's."""
    text = '[health]\ntcp = "127.0.0.1:1"\ninterval_s = 20\n'
    plain = probes_of(loads(text, thing="it"), NOTHING, interval_s=None, thing="it")
    assert plain.health is not None
    assert (plain.health_successes, plain.health.splay_s) == (1, 20)
    said = probes_of(loads(text + "successes = 2\nsplay_s = 15\n", thing="it"), NOTHING, interval_s=None, thing="it")
    assert said.health is not None
    assert (said.health_successes, said.health.splay_s) == (2, 15)
    shorter = probes_of(loads(text + "splay_s = 15\n", thing="it"), NOTHING, interval_s=4, thing="it")
    assert shorter.health is not None
    assert (shorter.health.interval_s, shorter.health.splay_s) == (4, 4)
    hook = probes_of({}, frozenset({"health-check"}), interval_s=None, thing="it")
    assert hook.health is not None
    assert hook.health.splay_s == hook.health.interval_s == 30


@pytest.mark.parametrize(
    ("keys", "cause"),
    [
        ("failures = 0", "failures is not a number, at least 1"),
        ("failures = 2.5", "failures is not a whole number"),
        ("successes = true", "successes is not a number, at least 1"),
        ("splay_s = -1", "splay_s is not a number, at least 0"),
        ("timeout_s = 0", "timeout_s is not a number above zero"),
    ],
)
def test_a_number_of_a_health_check_that_makes_no_sense_is_refused(keys: str, cause: str) -> None:
    with pytest.raises(FormatError, match=cause):
        probes_of(loads(f'[health]\ntcp = "127.0.0.1:1"\n{keys}\n', thing="it"), NOTHING, interval_s=None, thing="it")


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1e5), st.floats(0.1, 1e5))
def test_the_pause_after_the_first_good_check_is_a_random_part_of_the_splay(chance: float, splay_s: float, interval_s: float) -> None:
    probe = Probe(kind=Kind.TCP, what="x", interval_s=interval_s, timeout_s=1, splay_s=min(splay_s, interval_s))
    assert PROBE_INTERVAL_MIN_S <= first_pause_s(probe, chance) <= interval_s
    assert first_pause_s(replace(probe, splay_s=0.0), chance) == interval_s


@pytest.mark.parametrize(
    "text", ["[ready]\n", "ready = 1", '[ready]\nhttp = "a"\ntcp = "b"', "[health]\nexec = 1", '[health]\nexec = "x"\ninterval_s = 0']
)
def test_a_table_has_exactly_one_way_to_ask(text: str) -> None:
    with pytest.raises(FormatError):
        probes_of(loads(text, thing="it"), NOTHING, interval_s=None, thing="it")


@pytest.mark.parametrize(
    ("line", "check"),
    [
        (b"HTTP/1.1 200 OK\r\n", Check.OK),
        (b"HTTP/1.0 204 \r\n", Check.OK),
        (b"HTTP/1.1 302 Found\r\n", Check.CRITICAL),
        (b"HTTP/1.1 503 no\r\n", Check.CRITICAL),
        (b"", Check.UNKNOWN),
        (b"SSH-2.0-x\r\n", Check.UNKNOWN),
        (b"HTTP/1.1 2000\r\n", Check.UNKNOWN),
    ],
)
def test_only_2xx_is_good_and_garbage_is_unknown(line: bytes, check: Check) -> None:
    assert http_check(line)[0] is check


@given(st.binary(max_size=60))
def test_any_answer_is_good_only_with_a_2xx_status(line: bytes) -> None:
    check, _ = http_check(line)
    assert check is not Check.OK or line.split()[1].startswith(b"2")


@pytest.mark.parametrize(
    ("code", "check"),
    [(0, Check.OK), (1, Check.WARNING), (2, Check.CRITICAL), (3, Check.UNKNOWN), (9, Check.UNKNOWN), (None, Check.UNKNOWN)],
)
def test_exit_codes_of_a_health_check_are_habitats(code: int | None, check: Check) -> None:
    assert hook_check(code) is check


def test_addresses() -> None:
    assert http_address("http://127.0.0.1:80/a?b=1") == http_address(" http://127.0.0.1:80/a?b=1 ")
    assert (http_address("http://[::1]:8/").host, http_address("http://h").port) == ("::1", 80)
    assert (tcp_address("[::1]:8").host, tcp_address("h:8").port) == ("::1", 8)
    for bad in ("https://x/", "http://", "http://h/a b", "http://h:99999/", "x", "http://h/\r\nX: y"):
        with pytest.raises(FormatError):
            http_address(bad)
    for bad in ("h", "h:", ":1", "h:0", "h:65536", "h:x"):
        with pytest.raises(FormatError):
            tcp_address(bad)


def test_a_bad_result_is_looked_at_again_soon() -> None:
    probe = Probe(kind=Kind.TCP, what="x", interval_s=30, timeout_s=1)
    assert pause_s(probe, Check.OK, starting=False) == 30
    assert pause_s(probe, Check.CRITICAL, starting=False) == 5
    assert pause_s(probe, Check.UNKNOWN, starting=True) == 0.5
    assert pause_s(probe, Check.OK, starting=True) == 0.5, "good, but too soon after its start to count"
    greedy = Probe(kind=Kind.TCP, what="x", interval_s=1e-9, timeout_s=1)
    assert all(pause_s(greedy, check, starting=False) >= PROBE_INTERVAL_MIN_S for check in Check), "no package keeps a core busy"
