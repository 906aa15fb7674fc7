"""The metrics, in Prometheus' text format, read from the host at the moment of the scrape.

Rules: nothing is counted here; a scrape reads what services, ring and gateway count for themselves. Labels are names of this host's
services and words of our own, never what a client or a stranger wrote (reference: supervisor W33), so the number of series is bounded.
Each series says what it means in its HELP line. Source: reference: supervisor 8.4, W35.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from supervisor import ring_view, view
from supervisor.service.events import UP, Health, State

if TYPE_CHECKING:
    from supervisor.gateway import Gateway
    from supervisor.host import Host
    from supervisor.service.driver import Service

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
SERVICE: Final = ("service", "group")


class HostCollector(Collector):
    """Reads one host; made for each scrape."""

    def __init__(self, host: Host, gateway: Gateway) -> None:
        self.host, self.gateway = host, gateway

    def collect(self) -> Iterator[Metric]:
        yield from services(list(self.host.services.values()))
        yield from groups(self.host)
        yield from ring(self.host.ring)
        yield from process(self.host, self.gateway)


def scrape(host: Host, gateway: Gateway) -> bytes:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(HostCollector(host, gateway))
    return generate_latest(registry)


def services(found: list[Service]) -> Iterator[Metric]:
    gauges = {
        "up": "1 while its process runs.",
        "ready": "1 while its ready probe has passed.",
        "serving": "1 while others may be told of it: ready, and healthy where it has a check.",
        "degraded": "1 while it runs, but not as it should.",
        "quarantined": "1 while a release is not tried again.",
    }
    made = {name: GaugeMetricFamily(f"stead_service_{name}", text, labels=SERVICE) for name, text in gauges.items()}
    health = GaugeMetricFamily("stead_service_health", "1 for what its checks say.", labels=(*SERVICE, "health"))
    state = GaugeMetricFamily("stead_service_state", "1 for the state that it is in.", labels=(*SERVICE, "state"))
    release = GaugeMetricFamily("stead_service_release_info", "The release that it has.", labels=(*SERVICE, "release"))
    since = GaugeMetricFamily("stead_service_failures", "Failed starts in a row.", labels=SERVICE)
    restarts = CounterMetricFamily("stead_service_restarts", "Starts after the first one.", labels=SERVICE)
    for each in sorted(found, key=lambda each: each.name):
        life, labels = each.life, (each.name, str(each.spec.service_group))
        choice = each.memory.record.choice
        made["up"].add_metric(labels, float(life.state in UP or life.state in (State.RUNNING, State.DRAINING, State.STOPPING)))
        made["ready"].add_metric(labels, float(life.state is State.READY))
        made["serving"].add_metric(labels, float(life.serving))
        made["degraded"].add_metric(labels, float(bool(view.troubles(each))))
        made["quarantined"].add_metric(labels, float(choice is not None and choice.quarantined is not None))
        held = life.health if life.plan.health_check else view.no_check(life.state)
        for one in Health:
            health.add_metric((*labels, str(one)), float(one is held))
        for other in State:
            state.add_metric((*labels, str(other)), float(other is life.state))
        if each.release is not None:
            release.add_metric((*labels, str(each.release)), 1.0)
        since.add_metric(labels, life.failures)
        restarts.add_metric(labels, life.restarts)
    yield from (*made.values(), health, state, release, since, restarts)


def groups(host: Host) -> Iterator[Metric]:
    """Of the groups that this host runs a service of: others' names are others' to choose."""
    members = GaugeMetricFamily(
        "stead_group_members", "Members of a group of this host, everywhere in the ring.", labels=("group", "serving")
    )
    census = host.census
    for group in sorted({str(each.spec.service_group) for each in host.services.values()}):
        found = census.members(group)
        serving = sum(member.serving for member in found)
        members.add_metric((group, "yes"), serving)
        members.add_metric((group, "no"), len(found) - serving)
    yield members


def ring(seen: ring_view.RingSeen) -> Iterator[Metric]:
    node = seen.node
    members = GaugeMetricFamily("stead_ring_members", "Members by what this one holds of them.", labels=("health",))
    for word, count in ring_view.health_counts(node.members).items():
        members.add_metric((word,), count)
    records = GaugeMetricFamily("stead_ring_records", "Records by kind; withdrawn ones are remembered for a while.", labels=("kind",))
    counts = ring_view.record_counts(node.records)
    for kind in ("documents", "facts", "withdrawn"):
        records.add_metric((kind,), counts[kind])
    refused = CounterMetricFamily("stead_ring_refused", "Packets, streams and records that were dropped, by reason.", labels=("reason",))
    for reason, count in ring_view.refused(seen).items():
        refused.add_metric((reason,), count)
    network = CounterMetricFamily(
        "stead_ring_network_errors", "What this member could not send or reach, by the system's word.", labels=("error",)
    )
    for error, count in ring_view.network(seen).items():
        network.add_metric((error,), count)
    packets = CounterMetricFamily("stead_ring_packets", "Datagrams.", labels=("direction",))
    for direction in ("sent", "received"):
        packets.add_metric((direction,), node.counters.get(direction, 0))
    events = CounterMetricFamily("stead_ring_events", "What this member has done and met in the ring.", labels=("event",))
    for name, count in sorted(node.counters.items()):
        if not name.startswith("refused ") and name not in ("sent", "received"):
            events.add_metric((name,), count)
    yield members
    yield records
    yield GaugeMetricFamily("stead_ring_record_bytes", "Bytes of all bodies of records, history too.", value=counts["bytes"])
    yield refused
    yield network
    yield packets
    yield events
    yield GaugeMetricFamily("stead_ring_news_waiting", "Items that wait to be told to others.", value=node.news.count)
    yield GaugeMetricFamily("stead_ring_health_score", "0: this member trusts its own senses; more: it looks slower.", value=node.score)
    yield GaugeMetricFamily("stead_ring_encrypted", "1 when the ring has a key.", value=float(seen.encrypted))
    yield GaugeMetricFamily("stead_ring_departed", "1 when this host has left the ring.", value=float(bool(seen.departed)))
    troubles = sum(bool(source.get("trouble")) for source in seen.discovery)
    yield GaugeMetricFamily("stead_ring_discovery_troubles", "Sources of addresses that do not work.", value=troubles)


def process(host: Host, gateway: Gateway) -> Iterator[Metric]:
    info = GaugeMetricFamily("stead_info", "This supervisor.", labels=("version", "member"))
    info.add_metric((host.sys.version, host.sys.member_id), 1.0)
    yield info
    yield GaugeMetricFamily("stead_specs_ignored", "Spec files that cannot be read.", value=len(host.complaints))
    yield GaugeMetricFamily(
        "stead_journal_lines_lost", "Lines that the disk has refused and not been told of yet.", value=host.journal.lost
    )
    lag = HistogramMetricFamily("stead_loop_lag_seconds", "How late the event loop is, once a second.")
    lag.add_metric((), buckets=gateway.lag.cumulative(), sum_value=gateway.lag.total_s)
    yield lag
    asked = CounterMetricFamily("stead_gateway_requests", "Requests by route and status.", labels=("route", "status"))
    for (route, status), count in sorted(gateway.requests.items()):
        asked.add_metric((route, str(status)), count)
    yield asked
    yield CounterMetricFamily("stead_gateway_connections_refused", "Beyond the limit, or without a TLS handshake.", value=gateway.refused)
