"""Fragment contexts of a slot: bounded in number, bytes and time, in total and per subscriber (rows D04, N09).

A context has a buffer of `maxPacketBytes`.  An IPv6 packet is put together in it; fragments of inner or internet IPv4 packets wait
in it for their first.  Contexts end in the order in which they began: the oldest is the head of a list, time-outs are exact.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, load64, lshr64, store64
from aftr.lowlevel.kernel import kernel
from aftr.state.counters import HELD, count, count_drops
from aftr.state.frames import HEADROOM
from aftr.state.hashing import hash_triple
from aftr.state.layout import (
    CONTEXT,
    CONTEXT_BITMAP,
    LIVE,
    SLOT_CONTEXTS,
    SLOT_SUBSCRIBERS,
    context_at,
    pod_at,
    slot_at,
    subscriber_at,
    table_at,
)
from aftr.state.reasons import REASSEMBLY_FULL, REASSEMBLY_SUBSCRIBER_LIMIT, REASSEMBLY_TIMEOUT
from aftr.state.table import (
    clear,
    give_record,
    index_insert,
    index_probe,
    index_record,
    index_remove,
    record_number,
    record_offset,
    take_record,
)

CONTEXT_SIZE = CONTEXT.itemsize
SUBSCRIBER_SHARE = 16  # one subscriber may hold 1/16 of a slot's contexts and bytes


@kernel
def context_hash(memory: Memory, key0: int, key1: int, key2: int) -> int:
    """Hash of a context's key."""
    pod = pod_at(memory, 0)
    return hash_triple(key0, key1, key2, pod.secret3, pod.secret0, pod.secret1)


@kernel
def find_context(memory: Memory, slot: int, key0: int, key1: int, key2: int) -> int:
    """The context record with this key, or 0."""
    table = slot + SLOT_CONTEXTS
    hash_ = context_hash(memory, key0, key1, key2)
    place = index_probe(memory, table, hash_, 0)
    while place >= 0:
        context = index_record(memory, table, hash_, place)
        record = context_at(memory, context)
        if record.key0 == key0 and record.key1 == key1 and record.key2 == key2:
            return context
        place = index_probe(memory, table, hash_, place + 1)
    return 0


@kernel
def context_buffer(memory: Memory, slot: int, context: int) -> int:
    """Byte offset of the context's data, with headroom before it."""
    record = slot_at(memory, slot)
    return (
        record.context_buffers + record_number(memory, slot + SLOT_CONTEXTS, context) * record.context_stride + HEADROOM
    )


