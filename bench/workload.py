"""A pod filled with real mappings and sessions, and bursts of frames that belong to them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import numpy as np

from aftr.lowlevel.bits import Memory
from aftr.ops.engine import NEXT_MACS, OUR_MAC
from aftr.state.counters import read_counters
from aftr.state.layout import (
    EXTERNAL,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    external_at,
    slot_at,
    table_at,
    worker_at,
)
from aftr.state.pod import Pod, Sizes
from aftr.state.policy import Hop, InterfaceSetting, RouteSetting, write_hops
from bench import kernels
from bench.kernels import COLUMNS, FLOWS_PER_SUBSCRIBER, act
from dslite_contract.load import load_config

FRAMES = 16384  # prepared for a round
CHUNK = 2048
FULL = 0.8  # how full the tables of mappings, softwires and subscribers are
BLOCK = 64  # ports of a block: a subscriber's 16 flows need one
BLOCKS_PER_ADDRESS = 1008
START_MS = 1_000_000
ACK, SYN = 0x10, 0x02
DIRECTIONS = ("out", "in")
Words = np.ndarray[Any, np.dtype[np.int64]]

_CONFIGURATION = """
apiVersion: dslite.dev/v1alpha1
kind: AftrPool
metadata: {{name: bench}}
spec:
  slots: {slots}
  softwire: {{prefix: 2001:db8:64::/64, domain: example.net}}
  capacity: {{mappingsPerSlot: {mappings}, extraSessionsPerSlot: 1024, subscribersPerSlot: {subscribers}}}
  nat:
    pools: [{{name: default, prefixes: [45.0.0.0/{length}]}}]
    portBlock: {{size: {block}}}
    subscriberMaskV6: 64
    limits: {{newSessionsPerSecond: 1000000, newSessionBurst: 10000000}}
  {more}
---
apiVersion: dslite.dev/v1alpha1
kind: B4Group
metadata: {{name: bench}}
spec: {{poolRef: {{name: bench}}, prefixes: [2001:db9::/32]}}
"""


def configuration_for(flows: int, slots: int, more: str = "") -> Any:
    """A pool whose tables are `FULL` with this many flows, evenly over the slots; `more`: another field of its spec."""
    subscribers = math.ceil(flows / FLOWS_PER_SUBSCRIBER / slots)
    addresses = 1 << max(math.ceil(subscribers / BLOCKS_PER_ADDRESS) - 1, 0).bit_length()
    mappings = max(math.ceil(subscribers * FLOWS_PER_SUBSCRIBER / FULL), 64)
    text = _CONFIGURATION.format(
        slots=slots,
        mappings=mappings,
        subscribers=max(math.ceil(subscribers / FULL), 16),
        length=32 - (addresses * slots - 1).bit_length(),
        block=BLOCK,
        more=more,
    )
    return load_config(text)


@dataclass
class Extra:
    """The benchmark's own arrays in the arena, by offset."""

    list_: int
    picks: int
    columns: int
    table: int


