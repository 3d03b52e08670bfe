"""What time ends: fragment contexts, held SYNs, hold-downs exactly; mappings, sessions, softwires by a pass over each table per second.

Runs only between bursts, so that no record disappears under a packet on its way.
"""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, load8, load64, prefetch
from aftr.lowlevel.kernel import kernel
from aftr.nat.blocks import wake_blocks
from aftr.nat.mapping import sweep_mapping, sweep_session
from aftr.nat.subscriber import sweep_softwire
from aftr.path.contexts import expire_contexts
from aftr.path.syns import expire_syns
from aftr.state.layout import (
    LIVE,
    MAPPING,
    SLOT_MAPPINGS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    pod_at,
    slot_at,
    table_at,
    worker_at,
)

PASS_MS = 1000  # every record is looked at once in this time
MAPPINGS, SESSIONS, SOFTWIRES = 0, 1, 2  # kinds of tables
_MAPPING_STATE = MAPPING.fields["state"][1]  # type: ignore[index]


@kernel
def sweep_table(memory: Memory, worker: int, slot: int, table: int, kind: int, share: int, now: int) -> None:
    """Look at `share` thousandths of a table's records, from its cursor on; `kind` says what they are."""
    record = table_at(memory, table)
    left = (record.high * share + PASS_MS - 1) // PASS_MS
    cursor = record.cursor if record.cursor < record.high else 0
    while left > 0:
        entry = record.records + (cursor << record.shift)
        prefetch(memory, entry + 1024)
        if kind == MAPPINGS:
            if load8(memory, entry + _MAPPING_STATE) == LIVE:
                sweep_mapping(memory, worker, slot, entry, now)
        elif kind == SESSIONS:
            sweep_session(memory, worker, slot, entry, now)
        else:
            sweep_softwire(memory, worker, slot, entry, now)
        cursor += 1
        if cursor >= record.high:
            cursor = 0
        left -= 1
    record.cursor = cursor


@kernel
def sweep_slot(memory: Memory, worker: int, slot: int, now: int) -> None:
    """Bring a slot's state up to `now` (milliseconds)."""
    record = slot_at(memory, slot)
    if record.frozen != 0:
        return
    expire_contexts(memory, worker, slot, now)
    expire_syns(memory, worker, slot, now)
    wake_blocks(memory, slot, now)
    elapsed = now - record.sweep_time
    if elapsed <= 0:
        return
    record.sweep_time = now
    share = min(elapsed, PASS_MS)
    sweep_table(memory, worker, slot, slot + SLOT_SESSIONS, SESSIONS, share, now)
    sweep_table(memory, worker, slot, slot + SLOT_MAPPINGS, MAPPINGS, share, now)
    sweep_table(memory, worker, slot, slot + SLOT_SOFTWIRES, SOFTWIRES, share, now)


@kernel
def sweep(memory: Memory, worker: int) -> None:
    """Bring all open slots of the worker up to its clock."""
    pod, me = pod_at(memory, 0), worker_at(memory, worker)
    for number in range(pod.slots):
        if load64(memory, pod.slot_workers + 8 * number) == me.number:
            slot = load64(memory, pod.slot_table + 8 * number)
            if slot > 0:
                sweep_slot(memory, worker, slot, me.now)
