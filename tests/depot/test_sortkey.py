"""The order of versions as bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depot import sortkey
from hart.version import compare_versions

# Versions that meet each other's edges often: few characters, dots and digits above all, and some that only bytes could get wrong.
VERSIONS = st.text(st.sampled_from("0019.-ab~v\x00\x01ÿ€\U0001f600\ud800"), max_size=8) | st.text(max_size=12)


def sign(a: bytes, b: bytes) -> int:
    return (a > b) - (a < b)


@given(VERSIONS, VERSIONS)
def test_bytes_compare_as_the_versions_do(a: str, b: str) -> None:
    """The index must agree with `hart.version`, for every text."""
    assert sign(sortkey.version_bytes(a), sortkey.version_bytes(b)) == compare_versions(a, b)


@given(VERSIONS, st.integers(0, 10**14 - 1), VERSIONS, st.integers(0, 10**14 - 1))
def test_a_sort_key_orders_by_version_then_release_then_text(a: str, first: int, b: str, second: int) -> None:
    """Two texts of one version (1 and 1.0) are told apart, by their releases first."""
    one, two = f"{first:014}", f"{second:014}"
    keys = sign(sortkey.sort_key(a, one), sortkey.sort_key(b, two))
    texts = sign(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
    assert keys == (compare_versions(a, b) or sign(one.encode(), two.encode()) or texts)


@given(VERSIONS, VERSIONS)
def test_the_range_of_a_version_holds_its_keys_and_no_others(a: str, b: str) -> None:
    """The newest of one version is found between `version_bytes` and `after_version`."""
    key = sortkey.sort_key(b, "20260101000000")
    inside = sortkey.version_bytes(a) < key < sortkey.after_version(a)
    assert inside is (compare_versions(a, b) == 0)
