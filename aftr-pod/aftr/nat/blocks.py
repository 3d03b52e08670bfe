"""Port blocks (rows C02, C05, N02, N03): aligned ranges of one external address, for TCP, UDP and ICMP ids alike.

A block has a line of its own and three bitmaps (1 = free).  A block whose last mapping ended rests for the hold-down in a first-in
first-out list; only then may anyone have it.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, ctz64, load32, load64, lshr64, store32, store64
from aftr.lowlevel.kernel import kernel
from aftr.state.counters import count_event
from aftr.state.hashing import hash_pair
from aftr.state.journal import BLOCK_RELEASED, BLOCK_TAKEN, write_record
from aftr.state.layout import (
    EXTERNAL,
    LINE,
    LIVE,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    RESTING,
    SLOT_POOLS,
    SLOT_SUBSCRIBERS,
    block_at,
    external_at,
    group_at,
    pod_at,
    slot_at,
    subscriber_at,
)
from aftr.state.random import random64
from aftr.state.reasons import COMMIT_BACKLOG, NO_PORT_BLOCK, PORT_BLOCKS_ALLOCATED, PORT_BLOCKS_RELEASED, PORT_LIMIT
from aftr.state.table import record_number, record_offset

EXTERNAL_SIZE = EXTERNAL.itemsize


@kernel
def protocol_number(protocol: int) -> int:
    """Which of a block's bitmaps and of an address's reverse tables: 0 ICMP, 1 TCP, 2 UDP."""
    return 1 if protocol == PROTOCOL_TCP else (2 if protocol == PROTOCOL_UDP else 0)


@kernel
def reverse_word(memory: Memory, slot: int, external: int, protocol: int, port: int) -> int:
    """Byte offset of the 4-byte reverse entry (mapping number + 1) of an external endpoint."""
    table = slot_at(memory, slot).reverse
    return table + (((external * 3 + protocol_number(protocol)) << 16) + port) * 4


@kernel
def free_bit(memory: Memory, bitmap: int, words: int, chance: int) -> int:
    """Number of a set bit, chosen by `chance`, or -1: the first one from a random place on, wrapping."""
    first = ((chance & 0x7FFFFFFF) * words) >> 31
    turn = lshr64(chance, 40) & 63
    for step in range(words):
        at = first + step
        if at >= words:
            at -= words
        word = load64(memory, bitmap + 8 * at)
        if word != 0:
            turned = word if turn == 0 else lshr64(word, turn) | (word << (64 - turn))
            return at * 64 + ((ctz64(turned) + turn) & 63)
    return -1


@kernel
def set_bit(memory: Memory, bitmap: int, bit: int) -> None:
    """Mark free."""
    at = bitmap + 8 * (bit >> 6)
    store64(memory, at, load64(memory, at) | (1 << (bit & 63)))


@kernel
def clear_bit(memory: Memory, bitmap: int, bit: int) -> None:
    """Mark used."""
    at = bitmap + 8 * (bit >> 6)
    store64(memory, at, load64(memory, at) & ~(1 << (bit & 63)))


@kernel
def add_used(memory: Memory, block: int, kind: int, amount: int) -> int:
    """Change the number of used ports of one protocol (0 ICMP, 1 TCP, 2 UDP) of a block; the new number."""
    at = block + 32 + 4 * kind  # used_icmp, used_tcp, used_udp
    used = load32(memory, at) + amount
    store32(memory, at, used)
    return used


@kernel
def take_port(memory: Memory, worker: int, slot: int, block: int, protocol: int) -> int:
    """A random free port of the block (RFC 6056), now used; -1 when none is left for this protocol."""
    record = slot_at(memory, slot)
    kind = protocol_number(protocol)
    size = 1 << record.block_shift
    if load32(memory, block + 32 + 4 * kind) >= size:
        return -1
    bitmap = block + LINE + kind * (size >> 3)
    bit = free_bit(memory, bitmap, size >> 6, random64(memory, worker))
    use_port(memory, slot, block, kind, bit)
    return record.first_port + (block_at(memory, block).number << record.block_shift) + bit


@kernel
def use_port(memory: Memory, slot: int, block: int, kind: int, bit: int) -> None:
    """Mark one free port of a live block used."""
    size = 1 << slot_at(memory, slot).block_shift
    clear_bit(memory, block + LINE + kind * (size >> 3), bit)
    add_used(memory, block, kind, 1)
    block_at(memory, block).mappings += 1


@kernel
def block_offset(memory: Memory, slot: int, external: int, number: int) -> int:
    """Byte offset of block `number` of an external address."""
    record = slot_at(memory, slot)
    return record.blocks + (external * record.blocks_per_address + number) * record.block_stride


@kernel
def give_block(memory: Memory, worker: int, slot: int, subscriber: int, external: int, number: int) -> int:
    """Hand the free block `number` of an address to the subscriber; its byte offset."""
    record = slot_at(memory, slot)
    block = block_offset(memory, slot, external, number)
    clear_bit(memory, record.block_bitmaps + external * record.bitmap_words * 8, number)
    external_at(memory, record.externals + external * EXTERNAL_SIZE).free_blocks -= 1
    entry, owner = block_at(memory, block), subscriber_at(memory, subscriber)
    entry.state = LIVE
    entry.external = external
    entry.number = number
    entry.mappings = 0
    for kind in range(3):
        store32(memory, block + 32 + 4 * kind, 0)
    for at in range(block + LINE, block + LINE + 3 * (1 << record.block_shift) // 8, 8):
        store64(memory, at, -1)
    entry.subscriber_ref = record_number(memory, slot + SLOT_SUBSCRIBERS, subscriber) + 1
    entry.next_ref = owner.block_ref
    owner.block_ref = (block - record.blocks) // record.block_stride + 1
    owner.blocks += 1
    owner.external_ref = external + 1
    journal_block(memory, worker, slot, block, BLOCK_TAKEN | owner.bits << 24, owner.hi, owner.lo)
    count_event(memory, worker, PORT_BLOCKS_ALLOCATED, 1)
    return block


@kernel
def journal_block(memory: Memory, worker: int, slot: int, block: int, word: int, hi: int, lo: int) -> None:
    """Record that a block was taken or released."""
    record, entry = slot_at(memory, slot), block_at(memory, block)
    address = external_at(memory, record.externals + entry.external * EXTERNAL_SIZE).address
    first = record.first_port + (entry.number << record.block_shift)
    write_record(memory, worker, slot, word, address, 0, first, 0, hi, lo)


@kernel
def find_free_block(memory: Memory, worker: int, slot: int, subscriber: int) -> int:
    """(external << 16 | block number) of a free block of the subscriber's pool, paired address first; -1 when none is left."""
    record, owner, pod = slot_at(memory, slot), subscriber_at(memory, subscriber), pod_at(memory, 0)
    pool = slot + SLOT_POOLS + 16 * owner.pool
    first, count = load64(memory, pool), load64(memory, pool + 8)
    if count == 0:
        return -1
    if owner.external_ref > 0:
        start = owner.external_ref - 1 - first
    else:
        start = lshr64(hash_pair(owner.hi, owner.lo, pod.secret0, pod.secret1, pod.secret2), 33) % count
    for step in range(count):
        external = first + (start + step) % count
        if external_at(memory, record.externals + external * EXTERNAL_SIZE).free_blocks > 0:
            bitmap = record.block_bitmaps + external * record.bitmap_words * 8
            return external << 16 | free_bit(memory, bitmap, record.bitmap_words, random64(memory, worker))
    return -1


