"""IPv4 fragments of inner and internet packets (row N09): later fragments follow the translation of their first.

A fragment that comes before its first waits in the context's buffer, as `length 32 | hairpin 32` and its bytes, 8-byte aligned.
"""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, add64, be16, be32, load8, load32, store32
from aftr.lowlevel.kernel import kernel
from aftr.nat.subscriber import subscriber_of
from aftr.path.contexts import (
    charge,
    context_buffer,
    discharge,
    drop_held,
    end_context,
    find_context,
    hold,
    open_context,
)
from aftr.path.ipv4 import MORE_FRAGMENTS, OFFSET_MASK, header_size
from aftr.path.send import copy, drop, release
from aftr.state.counters import HELD, count, count_event
from aftr.state.layout import (
    HELD_LANE,
    LANE_SIZE,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    SPOILED,
    V4_INBOUND,
    V4_OUTBOUND,
    context_at,
    packet_at,
    pod_at,
    worker_at,
)
from aftr.state.reasons import BAD_FRAGMENT, FRAGMENT_TINY, IPV4_FRAGMENTS_TRANSLATED, PROTOCOL, REASSEMBLY_TOO_BIG

FOLLOWING = 2  # context state: the first has been translated


@kernel
def is_fragment(memory: Memory, ip: int) -> bool:
    """Whether the IPv4 packet is a fragment, first or later."""
    return be16(memory, ip + 6) & (MORE_FRAGMENTS | OFFSET_MASK) != 0


@kernel
def check_fragment(memory: Memory, ip: int) -> int:
    """-1, or why a later fragment is refused: another protocol, empty, odd length in the middle, over TCP's header (RFC 3128)."""
    if load8(memory, ip + 9) not in (PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP):
        return PROTOCOL
    field, header = be16(memory, ip + 6), header_size(memory, ip)
    size = be16(memory, ip + 2) - header
    if size <= 0 or (field & MORE_FRAGMENTS != 0 and size & 7 != 0):
        return BAD_FRAGMENT
    overlaps = field & OFFSET_MASK == 1 and load8(memory, ip + 9) == PROTOCOL_TCP
    return FRAGMENT_TINY if overlaps else -1


@kernel
def datagram_context(memory: Memory, worker: int, packet: int) -> int:
    """The context of the datagram that the packet is a fragment of, found or opened; or -1 - drop reason."""
    record = packet_at(memory, packet)
    ip, slot = record.ip, record.slot
    kind = V4_INBOUND if record.inbound == 1 else V4_OUTBOUND
    who = 0
    if kind == V4_OUTBOUND:
        who = record.softwire
    key0 = add64(be32(memory, ip + 12) << 32, be32(memory, ip + 16))
    key2 = be16(memory, ip + 4) | load8(memory, ip + 9) << 16 | kind << 40
    context = find_context(memory, slot, key0, who, key2)
    if context > 0:
        return context if context_at(memory, context).side == record.side else -1 - BAD_FRAGMENT
    subscriber = subscriber_of(memory, slot, record.softwire) if who > 0 else 0
    context = open_context(memory, slot, subscriber, kind, key0, who, key2, worker_at(memory, worker).now)
    if context > 0:
        context_at(memory, context).side = record.side
    return context


@kernel
def account(memory: Memory, context: int, ip: int) -> None:
    """Note up to where the datagram has been translated without a gap, to know when it is over.

    A repeated fragment adds nothing; one that comes too early does not either: then time ends the context.
    """
    state, field = context_at(memory, context), be16(memory, ip + 6)
    first = (field & OFFSET_MASK) * 8
    end = first + be16(memory, ip + 2) - header_size(memory, ip)
    if first <= state.received < end:
        state.received = end
    if field & MORE_FRAGMENTS == 0:
        state.total = end


