"""A slot's tables from its journal: bringing a copy up to date, and opening it (docs/design/0003-state.md).

Records are absolute: one that says what is already so changes nothing, and a later one wins.  The slot is closed meanwhile.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, load16, load32, load64
from aftr.lowlevel.kernel import kernel
from aftr.nat.blocks import (
    EXTERNAL_SIZE,
    begin_rest,
    block_offset,
    clear_bit,
    give_block,
    protocol_number,
    rest_block,
    use_port,
    wake_blocks,
    wake_first,
)
from aftr.nat.mapping import (
    enter_mapping,
    find_mapping,
    find_reverse,
    mapping_key,
    needs_session,
    port_key,
    remove_mapping,
    softwire_of,
)
from aftr.nat.subscriber import (
    find_group,
    find_softwire,
    find_subscriber,
    make_softwire,
    make_subscriber,
    prefix_hi,
    prefix_lo,
    remove_softwire,
    rename_softwire,
    subscriber_of,
)
from aftr.path.locate import find_range, range_external, range_slot
from aftr.state.journal import (
    BLOCK_RELEASED,
    BLOCK_TAKEN,
    ESTABLISHED_FLAG,
    MAPPING_RECORD,
    MAPPING_REMOVED,
    PUBLIC_FLAG,
    SOFTWIRE_FROM,
    SOFTWIRE_TO,
    UNTRANSLATED_FLAG,
)
from aftr.state.layout import (
    BYPASSED,
    JOURNAL_RECORD,
    LIVE,
    PENDING,
    PUBLIC_SOURCE,
    RESTING,
    RESTORED,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    UNTRANSLATED_KEY,
    WAS_ESTABLISHED,
    block_at,
    external_at,
    group_at,
    mapping_at,
    slot_at,
    softwire_at,
    subscriber_at,
    table_at,
    worker_at,
)
from aftr.state.table import record_number, record_offset


@kernel
def apply_records(memory: Memory, worker: int, slot: int, records: int, n: int) -> int:
    """Apply `n` records from byte offset `records` on; how many could not be (their B4Group or prefix is gone, or a table is full)."""
    failed = 0
    for number in range(n):
        failed += 1 - int(apply_record(memory, worker, slot, records + number * JOURNAL_RECORD))
    return failed


@kernel
def apply_record(memory: Memory, worker: int, slot: int, at: int) -> bool:
    """Apply one record."""
    kind = load32(memory, at) & 0xFF
    if kind == SOFTWIRE_FROM:
        softwire = find_softwire(memory, slot, load64(memory, at + 16), load64(memory, at + 24))
        slot_at(memory, slot).moving = softwire
        return True
    if kind == SOFTWIRE_TO:
        moving = slot_at(memory, slot).moving
        if moving > 0:
            rename_softwire(memory, slot, moving, load64(memory, at + 16), load64(memory, at + 24))
        slot_at(memory, slot).moving = 0
        return True
    slot_at(memory, slot).moving = 0  # the other half is lost: what moved may end before another one comes
    address = load32(memory, at + 4)
    entry = find_range(memory, address)
    if entry == 0 or range_slot(memory, entry, address) != slot_at(memory, slot).number:
        return False
    external = range_external(memory, entry, address)
    if kind == MAPPING_RECORD:
        return apply_mapping(memory, worker, slot, at, external)
    if kind == MAPPING_REMOVED:
        return apply_removal(memory, worker, slot, at, external)
    if kind == BLOCK_TAKEN:
        return apply_taken(memory, worker, slot, at, external)
    return kind == BLOCK_RELEASED and apply_released(memory, worker, slot, at, external)


# ---------------------------------------------------------------- mappings
@kernel
def restored_softwire(memory: Memory, worker: int, slot: int, hi: int, lo: int) -> int:
    """The softwire of a stored mapping, made when it is not there; 0 when no B4Group has it any more or a table is full."""
    softwire = find_softwire(memory, slot, hi, lo)
    if softwire > 0:
        return softwire
    entry = find_group(memory, hi, lo)
    if entry == 0:
        return 0
    bits = group_at(memory, entry).subscriber_bits
    subscriber = restored_subscriber(memory, worker, slot, prefix_hi(hi, bits), prefix_lo(lo, bits))
    return make_softwire(memory, worker, slot, subscriber, hi, lo) if subscriber > 0 else 0


@kernel
def restored_subscriber(memory: Memory, worker: int, slot: int, hi: int, lo: int) -> int:
    """The subscriber of a stored block or mapping, made when it is not there, or 0."""
    subscriber, entry = find_subscriber(memory, slot, hi, lo), find_group(memory, hi, lo)
    if subscriber > 0 or entry == 0:
        return subscriber
    return make_subscriber(memory, slot, entry, hi, lo, worker_at(memory, worker).now)


@kernel
def apply_mapping(memory: Memory, worker: int, slot: int, at: int, external: int) -> bool:
    """A mapping that exists."""
    word = load32(memory, at)
    protocol, flags = (word >> 8) & 0xFF, (word >> 16) & 0xFF
    external_port, internal_port = load16(memory, at + 12), load16(memory, at + 14)
    softwire = restored_softwire(memory, worker, slot, load64(memory, at + 16), load64(memory, at + 24))
    if softwire == 0:
        return False
    untranslated = UNTRANSLATED_KEY if flags & UNTRANSLATED_FLAG else 0
    number = record_number(memory, slot + SLOT_SOFTWIRES, softwire) | untranslated
    key, port = mapping_key(number, load32(memory, at + 8)), port_key(protocol, internal_port)
    mapping = find_mapping(memory, slot, key, port)
    holder = find_reverse(memory, slot, external, protocol, external_port)
    if mapping == 0 or mapping != holder:
        if mapping > 0:
            remove_mapping(memory, worker, slot, mapping)
        if holder > 0:
            remove_mapping(memory, worker, slot, holder)
        if untranslated == 0 and not claim(memory, worker, slot, softwire, external, protocol, external_port):
            return False
        mapping = enter_mapping(memory, worker, slot, softwire, key, port, external, external_port)
        if mapping == 0:
            return False
    restored = RESTORED if needs_session(memory, protocol) else 0
    restored |= WAS_ESTABLISHED if flags & ESTABLISHED_FLAG else 0
    restored |= BYPASSED if untranslated != 0 else 0
    mapping_at(memory, mapping).flags = restored | (PUBLIC_SOURCE if flags & PUBLIC_FLAG else 0)
    return True


@kernel
def claim(memory: Memory, worker: int, slot: int, softwire: int, external: int, protocol: int, port: int) -> bool:
    """Mark the port used, in a block of the softwire's subscriber."""
    record, subscriber = slot_at(memory, slot), subscriber_of(memory, slot, softwire)
    place = port - record.first_port
    if place < 0:
        return False
    block = take_block(memory, worker, slot, subscriber, external, place >> record.block_shift)
    if block == 0:
        return False
    use_port(memory, slot, block, protocol_number(protocol), place & ((1 << record.block_shift) - 1))
    return True


