"""The ring's formulas, tabulated."""

import pytest

from supervisor.gossip.formulas import (
    confirmations_wanted,
    nack_s,
    push_pull_scale,
    retransmit_limit,
    stride,
    suspicion_s,
    suspicion_s_max,
    suspicion_s_min,
)
from supervisor.gossip.presets import LAN, LOCAL, PRESETS, WAN, Preset


@pytest.mark.parametrize(
    ("n", "preset", "shortest", "longest"),
    [
        (1, LAN, 2.0, 4.0),
        (2, LAN, 2.18, 4.36),
        (3, LAN, 2.29, 13.7),
        (10, LAN, 2.6, 15.6),
        (1024, LAN, 3.81, 22.8),
        (100, WAN, 21.0, 126.0),
    ],
)
def test_a_suspicion_grows_with_the_logarithm_of_the_ring(n: int, preset: Preset, shortest: float, longest: float) -> None:
    assert suspicion_s_min(n, preset) == pytest.approx(shortest, abs=0.01)
    assert suspicion_s_max(n, preset) == pytest.approx(longest, abs=0.1)


@pytest.mark.parametrize(
    ("c", "k", "lasts"), [(0, 3, 24.0), (1, 3, 14.0), (2, 3, 8.15), (3, 3, 4.0), (9, 3, 4.0), (0, 1, 24.0), (1, 1, 4.0), (0, 0, 24.0)]
)
def test_each_confirmation_shortens_a_suspicion_less_than_the_one_before(c: int, k: int, lasts: float) -> None:
    assert suspicion_s(c, k, 4.0, 24.0) == pytest.approx(lasts, abs=0.01)


@pytest.mark.parametrize(("n", "wanted"), [(1, 0), (2, 0), (3, 1), (4, 2), (5, 3), (1024, 3)])
def test_confirmations_are_wanted_of_those_who_can_give_them(n: int, wanted: int) -> None:
    """The suspect and its first accuser do not count."""
    assert confirmations_wanted(n, 3) == wanted


@pytest.mark.parametrize(("n", "sends"), [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (1000, 16), (1024, 16), (10_000, 20)])
def test_an_item_is_sent_as_often_as_the_ring_has_digits(n: int, sends: int) -> None:
    assert retransmit_limit(n, 4) == sends


@pytest.mark.parametrize(("n", "scale"), [(1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (1024, 6), (10_000, 10)])
def test_comparisons_get_rarer_with_the_doublings_of_the_ring(n: int, scale: int) -> None:
    assert push_pull_scale(n) == scale


@pytest.mark.parametrize("n", [2, 3, 5, 64, 1024])
def test_in_every_epoch_everybody_is_probed_once_and_nobody_probes_itself(n: int) -> None:
    for epoch in range(1, 200):
        step = stride(epoch, n)
        assert 1 <= step < n
        assert len({(place + step) % n for place in range(n)}) == n


def test_strides_are_spread_over_the_ring() -> None:
    """In as many epochs as members, a member probes most of the others; a far epoch is as good as a near one."""
    for first in (1, 10**12):
        assert len({stride(epoch, 64) for epoch in range(first, first + 63)}) > 32


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_a_relay_says_that_it_heard_nothing_before_the_askers_period_ends(preset: Preset) -> None:
    assert preset.ack_timeout_s + nack_s(preset) < preset.period_s


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_presets_are_named_and_leave_time_to_object(preset: Preset) -> None:
    """A suspect must be able to hear of it and answer: two rounds of gossip and one period."""
    assert PRESETS[preset.name] is preset
    assert suspicion_s_min(2, preset) > preset.period_s + 2 * preset.gossip_s
    assert preset.forget_departed_s < preset.forget_s
    assert preset.retry_dead_s < preset.push_pull_s
    assert LOCAL.gossip_s < LAN.gossip_s < WAN.gossip_s
