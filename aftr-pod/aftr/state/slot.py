"""Opening a slot: how its tables lie in the arena, and their first contents."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aftr.lowlevel.bits import Memory, store64
from aftr.lowlevel.memory import Planner, round_up
from aftr.state.frames import HEADROOM
from aftr.state.layout import (
    CONTEXT,
    EXTERNAL,
    JOURNAL_RECORD,
    JOURNAL_RECORDS,
    LINE,
    MAPPING,
    PARK_CAPACITY,
    PARKED,
    SESSION,
    SLOT,
    SLOT_CONTEXTS,
    SLOT_MAPPINGS,
    SLOT_POOLS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    SOFTWIRE,
    SUBSCRIBER,
    external_at,
    slot_at,
    table_at,
)
from dslite_contract.load import Configuration
from dslite_contract.slots import blocks_per_address, carrying_slots, first_block_port

NO_POOL = 255  # of ranges that are not a NAT pool: addresses that keep themselves
SYN_RING_BYTES = 1024 * 128
TOKENS_ICMP = TOKENS_NEIGHBOURS = 1000 * 1000  # a full bucket of each (nat/limits.py)


@dataclass(frozen=True)
class ExternalRange:
    """An IPv4 prefix of the pod and its division: `part` addresses for each of `slots` slots from `first_slot` on."""

    base: int
    mask: int
    part_shift: int
    first_slot: int
    slots: int
    first_external: int
    pool: int


def external_ranges(configuration: Configuration) -> list[ExternalRange]:
    """All prefixes in order of their NAT pools, then bypass addresses and pre-authorised sources; externals numbered through.

    Every slot uses the same numbers; the ones of ranges that it does not carry stay unused.
    """
    pool = configuration.pool
    ranges: list[ExternalRange] = []
    next_external = 0

    def add(base: int, length: int, first_slot: int, slots: int, number: int) -> None:
        nonlocal next_external
        part_shift = 32 - length - (slots.bit_length() - 1)
        mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
        ranges.append(ExternalRange(base, mask, part_shift, first_slot, slots, next_external, number))
        next_external += 1 << part_shift

    for number, nat_pool in enumerate(pool.spec.nat.pools):
        carriers = carrying_slots(pool, nat_pool)
        for prefix in nat_pool.prefixes:
            add(int(prefix.network_address), prefix.prefixlen, carriers.first, len(carriers), number)
    for address, slot in sorted({(int(entry.address), entry.slot) for entry in pool.spec.nat.bypass}):
        add(address, 32, slot, 1, NO_POOL)
    if pool.spec.nat.no_translation_destinations:
        for prefix in pool.spec.nat.pre_authorized_sources:
            divided = prefix.num_addresses >= pool.spec.slots
            add(int(prefix.network_address), prefix.prefixlen, 0, pool.spec.slots if divided else 1, NO_POOL)
    return ranges


@dataclass
class TablePlan:
    """Where one table of a slot lies, relative to the slot."""

    at: int
    record_size: int
    capacity: int
    bits: int = 0
    index: int = 0
    records: int = 0
    free: int = 0

    def place(self, planner: Planner) -> None:
        """Take the room for index, records and free list."""
        self.bits = max((self.capacity * 13 // 10).bit_length(), 4)
        self.index = planner.place(8 << self.bits, 4096)
        self.records = planner.place(self.record_size * self.capacity, 4096)
        self.free = planner.place(4 * self.capacity, 4096)


@dataclass
class SlotPlan:
    """Relative offsets of everything in a slot, the same for all slots of a pool; `size` bytes in all."""

    ranges: list[ExternalRange]
    block_size: int
    tables: list[TablePlan] = field(default_factory=list)
    externals: int = 0
    external_count: int = 0
    reverse: int = 0
    blocks: int = 0
    block_stride: int = 0
    block_bitmaps: int = 0
    bitmap_words: int = 0
    context_buffers: int = 0
    context_stride: int = 0
    syn_ring: int = 0
    journal: int = 0
    park_ring: int = 0
    size: int = 0


def plan_slot(configuration: Configuration) -> SlotPlan:
    """Sizes of a slot's tables from `capacity`, `reassembly` and the number of its external addresses."""
    spec = configuration.pool.spec
    ranges = external_ranges(configuration)
    plan = SlotPlan(ranges, spec.nat.port_block.size)
    planner = Planner(SLOT.itemsize)
    softwires = max([spec.nat.max_softwires_per_subscriber] + [
        group.spec.max_softwires_per_subscriber or 1 for group in configuration.groups
    ])  # fmt: skip
    capacity, reassembly = spec.capacity, spec.softwire.reassembly
    plan.tables = [
        TablePlan(SLOT_MAPPINGS, MAPPING.itemsize, capacity.mappings_per_slot),
        TablePlan(SLOT_SESSIONS, SESSION.itemsize, capacity.extra_sessions_per_slot),
        TablePlan(SLOT_SOFTWIRES, SOFTWIRE.itemsize, capacity.subscribers_per_slot * softwires),
        TablePlan(SLOT_SUBSCRIBERS, SUBSCRIBER.itemsize, capacity.subscribers_per_slot),
        TablePlan(SLOT_CONTEXTS, CONTEXT.itemsize, reassembly.max_contexts),
    ]
    for table in plan.tables:
        table.place(planner)
    last = ranges[-1]
    plan.external_count = last.first_external + (1 << last.part_shift)
    blocks = blocks_per_address(plan.block_size)
    plan.bitmap_words = (blocks + 63) // 64
    plan.block_stride = LINE + round_up(3 * plan.block_size // 8, LINE)
    plan.externals = planner.place(EXTERNAL.itemsize * plan.external_count)
    plan.block_bitmaps = planner.place(8 * plan.bitmap_words * plan.external_count)
    plan.blocks = planner.place(plan.block_stride * blocks * plan.external_count, 4096)
    plan.reverse = planner.place(3 * 65536 * 4 * plan.external_count, 4096)
    plan.context_stride = HEADROOM + round_up(reassembly.max_packet_bytes + LINE, LINE)
    plan.context_buffers = planner.place(plan.context_stride * reassembly.max_contexts, 4096)
    plan.syn_ring = planner.place(SYN_RING_BYTES, 4096)
    plan.journal = planner.place(JOURNAL_RECORD * JOURNAL_RECORDS, 4096)
    plan.park_ring = planner.place(PARKED.itemsize * PARK_CAPACITY, 4096)
    plan.size = planner.size
    return plan


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
    table = table_at(memory, base + plan.at)
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
