"""IPv6 reassembly before decapsulation (row D04; RFC 8200 section 4.5, RFC 5722, RFC 6946, RFC 3168 section 5.3)."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, be16, be32, load8
from aftr.lowlevel.kernel import kernel
from aftr.nat.subscriber import subscriber_of
from aftr.path.contexts import (
    charge,
    context_buffer,
    discharge,
    drop_held,
    find_context,
    hold,
    mark,
    open_context,
)
from aftr.path.send import copy, drop, release
from aftr.state.counters import HELD, MERGED, count, count_event
from aftr.state.layout import SPOILED, V6_REASSEMBLY, context_at, packet_at, pod_at, worker_at
from aftr.state.reasons import BAD_FRAGMENT, ECN, OVERLAP, REASSEMBLED, REASSEMBLY_TOO_BIG

KEY_KIND = 40
ECN_SPOILED = 4


@kernel
def combine_ecn(so_far: int, ecn: int) -> int:
    """ECN of fragments put together (RFC 3168 section 5.3): CE wins, Not-ECT and ECT do not mix; 4 = drop."""
    if so_far == ECN_SPOILED or so_far == ecn:
        return so_far
    if so_far == 0 or ecn == 0:
        return ECN_SPOILED
    return 3 if so_far == 3 or ecn == 3 else so_far


@kernel
def spoil(memory: Memory, worker: int, packet: int, context: int, slot: int, reason: int) -> int:
    """Drop the fragment and all that came before; what still comes is dropped too, until the context's time is over."""
    drop_held(memory, worker, context, reason)
    discharge(memory, slot, context)
    context_at(memory, context).state = SPOILED
    context_at(memory, context).received = reason
    drop(memory, worker, packet, reason)
    return 0


@kernel
def reassemble(memory: Memory, worker: int, packet: int, header: int, end: int) -> int:
    """Take in the fragment whose Fragment header is at `header` and whose bytes stop at `end`.

    Returns the context when the packet is whole: then `ip` and `length` of the packet are the reassembled payload, `next_header` its
    type and the fragment's frame is already free; the caller ends the context.  Otherwise 0, and the frame is accounted for.
    """
    record, pod, now = packet_at(memory, packet), pod_at(memory, 0), worker_at(memory, worker).now
    field, slot = be16(memory, header + 2), record.slot
    offset, more = field & 0xFFF8, field & 1
    data, size = header + 8, end - header - 8
    if size <= 0 or (more == 1 and size & 7 != 0) or offset + size > 65535:
        drop(memory, worker, packet, BAD_FRAGMENT)
        return 0
    key2 = be32(memory, header + 4) | V6_REASSEMBLY << KEY_KIND
    context = find_context(memory, slot, record.hi, record.lo, key2)
    if context == 0:
        subscriber = subscriber_of(memory, slot, record.softwire)
        context = open_context(memory, slot, subscriber, V6_REASSEMBLY, record.hi, record.lo, key2, now)
        if context < 0:
            drop(memory, worker, packet, -1 - context)
            return 0
        context_at(memory, context).side = record.side
        context_at(memory, context).ecn = record.outer_tos & 3
    state = context_at(memory, context)
    if state.state == SPOILED:
        drop(memory, worker, packet, state.received)
        return 0
    if offset + size > pod.max_packet_bytes:
        return spoil(memory, worker, packet, context, slot, REASSEMBLY_TOO_BIG)
    past_end = state.total > 0 and offset + size > state.total
    second_end = more == 0 and (state.total > 0 or offset + size < state.stored)
    if past_end or second_end or not mark(memory, context, offset >> 3, (size + 7) >> 3):
        return spoil(memory, worker, packet, context, slot, OVERLAP)
    reason = charge(memory, slot, context, size)
    if reason >= 0:
        return spoil(memory, worker, packet, context, slot, reason)
    return keep_fragment(memory, worker, packet, context, header, data, offset, size, more)


@kernel
def keep_fragment(
    memory: Memory, worker: int, packet: int, context: int, header: int, data: int, offset: int, size: int, more: int
) -> int:
    """Copy a good fragment to its place; as `reassemble`."""
    record, state = packet_at(memory, packet), context_at(memory, context)
    buffer = context_buffer(memory, record.slot, context)
    copy(memory, buffer + offset, data, size)
    state.ecn = combine_ecn(state.ecn, record.outer_tos & 3)
    if state.ecn == ECN_SPOILED:
        return spoil(memory, worker, packet, context, record.slot, ECN)
    state.received += size
    state.stored = max(state.stored, offset + size)
    if offset == 0:
        state.next_header = load8(memory, header)
        state.tos = record.outer_tos & 0xFC
    if more == 0:
        state.total = offset + size
    if state.total == 0 or state.received < state.total:
        hold(memory, worker, context, record.side)
        release(memory, worker, packet)
        return 0
    count(memory, worker, record.side, HELD, -state.held)
    count(memory, worker, record.side, MERGED, state.held)
    state.held = 0
    release(memory, worker, packet)
    count_event(memory, worker, REASSEMBLED, 1)
    record.ip = buffer
    record.length = state.total
    record.next_header = state.next_header
    record.outer_tos = state.tos | state.ecn
    return context
