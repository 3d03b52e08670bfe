"""Who a packet belongs to: softwire (one B4 address) and subscriber (its prefix), rows D09, D12, D20, O06.

A softwire record is found by IPv6 source; everything else refers to the record, so a B4 that changes its address inside its
prefix keeps its mappings: the address in the record changes and nothing else (RFC 7785).
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, load8, load64
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.limits import SOFTWIRE_ICMP_BURST, TOKEN
from aftr.state.counters import count_event
from aftr.state.hashing import hash_pair
from aftr.state.journal import SOFTWIRE_FROM, SOFTWIRE_TO, write_record
from aftr.state.layout import (
    GROUP,
    LIVE,
    SLOT_POOLS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    SOFTWIRE,
    SUBSCRIBER,
    group_at,
    pod_at,
    softwire_at,
    subscriber_at,
    table_at,
    worker_at,
)
from aftr.state.reasons import (
    NO_POOL,
    NOT_REGISTERED_B4,
    SOFTWIRE_LIMIT,
    SOFTWIRES_CREATED,
    SOFTWIRES_MIGRATED,
    SOFTWIRES_REMOVED,
    TABLE_FULL,
)
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

GROUP_SIZE = GROUP.itemsize
SOFTWIRE_SIZE, SUBSCRIBER_SIZE = SOFTWIRE.itemsize, SUBSCRIBER.itemsize
_SOFTWIRE_STATE = SOFTWIRE.fields["state"][1]  # type: ignore[index]
SOFTWIRE_IDLE_S = 300  # a softwire without mappings is forgotten after this
PATH_MTU_S = 600  # row D25


@inline_kernel
def address_hash(memory: Memory, hi: int, lo: int) -> int:
    """Hash of an IPv6 address or prefix under the boot's secrets."""
    pod = pod_at(memory, 0)
    return hash_pair(hi, lo, pod.secret0, pod.secret1, pod.secret2)


@kernel
def find_by_address(memory: Memory, table: int, hi: int, lo: int) -> int:
    """The record of a table whose first two fields are this IPv6 address or prefix, or 0."""
    hash_ = address_hash(memory, hi, lo)
    place = index_probe(memory, table, hash_, 0)
    while place >= 0:
        record = index_record(memory, table, hash_, place)
        if load64(memory, record) == hi and load64(memory, record + 8) == lo:
            return record
        place = index_probe(memory, table, hash_, place + 1)
    return 0


@kernel
def find_softwire(memory: Memory, slot: int, hi: int, lo: int) -> int:
    """The softwire record of an IPv6 source address, or 0."""
    return find_by_address(memory, slot + SLOT_SOFTWIRES, hi, lo)


@kernel
def find_subscriber(memory: Memory, slot: int, hi: int, lo: int) -> int:
    """The subscriber record of a masked prefix, or 0."""
    return find_by_address(memory, slot + SLOT_SUBSCRIBERS, hi, lo)


@kernel
def find_group(memory: Memory, hi: int, lo: int) -> int:
    """The B4Group prefix entry (longest match) of an IPv6 source, or 0: the ingress filter of RFC 6333 section 11."""
    pod = pod_at(memory, 0)
    for number in range(pod.groups):
        entry = pod.group_table + number * GROUP_SIZE
        group = group_at(memory, entry)
        if hi & group.mask_hi == group.hi and lo & group.mask_lo == group.lo:
            return entry
    return 0


@inline_kernel
def prefix_hi(hi: int, bits: int) -> int:
    """High half masked to a prefix of `bits` bits."""
    return hi if bits >= 64 else (hi & (-1 << (64 - bits)) if bits > 0 else 0)


@inline_kernel
def prefix_lo(lo: int, bits: int) -> int:
    """Low half masked to a prefix of `bits` bits."""
    return lo if bits >= 128 else (lo & (-1 << (128 - bits)) if bits > 64 else 0)