@kernel
def take_endpoint(memory: Memory, worker: int, slot: int, subscriber: int, protocol: int) -> int:
    """(external << 16 | port) now used by the subscriber, or -1 - reason.  A block it holds first, then a new one."""
    record, owner = slot_at(memory, slot), subscriber_at(memory, subscriber)
    reference = owner.block_ref
    while reference > 0:
        block = record.blocks + (reference - 1) * record.block_stride
        port = take_port(memory, worker, slot, block, protocol)
        if port >= 0:
            return block_at(memory, block).external << 16 | port
        reference = block_at(memory, block).next_ref
    if record.refuse_blocks != 0:
        return -1 - COMMIT_BACKLOG
    if owner.blocks >= group_at(memory, owner.group_entry).max_blocks:
        return -1 - PORT_LIMIT
    found = find_free_block(memory, worker, slot, subscriber)
    if found < 0:
        return -1 - NO_PORT_BLOCK
    block = give_block(memory, worker, slot, subscriber, found >> 16, found & 0xFFFF)
    return (found >> 16) << 16 | take_port(memory, worker, slot, block, protocol)


@kernel
def release_endpoint(memory: Memory, worker: int, slot: int, external: int, protocol: int, port: int, now: int) -> None:
    """Free a port; the block rests when that was its last mapping."""
    record = slot_at(memory, slot)
    place = port - record.first_port
    block = block_offset(memory, slot, external, place >> record.block_shift)
    size = 1 << record.block_shift
    kind = protocol_number(protocol)
    set_bit(memory, block + LINE + kind * (size >> 3), place & (size - 1))
    add_used(memory, block, kind, -1)
    entry = block_at(memory, block)
    entry.mappings -= 1
    if entry.mappings == 0:
        rest_block(memory, worker, slot, block, now)


