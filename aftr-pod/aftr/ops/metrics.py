"""`/metrics`: everything that is counted, in the exposition format of Prometheus.  docs/metrics.md explains each name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aftr.ops.agent_view import AgentView
from aftr.ops.tables import slots
from aftr.state.layout import pod_at
from dslite_contract.counters import SIDES, TRAFFIC

TABLES = {
    "mappings": "mappings",
    "extraSessions": "extra-sessions",
    "softwires": "softwires",
    "subscribers": "subscribers",
    "fragmentContexts": "fragment-contexts",
}
TRAFFIC_HELP = {
    "rx": "Frames received.",
    "forwarded": "Frames that crossed, of those received.",
    "merged": "Frames absorbed into a reassembled packet, beyond its first.",
    "consumed": "Frames that ended here on purpose.",
    "dropped": "Frames dropped, for any reason.",
    "held": "Frames that wait for fragments, neighbours or six seconds.",
    "tx": "Frames sent.",
    "split": "Extra frames made by fragmentation.",
    "originated": "Frames made here: errors and replies.",
}


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(f"dslite_{name}", text, value=value)


def family(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, text: str, labels: tuple[str, ...],
    samples: list[tuple[Any, ...]],
) -> Metric:  # fmt: skip
    """A metric with labels: each sample is its labels' values and, last, its number."""
    metric = kind(f"dslite_{name}", text, labels=labels)
    for *values, number in samples:
        metric.add_metric([str(value) for value in values], number)
    return metric


class AftrCollector(Collector):
    """The agent's state at the time of the scrape; `utilisation` gives each worker's busy share of late."""

    def __init__(self, agent: AgentView, utilisation: dict[int, float]) -> None:
        self._agent, self._utilisation = agent, utilisation

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._process()
        yield from self._traffic()
        yield from self._workers()
        yield from self._slots()
        yield from self._interfaces()

    def _process(self) -> Iterator[Metric]:
        agent = self._agent
        names = {"version": version("aftr"), "config": agent.config_hash}
        yield InfoMetricFamily("dslite", "The program and its configuration.", {**names, "pool": self._pool_name()})
        yield gauge("started_timestamp_seconds", "When the process started.", agent.started)
        yield gauge("ready", "1 when traffic can pass.", int(not agent.missing()))
        generation = pod_at(agent.pod.memory, 0).generation
        yield gauge("config_generation", "How often a configuration was put into force.", generation)
        yield gauge("config_refused", "1 while the newest configuration is refused.", int(agent.last_error is not None))

    def _pool_name(self) -> str:
        return self._agent.pod.configuration.pool.metadata.name

    def _traffic(self) -> Iterator[Metric]:
        counters = self._agent.pod.counters()
        for name in TRAFFIC:
            kind = GaugeMetricFamily if name == "held" else CounterMetricFamily
            samples: list[tuple[Any, ...]] = [(side, counters[side][name]) for side in SIDES]
            yield family(kind, f"{name}_frames", TRAFFIC_HELP[name], ("side",), samples)
        drops, events = list(counters["drops"].items()), list(counters["events"].items())
        yield family(CounterMetricFamily, "drops", "Frames dropped, by reason.", ("reason",), drops)
        yield family(CounterMetricFamily, "events", "What happened to packets and state.", ("event",), events)

    def _workers(self) -> Iterator[Metric]:
        states = self._agent.worker_states()
        label = ("worker",)
        for name, key, text in (
            ("worker_loops", "loops", "Turns over all queues; it always grows while the worker lives."),
            ("worker_packets", "packets", "Frames taken, handed-over ones included."),
            ("worker_busy_seconds", "busySeconds", "Time with work to do."),
        ):
            yield family(CounterMetricFamily, name, text, label, [(one["worker"], one[key]) for one in states])
        free = [(one["worker"], one["framesFree"]) for one in states]
        yield family(GaugeMetricFamily, "worker_frames_free", "Free packet frames.", label, free)
        busy = [(one["worker"], self._utilisation.get(one["worker"], 0.0)) for one in states]
        yield family(GaugeMetricFamily, "worker_utilisation_ratio", "Busy share of the last seconds.", label, busy)

    def _slots(self) -> Iterator[Metric]:
        entries = slots(self._agent.pod)
        opened = [entry for entry in entries if entry["state"] == "open"]
        states = [(entry["slot"], int(entry["state"] == "open")) for entry in entries]
        yield family(GaugeMetricFamily, "slot_open", "1 when the slot is served here.", ("slot",), states)
        pairs = [(entry["slot"], label, entry, key) for entry in opened for key, label in TABLES.items()]
        used = [(slot, label, entry[key]) for slot, label, entry, key in pairs]
        sizes = [(slot, label, entry[f"{key}Capacity"]) for slot, label, entry, key in pairs]
        noted = {one["slot"]: len(one["quarantine"]) for one in self._agent.slot_states()}
        quarantined = [(entry["slot"], noted.get(entry["slot"], 0)) for entry in entries]
        text = "Entries and chunks in quarantine: no new port blocks meanwhile."
        yield family(GaugeMetricFamily, "slot_quarantined", text, ("slot",), quarantined)
        names = ("slot", "table")
        yield family(GaugeMetricFamily, "slot_table_entries", "Entries of a slot's table.", names, used)
        yield family(GaugeMetricFamily, "slot_table_capacity", "Room of a slot's table.", names, sizes)
        yield from self._ports(opened)

    def _ports(self, opened: list[dict[str, Any]]) -> Iterator[Metric]:
        label = ("slot",)
        blocks = [(entry["slot"], entry["blocks"]) for entry in opened]
        free = [(entry["slot"], entry["blocksFree"]) for entry in opened]
        ratios = [(entry["slot"], used_share(entry["blocks"], entry["blocksFree"])) for entry in opened]
        yield family(GaugeMetricFamily, "slot_port_blocks", "Port blocks of a slot.", label, blocks)
        yield family(GaugeMetricFamily, "slot_port_blocks_free", "Those that can be given out.", label, free)
        yield family(GaugeMetricFamily, "slot_port_utilisation_ratio", "Share that cannot.", label, ratios)
        total = used_share(sum(number for _, number in blocks), sum(number for _, number in free))
        yield gauge("port_utilisation_ratio", "Share of all slots' port blocks that cannot be given out.", total)

    def _interfaces(self) -> Iterator[Metric]:
        states = self._agent.interface_states()
        up = [(one["interface"], one["side"], one["device"], one["mode"], int(one["up"])) for one in states]
        labels = ("interface", "side", "device", "mode")
        yield family(GaugeMetricFamily, "interface_up", "1 when the link is up.", labels, up)
        mtus = [(one["interface"], one["mtu"]) for one in states]
        yield family(GaugeMetricFamily, "interface_mtu_bytes", "MTU of the link.", ("interface",), mtus)
        counted = {(one["device"], name): value for one in states for name, value in one["counters"].items()}
        samples: list[tuple[Any, ...]] = [(*key, value) for key, value in counted.items()]
        names = ("device", "counter")
        yield family(CounterMetricFamily, "device", "Counters of the device's queues and sockets.", names, samples)


def used_share(total: int, free: int) -> float:
    """How much of `total` is not free, 0 to 1."""
    return 1 - free / total if total else 0.0


def exposition(agent: AgentView, utilisation: dict[int, float], accept: str) -> tuple[bytes, str]:
    """The text of `/metrics` and its content type, as the client accepts it."""
    registry = CollectorRegistry()
    registry.register(AftrCollector(agent, utilisation))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
