"""Configuration documents of groups, as the ring has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError, InputError, LimitError, NotFoundError
from hart.limits import GROUP_CONFIG_MAX, RING_CONFIG_KEPT, RING_CONFIG_MAX
from hart.wire import encode
from supervisor.groups import Document, Groups, key_of, parse_document, read
from tests.supervisor.ringside import PEER, WEB, config, put, shelf


def test_the_newest_document_counts_and_the_last_ones_are_kept() -> None:
    records = shelf()
    groups = Groups(records)
    assert (groups.current(WEB), groups.version(WEB), groups.versions(WEB), groups.names()) == (None, 0, [], [])
    for number in range(1, RING_CONFIG_KEPT + 4):
        config(records, f"n = {number}\n")
    current = groups.current(WEB)
    assert current == Document(14, "n = 14\n", "ann@h1", 1.5, "because")
    assert current.table(WEB) == {"n": 14}
    assert groups.versions(WEB) == list(range(4, 15))
    assert groups.at(WEB, 5).text == "n = 5\n"
    assert groups.names() == ["web.default"]
    with pytest.raises(NotFoundError, match="kept: 4, 5"):
        groups.at(WEB, 3)


def test_a_document_survives_the_ring() -> None:
    records = shelf()
    put(records, key_of(WEB), Document(1, "a = 1\n", by="ann", at=7.0, why="x\ny").body())
    assert Groups(records).current(WEB) == Document(1, "a = 1\n", "ann", 7.0, "x y")


def test_the_largest_text_fits_a_record_with_its_envelope() -> None:
    document = Document(1, "#" * GROUP_CONFIG_MAX, by="ü" * 300, at=1e10, why="ü" * 900)
    assert len(document.body()) <= RING_CONFIG_MAX


@pytest.mark.parametrize("body", [b"", b"\xc1", encode(7), encode({}), encode({"text": 7}), encode({"text": b"a = 1"})])
def test_a_body_of_another_kind_is_a_document_that_nobody_can_take(body: bytes) -> None:
    records = shelf()
    put(records, key_of(WEB), body)
    document = Groups(records).current(WEB)
    assert document is not None
    assert document.trouble
    with pytest.raises(FormatError, match="cannot be read"):
        document.table(WEB)


@given(st.binary(max_size=100))
def test_any_body_is_read_without_an_error(body: bytes) -> None:
    records = shelf()
    document = read(put(records, key_of(WEB), body))
    with pytest.raises(InputError):
        document.table(WEB)


def test_what_else_is_wrong_with_an_envelope_is_left_out() -> None:
    document = read(put(shelf(), key_of(WEB), encode({"text": "", "by": 7, "at": "never", "why": ["x"]})))
    assert document == Document(1, "")


def test_a_withdrawn_document_leaves_a_number_behind() -> None:
    records = shelf()
    config(records, "a = 1\n")
    put(records, key_of(WEB), None)
    groups = Groups(records)
    assert (groups.current(WEB), groups.version(WEB), groups.versions(WEB), groups.candidates(WEB)) == (None, 2, [], [None])


def test_of_two_documents_with_one_number_the_one_that_counts_is_the_version() -> None:
    """Written on both sides of a partition."""
    ours, theirs = shelf(), shelf()
    config(ours, "a = 1\n")
    record = put(theirs, key_of(WEB), Document(1, "a = 2\n").body(), author=PEER)
    ours.merge(record)
    groups = Groups(ours)
    assert groups.versions(WEB) == [1]
    assert groups.at(WEB, 1) == groups.current(WEB)


def numbers(groups: Groups, least: int = 0) -> list[int | None]:
    return [None if document is None else document.version for document in groups.candidates(WEB, least)]


def test_what_a_member_may_run_with() -> None:
    """The kept ones, newest first; none at all only where nothing was before them; while one is in force, none that is older."""
    records = shelf()
    groups = Groups(records)
    assert numbers(groups) == [None]
    for number in (3, 4, 7):
        config(records, "", revision=number)
    assert numbers(groups) == [7, 4, 3, None]
    assert numbers(groups, 4) == [7, 4]
    assert numbers(groups, 99) == [7]
    for _ in range(RING_CONFIG_KEPT):
        config(records, "")
    assert numbers(groups) == list(range(18, 7, -1))


@pytest.mark.parametrize(
    ("version", "raw", "error"),
    [
        (0, b"", FormatError),
        (1 << 63, b"", FormatError),
        (1, b"\xff", FormatError),
        (1, b"a = ", FormatError),
        (1, b"#" * (GROUP_CONFIG_MAX + 1), LimitError),
    ],
)
def test_a_document_is_checked_before_it_is_one(version: int, raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_document(WEB, version, raw)
