"""Frames that another worker, or a later turn of this one, must take: hand-over rings, and the list of pending inbound packets.

A slot is served by one worker.  A frame that arrived on another worker's queue, and a hairpinned packet to a slot of another
worker, cross a single-producer single-consumer ring.  Hairpinned packets to a slot of the same worker wait on its pending list until
the burst is over.
"""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, load64, load64_acquire, store64, store64_release
from aftr.lowlevel.kernel import kernel
from aftr.path.send import copy, drop, own_frame
from aftr.state.counters import count_drops, count_event
from aftr.state.frames import give_frame
from aftr.state.layout import RING, RING_ITEM, packet_at, pod_at, ring_at, worker_at
from aftr.state.reasons import HANDED_OVER, NO_FRAME, WORKER_RING_FULL

RING_SIZE = RING.itemsize
# meta of an item: origin side | inbound << 8 | hairpin << 9 | originated << 10 | event << 16 | VLAN << 32
INBOUND_BIT, HAIRPIN_BIT, ORIGINATED_BIT, EVENT_SHIFT, VLAN_SHIFT = 1 << 8, 1 << 9, 1 << 10, 16, 32


@kernel
def ring_between(memory: Memory, worker: int, source: int, target: int) -> int:
    """The ring from worker number `source` to `target`."""
    return worker_at(memory, worker).rings + (source * pod_at(memory, 0).workers + target) * RING_SIZE


@kernel
def push(memory: Memory, ring: int, start: int, size: int, meta: int, cause: int) -> bool:
    """Append an item; False when the ring is full."""
    record = ring_at(memory, ring)
    head = record.head
    if head - load64_acquire(memory, ring + 64) > record.mask:
        return False
    item = record.items + (head & record.mask) * RING_ITEM
    store64(memory, item, start)
    store64(memory, item + 8, size)
    store64(memory, item + 16, meta)
    store64(memory, item + 24, cause)
    store64_release(memory, ring, head + 1)
    return True


@kernel
def pop(memory: Memory, ring: int, to: int) -> bool:
    """Move the oldest item to the 32 bytes at `to`; False when the ring is empty."""
    record = ring_at(memory, ring)
    tail = record.tail
    if tail == load64_acquire(memory, ring):
        return False
    copy(memory, to, record.items + (tail & record.mask) * RING_ITEM, RING_ITEM)
    store64_release(memory, ring + 64, tail + 1)
    return True


@kernel
def hand_over(memory: Memory, worker: int, target: int, start: int, size: int, meta: int, cause: int) -> None:
    """Give a frame to the worker that owns its slot, or drop it when that one cannot keep up."""
    ring = ring_between(memory, worker, worker_at(memory, worker).number, target)
    if push(memory, ring, start, size, meta, cause):
        count_event(memory, worker, HANDED_OVER, 1)
        return
    if meta & ORIGINATED_BIT == 0:
        count_drops(memory, worker, meta & 0xFF, WORKER_RING_FULL, 1)
    give_frame(memory, worker_at(memory, worker).frames, start)


@kernel
def slot_worker(memory: Memory, number: int) -> int:
    """Number of the worker that serves slot `number`."""
    return load64(memory, pod_at(memory, 0).slot_workers + 8 * number)


@kernel
def turn_inbound(memory: Memory, worker: int, packet: int, number: int) -> None:
    """Hairpin (row N06): the translated packet at `ip` comes in again, at the slot `number`, without leaving the pod."""
    record = packet_at(memory, packet)
    if not own_frame(memory, worker, packet):
        drop(memory, worker, packet, NO_FRAME)
        return
    meta = record.side | INBOUND_BIT | HAIRPIN_BIT | (ORIGINATED_BIT if record.originated == 1 else 0)
    meta |= record.event << EVENT_SHIFT
    frame, record.frame = record.frame, 0
    target = slot_worker(memory, number)
    me = worker_at(memory, worker)
    if target != me.number:
        hand_over(memory, worker, target, record.ip, record.length, meta, record.cause)
        return
    if me.pending_count >= me.pending_capacity:
        if meta & ORIGINATED_BIT == 0:
            count_drops(memory, worker, record.side, WORKER_RING_FULL, 1)
        give_frame(memory, me.frames, frame)
        return
    item = me.pending + me.pending_count * RING_ITEM
    store64(memory, item, record.ip)
    store64(memory, item + 8, record.length)
    store64(memory, item + 16, meta)
    store64(memory, item + 24, record.cause)
    me.pending_count += 1
