"""A pod's arena: policy, workers, frames, slots; and what the control thread does with it while no worker runs."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from aftr.lowlevel.bits import Memory
from aftr.lowlevel.memory import Arena
from aftr.state.counters import COUNTER_WORDS, read_counters, read_events
from aftr.state.frames import frames_size, open_frames
from aftr.state.layout import (
    EXTERNAL,
    LANE_SIZE,
    LINE,
    MAX_INTERFACES,
    OUTPUT_CAPACITY,
    POOL,
    RING,
    RING_ITEM,
    SLOW_LANE,
    WORKER,
    external_at,
    output_at,
    pod_at,
    pool_at,
    ring_at,
    slot_at,
    worker_at,
)
from aftr.state.policy import MAX_POOLS, InterfaceSetting, plan_policy, write_policy, write_secrets, write_tables
from aftr.state.reasons import MAPPINGS_NOT_STORED, MAPPINGS_RESTORED, TAKEOVER_SPURIOUS
from aftr.state.slot import open_slot
from dslite_contract.load import Configuration
from dslite_contract.slots import slot_address
from dslite_contract.tables import HUGE_PAGE, Planner, plan_slot, round_up

LIST_CAPACITY = 4096  # frames of a burst, pending hairpins
RING_ITEMS = 4096
CONTROL_EVENTS = (MAPPINGS_RESTORED, MAPPINGS_NOT_STORED, TAKEOVER_SPURIOUS)  # counted by the control thread


@dataclass(frozen=True)
class Sizes:
    """Frames of the pod: number and chunk size in bytes (powers of two), and what else is chosen per process."""

    frames: int = 16384
    chunk: int = 4096
    workers: int = 1
    huge_pages: bool = True
    extra: int = 0  # bytes that devices need in the arena


def seeded_words(seed: int | None, count: int) -> list[int]:
    """64-bit words: from the system's random source, or, for replay, reproducible ones from a seed."""
    if seed is None:
        return [secrets.randbits(64) for _ in range(count)]
    return [int(word) for word in np.random.default_rng(seed).integers(0, 1 << 63, count)]


class Turn:
    """A lock that goes to whoever waits for it, also when who had it wants it again at once."""

    def __init__(self) -> None:
        self._gate, self._turn = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._gate:
            self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()


class Pod:
    """The arena with everything in it.  `workers` are the offsets of the workers; `control` is one that no thread runs: whose clock,
    counters and random numbers the control thread uses where it changes the tables of a closed slot.
    """

    def __init__(
        self, configuration: Configuration, interfaces: list[InterfaceSetting], sizes: Sizes, *, seed: int | None = None
    ) -> None:
        self.configuration, self.interfaces, self.sizes = configuration, interfaces, sizes
        planner = Planner()
        self.policy = plan_policy(planner)
        rings = planner.place((RING.itemsize + RING_ITEMS * RING_ITEM) * sizes.workers**2)
        stride = round_up(worker_size(sizes), 4096)
        first = planner.place(stride * (sizes.workers + 1), 4096)
        *self.workers, self.control = [first + number * stride for number in range(sizes.workers + 1)]
        self._worker_stride = stride
        self.extra = planner.place(sizes.extra, 4096)
        self.umem = planner.place(sizes.frames * sizes.chunk, HUGE_PAGE)
        self.slot_plan = plan_slot(configuration)
        stride = round_up(self.slot_plan.size, HUGE_PAGE)
        self._slot_area = planner.place(stride * configuration.pool.spec.slots, HUGE_PAGE)
        self._slot_stride = stride
        self.prepared: set[int] = set()  # slots that have tables, open or not
        self.lives = [0] * configuration.pool.spec.slots  # how often each slot was emptied
        self.turn = Turn()  # of the one thread that uses the control worker, or empties a slot
        self.arena = Arena(planner.size, huge_pages=sizes.huge_pages)
        self.memory: Memory = self.arena.memory
        words = seeded_words(seed, 5 + sizes.workers + configuration.pool.spec.slots)
        self._slot_random = words[5 + sizes.workers :]
        write_tables(self.memory, self.policy)
        write_secrets(self.memory, words[:4])
        write_policy(self.memory, self.policy, configuration, interfaces)
        self._open_workers(rings, words[4:])

    def _open_workers(self, rings: int, random: list[int]) -> None:
        pod = pod_at(self.memory, 0)
        pod.workers, pod.worker_table, pod.worker_stride = self.sizes.workers, self.workers[0], self._worker_stride
        pod.umem, pod.umem_size = self.umem, self.sizes.frames * self.sizes.chunk
        pod.chunk_shift = self.sizes.chunk.bit_length() - 1
        share = self.sizes.frames // self.sizes.workers
        for number, at in enumerate(self.workers):
            open_worker(self.memory, at, number, self.sizes)
            worker = worker_at(self.memory, at)
            worker.rings = rings
            worker.random = random[number]
            worker.base = self.memory.ctypes.data
            shift = self.sizes.chunk.bit_length() - 1
            open_frames(self.memory, worker.frames, self.umem, shift, self.sizes.frames, number * share, share)
        open_worker(self.memory, self.control, self.sizes.workers, self.sizes)
        worker_at(self.memory, self.control).random = random[self.sizes.workers]
        items = rings + RING.itemsize * self.sizes.workers**2
        for number in range(self.sizes.workers**2):
            ring = ring_at(self.memory, rings + number * RING.itemsize)
            ring.items, ring.mask = items + number * RING_ITEMS * RING_ITEM, RING_ITEMS - 1

    def counters(self) -> dict[str, Any]:
        """The JSON of docs/counters.md: of all workers, and what only the control thread does."""
        found = read_counters(self.memory, self.workers)
        found["events"] |= read_events(self.memory, self.control, CONTROL_EVENTS)
        return found

    # ------------------------------------------------------------ slots
    def slot(self, number: int) -> int:
        """Byte offset of an open slot, 0 for a closed one."""
        at = self.policy.slot_table + 8 * number
        return int(self.memory[at : at + 8].view(np.int64)[0])

    def worker_of(self, number: int) -> int:
        """Byte offset of the worker that serves slot `number`."""
        at = self.policy.slot_workers + 8 * number
        return self.workers[int(self.memory[at : at + 8].view(np.int64)[0])]

    def area(self, number: int) -> int:
        """Byte offset of slot `number`, open or not."""
        return self._slot_area + number * self._slot_stride

    def prepare(self, number: int, now: int) -> int:
        """Empty tables for a slot that is closed, where it has none yet: its byte offset."""
        base = self.area(number)
        if number not in self.prepared:
            tunnel = int(slot_address(self.configuration.pool, number))
            open_slot(self.memory, base, number, tunnel, self.slot_plan, now, self._slot_random[number])
            self.set_interfaces(base)
            self.prepared.add(number)
        return base

    def open(self, number: int, worker: int, now: int) -> None:
        """Let packets into a slot, on a worker, with the tables that it has (empty ones when it was not prepared)."""
        base = self.prepare(number, now)
        self._word(self.policy.slot_workers + 8 * number, worker)
        self._word(self.policy.slot_table + 8 * number, base)

    def shut(self, number: int) -> None:
        """Let no packet into a slot any more; its tables stay as they are.  No worker may run meanwhile."""
        self._word(self.policy.slot_table + 8 * number, 0)

    def forget(self, number: int) -> None:
        """Empty a closed slot, and give its memory back.  Nobody else may have the `turn`."""
        self.prepared.discard(number)
        self.lives[number] += 1
        self.arena.clear(self.area(number), self._slot_stride)

    def populate(self, number: int) -> None:
        """Have all memory of a slot now, not page by page when packets come."""
        self.arena.populate(self.area(number), self._slot_stride)

    def set_interfaces(self, base: int) -> None:
        """Each external address of a slot leaves by the interface of its NAT pool."""
        slot = slot_at(self.memory, base)
        for number in range(slot.external_count):
            entry = external_at(self.memory, slot.externals + number * EXTERNAL.itemsize)
            pool = min(entry.pool, MAX_POOLS)
            entry.interface = pool_at(self.memory, self.policy.pools + pool * POOL.itemsize).interface

    def _word(self, at: int, value: int) -> None:
        self.memory[at : at + 8].view(np.int64)[0] = value

    @property
    def open_slots(self) -> list[int]:
        """Numbers of the open slots."""
        return [number for number in range(self.configuration.pool.spec.slots) if self.slot(number)]

    def close(self) -> None:
        """Give the arena back; what a thread still wanted to put into a slot is not put there."""
        with self.turn:
            self.lives = [life + 1 for life in self.lives]
            self.arena.close()