@kernel
def end_when_complete(memory: Memory, slot: int, context: int) -> None:
    """End the context of a datagram all of whose bytes were translated."""
    state = context_at(memory, context)
    if state.state == FOLLOWING and state.held == 0 and state.total > 0 and state.received >= state.total:
        end_context(memory, slot, context)


@kernel
def first_of_datagram(memory: Memory, worker: int, packet: int) -> int:
    """For a first fragment, about to be translated: its context, in which the caller notes how the later ones follow.

    0 for a whole packet; -1 when the packet was dropped.
    """
    record = packet_at(memory, packet)
    if not is_fragment(memory, record.ip):
        return 0
    context = datagram_context(memory, worker, packet)
    if context < 0:
        drop(memory, worker, packet, -1 - context)
        return -1
    state = context_at(memory, context)
    if state.state == SPOILED:
        drop(memory, worker, packet, state.received)
        return -1
    state.state = FOLLOWING
    account(memory, context, record.ip)
    count_event(memory, worker, IPV4_FRAGMENTS_TRANSLATED, 1)
    return context


@kernel
def later_of_datagram(memory: Memory, worker: int, packet: int) -> int:
    """For a later fragment: the context that says how it follows its first; 0 when it was dropped, or waits for its first."""
    record = packet_at(memory, packet)
    reason = check_fragment(memory, record.ip)
    context = datagram_context(memory, worker, packet) if reason < 0 else -1 - reason
    if context < 0:
        drop(memory, worker, packet, -1 - context)
        return 0
    state = context_at(memory, context)
    if state.state == SPOILED:
        drop(memory, worker, packet, state.received)
        return 0
    if state.state != FOLLOWING:
        wait_for_first(memory, worker, packet, context)
        return 0
    account(memory, context, record.ip)
    return context


@kernel
def end_waiting(memory: Memory, slot: int, context: int) -> None:
    """All fragments that waited have left: give their bytes back, and the context when the datagram is over."""
    context_at(memory, context).stored = 0
    discharge(memory, slot, context)
    end_when_complete(memory, slot, context)


@kernel
def wait_for_first(memory: Memory, worker: int, packet: int, context: int) -> None:
    """Put a later fragment aside, or drop it (and, when the buffer is full, all of its datagram)."""
    record, state = packet_at(memory, packet), context_at(memory, context)
    slot, need = record.slot, 8 + ((record.length + 7) & ~7)
    if state.stored + need > pod_at(memory, 0).max_packet_bytes:
        drop_held(memory, worker, context, REASSEMBLY_TOO_BIG)
        discharge(memory, slot, context)
        state.state = SPOILED
        state.received = REASSEMBLY_TOO_BIG
        drop(memory, worker, packet, REASSEMBLY_TOO_BIG)
        return
    reason = charge(memory, slot, context, record.length)
    if reason >= 0:
        drop(memory, worker, packet, reason)
        return
    place = context_buffer(memory, slot, context) + state.stored
    store32(memory, place, record.length)
    store32(memory, place + 4, record.hairpin)
    copy(memory, place + 8, record.ip, record.length)
    state.stored += need
    hold(memory, worker, context, record.side)
    release(memory, worker, packet)


@kernel
def next_waiting(memory: Memory, worker: int, packet: int, context: int, place: int) -> int:
    """Load the waiting fragment at `place` of the buffer into the worker's second packet; the place after it, or -1 at the end."""
    state, record = context_at(memory, context), packet_at(memory, packet)
    if place >= state.stored:
        return -1
    held = worker_at(memory, worker).lanes + HELD_LANE * LANE_SIZE
    at = context_buffer(memory, record.slot, context) + place
    copy(memory, held, packet, LANE_SIZE)
    other = packet_at(memory, held)
    other.frame = 0
    other.ip = at + 8
    other.length = load32(memory, at)
    other.hairpin = load32(memory, at + 4)
    state.held -= 1
    account(memory, context, at + 8)
    count(memory, worker, record.side, HELD, -1)
    return place + 8 + ((other.length + 7) & ~7)