class Workload:
    """`flows` mappings in `slots` slots on one worker; rounds of `FRAMES` frames of flows chosen uniformly or by Zipf(1.0)."""

    def __init__(self, flows: int, slots: int, *, seed: int = 1, huge_pages: bool = True, empty: bool = False) -> None:
        self.flows, self.slots = flows, slots
        interfaces = [InterfaceSetting("access", "access", 1540), InterfaceSetting("internet", "internet", 1500)]
        room = 16 * FRAMES + 8 * FRAMES + 8 * COLUMNS * FRAMES + 8 * flows
        sizes = Sizes(frames=FRAMES, chunk=CHUNK, workers=1, huge_pages=huge_pages, extra=room)
        self.pod = Pod(configuration_for(flows, slots), interfaces, sizes, seed=seed)
        self.memory, self.worker = self.pod.memory, self.pod.workers[0]
        for number, prefix in enumerate(("::/0", "0.0.0.0/0")):
            hop = Hop(NEXT_MACS[("access", "internet")[number]], OUR_MAC)
            write_hops(self.memory, self.pod.policy, number, [RouteSetting(ip_network(prefix), (hop,))])
        worker_at(self.memory, self.worker).now = START_MS
        for number in range(slots):
            self.pod.open(number, 0, START_MS)
        base = self.pod.extra
        self.extra = Extra(base, base + 16 * FRAMES, base + 24 * FRAMES, base + (24 + 8 * COLUMNS) * FRAMES)
        self._random = np.random.default_rng(seed)
        self._ranks = self._random.permutation(flows)
        self._zipf: np.ndarray[Any, Any] | None = None
        if not empty:
            self.fill()

    # ------------------------------------------------------------ state
    def act(self, what: int, n: int = FRAMES, columns: int = 0) -> int:
        """One of `kernels`' actions on the prepared list."""
        extra = self.extra
        return int(act(self.memory, self.worker, what, extra.list_, n, extra.picks, extra.table, columns))

    def fill(self) -> None:
        """Open all flows through the product's own functions."""
        extra = self.extra
        made = act(self.memory, self.worker, kernels.FILL, 0, self.flows, 0, extra.table, 0)
        if made != self.flows:
            raise RuntimeError(f"only {made} of {self.flows} flows fit the tables")

    def counters(self) -> dict[str, Any]:
        """The worker's books."""
        return read_counters(self.memory, [self.worker])

    def close(self) -> None:
        """Give the memory back."""
        self.pod.close()

    # ------------------------------------------------------------ frames
    def words(self, at: int, n: int) -> Words:
        """`n` int64 of the arena."""
        return self.memory[at : at + 8 * n].view(np.ndarray).view(np.int64)

    def pick(self, law: str, n: int = FRAMES) -> None:
        """Choose the flows of the next frames; rank r of Zipf(1.0) with probability proportional to 1/r."""
        if law == "uniform":
            flows = self._random.integers(0, self.flows, n)
        else:
            if self._zipf is None:
                self._zipf = np.cumsum(1.0 / np.arange(1, self.flows + 1))
            flows = self._ranks[np.searchsorted(self._zipf, self._random.random(n) * self._zipf[-1])]
        self.words(self.extra.picks, n)[:] = flows

    def make(self, direction: str) -> None:
        """Write the frames of the picked flows."""
        if direction == "out":
            self.act(kernels.MAKE_OUT, columns=ACK)
        else:
            self.act(kernels.MAKE_IN)

    def note_lines(self, direction: str) -> None:
        """The lines that these packets touch, for the floor."""
        self.act(kernels.LINES_OUT if direction == "out" else kernels.LINES_IN, columns=self.extra.columns)

    # ------------------------------------------------------------ rounds
    def time_product(self, direction: str, law: str, *, twin: bool = False) -> int:
        """Nanoseconds of thread time for `FRAMES` packets; every frame and the books are checked afterwards."""
        self.pick(law)
        self.make(direction)
        before = self.counters()
        what, side = kernels.RUN, DIRECTIONS.index(direction)
        if twin:
            what = kernels.TWIN_OUT if direction == "out" else kernels.TWIN_IN
        begun = time.thread_time_ns()
        sent = self.act(what, columns=side)
        taken = time.thread_time_ns() - begun
        self.check(direction, before, sent, received=not twin)
        return taken

    def check(self, direction: str, before: dict[str, Any], sent: int, *, received: bool) -> None:
        """Every packet forwarded, every output right, the books balanced; RuntimeError otherwise."""
        after, (side, other) = self.counters(), ("access", "internet")[:: 1 if direction == "out" else -1]
        grown = {
            "rx": after[side]["rx"] - before[side]["rx"] if received else FRAMES,
            "forwarded": after[side]["forwarded"] - before[side]["forwarded"],
            "tx": after[other]["tx"] - before[other]["tx"],
            "sent": sent,
            "right": self.act(kernels.CHECK_OUT if direction == "out" else kernels.CHECK_IN),
        }
        if any(value != FRAMES for value in grown.values()):
            raise RuntimeError(
                f"{direction}, {self.flows} flows: not all of {FRAMES} frames were forwarded and right: {grown}"
            )

    def time_floor(self, direction: str, law: str, *, as_prototype: bool = False) -> int:
        """Nanoseconds of thread time for touching the lines of `FRAMES` packets."""
        self.pick(law)
        self.make(direction)
        self.note_lines(direction)
        what = kernels.FLOOR_OUT if direction == "out" else kernels.FLOOR_IN
        if as_prototype and direction == "out":
            what = kernels.FLOOR_PROTOTYPE
        begun = time.thread_time_ns()
        self.act(what, columns=self.extra.columns)
        return time.thread_time_ns() - begun


