"""How large a slot's tables are, and where each lies in it: what the pod allocates, and what the operator requests for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dslite_contract.load import Configuration
from dslite_contract.slots import blocks_per_address, carrying_slots

LINE = 64  # bytes of a cache line
PAGE, HUGE_PAGE = 4096, 2 << 20
HEADROOM = 256  # bytes before a packet: XDP_PACKET_HEADROOM of the kernel
CHUNK_BYTES, FRAMES_PER_WORKER = 4096, 16384  # packet frames
NO_POOL = 255  # of ranges that are not a NAT pool: addresses that keep themselves

# Bytes of one record; the layouts are in aftr/state/layout.py.
SLOT_BYTES, MAPPING_BYTES, SESSION_BYTES, SOFTWIRE_BYTES, SUBSCRIBER_BYTES = 1536, 64, 32, 64, 128
CONTEXT_BYTES, EXTERNAL_BYTES, PARKED_BYTES, JOURNAL_RECORD_BYTES = 512, 64, 64, 32
JOURNAL_RECORDS, PARK_CAPACITY, SYN_CAPACITY, SYN_BYTES = 1 << 16, 1 << 10, 1024, 128  # rings of a slot

# Bytes of a process beside its slots' tables: Python, machine code, workers, BIRD.  Measured: 195 MiB with one worker (PSS of both
# processes); the rest is for a parent that loads kernels while its child serves.
PROCESS_BYTES = 512 << 20


def round_up(size: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return (size + unit - 1) // unit * unit


class Planner:
    """Hands out ranges of an arena that is still to be made: `place` returns byte offsets, `size` is the sum."""

    def __init__(self, start: int = 0) -> None:
        self.size = start

    def place(self, size: int, align: int = LINE) -> int:
        """Offset of the next `size` bytes, aligned."""
        offset = round_up(self.size, align)
        self.size = offset + size
        return offset


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

    name: str
    record_size: int
    capacity: int
    bits: int = 0
    index: int = 0
    records: int = 0
    free: int = 0

    def place(self, planner: Planner) -> None:
        """Take the room for index, records and free list."""
        self.bits = max((self.capacity * 13 // 10).bit_length(), 4)
        self.index = planner.place(8 << self.bits, PAGE)
        self.records = planner.place(self.record_size * self.capacity, PAGE)
        self.free = planner.place(4 * self.capacity, PAGE)


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
    planner = Planner(SLOT_BYTES)
    softwires = max([spec.nat.max_softwires_per_subscriber] + [
        group.spec.max_softwires_per_subscriber or 1 for group in configuration.groups
    ])  # fmt: skip
    capacity, reassembly = spec.capacity, spec.softwire.reassembly
    plan.tables = [
        TablePlan("mappings", MAPPING_BYTES, capacity.mappings_per_slot),
        TablePlan("sessions", SESSION_BYTES, capacity.extra_sessions_per_slot),
        TablePlan("softwires", SOFTWIRE_BYTES, capacity.subscribers_per_slot * softwires),
        TablePlan("subscribers", SUBSCRIBER_BYTES, capacity.subscribers_per_slot),
        TablePlan("contexts", CONTEXT_BYTES, reassembly.max_contexts),
    ]
    for table in plan.tables:
        table.place(planner)
    last = ranges[-1]
    plan.external_count = last.first_external + (1 << last.part_shift)
    blocks = blocks_per_address(plan.block_size)
    plan.bitmap_words = (blocks + 63) // 64
    plan.block_stride = LINE + round_up(3 * plan.block_size // 8, LINE)
    plan.externals = planner.place(EXTERNAL_BYTES * plan.external_count)
    plan.block_bitmaps = planner.place(8 * plan.bitmap_words * plan.external_count)
    plan.blocks = planner.place(plan.block_stride * blocks * plan.external_count, PAGE)
    plan.reverse = planner.place(3 * 65536 * 4 * plan.external_count, PAGE)
    plan.context_stride = HEADROOM + round_up(reassembly.max_packet_bytes + LINE, LINE)
    plan.context_buffers = planner.place(plan.context_stride * reassembly.max_contexts, PAGE)
    plan.syn_ring = planner.place(SYN_CAPACITY * SYN_BYTES, PAGE)
    plan.journal = planner.place(JOURNAL_RECORD_BYTES * JOURNAL_RECORDS, PAGE)
    plan.park_ring = planner.place(PARKED_BYTES * PARK_CAPACITY, PAGE)
    plan.size = planner.size
    return plan


def pod_bytes(configuration: Configuration, workers: int) -> int:
    """Memory of one AFTR: the tables of all slots, since it may have to serve or copy any of them, packet frames, and the process."""
    slots = configuration.pool.spec.slots * round_up(plan_slot(configuration).size, HUGE_PAGE)
    return slots + workers * FRAMES_PER_WORKER * CHUNK_BYTES + PROCESS_BYTES
