"""What `config apply` makes of the document that counts and of what is given."""

from __future__ import annotations

from typing import Any

import pytest

from hart.config import key_path
from hart.errors import ConflictError, FormatError, InputError, NotFoundError
from supervisor.config_view import why
from supervisor.configuration import Order, compose, without
from supervisor.groups import Document
from tests.supervisor.ringside import WEB

BEFORE = Document(4, 'port = 1 # ours\n[http]\nhost = "a"\n')


def made(raw: str, before: Document | None = BEFORE, current: int = 4, **order: Any) -> Document:
    return compose(Order(group=WEB, raw=raw.encode(), by="ann", why="so", **order), before, current)


def test_what_is_given_is_merged_into_what_is_there() -> None:
    """Demand 6: the second apply does not wipe the first."""
    document = made("[http]\nproxy = true\n")
    assert document.table(WEB) == {"port": 1, "http": {"host": "a", "proxy": True}}
    assert (document.version, document.by, document.why) == (5, "ann", "so")
    assert made("x = 1", None, 0).text == "x = 1", "the first one stays as it was written"


def test_the_whole_can_be_replaced() -> None:
    assert made("port = 2 # new\n", whole=True).text == "port = 2 # new\n"


@pytest.mark.parametrize(("unset", "left"), [(("port",), {"http": {"host": "a"}}), (("http.host",), {"port": 1}), (("http",), {"port": 1})])
def test_keys_can_be_taken_away_and_tables_do_not_stay_empty(unset: tuple[str, ...], left: dict[str, Any]) -> None:
    assert made("", unset=unset).table(WEB) == left


def test_a_key_that_is_not_there_cannot_be_taken_away() -> None:
    for key in ("nothing", "http.nothing", "port.deeper"):
        with pytest.raises(NotFoundError):
            made("", unset=(key,))
    with pytest.raises(NotFoundError):
        made("", None, 0, unset=("port",))


@pytest.mark.parametrize("raw", ["", "port = 1", '[http]\nhost = "a"\n'])
def test_what_is_not_new_is_no_new_version(raw: str) -> None:
    """Demand 15: the same apply twice changes nothing."""
    assert made(raw) is BEFORE


@pytest.mark.parametrize("raw", ["port = 1.0", "port = true", 'port = "1"'])
def test_a_value_of_another_kind_is_new(raw: str) -> None:
    """Python holds 1, 1.0 and true for equal; templates and schemas do not."""
    assert made(raw).version == 5


def test_a_chosen_version_must_be_newer_and_is_taken_as_it_is() -> None:
    assert made("port = 1", version=9).version == 9
    with pytest.raises(ConflictError, match="not newer than version 4") as caught:
        made("port = 2", version=4)
    assert caught.value.data == {"current": 4}


def test_who_expects_another_version_is_refused_with_the_one_that_counts() -> None:
    assert made("port = 2", expect=4).version == 5
    with pytest.raises(ConflictError, match="version 4 counts now") as caught:
        made("port = 2", expect=3)
    assert caught.value.data == {"current": 4}


def test_nothing_is_merged_into_what_cannot_be_read() -> None:
    broken = Document(4, "", trouble="cannot be read: it has no text")
    with pytest.raises(FormatError) as caught:
        made("port = 2", broken)
    assert "--replace" in caught.value.next
    assert made("port = 2", broken, whole=True).text == "port = 2"


@pytest.mark.parametrize("raw", ["port = ", "\udc00", "a = 1\na = 2"])
def test_what_is_no_toml_is_refused(raw: str) -> None:
    with pytest.raises((InputError, UnicodeEncodeError)):
        made(raw)


@pytest.mark.parametrize(
    ("key", "path"), [("a", ["a"]), ("a.b.c", ["a", "b", "c"]), ('a."odd key".b', ["a", "odd key", "b"]), ("1", ["1"])]
)
def test_keys_are_written_as_in_toml(key: str, path: list[str]) -> None:
    assert key_path(key) == path


@pytest.mark.parametrize("key", ["", ".", "a b", "a = 1", "a\nb", "a.", "[a]", "#", "a=1#", ".".join("a" * 99)])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InputError):
        key_path(key)


def test_a_secret_below_a_table_can_be_taken_away() -> None:
    assert without({"a": {"b": {"c": 1}}, "d": 2}, ("a.b.c",), WEB) == {"d": 2}


LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("package", {"port": 1, "http": {"host": "a", "token": "x"}}),
    ("environment", {}),
    ("user.toml", {"port": 2, "http": {"token": "y"}}),
    ("version 3 of web.default", {"port": 3}),
]
CFG = {"port": 3, "http": {"host": "a", "token": "y"}}


def test_why_shows_what_each_layer_says_and_which_one_wins() -> None:
    rows = why("port", LAYERS, CFG, set())
    assert [(row["layer"], row["value"], row["wins"]) for row in rows] == [
        ("version 3 of web.default", 3, True),
        ("user.toml", 2, False),
        ("environment", None, False),
        ("package", 1, False),
    ]


def test_why_hides_what_is_secret_in_every_layer() -> None:
    for key in ("http.token", "http"):
        rows = why(key, LAYERS, CFG, {"http.token"})
        assert "'x'" not in str(rows)
        assert "'y'" not in str(rows)
        assert "***" in str(rows)
    assert why("http.token", LAYERS, CFG, {"http"})[0]["value"] == "***"


def test_why_of_a_table_has_every_layer_that_gives_to_it() -> None:
    assert [row["layer"] for row in why("http", LAYERS, CFG, set()) if row["wins"]] == ["user.toml", "package"]


def test_why_of_a_misspelt_key_says_what_may_be_meant() -> None:
    with pytest.raises(NotFoundError) as caught:
        why("http.hots", LAYERS, CFG, set())
    assert "http.host" in caught.value.next