def worker_size(sizes: Sizes) -> int:
    """Bytes of a worker: its record and everything that only it touches."""
    planner = Planner()
    place_worker(planner, sizes)
    return planner.size


@dataclass(frozen=True)
class WorkerPlan:
    """Relative offsets in a worker's area."""

    frames: int
    lanes: int
    counters: int
    outputs: int
    output_items: int
    access_list: int
    internet_list: int
    pending: int
    receive_list: int
    scratch: int
    transmit_queues: int


def place_worker(planner: Planner, sizes: Sizes) -> WorkerPlan:
    """Lay a worker's area out from the planner's start (relative 0)."""
    planner.place(WORKER.itemsize)
    return WorkerPlan(
        lanes=planner.place((SLOW_LANE + 2) * LANE_SIZE),
        counters=planner.place(8 * COUNTER_WORDS),
        outputs=planner.place(MAX_INTERFACES * LINE),
        output_items=planner.place(MAX_INTERFACES * OUTPUT_CAPACITY * 24),
        access_list=planner.place(LIST_CAPACITY * 16),
        internet_list=planner.place(LIST_CAPACITY * 16),
        pending=planner.place(LIST_CAPACITY * RING_ITEM),
        receive_list=planner.place(LIST_CAPACITY * 16),
        scratch=planner.place(LIST_CAPACITY * 8),
        transmit_queues=planner.place(MAX_INTERFACES * 8),
        frames=planner.place(frames_size(sizes.frames)),
    )


def open_worker(memory: Memory, at: int, number: int, sizes: Sizes) -> None:
    """Write a worker's record."""
    plan, worker = place_worker(Planner(), sizes), worker_at(memory, at)
    worker.number = number
    worker.frames, worker.lanes, worker.counters = at + plan.frames, at + plan.lanes, at + plan.counters
    worker.outputs, worker.pending = at + plan.outputs, at + plan.pending
    worker.access_list, worker.internet_list = at + plan.access_list, at + plan.internet_list
    worker.receive_list, worker.scratch = at + plan.receive_list, at + plan.scratch
    worker.transmit_queues = at + plan.transmit_queues
    worker.list_capacity = worker.pending_capacity = LIST_CAPACITY
    for interface in range(MAX_INTERFACES):
        output = output_at(memory, at + plan.outputs + interface * LINE)
        items = at + plan.output_items + interface * OUTPUT_CAPACITY * 24
        output.frames, output.meta, output.capacity = items, items + 16 * OUTPUT_CAPACITY, OUTPUT_CAPACITY
