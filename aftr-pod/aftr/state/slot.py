"""Opening a slot: the first contents of its tables, which lie as `dslite_contract.tables` plans."""

from __future__ import annotations

import numpy as np

from aftr.lowlevel.bits import Memory, store64
from aftr.state.layout import (
    EXTERNAL,
    JOURNAL_RECORDS,
    SLOT_CONTEXTS,
    SLOT_MAPPINGS,
    SLOT_POOLS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    external_at,
    slot_at,
    table_at,
)
from dslite_contract.slots import blocks_per_address, first_block_port
from dslite_contract.tables import NO_POOL, ExternalRange, SlotPlan, TablePlan

TOKENS_ICMP = TOKENS_NEIGHBOURS = 1000 * 1000  # a full bucket of each (nat/limits.py)
TABLES = {
    "mappings": SLOT_MAPPINGS,
    "sessions": SLOT_SESSIONS,
    "softwires": SLOT_SOFTWIRES,
    "subscribers": SLOT_SUBSCRIBERS,
    "contexts": SLOT_CONTEXTS,
}  # where the record of each table of a plan lies in a slot


def open_slot(memory: Memory, base: int, number: int, tunnel: int, plan: SlotPlan, now: int, random: int) -> None:
    """Write the slot record and its empty tables at `base` (zeroed memory); `tunnel` is its address as an integer."""
    slot = slot_at(memory, base)
    slot.number = number
    slot.tunnel_hi = tunnel >> 64
    slot.tunnel_lo = tunnel & ((1 << 64) - 1)
    for table in plan.tables:
        open_table(memory, base, table)
    slot.externals = base + plan.externals
    slot.external_count = plan.external_count
    slot.reverse = base + plan.reverse
    slot.blocks = base + plan.blocks
    slot.block_stride = plan.block_stride
    slot.block_shift = plan.block_size.bit_length() - 1
    slot.blocks_per_address = blocks_per_address(plan.block_size)
    slot.first_port = first_block_port(plan.block_size)
    slot.block_bitmaps = base + plan.block_bitmaps
    slot.bitmap_words = plan.bitmap_words
    slot.context_buffers = base + plan.context_buffers
    slot.context_stride = plan.context_stride
    slot.syn_ring = base + plan.syn_ring
    slot.journal, slot.journal_mask = base + plan.journal, JOURNAL_RECORDS - 1
    slot.park_ring = base + plan.park_ring
    slot.icmp_tokens = TOKENS_ICMP
    slot.neighbour_tokens = TOKENS_NEIGHBOURS
    slot.icmp_time = slot.neighbour_time = now & 0xFFFFFFFF
    slot.fragment_counter = random & 0xFFFFFFFF
    slot.sweep_time = now
    for place in plan.ranges:
        open_externals(memory, base, number, plan, place, random)
    slot.open = 1


def open_table(memory: Memory, base: int, plan: TablePlan) -> None:
    """An empty table."""
    table = table_at(memory, base + TABLES[plan.name])
    table.index = base + plan.index
    table.bits = plan.bits
    table.records = base + plan.records
    table.shift = plan.record_size.bit_length() - 1
    table.capacity = plan.capacity
    table.free = base + plan.free


def open_externals(memory: Memory, base: int, number: int, plan: SlotPlan, place: ExternalRange, random: int) -> None:
    """The addresses of one range that fall to this slot, with all their port blocks free."""
    part = number - place.first_slot
    if not 0 <= part < place.slots:
        return
    slot = slot_at(memory, base)
    count = 1 << place.part_shift
    blocks = blocks_per_address(plan.block_size)
    for offset in range(count):
        external = place.first_external + offset
        entry = external_at(memory, slot.externals + external * EXTERNAL.itemsize)
        entry.address = place.base + part * count + offset
        entry.pool = place.pool
        entry.ip_id = (random >> 16) + external * 7919
        if place.pool == NO_POOL:
            continue
        entry.free_blocks = blocks
        for word in range(plan.bitmap_words):
            free = min(blocks - 64 * word, 64)
            bits = (1 << free) - 1
            at = slot.block_bitmaps + (external * plan.bitmap_words + word) * 8
            store64(memory, at, bits - (1 << 64) if bits >> 63 else bits)
    if place.pool != NO_POOL:
        add_pool_addresses(memory, base, place, count)


def add_pool_addresses(memory: Memory, base: int, place: ExternalRange, count: int) -> None:
    """Enter the range in the slot's list of its NAT pool's addresses, which are numbered without gaps."""
    at = base + SLOT_POOLS + 16 * place.pool
    words = memory[at : at + 16].view(np.int64)
    if words[1] == 0:
        words[0] = place.first_external
    words[1] += count
