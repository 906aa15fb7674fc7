"""Package idents (hart/ident.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError
from hart.ident import Ident

ORIGINS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+~^@=,%-]{0,8}", fullmatch=True)
RELEASES = st.from_regex(r"[0-9]{14}", fullmatch=True)
FULL = st.builds(Ident, ORIGINS, NAMES, VERSIONS, RELEASES)
IDENTS = st.one_of(FULL, st.builds(Ident, ORIGINS, NAMES), st.builds(Ident, ORIGINS, NAMES, VERSIONS))


@given(IDENTS)
def test_parsing_what_was_printed_is_the_identity(ident: Ident) -> None:
    """An ident is its text."""
    assert Ident.parse(str(ident)) == ident
    assert Ident.parse(f" {ident}\n") == ident


@given(st.text(max_size=40))
def test_any_text_is_an_ident_or_refused(text: str) -> None:
    """What is accepted is safe in a path, a PATH and a terminal."""
    try:
        ident = Ident.parse(text)
    except FormatError:
        return
    assert str(ident).isascii()
    assert str(ident).isprintable()
    assert not set(str(ident)) & set(" \t\n:$`\\'\"|&;<>()*?[]{}!#")
    assert not {"", ".", ".."} & set(str(ident).split("/"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "core",
        "core/",
        "/redis",
        "core//1.0",
        "core/redis/",
        "core/redis/..",
        "core/redis/.",
        "core/redis/.hidden",
        "core/redis/1.0/latest",
        "core/redis/1.0/2020010100000",
        "core/redis/1.0/20200101000000/x",
        "Core/redis",
        "-core/redis",
        "../redis",
        "core/re dis",
        "core/redis/1:2",
        "core/redis/$(reboot)",
        "core/redis/1\x1b[2J",
        "core/redis/\uff11",
        "core/redis/1.0/\u0661" + "0" * 13,
        "c" * 256 + "/redis",
        "core/" + "r" * 256,
    ],
)
def test_a_malformed_ident_is_refused(text: str) -> None:
    """Too few or many parts, and parts that would not be one safe path component."""
    with pytest.raises(FormatError):
        Ident.parse(text)


@pytest.mark.parametrize("version", ["R16B03-1", "1.0.2r", "0.0~r131", "19.1.0.", "v1.2.3-master", "master", "2021-10-26", "1.2+git.5"])
def test_versions_in_use_are_accepted(version: str) -> None:
    """Odd versions of real packages."""
    assert Ident.parse(f"core/erlang/{version}").version == version


def test_a_release_needs_a_version() -> None:
    """The parts are known from left to right."""
    with pytest.raises(FormatError, match="needs a version"):
        Ident("core", "redis", None, "20200101000000")


def test_a_full_ident_can_be_demanded() -> None:
    """Where exactly one package is meant, less is refused."""
    assert Ident.parse_full("core/redis/1/20200101000000").is_full
    with pytest.raises(FormatError, match="fully qualified"):
        Ident.parse_full("core/redis/1")


@given(FULL, NAMES)
def test_an_ident_satisfies_every_part_of_itself_and_no_other_name(ident: Ident, other: str) -> None:
    """Missing parts of the wanted ident match anything."""
    assert ident.satisfies(ident)
    assert ident.satisfies(Ident(ident.origin, ident.name, ident.version))
    assert ident.satisfies(ident.family)
    assert ident.satisfies(Ident(ident.origin, other)) == (other == ident.name)
    assert not ident.family.satisfies(ident)


def test_the_archive_name_has_all_parts_and_the_target() -> None:
    """The name that depots and Habitat use."""
    ident = Ident.parse("core/redis/4.0.14/20200403012345")
    assert ident.archive_name("x86_64-linux") == "core-redis-4.0.14-20200403012345-x86_64-linux.hart"
