"""Named sets of the ring's times and numbers, each row with its reason; nobody tunes a ring by single knobs.

Times are seconds. The starting points are memberlist's published defaults; where a row differs from them, its comment says why.
What is made of these numbers is in formulas.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One network's worth of patience."""

    name: str
    period_s: float  # one probe of one member
    ack_timeout_s: float  # of a direct ping, before others are asked to try
    indirect: int  # members that are asked
    gossip_s: float  # between rounds of gossip, while there is news
    gossip_fanout: int  # members that one round goes to
    suspicion_base: float  # shortest suspicion = period x (base + log x log10 members)
    suspicion_log: float
    suspicion_max_factor: float  # longest suspicion = factor x shortest
    confirmations: int  # further accusers that bring the longest down to the shortest
    retransmit: int  # sends of one item by one member = retransmit x ceil(log10(members + 1))
    push_pull_s: float  # between comparisons of everything with one random member; grows with the ring
    retry_dead_s: float  # between pings of one random dead member
    gossip_to_dead_s: float  # the lately dead still hear gossip, so that they can object
    forget_s: float  # a dead member and its facts
    forget_departed_s: float  # one that said goodbye
    awareness_max: int  # of the local health score
    lifeguard: bool = True  # off only to measure what it is worth


LAN: Final = Preset(
    name="lan",
    period_s=1.0,  # a crash is probed within the second, at two packets a second
    ack_timeout_s=0.5,  # above any round trip of a data centre and most scheduling delays; leaves half a period for the others
    indirect=3,  # at 5 % loss a false suspicion in 1,600 probes
    gossip_s=0.2,  # 1,024 members in five rounds
    gossip_fanout=3,
    suspicion_base=2.0,  # a refutation takes one period to be asked for and one to spread;
    suspicion_log=0.6,  # memberlist waits 4 x log10: 12 s at 1,000. Confirmations are sought actively here, so 3.8 s do
    suspicion_max_factor=6.0,  # an accuser whom nobody confirms waits longer than most stalls last
    confirmations=3,
    retransmit=8,  # 32 at 1,000 members, 16 at 25: at 25 % loss chance leaves somebody out once in thousands of times, not once in sixteen
    push_pull_s=30.0,
    retry_dead_s=10.0,  # a healed partition meets within 10 s / members, and each member pays a packet in ten periods
    gossip_to_dead_s=30.0,
    forget_s=72 * HOUR_S,  # Habitat's three days: a host that is repaired over a weekend is still known
    forget_departed_s=HOUR_S,  # long enough that no laggard brings it back; what it said is over
    awareness_max=8,  # period and timeouts at most nine times as long
)

WAN: Final = Preset(
    name="wan",
    period_s=5.0,
    ack_timeout_s=3.0,  # round trips of 300 ms with retries of radio links and full queues
    indirect=3,
    gossip_s=0.5,
    gossip_fanout=4,
    suspicion_base=3.0,  # a stall of a wide line lasts longer than one of a host
    suspicion_log=0.6,
    suspicion_max_factor=6.0,
    confirmations=3,
    retransmit=8,
    push_pull_s=60.0,
    retry_dead_s=30.0,
    gossip_to_dead_s=60.0,
    forget_s=72 * HOUR_S,
    forget_departed_s=HOUR_S,
    awareness_max=8,
)

LOCAL: Final = Preset(
    name="local",
    period_s=1.0,
    ack_timeout_s=0.2,  # loopback answers in microseconds; a busy machine in tens of milliseconds
    indirect=1,  # every path is the same path
    gossip_s=0.1,
    gossip_fanout=3,
    suspicion_base=2.0,
    suspicion_log=0.6,
    suspicion_max_factor=6.0,
    confirmations=3,
    retransmit=8,
    push_pull_s=15.0,
    retry_dead_s=5.0,
    gossip_to_dead_s=15.0,
    forget_s=72 * HOUR_S,
    forget_departed_s=HOUR_S,
    awareness_max=8,
)

PRESETS: Final = {preset.name: preset for preset in (LAN, WAN, LOCAL)}
