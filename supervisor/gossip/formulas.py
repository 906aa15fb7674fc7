"""The ring's formulas: numbers in, numbers out, each tabulated in its test. Times are seconds, `n` is the number of members alive.

Sources: SWIM (Das, Gupta, Motivala 2002) for dissemination in O(log n) sends; Lifeguard (arXiv 1707.00788) 4 for the suspicion that
shrinks with log(C+1)/log(K+1); memberlist for the growth of the push/pull interval. Where they are used is said in detector.py,
suspicion.py, news.py and node.py.
"""

from __future__ import annotations

from math import ceil, log, log2, log10
from typing import Final

from supervisor.gossip.presets import Preset

ALONE_FACTOR: Final = 2.0  # of the shortest suspicion, where nobody else could confirm or deny it
PUSH_PULL_THRESHOLD: Final = 32  # members from which the interval grows
NACK_SHARE: Final = 0.8  # of the time that a relay has: what it has not heard by then it says, so that the asker still hears it
_GOLDEN: Final = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: multiples of it are spread evenly
_MASK: Final = (1 << 64) - 1


def suspicion_s_min(n: int, preset: Preset) -> float:
    """The shortest that a suspicion lasts: long enough for the suspect to hear of it and for its answer to reach everyone."""
    return preset.period_s * (preset.suspicion_base + preset.suspicion_log * log10(max(n, 1)))


def suspicion_s_max(n: int, preset: Preset) -> float:
    """How long it lasts while nobody confirms it; of two members neither has anybody to ask."""
    return suspicion_s_min(n, preset) * (preset.suspicion_max_factor if n > 2 else ALONE_FACTOR)


def confirmations_wanted(n: int, k: int) -> int:
    """Further accusers that a suspicion can hope for: neither the suspect nor its first accuser counts. Zero only when there are none."""
    return max(0, min(k, n - 2))


def suspicion_s(c: int, k: int, min_s: float, max_s: float) -> float:
    """How long a suspicion lasts that `c` further members have confirmed, of `k` that are wanted."""
    if k <= 0:
        return max_s
    if c >= k:
        return min_s
    return max(min_s, max_s - log(c + 1) / log(k + 1) * (max_s - min_s))


def retransmit_limit(n: int, mult: int) -> int:
    """How often one member sends one item at most."""
    return mult * ceil(log10(n + 1))


def push_pull_scale(n: int) -> int:
    """By how much the comparisons of everything are rarer in a large ring: each costs more and gossip misses no more."""
    return 1 if n <= PUSH_PULL_THRESHOLD else ceil(log2(n) - log2(PUSH_PULL_THRESHOLD)) + 1


def stride(epoch: int, n: int) -> int:
    """How far from itself each member probes in `epoch`, in 1 … n - 1, for a ring of at least two: with one order of members and one stride
    everybody is probed exactly once."""
    return ((epoch * _GOLDEN & _MASK) >> 32) % (n - 1) + 1


def nack_s(preset: Preset) -> float:
    """After which a relay says that it has heard nothing: early enough for the asker, whose period goes on."""
    return NACK_SHARE * min(preset.ack_timeout_s, preset.period_s - preset.ack_timeout_s)
