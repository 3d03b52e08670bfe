"""Which cache lines the product and the floor touch for one packet, recorded with the JIT off: `python -m bench.lines`.

Prints JSON: per direction and protocol, the lines of tables and frames that each touched (by name of their region and offset in it),
and how many other lines (policy, worker, slot record: the same for every packet) the product looked at.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from aftr.lowlevel.bits import ArenaArray
from aftr.lowlevel.kernel import JIT
from aftr.state.layout import (
    SLOT_CONTEXTS,
    SLOT_MAPPINGS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    slot_at,
    table_at,
)
from bench import kernels
from bench.workload import CHUNK, DIRECTIONS, Workload

LINE = 64
FLOWS = 64
TABLES = {
    "mappings": SLOT_MAPPINGS,
    "sessions": SLOT_SESSIONS,
    "softwires": SLOT_SOFTWIRES,
    "subscribers": SLOT_SUBSCRIBERS,
    "contexts": SLOT_CONTEXTS,
}


class Recorder(ArenaArray):
    """An arena that notes the line of every access while `lines` is a set."""

    lines: set[int] | None = None

    def _note(self, key: Any) -> None:
        if self.lines is not None and isinstance(key, slice):
            self.lines.update(range(key.start // LINE, (key.stop - 1) // LINE + 1))

    def __getitem__(self, key: Any) -> Any:
        self._note(key)
        return self.view(np.ndarray)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._note(key)
        self.view(np.ndarray)[key] = value


class Recording:
    """A small workload on a recorded arena."""

    def __init__(self) -> None:
        self.load = Workload(FLOWS, 1, huge_pages=False)
        self.memory = self.load.memory.view(Recorder)
        self.load.memory = self.memory
        slot = self.load.pod.slot(0)
        record = slot_at(self.memory, slot)
        regions = {
            "frames": (self.load.pod.umem, CHUNK * self.load.pod.sizes.frames),
            "reverse": (record.reverse, 3 * 65536 * 4 * record.external_count),
            "blocks": (record.blocks, record.block_stride * record.blocks_per_address * record.external_count),
            "externals": (record.externals, LINE * record.external_count),
        }
        for name, at in TABLES.items():
            table = table_at(self.memory, slot + at)
            regions[f"{name} index"] = (table.index, 8 << table.bits)
            regions[name] = (table.records, table.capacity << table.shift)
            regions[f"{name} free"] = (table.free, 4 * table.capacity)
        self.regions = regions

    def place(self, line: int) -> tuple[str, int] | None:
        """Region and line in it; None for the lines that every packet looks at."""
        for name, (start, size) in self.regions.items():
            if start // LINE <= line <= (start + size - 1) // LINE:
                return name, line - start // LINE
        return None

    def touched(self, what: int, columns: int) -> tuple[list[tuple[str, int]], int]:
        """Run an action on one frame: the lines of regions, sorted, and the number of others."""
        lines: set[int] = set()
        Recorder.lines = lines
        self.load.act(what, 1, columns)
        Recorder.lines = None
        places = [self.place(line) for line in sorted(lines)]
        return sorted(place for place in places if place), places.count(None)

    def packet(self, direction: str, flow: int) -> dict[str, Any]:
        """Lines of one packet, product and floor."""
        load, out = self.load, direction == "out"
        load.words(load.extra.picks, 1)[0] = flow
        load.act(kernels.MAKE_OUT if out else kernels.MAKE_IN, 1, 0x10)
        product, others = self.touched(kernels.RUN, DIRECTIONS.index(direction))
        load.act(kernels.LINES_OUT if out else kernels.LINES_IN, 1, load.extra.columns)
        floor, _ = self.touched(kernels.FLOOR_OUT if out else kernels.FLOOR_IN, load.extra.columns)
        forwarded = load.counters()[("access", "internet")[DIRECTIONS.index(direction)]]["forwarded"]
        return {"product": product, "floor": floor, "others": others, "forwarded": forwarded}


def record() -> dict[str, list[dict[str, Any]]]:
    """Several flows of both protocols in both directions."""
    if JIT:
        raise RuntimeError("lines can be recorded with NUMBA_DISABLE_JIT=1 only")
    recording = Recording()
    return {direction: [recording.packet(direction, flow) for flow in range(0, FLOWS, 7)] for direction in DIRECTIONS}


if __name__ == "__main__":
    print(json.dumps(record()))
