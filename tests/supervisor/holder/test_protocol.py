"""Lines between supervisor and holder: what is accepted, and that nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.holder import protocol
from supervisor.holder.protocol import Held, StartRequest

HELD = Held(service="web", start_id="ab", pid=7, boot_id="b", start_time=9, started_at=1.5, running=True)
REQUEST = StartRequest(argv=["/bin/web", "-x"], env={"A": "b"}, cwd="/", log="/var/web.log")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_a_value_error(line: bytes) -> None:
    """Nothing else may come out of a decoder: the holder lives by it."""
    for read in (protocol.decode, protocol.decode_request):
        try:
            read(line)
        except ValueError:
            continue


def test_a_message_nested_too_deep_is_a_value_error() -> None:
    """The parser recurses; its limit is not ours to hit."""
    with pytest.raises(ValueError, match="nested too deep"):
        protocol.decode(b"[" * 200_000)


@given(st.dictionaries(st.sampled_from([*protocol.to_dict(HELD), *protocol.to_dict(REQUEST), "x"]), JSON))
def test_arbitrary_objects_are_a_value_or_a_value_error(value: dict[str, Any]) -> None:
    """A field of a wrong shape is refused with its name, never met later."""
    for read, whole in ((protocol.to_held, HELD), (protocol.to_start_request, REQUEST)):
        try:
            read(protocol.to_dict(whole) | value)
        except ValueError:
            continue


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(0, 2**31))
def test_a_start_request_survives_the_wire(text: str, number: int) -> None:
    """Encode then decode is the identity."""
    request = StartRequest(argv=["/x", text], env={"A": text}, cwd="/", log="/l", uid=number, gid=None, groups=[number])
    _, _, message = protocol.decode_request(protocol.encode_request(1, "start", {"start": protocol.to_dict(request)})[:-1])
    assert protocol.to_start_request(message["start"]) == request


@pytest.mark.parametrize(
    "bad", [{"notify": "run/n"}, {"notify_fd": 2}, {"notify_fd": 256}, {"notify_fd": True}, {"notify": "/n", "notify_fd": 3}]
)
def test_a_way_to_say_ready_has_its_shape(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="notify"):
        protocol.to_start_request(protocol.to_dict(REQUEST) | bad)


def test_a_file_name_that_is_not_unicode_survives_the_wire() -> None:
    """The file system's bytes travel as Python escapes them."""
    request = StartRequest(argv=["/bin/\udcff"], env={}, cwd="/", log="/l")
    assert protocol.to_start_request(json.loads(json.dumps(protocol.to_dict(request)))) == request


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("argv", []),
        ("argv", ["web"]),
        ("argv", ["/bin/web\0"]),
        ("argv", ["/bin/\ud800"]),
        ("env", {"A=B": "c"}),
        ("env", {"": "c"}),
        ("env", {"A": "\0"}),
        ("cwd", "relative"),
        ("log", "relative"),
        ("uid", -1),
        ("uid", True),
        ("groups", ["0"]),
        ("umask", 0o1000),
        ("other", 1),
    ],
)
def test_a_start_request_that_exec_could_not_take_is_refused(field: str, value: object) -> None:
    """What the kernel or the C library would choke on never gets as far as a fork."""
    with pytest.raises(ValueError, match=r"shape|field"):
        protocol.to_start_request(protocol.to_dict(REQUEST) | {field: value})


def test_a_held_of_a_newer_holder_is_read_without_its_news() -> None:
    """A supervisor of today attaches to a holder of tomorrow."""
    assert protocol.to_held(protocol.to_dict(HELD) | {"cgroup": "/x"}) == HELD


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".web", "-x", "web\n", "w" * 201])
def test_a_service_name_that_is_no_file_name_is_refused(name: str) -> None:
    """The name becomes `<name>.json`."""
    with pytest.raises(ValueError, match="service"):
        protocol.to_held(protocol.to_dict(HELD) | {"service": name})