@kernel
def make_subscriber(memory: Memory, slot: int, entry: int, hi: int, lo: int, now: int) -> int:
    """A new subscriber of the group entry, or 0 when the table is full."""
    table, group = slot + SLOT_SUBSCRIBERS, group_at(memory, entry)
    subscriber = take_record(memory, table)
    if subscriber == 0:
        return 0
    clear(memory, subscriber, SUBSCRIBER_SIZE)
    record = subscriber_at(memory, subscriber)
    record.hi = hi
    record.lo = lo
    record.bits = group.subscriber_bits
    record.state = LIVE
    record.created = now
    record.session_tokens = group.session_burst * TOKEN
    record.session_time = now & M32
    record.icmp_tokens = SOFTWIRE_ICMP_BURST * TOKEN
    record.icmp_time = now & M32
    join_group(memory, subscriber, entry)
    index_insert(memory, table, address_hash(memory, hi, lo), subscriber)
    return subscriber


@kernel
def join_group(memory: Memory, subscriber: int, entry: int) -> None:
    """Put the subscriber under the limits and the NAT pool of a group entry."""
    record, group = subscriber_at(memory, subscriber), group_at(memory, entry)
    record.group = group.group
    record.group_entry = entry
    if record.blocks == 0:
        record.pool = group.pool


@kernel
def make_softwire(memory: Memory, worker: int, slot: int, subscriber: int, hi: int, lo: int) -> int:
    """A new softwire of the subscriber, or 0 when the table is full."""
    table = slot + SLOT_SOFTWIRES
    softwire = take_record(memory, table)
    if softwire == 0:
        return 0
    clear(memory, softwire, SOFTWIRE_SIZE)
    record = softwire_at(memory, softwire)
    record.hi = hi
    record.lo = lo
    record.subscriber = record_number(memory, slot + SLOT_SUBSCRIBERS, subscriber)
    record.state = LIVE
    record.seen_seconds = worker_at(memory, worker).now // 1000
    record.generation = pod_at(memory, 0).generation
    subscriber_at(memory, subscriber).softwires += 1
    index_insert(memory, table, address_hash(memory, hi, lo), softwire)
    count_event(memory, worker, SOFTWIRES_CREATED, 1)
    return softwire