@kernel
def open_context(
    memory: Memory, slot: int, subscriber: int, kind: int, key0: int, key1: int, key2: int, now: int
) -> int:
    """A new context at the end of the list, charged to the subscriber (0: nobody); or -1 - drop reason."""
    table, pod = slot + SLOT_CONTEXTS, pod_at(memory, 0)
    if subscriber > 0 and subscriber_at(memory, subscriber).contexts >= max(pod.max_contexts // SUBSCRIBER_SHARE, 1):
        return -1 - REASSEMBLY_SUBSCRIBER_LIMIT
    if table_at(memory, table).live >= pod.max_contexts:
        return -1 - REASSEMBLY_FULL
    context = take_record(memory, table)
    if context == 0:
        return -1 - REASSEMBLY_FULL
    clear(memory, context, CONTEXT_SIZE)
    record, owner = context_at(memory, context), slot_at(memory, slot)
    record.key0 = key0
    record.key1 = key1
    record.key2 = key2
    record.kind = kind
    record.state = LIVE
    record.started = now & M32
    if subscriber > 0:
        subscriber_at(memory, subscriber).contexts += 1
        record.subscriber_ref = record_number(memory, slot + SLOT_SUBSCRIBERS, subscriber) + 1
    reference = record_number(memory, table, context) + 1
    record.previous_ref = owner.context_tail
    if owner.context_tail > 0:
        context_at(memory, record_offset(memory, table, owner.context_tail - 1)).next_ref = reference
    else:
        owner.context_head = reference
    owner.context_tail = reference
    index_insert(memory, table, context_hash(memory, key0, key1, key2), context)
    return context


@kernel
def charge(memory: Memory, slot: int, context: int, size: int) -> int:
    """Account `size` more bytes to the context; -1, or the drop reason when slot or subscriber may not hold them."""
    record, owner, pod = context_at(memory, context), slot_at(memory, slot), pod_at(memory, 0)
    if owner.context_bytes + size > pod.max_context_bytes:
        return REASSEMBLY_FULL
    if record.subscriber_ref > 0:
        subscriber = subscriber_at(memory, record_offset(memory, slot + SLOT_SUBSCRIBERS, record.subscriber_ref - 1))
        if subscriber.context_bytes + size > pod.max_context_bytes // SUBSCRIBER_SHARE:
            return REASSEMBLY_SUBSCRIBER_LIMIT
        subscriber.context_bytes += size
    owner.context_bytes += size
    record.bytes += size
    return -1


@kernel
def discharge(memory: Memory, slot: int, context: int) -> None:
    """Give back all bytes accounted to the context."""
    record = context_at(memory, context)
    slot_at(memory, slot).context_bytes -= record.bytes
    if record.subscriber_ref > 0:
        owner = subscriber_at(memory, record_offset(memory, slot + SLOT_SUBSCRIBERS, record.subscriber_ref - 1))
        owner.context_bytes -= record.bytes
    record.bytes = 0


@kernel
def hold(memory: Memory, worker: int, context: int, side: int) -> None:
    """One more frame of `side` waits in the context."""
    context_at(memory, context).held += 1
    count(memory, worker, side, HELD, 1)


@kernel
def end_context(memory: Memory, slot: int, context: int) -> None:
    """Take a context out of list and index and free it; its buffer stays readable until the next context is opened."""
    table, owner, record = slot + SLOT_CONTEXTS, slot_at(memory, slot), context_at(memory, context)
    discharge(memory, slot, context)
    if record.subscriber_ref > 0:
        subscriber_at(memory, record_offset(memory, slot + SLOT_SUBSCRIBERS, record.subscriber_ref - 1)).contexts -= 1
    if record.previous_ref > 0:
        context_at(memory, record_offset(memory, table, record.previous_ref - 1)).next_ref = record.next_ref
    else:
        owner.context_head = record.next_ref
    if record.next_ref > 0:
        context_at(memory, record_offset(memory, table, record.next_ref - 1)).previous_ref = record.previous_ref
    else:
        owner.context_tail = record.previous_ref
    index_remove(memory, table, context_hash(memory, record.key0, record.key1, record.key2), context)
    record.state = 0
    give_record(memory, table, context)


@kernel
def drop_held(memory: Memory, worker: int, context: int, reason: int) -> None:
    """The frames that wait in the context are dropped."""
    record = context_at(memory, context)
    if record.held > 0:
        count(memory, worker, record.side, HELD, -record.held)
        count_drops(memory, worker, record.side, reason, record.held)
        record.held = 0


@kernel
def expire_contexts(memory: Memory, worker: int, slot: int, now: int) -> None:
    """End the contexts whose time is over, oldest first."""
    owner, timeout = slot_at(memory, slot), pod_at(memory, 0).reassembly_timeout
    while owner.context_head > 0:
        context = record_offset(memory, slot + SLOT_CONTEXTS, owner.context_head - 1)
        if (now - context_at(memory, context).started) & M32 < timeout:
            return
        drop_held(memory, worker, context, REASSEMBLY_TIMEOUT)
        end_context(memory, slot, context)


# ---------------------------------------------------------------- which bytes have arrived
@kernel
def mark(memory: Memory, context: int, first: int, units: int) -> bool:
    """Mark `units` 8-byte units from `first` on as arrived; False when one of them already was."""
    bitmap = context + CONTEXT_BITMAP
    fresh = True
    unit, end = first, first + units
    while unit < end:
        word = bitmap + 8 * (unit >> 6)
        low = unit & 63
        many = min(64 - low, end - unit)
        bits = lshr64(-1, 64 - many) << low
        old = load64(memory, word)
        if old & bits != 0:
            fresh = False
        store64(memory, word, old | bits)
        unit += many
    return fresh
