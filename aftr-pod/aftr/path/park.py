"""Output commit: a packet whose mapping is not stored yet waits, in the order of the journal (docs/design/0003-state.md)."""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, load64_acquire
from aftr.lowlevel.kernel import kernel
from aftr.path.send import drop, own_frame
from aftr.state.counters import HELD, count, count_event
from aftr.state.journal import COMMITTED, CREATION_RESERVE, journal_room
from aftr.state.layout import PARK_CAPACITY, PARKED, PENDING, mapping_at, packet_at, parked_at, slot_at, worker_at
from aftr.state.reasons import COMMIT_BACKLOG, NO_FRAME, SLOT_FROZEN
from aftr.state.reasons import PARKED as EVENT_PARKED

PARKED_SIZE = PARKED.itemsize


@kernel
def may_create(memory: Memory, slot: int) -> int:
    """-1, or why no mapping may be made in this slot just now."""
    record = slot_at(memory, slot)
    if record.frozen != 0:
        return SLOT_FROZEN
    full = record.parking != 0 and record.park_head - record.park_tail >= PARK_CAPACITY
    return COMMIT_BACKLOG if full or journal_room(memory, slot) < CREATION_RESERVE else -1


@kernel
def awaited(memory: Memory, slot: int, mapping: int) -> int:
    """Number of the record that must be stored before packets of this mapping leave; 0 when it is."""
    entry = mapping_at(memory, mapping)
    if entry.flags & PENDING == 0:
        return 0
    committed = load64_acquire(memory, slot + COMMITTED)
    behind = (entry.commit - committed) & M32
    if behind == 0 or behind >> 31 == 1:
        entry.flags &= ~PENDING
        return 0
    return committed + behind


@kernel
def awaited_by_fragment(memory: Memory, slot: int) -> int:
    """The same for a later fragment: while anything is parked, its first may be."""
    record = slot_at(memory, slot)
    return record.journal_head if record.park_head != record.park_tail else 0


@kernel
def parked_entry(memory: Memory, slot: int, number: int) -> int:
    """Byte offset of the n-th packet parked since the slot was opened."""
    return slot_at(memory, slot).park_ring + (number & (PARK_CAPACITY - 1)) * PARKED_SIZE


@kernel
def park(memory: Memory, worker: int, packet: int, commit: int) -> None:
    """Put a translated packet aside until record `commit` is stored; the newest is dropped when too many wait."""
    record, me = packet_at(memory, packet), worker_at(memory, worker)
    slot = slot_at(memory, record.slot)
    if slot.park_head - slot.park_tail >= PARK_CAPACITY:
        drop(memory, worker, packet, COMMIT_BACKLOG)
        return
    if not own_frame(memory, worker, packet):
        drop(memory, worker, packet, NO_FRAME)
        return
    item = parked_at(memory, parked_entry(memory, record.slot, slot.park_head))
    item.commit = commit
    item.frame = record.frame
    item.ip = record.ip
    item.length = record.length
    item.interface = record.interface
    item.flow = record.flow
    item.cause = record.cause
    item.side = record.side
    item.since = me.now & M32
    slot.park_head += 1
    me.parked += 1
    record.frame = 0
    count(memory, worker, record.side, HELD, 1)
    count_event(memory, worker, EVENT_PARKED, 1)
