"""The journal of a slot: what must be stored, in the order in which it happened (docs/design/0003-state.md).

A ring of 32-byte records between one worker, which appends, and the control thread, which drains.  Records are numbered from 1 on and
numbers only grow: `journal_head` the last one written, `journal_tail` the last one drained, `committed` the last one stored.
What finds the ring full is left out, and `overrun` says so: the tables have it, and so has the checkpoint that must be written then.
"""

from __future__ import annotations

import struct

import numpy as np

from aftr.lowlevel.bits import Memory, load64_acquire, store16, store32, store64, store64_release
from aftr.lowlevel.kernel import kernel
from aftr.state.counters import count_event
from aftr.state.layout import JOURNAL_RECORD, SLOT, slot_at, worker_at
from aftr.state.reasons import JOURNAL_OVERRUN
from dslite_contract.journal import RECORD, Kind, Records

MAPPING_RECORD, MAPPING_REMOVED = int(Kind.MAPPING), int(Kind.MAPPING_REMOVED)
BLOCK_TAKEN, BLOCK_RELEASED = int(Kind.BLOCK_TAKEN), int(Kind.BLOCK_RELEASED)
SOFTWIRE_FROM, SOFTWIRE_TO = int(Kind.SOFTWIRE_FROM), int(Kind.SOFTWIRE_TO)
ESTABLISHED_FLAG, UNTRANSLATED_FLAG, PUBLIC_FLAG = 1, 2, 4  # of a mapping's record
CREATION_RESERVE = 1024  # records kept for what must not be refused: ends of mappings and blocks
HEAD = SLOT.fields["journal_head"][1]  # type: ignore[index]
TAIL = SLOT.fields["journal_tail"][1]  # type: ignore[index]
_ENDS = struct.Struct("<qq")  # journal_head, journal_tail
COMMITTED = SLOT.fields["committed"][1]  # type: ignore[index]


@kernel
def journal_room(memory: Memory, slot: int) -> int:
    """Records that can be written before the ring is full; plenty for a slot without a journal."""
    record = slot_at(memory, slot)
    if record.journaling == 0:
        return record.journal_mask + 1
    return record.journal_mask + 1 - (record.journal_head - load64_acquire(memory, slot + TAIL))


@kernel
def write_record(
    memory: Memory, worker: int, slot: int, word: int, external_address: int, internal_address: int,
    external_port: int, internal_port: int, hi: int, lo: int,
) -> None:  # fmt: skip
    """Append a record, if the slot has a journal; `word`: kind | protocol << 8 | flags << 16 | bits << 24."""
    record = slot_at(memory, slot)
    if record.journaling == 0:
        return
    if journal_room(memory, slot) <= 0:
        record.overrun = 1
        count_event(memory, worker, JOURNAL_OVERRUN, 1)
        return
    at = record.journal + (record.journal_head & record.journal_mask) * JOURNAL_RECORD
    store32(memory, at, word)
    store32(memory, at + 4, external_address)
    store32(memory, at + 8, internal_address)
    store16(memory, at + 12, external_port)
    store16(memory, at + 14, internal_port)
    store64(memory, at + 16, hi)
    store64(memory, at + 24, lo)
    store64_release(memory, slot + HEAD, record.journal_head + 1)
    worker_at(memory, worker).journaled = 1


# ---------------------------------------------------------------- the control thread's end
def peek(memory: Memory, slot: int, most: int) -> Records:
    """At most `most` records of the ring, oldest first: a copy."""
    record = slot_at(memory, slot)
    first, last = record.journal_tail, min(record.journal_head, record.journal_tail + most)
    size = record.journal_mask + 1
    ring = memory[record.journal : record.journal + size * JOURNAL_RECORD].reshape(size, JOURNAL_RECORD)
    begin, end = first % size, first % size + last - first
    taken = np.concatenate([ring[begin : min(end, size)], ring[: max(end - size, 0)]]).view(np.ndarray)
    return taken.reshape(-1).view(RECORD)


def drain(memory: Memory, slot: int, most: int) -> Records:
    """The same, and take them out."""
    records = peek(memory, slot, most)
    slot_at(memory, slot).journal_tail += len(records)
    return records


def waiting(memory: Memory, slot: int) -> int:
    """Records in the ring."""
    head, tail = _ENDS.unpack_from(memory.data, slot + HEAD)  # quick: each flush asks every slot
    return int(head - tail)


def commit(memory: Memory, slot: int, number: int) -> None:
    """Everything up to record `number` is stored, or need not be: packets that waited for it may leave."""
    record = slot_at(memory, slot)
    record.committed = max(record.committed, number)
