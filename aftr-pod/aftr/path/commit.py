"""What was parked leaves when it is stored, or is dropped when it waited too long or its slot goes."""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, load64, load64_acquire
from aftr.lowlevel.kernel import kernel
from aftr.path.contexts import drop_held, end_context
from aftr.path.outbound import leave
from aftr.path.park import parked_entry
from aftr.path.receive import begin
from aftr.path.send import drop
from aftr.path.syns import syn_at, syn_entry
from aftr.state.counters import HELD, count, count_drops
from aftr.state.journal import COMMITTED
from aftr.state.layout import (
    LANE_SIZE,
    SLOT_CONTEXTS,
    SLOW_LANE,
    packet_at,
    parked_at,
    pod_at,
    slot_at,
    worker_at,
)
from aftr.state.reasons import COMMIT_TIMEOUT, SLOT_CLOSED
from aftr.state.table import record_offset

PARKED_MS = 1000  # a first packet that waited so long is of no use any more
AT_ONCE = 256  # packets that leave in one turn: a device's ring must have room for them and for a burst


@kernel
def release_committed(memory: Memory, worker: int) -> int:
    """The parked packets of this worker's slots whose records are stored, as many as may leave at once; how many."""
    pod, me = pod_at(memory, 0), worker_at(memory, worker)
    parked, released = me.parked, 0
    if parked == 0:
        return 0
    for number in range(pod.slots):
        slot = load64(memory, pod.slot_table + 8 * number)
        if slot > 0 and load64(memory, pod.slot_workers + 8 * number) == me.number:
            release_slot(memory, worker, slot, AT_ONCE - released)
            released = parked - me.parked
    return released


@kernel
def release_slot(memory: Memory, worker: int, slot: int, most: int) -> None:
    """At most so many of the parked packets of one slot, oldest first."""
    record, now = slot_at(memory, slot), worker_at(memory, worker).now
    committed, last = load64_acquire(memory, slot + COMMITTED), min(record.park_head, record.park_tail + most)
    while record.park_tail < last:
        item = parked_at(memory, parked_entry(memory, slot, record.park_tail))
        if item.commit <= committed:
            leave(memory, worker, unpark(memory, worker, slot), 0)
        elif (now - item.since) & M32 >= PARKED_MS:
            drop(memory, worker, unpark(memory, worker, slot), COMMIT_TIMEOUT)
        else:
            return


@kernel
def unpark(memory: Memory, worker: int, slot: int) -> int:
    """The oldest parked packet in a packet record again."""
    me, record = worker_at(memory, worker), slot_at(memory, slot)
    item = parked_at(memory, parked_entry(memory, slot, record.park_tail))
    record.park_tail += 1
    me.parked -= 1
    packet = me.lanes + SLOW_LANE * LANE_SIZE
    begin(memory, worker, packet, item.frame, item.length, item.side, item.cause)
    one = packet_at(memory, packet)
    one.ip = item.ip
    one.length = item.length
    one.slot = slot
    one.interface = item.interface
    one.flow = item.flow
    count(memory, worker, item.side, HELD, -1)
    return packet


@kernel
def abandon(memory: Memory, worker: int, slot: int) -> None:
    """A slot is about to be closed: everything that waits in it is dropped."""
    record = slot_at(memory, slot)
    while record.park_tail < record.park_head:
        drop(memory, worker, unpark(memory, worker, slot), SLOT_CLOSED)
    while record.context_head > 0:
        context = record_offset(memory, slot + SLOT_CONTEXTS, record.context_head - 1)
        drop_held(memory, worker, context, SLOT_CLOSED)
        end_context(memory, slot, context)
    for number in range(record.syn_count):
        held = syn_at(memory, syn_entry(memory, slot, number))
        count(memory, worker, held.side, HELD, -1)
        count_drops(memory, worker, held.side, SLOT_CLOSED, 1)
    record.syn_count = 0