@kernel
def apply_removal(memory: Memory, worker: int, slot: int, at: int, external: int) -> bool:
    """A mapping that has ended; nothing else keeps its softwire in a copy, which sees no packets."""
    protocol = (load32(memory, at) >> 8) & 0xFF
    mapping = find_reverse(memory, slot, external, protocol, load16(memory, at + 12))
    if mapping > 0:
        softwire = softwire_of(memory, slot, mapping)
        remove_mapping(memory, worker, slot, mapping)
        if softwire_at(memory, softwire).mappings == 0:
            remove_softwire(memory, worker, slot, softwire)
    return True


# ---------------------------------------------------------------- port blocks
@kernel
def take_block(memory: Memory, worker: int, slot: int, subscriber: int, external: int, number: int) -> int:
    """The block, the subscriber's from now on; 0 when it is another one's.

    A block that rests here was given out anew by the owner: those that rest longer were free there as well.
    """
    record = slot_at(memory, slot)
    if number >= record.blocks_per_address:
        return 0
    block = block_offset(memory, slot, external, number)
    entry = block_at(memory, block)
    while entry.state == RESTING:
        wake_first(memory, slot)
    if entry.state != LIVE:
        return give_block(memory, worker, slot, subscriber, external, number)
    return block if entry.subscriber_ref == record_number(memory, slot + SLOT_SUBSCRIBERS, subscriber) + 1 else 0


