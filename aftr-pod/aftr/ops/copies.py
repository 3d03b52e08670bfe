"""A slot's tables as records, and records as tables: what the control thread does with a slot that is closed, or about to be."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from aftr.nat.tcp import is_established
from aftr.ops.snapshot import live_mappings
from aftr.ops.tables import Rows, copied, rows
from aftr.path.commit import abandon
from aftr.path.restore import apply_records, restart
from aftr.state.counters import add_event
from aftr.state.journal import (
    BLOCK_RELEASED,
    BLOCK_TAKEN,
    ESTABLISHED_FLAG,
    MAPPING_RECORD,
    PUBLIC_FLAG,
    UNTRANSLATED_FLAG,
)
from aftr.state.layout import (
    BLOCK,
    BYPASSED,
    EXTERNAL,
    JOURNAL_RECORD,
    LIVE,
    PUBLIC_SOURCE,
    SLOT_MAPPINGS,
    SLOT_SUBSCRIBERS,
    SUBSCRIBER,
    WAS_ESTABLISHED,
    slot_at,
    table_at,
    worker_at,
)
from aftr.state.pod import LIST_CAPACITY, Pod
from aftr.state.reasons import MAPPINGS_RESTORED
from dslite_contract.journal import RECORD, Records, unpack

PIECE = LIST_CAPACITY * 16 // JOURNAL_RECORD  # records that fit the control worker's list


def apply(pod: Pod, number: int, records: Records, now: int, life: int | None = None) -> int:
    """Bring the tables of a closed slot up to date, as of `now` (ms); how many records could not be applied.

    In a thread of its own, piece by piece, and no further once the slot was emptied: `life` is the one it was meant for.
    """
    control, failed = worker_at(pod.memory, pod.control), 0
    for begin in range(0, len(records), PIECE):
        piece = np.ascontiguousarray(records[begin : begin + PIECE]).view(np.uint8)
        with pod.turn:
            if life is not None and pod.lives[number] != life:
                break
            slot = pod.prepare(number, now)
            control.now = max(now, control.now)
            pod.memory[control.receive_list : control.receive_list + piece.size] = piece
            failed += apply_records(pod.memory, pod.control, slot, control.receive_list, piece.size // JOURNAL_RECORD)
    return failed


def open_restored(
    pod: Pod, number: int, worker: int, now: int, *, journaling: bool = False, parking: bool = False
) -> None:
    """Open a slot with the tables that its copy has: timers begin anew, resting blocks rest in full.

    `journaling`: what happens in it is written to its journal, from record 1 on; `parking`: packets wait until that is stored.
    """
    control = worker_at(pod.memory, pod.control)
    with pod.turn:
        slot = pod.prepare(number, now)
        control.now = max(now, control.now)
        restart(pod.memory, pod.control, slot, now)
    record = slot_at(pod.memory, slot)
    record.journal_head = record.journal_tail = record.committed = record.overrun = 0
    record.journaling, record.parking, record.frozen, record.refuse_blocks = int(journaling), int(parking), 0, 0
    add_event(pod.memory, pod.control, MAPPINGS_RESTORED, table_at(pod.memory, slot + SLOT_MAPPINGS).live)
    pod.open(number, worker, now)


def stop(pod: Pod, number: int) -> None:
    """Let nothing into an open slot any more, and keep its tables: from now on they are a copy.  No worker may run meanwhile."""
    slot = pod.slot(number)
    abandon(pod.memory, pod.worker_of(number), slot)
    slot_at(pod.memory, slot).journaling = 0
    pod.shut(number)


def close(pod: Pod, number: int) -> None:
    """Forget what a slot holds, open or not; packets that wait in it are dropped.  No worker may run meanwhile, nobody have the `turn`."""
    if pod.slot(number):
        stop(pod, number)
    pod.forget(number)


def kinds_of(entry: bytes) -> set[int]:
    """Kinds of the records in a packed entry."""
    return set(unpack(entry)["kind"].tolist())


# ---------------------------------------------------------------- checkpoint
def snapshot(pod: Pod, number: int) -> Iterator[Records]:
    """The live state of a slot as records, in pieces, each read when it is asked for: blocks first, then mappings.

    Read while a worker goes on: what changes meanwhile is in the journal after the entry that the checkpoint covers.
    """
    slot = pod.area(number)
    yield block_records(pod, slot)
    for mappings, softwires in live_mappings(pod, slot):
        yield mapping_records(mappings, softwires)


def live_bytes(pod: Pod, number: int) -> int:
    """About what a snapshot of the slot takes now."""
    return int(table_at(pod.memory, pod.area(number) + SLOT_MAPPINGS).live) * JOURNAL_RECORD


def mapping_records(mappings: Rows, softwires: Rows) -> Records:
    """Mappings and their softwires as records."""
    records = np.zeros(len(mappings), RECORD)
    established = is_established_array(mappings["session_flags"]) & (mappings["session_state"] == LIVE)
    established |= mappings["flags"] & WAS_ESTABLISHED != 0
    records["kind"], records["protocol"] = MAPPING_RECORD, mappings["protocol"]
    records["flags"] = (
        established * ESTABLISHED_FLAG
        + (mappings["flags"] & BYPASSED != 0) * UNTRANSLATED_FLAG
        + (mappings["flags"] & PUBLIC_SOURCE != 0) * PUBLIC_FLAG
    )
    for name in ("external_address", "internal_address", "external_port", "internal_port"):
        records[name] = mappings[name]
    records["hi"], records["lo"] = softwires["hi"].view(np.uint64), softwires["lo"].view(np.uint64)
    return records


def is_established_array(flags: Rows) -> Rows:
    """`nat.tcp.is_established` of many sessions."""
    return _established()[flags]


@functools.cache
def _established() -> Rows:
    return np.array([is_established(value) for value in range(256)])


def block_records(pod: Pod, slot: int) -> Records:
    """Port blocks in use, and those that rest, in the order in which they began to."""
    record, memory = slot_at(pod.memory, slot), pod.memory
    number = record.external_count * record.blocks_per_address
    lines = np.ndarray((number,), f"V{BLOCK.itemsize}", memory, record.blocks, (record.block_stride,))
    blocks: Rows = lines.copy().view(BLOCK)
    people = rows(pod, slot, SLOT_SUBSCRIBERS, SUBSCRIBER)
    taken = np.flatnonzero(
        (blocks["state"] == LIVE) & (blocks["subscriber_ref"] > 0) & (blocks["subscriber_ref"] <= len(people))
    )
    owners = copied(people, blocks["subscriber_ref"][taken] - 1)
    resting: list[int] = []
    reference = record.rest_head
    while 0 < reference <= number and len(resting) < number:
        resting.append(reference - 1)
        reference = int(blocks["rest_ref"][reference - 1])
    order = np.concatenate([taken, np.array(resting, np.int64)])
    records = np.zeros(len(order), RECORD)
    addresses: Rows = np.ndarray((record.external_count,), EXTERNAL, memory, record.externals)
    records["kind"][: len(taken)], records["kind"][len(taken) :] = BLOCK_TAKEN, BLOCK_RELEASED
    records["bits"][: len(taken)] = owners["bits"]
    records["hi"][: len(taken)], records["lo"][: len(taken)] = (
        owners["hi"].view(np.uint64),
        owners["lo"].view(np.uint64),
    )
    records["external_address"] = addresses["address"][blocks["external"][order]]
    records["external_port"] = record.first_port + (blocks["number"][order] << record.block_shift)
    return records
