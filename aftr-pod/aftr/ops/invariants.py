"""What must hold between the tables of a pod: `aftr verify`, and every test that asks whether anything leaked.

Whole tables at once in numpy: workers stand still meanwhile, about 0.3 s per million mappings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from aftr.ops.tables import Rows, live, rows
from aftr.path.handover import ring_between
from aftr.state.frames import frames_at
from aftr.state.layout import (
    BLOCK,
    BYPASSED,
    CONTEXT,
    LINE,
    LIVE,
    MAPPING,
    MAX_INTERFACES,
    SESSION,
    SLOT_CONTEXTS,
    SLOT_MAPPINGS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    SOFTWIRE,
    SUBSCRIBER,
    UNTRANSLATED_KEY,
    output_at,
    ring_at,
    slot_at,
    table_at,
    worker_at,
)
from aftr.state.pod import Pod

NAMED = 5  # records named in the sentence of a problem
BITMAPS = np.array([1, 6, 17])  # the protocols of a block's bitmaps, and of an address's reverse tables
Numbers = np.ndarray[Any, np.dtype[np.int64]]


def check_pod(pod: Pod, in_devices: int = 0) -> list[str]:
    """What does not hold, as sentences; no worker may run meanwhile.  `in_devices`: frames that devices' rings hold."""
    problems = check_frames(pod, in_devices)
    for number in pod.open_slots:
        slot = pod.slot(number)
        for check in (check_tables, check_counts, check_mappings, check_sessions, check_blocks, check_contexts):
            problems += [f"slot {number}: {problem}" for problem in check(pod, slot)]
    return problems


def check_frames(pod: Pod, in_devices: int) -> list[str]:
    """Every frame of the UMEM is in exactly one place."""
    memory = pod.memory
    found, twice = in_devices, 0
    for worker in pod.workers:
        record = worker_at(memory, worker)
        stack = frames_at(memory, record.frames)
        found, twice = found + stack.count + record.pending_count, twice + stack.overflow
        found += sum(output_at(memory, record.outputs + n * LINE).count for n in range(MAX_INTERFACES))
        rings = (ring_at(memory, ring_between(memory, worker, record.number, n)) for n in range(len(pod.workers)))
        found += sum(ring.head - ring.tail for ring in rings)
    parked = (slot_at(memory, pod.slot(number)) for number in pod.open_slots)
    found += sum(slot.park_head - slot.park_tail for slot in parked)
    problems = [f"{twice} frames were freed twice"] if twice else []
    if found != pod.sizes.frames:
        problems.append(f"{pod.sizes.frames - found} of {pod.sizes.frames} frames leaked")
    return problems


# ---------------------------------------------------------------- one slot
def check_tables(pod: Pod, slot: int) -> Iterator[str]:
    """Each table counts, and its index names, as many records as are in use."""
    kinds = {
        "mappings": (SLOT_MAPPINGS, MAPPING), "sessions": (SLOT_SESSIONS, SESSION), "softwires": (SLOT_SOFTWIRES, SOFTWIRE),
        "subscribers": (SLOT_SUBSCRIBERS, SUBSCRIBER), "fragment contexts": (SLOT_CONTEXTS, CONTEXT),
    }  # fmt: skip
    for name, (place, dtype) in kinds.items():
        table = table_at(pod.memory, slot + place)
        used = np.count_nonzero(rows(pod, slot, place, dtype)["state"])
        indexed = np.count_nonzero(pod.memory[table.index : table.index + (8 << table.bits)].view(np.int64))
        if not used == indexed == table.live == table.high - table.free_count:
            yield f"{name}: {used} in use, {indexed} indexed, {table.live} counted, {table.high - table.free_count} not free"


def check_counts(pod: Pod, slot: int) -> Iterator[str]:
    """Softwires and subscribers count what refers to them."""
    mappings = live(rows(pod, slot, SLOT_MAPPINGS, MAPPING))
    softwires, people = rows(pod, slot, SLOT_SOFTWIRES, SOFTWIRE), rows(pod, slot, SLOT_SUBSCRIBERS, SUBSCRIBER)
    softwire = mappings["softwire"] & ~np.uint32(UNTRANSLATED_KEY)
    subscriber = softwires["subscriber"][softwire] if len(mappings) else softwire
    sessions = np.maximum(mappings["sessions"], 1)
    yield from miscounts("softwire", softwires, "mappings", tally(softwire, len(softwires)))
    yield from miscounts("subscriber", people, "softwires", tally(live(softwires)["subscriber"], len(people)))
    yield from miscounts("subscriber", people, "mappings", tally(subscriber, len(people)))
    yield from miscounts("subscriber", people, "sessions", tally(subscriber, len(people), sessions))


def check_mappings(pod: Pod, slot: int) -> Iterator[str]:
    """Reverse tables and mappings name each other; so no external endpoint is held twice."""
    record, table = slot_at(pod.memory, slot), rows(pod, slot, SLOT_MAPPINGS, MAPPING)
    numbers = np.flatnonzero(table["state"] == LIVE)
    mappings = table[numbers]
    reverse = pod.memory[record.reverse : record.reverse + 4 * record.external_count * 3 * 65536].view(np.uint32)
    kind = np.searchsorted(BITMAPS, mappings["protocol"])
    word = (mappings["external"].astype(np.int64) * 3 + kind) * 65536 + mappings["external_port"]
    yield from named("mapping", numbers[reverse[word] != numbers + 1], "its reverse entry names another")
    entries = np.count_nonzero(reverse)
    if entries != len(numbers):
        yield f"{entries} reverse entries for {len(numbers)} mappings"