# ---------------------------------------------------------------- new mappings
def time_creation(flows: int, slots: int, *, seed: int = 1) -> tuple[float, Workload]:
    """New mappings per second: the first packets (TCP SYN or UDP) of all flows, in random order, through the product; its workload."""
    load = Workload(flows, slots, seed=seed, empty=True)
    spent = 0
    order = np.random.default_rng(seed + 1).permutation(flows)
    for begin in range(0, flows, FRAMES):
        part = order[begin : begin + FRAMES]
        load.words(load.extra.picks, len(part))[:] = part
        load.act(kernels.MAKE_OUT, len(part), columns=SYN)
        begun = time.thread_time_ns()
        sent = load.act(kernels.RUN, len(part), columns=0)
        spent += time.thread_time_ns() - begun
        if sent != len(part):
            raise RuntimeError(
                f"{len(part) - sent} of {len(part)} first packets were not forwarded: {load.counters()['drops']}"
            )
    made = load.counters()["events"]["mappings-created"]
    if made != flows:
        raise RuntimeError(f"{made} mappings of {flows} flows")
    return flows / spent * 1e9, load


# ---------------------------------------------------------------- bytes
PAGE = 4096


def resident_pages(memory: Memory, start: int, size: int) -> int:
    """How many 4 KiB pages of the arena's range are resident, from /proc/self/pagemap."""
    first = (memory.ctypes.data + start) // PAGE
    pages = (size + PAGE - 1) // PAGE
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(8 * first)
        words = np.frombuffer(pagemap.read(8 * pages), np.uint64)
    return int((words >> np.uint64(63)).sum())


def bytes_per_mapping(flows: int) -> dict[str, Any]:
    """Resident bytes of a slot, with one session to each mapping, divided by its mappings; and each table's part."""
    load = Workload(flows, 1)
    plan, base = load.pod.slot_plan, load.pod.slot(0)
    resident = resident_pages(load.memory, base, plan.size) * PAGE
    record, full, parts = slot_at(load.memory, base), [], {}
    names = {SLOT_MAPPINGS: "mappings", SLOT_SOFTWIRES: "softwires", SLOT_SUBSCRIBERS: "subscribers"}
    for table in plan.tables:
        if table.at in names:
            live = table_at(load.memory, base + table.at).live
            full.append(live / table.capacity)
            parts[names[table.at]] = live * table.record_size
            parts[f"index of {names[table.at]}"] = 8 << table.bits
    addresses = 1 + max(
        number
        for number in range(record.external_count)
        if external_at(load.memory, record.externals + number * EXTERNAL.itemsize).free_blocks < BLOCKS_PER_ADDRESS
    )
    parts["reverse tables"] = 3 * 65536 * 4 * addresses
    parts["port blocks"] = plan.block_stride * BLOCKS_PER_ADDRESS * addresses
    load.close()
    return {
        "flows": flows,
        "full": min(full),
        "resident": resident / flows,
        "parts": {name: size / flows for name, size in parts.items()},
    }
