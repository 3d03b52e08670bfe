"""Where the workers' QUEUE records, their scratch areas and the holders of all chunks lie in the arena.

A worker's queues are consecutive records, as `queues.wait` wants them, and share one scratch area, since one thread serves them.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aftr.io.errors import DeviceError
from aftr.io.layout import MAX_QUEUES, QUEUE_SIZE, SCRATCH_SIZE, holders_size, queue_at
from aftr.io.packet import prepare_packet
from aftr.lowlevel.bits import Memory
from aftr.state.frames import HEADROOM, frames_at

_WORKER_SIZE = MAX_QUEUES * QUEUE_SIZE + SCRATCH_SIZE
DEFAULT_RING_SIZE = 2048  # frames; a power of two


@dataclass(frozen=True)
class Umem:
    """The packet frames of all workers: `size` bytes at `offset` of `memory`, in chunks of `1 << shift` bytes (2 or 4 KiB)."""

    memory: Memory
    offset: int
    size: int
    shift: int

    def __post_init__(self) -> None:
        if self.shift not in (11, 12):
            raise DeviceError(f"chunks of {1 << self.shift} bytes: the kernel takes 2048 or 4096")
        if self.address % mmap.PAGESIZE or self.size % mmap.PAGESIZE or self.offset + self.size > self.memory.size:
            raise DeviceError(f"the UMEM ({self.size} bytes at {self.offset}) must be whole pages inside the arena")

    @property
    def address(self) -> int:
        return self.memory.ctypes.data + self.offset

    @property
    def chunks(self) -> int:
        return self.size >> self.shift

    @property
    def room(self) -> int:
        """Bytes of the longest frame that can be received."""
        return (1 << self.shift) - HEADROOM


class QueueTable:
    """The queues of all workers, in `table_size()` bytes at `offset` of the arena, a multiple of 64.

    `frames[w]` is the offset of worker w's FRAMES; `reserve` chunks of its stack are never given to a device to receive into, so
    that the engine can always build packets.
    """

    def __init__(
        self, umem: Umem, offset: int, frames: Sequence[int], *, reserve: int, ring_size: int = DEFAULT_RING_SIZE
    ) -> None:
        if ring_size < 32 or ring_size & (ring_size - 1):
            raise DeviceError(f"rings of {ring_size} frames: the kernel takes powers of two, from 32")
        self.umem, self.offset, self.frames, self.reserve, self.ring_size = umem, offset, frames, reserve, ring_size
        self._counts = [0] * len(frames)
        self._last = 0
        umem.memory[offset : offset + table_size(umem.chunks, len(frames))] = 0

    @property
    def workers(self) -> int:
        return len(self.frames)

    def queues(self, worker: int) -> tuple[int, int]:
        """Offset of the worker's first QUEUE, and how many: the arguments of `wait`."""
        return self._worker(worker), self._counts[worker]

    def add(self, worker: int, device: int) -> int:
        """Offset of a new QUEUE of the worker, not wanted yet; it keeps its place for ever."""
        count = self._counts[worker]
        if count == MAX_QUEUES:
            raise DeviceError(f"worker {worker} has {MAX_QUEUES} device queues: start more workers (--workers)")
        self._counts[worker] += 1
        self._last += 1
        memory, umem = self.umem.memory, self.umem
        place = self._worker(worker) + QUEUE_SIZE * count
        queue = queue_at(memory, place)
        queue.number, queue.device, queue.fd = self._last, device, -1
        queue.frames, queue.reserve = self.frames[worker], self.reserve
        queue.umem, queue.shift, queue.chunks, queue.holders = umem.offset, umem.shift, umem.chunks, self.offset
        queue.base = memory.ctypes.data
        queue.scratch = self._worker(worker) + MAX_QUEUES * QUEUE_SIZE
        prepare_packet(memory, place)
        share = (frames_at(memory, self.frames[worker]).total - self.reserve) // (count + 1)
        for number in range(count + 1):
            queue_at(memory, self._worker(worker) + QUEUE_SIZE * number).share = max(share, 1)
        return place

    def _worker(self, worker: int) -> int:
        return self.offset + holders_size(self.umem.chunks) + worker * _WORKER_SIZE

    def held(self) -> int:
        """Chunks that the devices' rings hold; exact while no worker runs."""
        chunks = self.umem.chunks
        holders = self.umem.memory[self.offset : self.offset + 2 * chunks].view(np.uint16)
        return int(np.count_nonzero(holders))

    def free(self) -> int:
        """Chunks in the workers' stacks; exact while no worker runs."""
        return sum(frames_at(self.umem.memory, frames).count for frames in self.frames)


def table_size(chunks: int, workers: int) -> int:
    """Bytes of a `QueueTable` in the arena, a multiple of 64."""
    return holders_size(chunks) + workers * _WORKER_SIZE