@kernel
def block_number(memory: Memory, slot: int, at: int) -> int:
    """Number, within its address, of the block that a record names; negative for a port below the first block."""
    record = slot_at(memory, slot)
    return (load16(memory, at + 12) - record.first_port) >> record.block_shift


@kernel
def apply_taken(memory: Memory, worker: int, slot: int, at: int, external: int) -> bool:
    """A block that a subscriber holds."""
    number = block_number(memory, slot, at)
    subscriber = restored_subscriber(memory, worker, slot, load64(memory, at + 16), load64(memory, at + 24))
    return number >= 0 and subscriber > 0 and take_block(memory, worker, slot, subscriber, external, number) > 0


@kernel
def apply_released(memory: Memory, worker: int, slot: int, at: int, external: int) -> bool:
    """A block that rests since now, or did already."""
    record, number, now = slot_at(memory, slot), block_number(memory, slot, at), worker_at(memory, worker).now
    if not 0 <= number < record.blocks_per_address:
        return False
    block = block_offset(memory, slot, external, number)
    entry = block_at(memory, block)
    if entry.state == LIVE and entry.mappings == 0:
        rest_block(memory, worker, slot, block, now)
    elif entry.state == 0:
        clear_bit(memory, record.block_bitmaps + external * record.bitmap_words * 8, number)
        external_at(memory, record.externals + external * EXTERNAL_SIZE).free_blocks -= 1
        entry.external = external
        entry.number = number
        begin_rest(memory, slot, block, now)
    return entry.state == RESTING


# ---------------------------------------------------------------- opening
@kernel
def restart(memory: Memory, worker: int, slot: int, now: int) -> None:
    """Everything lives, and every block rests, as if from `now` on (milliseconds); what rested here for the whole hold-down is free.

    All of it is stored: what waited for a record of an earlier life of the slot here waits no more.
    """
    record = slot_at(memory, slot)
    record.restored = now
    record.sweep_time = now
    mappings = table_at(memory, slot + SLOT_MAPPINGS)
    for number in range(mappings.high):
        mapping = mapping_at(memory, record_offset(memory, slot + SLOT_MAPPINGS, number))
        mapping.seen = now & M32
        mapping.flags &= ~PENDING
    softwires = table_at(memory, slot + SLOT_SOFTWIRES)
    for number in range(softwires.high):
        softwire_at(memory, record_offset(memory, slot + SLOT_SOFTWIRES, number)).seen_seconds = now // 1000
    subscribers = table_at(memory, slot + SLOT_SUBSCRIBERS)
    for number in range(subscribers.high):
        owner = subscriber_at(memory, record_offset(memory, slot + SLOT_SUBSCRIBERS, number))
        owner.session_time = now & M32
        owner.icmp_time = now & M32
    wake_blocks(memory, slot, now)
    reference = record.rest_head
    while reference > 0:
        entry = block_at(memory, record.blocks + (reference - 1) * record.block_stride)
        entry.rested = now & M32
        reference = entry.rest_ref
    for number in range(record.external_count * record.blocks_per_address):
        block = record.blocks + number * record.block_stride
        entry = block_at(memory, block)
        if entry.state == LIVE and entry.mappings == 0:
            rest_block(memory, worker, slot, block, now)