def check_sessions(pod: Pod, slot: int) -> Iterator[str]:
    """The chains of further sessions reach all of them, and mappings count them."""
    table, further = rows(pod, slot, SLOT_MAPPINGS, MAPPING), rows(pod, slot, SLOT_SESSIONS, SESSION)
    numbers = np.flatnonzero(table["state"] == LIVE)
    mappings = table[numbers]
    owned = tally(live(further)["mapping"], len(table))[numbers]
    chained, reference = np.zeros(len(numbers), np.int64), mappings["more_ref"].astype(np.int64)
    for _ in range(len(further)):  # a longer chain would be a circle
        if not reference.any():
            break
        chained += reference != 0
        reference = np.where(reference != 0, further["next_ref"].astype(np.int64)[reference - 1], 0)
    first = mappings["session_state"] == LIVE
    wrong = (chained != owned) | (chained != mappings["sessions"] - first.astype(np.int64))
    yield from named("mapping", numbers[wrong], "its sessions are not those that it counts or chains")


def check_blocks(pod: Pod, slot: int) -> Iterator[str]:
    """A block in use belongs to a subscriber, and its counts and bitmaps are those of the mappings in it."""
    memory, record = pod.memory, slot_at(pod.memory, slot)
    number, size = record.external_count * record.blocks_per_address, 1 << record.block_shift
    blocks: Rows = np.ndarray((number,), BLOCK, memory, record.blocks, (record.block_stride,))
    mappings = live(rows(pod, slot, SLOT_MAPPINGS, MAPPING))
    mappings = mappings[mappings["flags"] & BYPASSED == 0]
    place = mappings["external_port"].astype(np.int64) - record.first_port
    block = mappings["external"].astype(np.int64) * record.blocks_per_address + (place >> record.block_shift)
    kind = np.searchsorted(BITMAPS, mappings["protocol"])
    used = tally(block * 3 + kind, number * 3).reshape(number, 3)
    in_use = blocks["state"] == LIVE
    counted = np.stack([blocks["used_icmp"], blocks["used_tcp"], blocks["used_udp"]], axis=1)
    wrong = (in_use != (used.sum(axis=1) > 0)) | (blocks["mappings"] != used.sum(axis=1))
    wrong |= in_use & ((counted != used).any(axis=1) | (blocks["subscriber_ref"] == 0))
    yield from named("block", np.flatnonzero(wrong), "its counts are not those of its mappings")
    shape, strides = (number, 3, size >> 3), (record.block_stride, size >> 3, 1)
    bits: Rows = np.ndarray(shape, np.uint8, memory, record.blocks + LINE, strides)
    free, rank, inside = np.ones((in_use.sum(), 3, size), bool), np.cumsum(in_use) - 1, in_use[block]
    free[rank[block[inside]], kind[inside], place[inside] & (size - 1)] = False
    unequal = (np.packbits(free, axis=2, bitorder="little") != bits[in_use]).any(axis=(1, 2))
    yield from named("block", np.flatnonzero(in_use)[unequal], "its bitmaps do not show the ports of its mappings")


def check_contexts(pod: Pod, slot: int) -> Iterator[str]:
    """The slot counts the bytes of its fragment contexts, subscribers count their contexts."""
    contexts, people = rows(pod, slot, SLOT_CONTEXTS, CONTEXT), rows(pod, slot, SLOT_SUBSCRIBERS, SUBSCRIBER)
    contexts = contexts[contexts["state"] != 0]
    counted, stored = slot_at(pod.memory, slot).context_bytes, int(contexts["bytes"].sum())
    if counted != stored:
        yield f"fragment contexts hold {stored} bytes, {counted} are counted"
    owner = contexts["subscriber_ref"][contexts["subscriber_ref"] != 0].astype(np.int64) - 1
    yield from miscounts("subscriber", people, "contexts", tally(owner, len(people)))


# ---------------------------------------------------------------- how
def tally(numbers: Rows, size: int, weights: Rows | None = None) -> Numbers:
    """How often each number below `size` occurs, or the sum of its weights."""
    counts: Numbers = np.bincount(numbers, weights, size).astype(np.int64)
    return counts


def miscounts(what: str, records: Rows, name: str, right: Numbers) -> Iterator[str]:
    """Records whose field `name` is not `right`; one that is free must have nothing."""
    counted = np.where(records["state"] == LIVE, records[name], 0)
    yield from named(what, np.flatnonzero(counted != right), f"its {name} are counted wrong")


def named(what: str, numbers: Numbers, problem: str) -> Iterator[str]:
    """One sentence for all records with the same problem."""
    if len(numbers):
        first = ", ".join(map(str, numbers[:NAMED].tolist()))
        yield f"{what} {first}{f' and {len(numbers) - NAMED} more' if len(numbers) > NAMED else ''}: {problem}"
