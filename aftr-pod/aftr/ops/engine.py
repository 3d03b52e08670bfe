"""A pod's engine without devices, driven frame by frame: for `aftr replay`, tests and debugging.

The same kernels as `aftr run`; the caller's clock.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import numpy as np

from aftr.ops.invariants import check_pod
from aftr.ops.loop import work
from aftr.ops.tables import bindings, preload_bindings
from aftr.state.frames import give_frame, take_frame
from aftr.state.layout import LINE, output_at, worker_at
from aftr.state.pod import LIST_CAPACITY, Pod, Sizes
from aftr.state.policy import Hop, InterfaceSetting, RouteSetting, write_hops
from dslite_contract.counters import SIDES
from dslite_contract.load import Configuration

OUR_MAC = bytes.fromhex("02000000000a")
NEXT_MACS = {"access": bytes.fromhex("020000000001"), "internet": bytes.fromhex("020000000002")}
ACCESS_MTU, INTERNET_MTU = 65535, 1500  # into softwires `tunnelMtu` decides
BURST = 256
CHUNK = 1 << 17  # any frame of a capture fits
Frame = tuple[str, bytes]


class Engine:
    """All slots open, one access and one internet side, next hops that always resolve.

    `timed`: the frames that the last `process` sent because of its time, not because of its frames (held SYNs answered).
    """

    def __init__(self, configuration: Configuration, *, seed: int = 0, workers: int = 1) -> None:
        interfaces = [
            InterfaceSetting("access", "access", ACCESS_MTU, mac=OUR_MAC),
            InterfaceSetting("internet", "internet", INTERNET_MTU, mac=OUR_MAC),
        ]
        sizes = Sizes(frames=4096, chunk=CHUNK, workers=workers, huge_pages=False)
        self.configuration = configuration
        self.timed: list[Frame] = []
        self.pod = Pod(configuration, interfaces, sizes, seed=seed)
        self._origin_ns: int | None = None
        for number, prefix in enumerate(("::/0", "0.0.0.0/0")):
            hop = Hop(NEXT_MACS[SIDES[number]], OUR_MAC)
            write_hops(self.pod.memory, self.pod.policy, number, [RouteSetting(ip_network(prefix), (hop,))])
        for number in range(configuration.pool.spec.slots):
            self.pod.open(number, number % workers, 0)

    def process(self, frames: list[Frame], now_ns: int) -> list[list[Frame]]:
        """Take frames (side, Ethernet frame) that arrive together at `now_ns`; for each, the frames that it caused, in order.

        The first call sets the clock's origin; a time before the last one counts as the last one.
        """
        self._advance(now_ns)
        workers = self.pod.workers
        results: list[list[Frame]] = [[] for _ in frames]
        numbered = list(enumerate(frames))
        for begin in range(0, len(frames), BURST):
            burst = numbered[begin : begin + BURST]
            for number, worker in enumerate(workers):
                mine = [item for item in burst if item[0] % len(workers) == number]
                for side in (0, 1):
                    self._receive(worker, side, [item for item in mine if item[1][0] == SIDES[side]])
            self._settle()
            for cause, frame in self._collect():
                results[cause].append(frame)
        return results

    def _advance(self, now_ns: int) -> None:
        """Set the clock, in milliseconds since its origin, and end what is over."""
        if self._origin_ns is None:
            self._origin_ns = now_ns
        now = (now_ns - self._origin_ns) // 1_000_000
        for worker in self.pod.workers:
            record = worker_at(self.pod.memory, worker)
            record.now = max(now, record.now)
            work(self.pod.memory, worker, False, 0, 0, 0, True)
        self._settle()
        self.timed = [frame for _, frame in self._collect()]

    def _receive(self, worker: int, side: int, items: list[tuple[int, Frame]]) -> None:
        memory, record = self.pod.memory, worker_at(self.pod.memory, worker)
        assert len(items) <= LIST_CAPACITY
        words = memory[record.access_list : record.access_list + 16 * max(len(items), 1)].view(np.int64)
        for place, (cause, (_, frame)) in enumerate(items):
            start = take_frame(memory, record.frames)
            memory[start : start + len(frame)] = np.frombuffer(frame, np.uint8)
            words[2 * place] = start
            words[2 * place + 1] = len(frame) | cause << 32
        if items:
            work(memory, worker, False, side, record.access_list, len(items), False)

    def _settle(self) -> None:
        """Until nothing is under way between workers."""
        while sum(work(self.pod.memory, worker, False, 0, 0, 0, False) for worker in self.pod.workers) > 0:
            pass

    def _collect(self) -> list[tuple[int, Frame]]:
        """Take the frames to send: (number of the frame that caused it, frame)."""
        memory, taken = self.pod.memory, []
        for worker in self.pod.workers:
            record = worker_at(memory, worker)
            for side in (0, 1):
                output = output_at(memory, record.outputs + side * LINE)
                words = memory[output.frames : output.frames + 16 * output.count].view(np.int64)
                meta = memory[output.meta : output.meta + 8 * output.count].view(np.int64)
                for number in range(output.count):
                    start, size = int(words[2 * number]), int(words[2 * number + 1])
                    taken.append((int(meta[number]) >> 32, (SIDES[side], memory[start : start + size].tobytes())))
                    give_frame(memory, record.frames, start)
                output.count = 0
        return taken

    # ------------------------------------------------------------ looking in
    def counters(self) -> dict[str, Any]:
        """The JSON of docs/counters.md."""
        return self.pod.counters()

    def bindings(self) -> list[dict[str, Any]]:
        """All mappings, as `aftr show bindings -o json` prints them."""
        return bindings(self.pod)

    def preload(self, entries: list[dict[str, Any]]) -> None:
        """Install mappings; raises BindingError for what lies outside the slot's pool or collides, and installs nothing then."""
        preload_bindings(self.pod, entries)

    def check(self) -> list[str]:
        """Invariants that do not hold: empty when all is well."""
        return check_pod(self.pod)

    def close(self) -> None:
        """Free the arena."""
        self.pod.close()
