"""Packet frames of the arena, and each worker's stack of free ones.

The UMEM is a page-aligned region of the arena, cut into chunks of 2 KiB or 4 KiB.  A frame is the byte offset of a packet's first
byte in `memory`; which chunk it lies in follows from any offset inside it.  A fresh frame begins `HEADROOM` bytes into its chunk,
and so does every received packet (the kernel's XDP_PACKET_HEADROOM is the same 256), so there is always room to encapsulate.

A frame has exactly one owner at a time: a stack, the engine, or a device queue (its rings).  A stack belongs to one worker and is
touched by no other thread.  Frames may cross to another worker, so every stack has room for all frames of the UMEM.
"""

from __future__ import annotations

import numpy as np

from aftr.lowlevel.bits import Memory, load32, store32
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.lowlevel.records import record_accessor
from dslite_contract import tables

HEADROOM = tables.HEADROOM

FRAMES = np.dtype(
    [
        ("umem", "<i8"),  # offset of the UMEM in the arena
        ("shift", "<i8"),  # log2 of the chunk size
        ("items", "<i8"),  # offset of the free chunks' numbers, 32 bits each
        ("count", "<i8"),  # free chunks
        ("capacity", "<i8"),  # chunks of the whole UMEM, of all workers
        ("total", "<i8"),  # chunks this stack began with
        ("low", "<i8"),  # fewest free chunks ever seen by `take_frame`
        ("overflow", "<i8"),  # frames given back twice: 0, or there is a bug
    ],
    align=True,
)
frames_at = record_accessor("frames_at", FRAMES)


def frames_size(capacity: int) -> int:
    """Bytes that a stack needs in the arena: the record and its items, a multiple of 64."""
    return int(FRAMES.itemsize + (4 * capacity + 63) // 64 * 64)


@kernel
def open_frames(memory: Memory, frames: int, umem: int, shift: int, capacity: int, first: int, total: int) -> None:
    """Make the stack at `frames` (`frames_size(capacity)` bytes) with the chunks `first` … `first + total - 1` free."""
    stack = frames_at(memory, frames)
    stack.umem = umem
    stack.shift = shift
    stack.items = frames + 64
    stack.capacity = capacity
    stack.total = total
    stack.count = total
    stack.low = total
    stack.overflow = 0
    for i in range(total):
        store32(memory, frames + 64 + 4 * i, first + total - 1 - i)


@inline_kernel
def take_frame(memory: Memory, frames: int) -> int:
    """Offset where a packet may begin, `HEADROOM` bytes into a free chunk; -1 when none is left."""
    stack = frames_at(memory, frames)
    left = stack.count - 1
    if left < 0:
        return -1
    stack.count = left
    if left < stack.low:
        stack.low = left
    return stack.umem + (load32(memory, stack.items + 4 * left) << stack.shift) + HEADROOM


@inline_kernel
def give_frame(memory: Memory, frames: int, offset: int) -> None:
    """Free the chunk in which `offset` lies."""
    stack = frames_at(memory, frames)
    count = stack.count
    if count >= stack.capacity:
        stack.overflow += 1
        return
    store32(memory, stack.items + 4 * count, (offset - stack.umem) >> stack.shift)
    stack.count = count + 1


@inline_kernel
def fresh_room(memory: Memory, frames: int) -> int:
    """Bytes of the longest packet that a fresh frame holds."""
    return (1 << frames_at(memory, frames).shift) - HEADROOM


@inline_kernel
def frame_room(memory: Memory, frames: int, offset: int) -> int:
    """Bytes from `offset` to the end of its chunk."""
    stack = frames_at(memory, frames)
    size = 1 << stack.shift
    return size - ((offset - stack.umem) & (size - 1))
