"""The digest of a set that changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.gossip.digest import BUCKETS, Sum, bucket_of, hash16

ENTRIES = st.lists(st.binary(min_size=1, max_size=8), unique=True, max_size=30)


def summed(entries: list[bytes]) -> Sum:
    made = Sum()
    for entry in entries:
        made.add(bucket_of(hash16(entry)), hash16(entry))
    return made


@given(ENTRIES, st.data())
def test_a_digest_is_of_the_set_and_not_of_its_history(entries: list[bytes], data: st.DataObject) -> None:
    """Other order, and entries that came and went: the same digests."""
    came_and_went = data.draw(st.lists(st.sampled_from(entries), unique=True)) if entries else []
    other = summed(data.draw(st.permutations(entries)))
    for entry in came_and_went:
        other.remove(bucket_of(hash16(entry)), hash16(entry))
    for entry in reversed(came_and_went):
        other.add(bucket_of(hash16(entry)), hash16(entry))
    one = summed(entries)
    assert one.digest == other.digest
    assert one.bucket_sums() == other.bucket_sums()


@given(ENTRIES, ENTRIES)
def test_sets_that_differ_have_digests_that_differ_in_their_buckets_only(one: list[bytes], other: list[bytes]) -> None:
    first, second = summed(one), summed(other)
    differing = {bucket_of(hash16(entry)) for entry in set(one) ^ set(other)}
    assert (first.digest == second.digest) == (set(one) == set(other))
    sums = zip(first.bucket_sums(), second.bucket_sums(), strict=True)
    assert {bucket for bucket, (left, right) in enumerate(sums) if left != right} == differing


def test_the_empty_set_is_zeros() -> None:
    assert Sum().digest == bytes(16)
    assert Sum().bucket_sums() == [bytes(16)] * BUCKETS


def test_parts_do_not_run_into_each_other() -> None:
    assert len({hash16(b"ab", b"c"), hash16(b"a", b"bc"), hash16(b"abc"), hash16(b"abc", b"")}) == 4