@kernel
def least_recent_softwire(memory: Memory, slot: int, subscriber: int, now: int) -> int:
    """The subscriber's softwire that was silent for longest.  Walks the table: at most once per address change allowed."""
    table = table_at(memory, slot + SLOT_SOFTWIRES)
    wanted = record_number(memory, slot + SLOT_SUBSCRIBERS, subscriber)
    best, longest = 0, -1
    for number in range(table.high):
        softwire = table.records + (number << table.shift)
        record = softwire_at(memory, softwire)
        if record.state == LIVE and record.subscriber == wanted:
            silent = (now // 1000 - record.seen_seconds) & 0xFFFF
            if silent > longest:
                best, longest = softwire, silent
    return best


@kernel
def migrate_softwire(memory: Memory, worker: int, slot: int, subscriber: int, hi: int, lo: int, now: int) -> int:
    """Give a softwire of the subscriber its B4's new address (row O06); 0 when policy or the last change forbids it."""
    pod, owner = pod_at(memory, 0), subscriber_at(memory, subscriber)
    too_soon = owner.changed > 0 and now - owner.changed <= pod.address_change_limit
    if pod.state_migrate == 0 or too_soon:
        return 0
    softwire = least_recent_softwire(memory, slot, subscriber, now)
    record = softwire_at(memory, softwire)
    write_record(memory, worker, slot, SOFTWIRE_FROM, 0, 0, 0, 0, record.hi, record.lo)
    write_record(memory, worker, slot, SOFTWIRE_TO, 0, 0, 0, 0, hi, lo)
    rename_softwire(memory, slot, softwire, hi, lo)
    owner.changed = max(now, 1)
    count_event(memory, worker, SOFTWIRES_MIGRATED, 1)
    return softwire


@inline_kernel
def subscriber_of(memory: Memory, slot: int, softwire: int) -> int:
    """The subscriber record of a softwire record."""
    return record_offset(memory, slot + SLOT_SUBSCRIBERS, softwire_at(memory, softwire).subscriber)


@kernel
def admit_softwire(memory: Memory, worker: int, slot: int, hi: int, lo: int) -> int:
    """The softwire record that packets from this IPv6 source belong to, made when new; or -1 - drop reason."""
    pod, now = pod_at(memory, 0), worker_at(memory, worker).now
    softwire = find_softwire(memory, slot, hi, lo)
    if softwire > 0 and softwire_at(memory, softwire).generation == pod.generation & 0xFF:
        return softwire
    entry = find_group(memory, hi, lo)
    if entry == 0:
        return -1 - NOT_REGISTERED_B4
    group = group_at(memory, entry)
    if load64(memory, slot + SLOT_POOLS + 16 * group.pool + 8) == 0:
        return -1 - NO_POOL
    if softwire > 0:
        softwire_at(memory, softwire).generation = pod.generation
        join_group(memory, subscriber_of(memory, slot, softwire), entry)
        return softwire
    bits = group.subscriber_bits
    high, low = prefix_hi(hi, bits), prefix_lo(lo, bits)
    subscriber = find_subscriber(memory, slot, high, low)
    if subscriber == 0:
        subscriber = make_subscriber(memory, slot, entry, high, low, now)
        if subscriber == 0:
            return -1 - TABLE_FULL
    elif subscriber_at(memory, subscriber).softwires >= group.max_softwires:
        softwire = migrate_softwire(memory, worker, slot, subscriber, hi, lo, now)
        return softwire if softwire > 0 else -1 - SOFTWIRE_LIMIT
    softwire = make_softwire(memory, worker, slot, subscriber, hi, lo)
    if softwire == 0:
        if subscriber_at(memory, subscriber).softwires == 0:
            remove_subscriber(memory, slot, subscriber)
        return -1 - TABLE_FULL
    return softwire


@kernel
def remove_subscriber(memory: Memory, slot: int, subscriber: int) -> None:
    """Forget a subscriber without softwires."""
    record = subscriber_at(memory, subscriber)
    index_remove(memory, slot + SLOT_SUBSCRIBERS, address_hash(memory, record.hi, record.lo), subscriber)
    record.state = 0
    give_record(memory, slot + SLOT_SUBSCRIBERS, subscriber)


@kernel
def sweep_softwire(memory: Memory, worker: int, slot: int, softwire: int, now: int) -> None:
    """End a softwire that is idle and without mappings; forget an old path MTU."""
    if load8(memory, softwire + _SOFTWIRE_STATE) != LIVE:
        return
    record = softwire_at(memory, softwire)
    seconds = now // 1000
    if record.path_mtu > 0 and (seconds - record.path_mtu_seconds) & 0xFFFF >= PATH_MTU_S:
        record.path_mtu = 0
    idle = (seconds - record.seen_seconds) & 0xFFFF
    if record.mappings > 0 or idle < SOFTWIRE_IDLE_S:
        return
    subscriber = subscriber_of(memory, slot, softwire)
    owner = subscriber_at(memory, subscriber)
    if owner.contexts > 0:
        return
    remove_softwire(memory, worker, slot, softwire)


@kernel
def remove_softwire(memory: Memory, worker: int, slot: int, softwire: int) -> None:
    """Forget a softwire without mappings, and its subscriber when nothing else is left of it."""
    record, subscriber = softwire_at(memory, softwire), subscriber_of(memory, slot, softwire)
    index_remove(memory, slot + SLOT_SOFTWIRES, address_hash(memory, record.hi, record.lo), softwire)
    record.state = 0
    give_record(memory, slot + SLOT_SOFTWIRES, softwire)
    count_event(memory, worker, SOFTWIRES_REMOVED, 1)
    owner = subscriber_at(memory, subscriber)
    owner.softwires -= 1
    if owner.softwires == 0 and owner.blocks == 0:
        remove_subscriber(memory, slot, subscriber)


@kernel
def rename_softwire(memory: Memory, slot: int, softwire: int, hi: int, lo: int) -> None:
    """Give a softwire another address; everything else refers to its record (row O06)."""
    record, table = softwire_at(memory, softwire), slot + SLOT_SOFTWIRES
    index_remove(memory, table, address_hash(memory, record.hi, record.lo), softwire)
    record.hi = hi
    record.lo = lo
    record.path_mtu = 0
    record.generation = pod_at(memory, 0).generation
    index_insert(memory, table, address_hash(memory, hi, lo), softwire)