@kernel
def rest_block(memory: Memory, worker: int, slot: int, block: int, now: int) -> None:
    """Take an empty block from its subscriber and let it rest at the end of the list (RFC 6888 REQ-8)."""
    record, entry = slot_at(memory, slot), block_at(memory, block)
    owner = subscriber_at(memory, record_offset(memory, slot + SLOT_SUBSCRIBERS, entry.subscriber_ref - 1))
    reference = (block - record.blocks) // record.block_stride + 1
    if owner.block_ref == reference:
        owner.block_ref = entry.next_ref
    else:
        before = owner.block_ref
        while before > 0:
            previous = block_at(memory, record.blocks + (before - 1) * record.block_stride)
            if previous.next_ref == reference:
                previous.next_ref = entry.next_ref
                break
            before = previous.next_ref
    owner.blocks -= 1
    if owner.blocks == 0:
        owner.external_ref = 0
    entry.subscriber_ref = 0
    entry.next_ref = 0
    begin_rest(memory, slot, block, now)
    journal_block(memory, worker, slot, block, BLOCK_RELEASED, 0, 0)
    count_event(memory, worker, PORT_BLOCKS_RELEASED, 1)


@kernel
def begin_rest(memory: Memory, slot: int, block: int, now: int) -> None:
    """Append a block that nobody holds to the list of those that rest."""
    record, entry = slot_at(memory, slot), block_at(memory, block)
    reference = (block - record.blocks) // record.block_stride + 1
    entry.state = RESTING
    entry.rested = now & M32
    entry.rest_ref = 0
    if record.rest_tail > 0:
        block_at(memory, record.blocks + (record.rest_tail - 1) * record.block_stride).rest_ref = reference
    else:
        record.rest_head = reference
    record.rest_tail = reference


@kernel
def wake_blocks(memory: Memory, slot: int, now: int) -> None:
    """Free the blocks whose hold-down is over."""
    record = slot_at(memory, slot)
    hold_down = pod_at(memory, 0).hold_down
    while record.rest_head > 0:
        block = record.blocks + (record.rest_head - 1) * record.block_stride
        entry = block_at(memory, block)
        if ((now - entry.rested) & M32) < hold_down:
            return
        wake_first(memory, slot)


@kernel
def wake_first(memory: Memory, slot: int) -> None:
    """Free the block that rests longest."""
    record = slot_at(memory, slot)
    entry = block_at(memory, record.blocks + (record.rest_head - 1) * record.block_stride)
    record.rest_head = entry.rest_ref
    if record.rest_head == 0:
        record.rest_tail = 0
    entry.state = 0
    entry.rest_ref = 0
    set_bit(memory, record.block_bitmaps + entry.external * record.bitmap_words * 8, entry.number)
    external_at(memory, record.externals + entry.external * EXTERNAL_SIZE).free_blocks += 1
