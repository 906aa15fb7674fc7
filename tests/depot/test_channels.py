"""What may be done with channels."""

from __future__ import annotations

import pytest

from depot import channels
from hart.errors import DeniedError, FormatError, UsageError


@pytest.mark.parametrize("name", ["stable", "LTS-2024", "rc.1", "bldr-123", "a_b"])
def test_a_channel_name_is_letters_digits_and_three_signs(name: str) -> None:
    """It is one component of a path."""
    assert channels.check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "_latest", "a/b", "a b", "ü", "x" * 256, "a\n"])
def test_what_could_be_misread_is_no_channel_name(name: str) -> None:
    """Nothing that a path, a shell or a table reads otherwise."""
    with pytest.raises(FormatError):
        channels.check_name(name)


def test_the_two_permanent_channels_cannot_be_deleted() -> None:
    """Every origin has them."""
    for name in channels.PERMANENT:
        with pytest.raises(DeniedError):
            channels.check_delete(name)
    channels.check_delete("rc")


def test_nothing_is_demoted_from_unstable() -> None:
    """It is the record of what was published."""
    with pytest.raises(DeniedError):
        channels.check_demote("unstable")
    channels.check_demote("stable")


@pytest.mark.parametrize(("source", "target"), [("rc", "rc"), ("stable", "unstable")])
def test_a_channel_is_not_promoted_to_itself_nor_to_unstable(source: str, target: str) -> None:
    """Both would mean nothing."""
    with pytest.raises(UsageError):
        channels.check_promote_all(source, target)
    channels.check_promote_all("unstable", "stable")


@pytest.mark.parametrize(("source", "target"), [("rc", "rc"), ("unstable", "rc"), ("rc", "unstable")])
def test_a_channel_is_not_demoted_by_itself_nor_by_unstable(source: str, target: str) -> None:
    """Taking out all that is in unstable would empty the target."""
    with pytest.raises(UsageError):
        channels.check_demote_all(source, target)
    channels.check_demote_all("rc", "stable")


def test_a_listing_is_in_byte_order_and_hides_sandboxes() -> None:
    """As the API's databases sort."""
    names = ["stable", "bar", "bldr-1", "LTS-2024"]
    assert channels.listed(names, sandbox=False) == ["LTS-2024", "bar", "stable"]
    assert channels.listed(names, sandbox=True) == ["LTS-2024", "bar", "bldr-1", "stable"]
