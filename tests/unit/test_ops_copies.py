"""A copy that is being built in a thread, and a slot that is emptied meanwhile."""

from __future__ import annotations

import threading

import numpy as np

from aftr.ops.copies import PIECE, apply, close, open_restored
from aftr.state.layout import SLOT_MAPPINGS, table_at
from dslite_contract.journal import RECORD, Kind, Records
from rig import Rig, config_text


def mappings(number: int) -> Records:
    """Mappings of as many ports of one customer, in blocks that were taken before."""
    records = np.zeros(number, RECORD)
    records["kind"], records["protocol"], records["bits"] = Kind.MAPPING, 17, 128
    records["external_address"] = 0xC0000201
    records["internal_address"], records["hi"], records["lo"] = 0xC0A80102, 0x20010DB8_10000000, 1
    records["external_port"] = records["internal_port"] = 1024 + np.arange(number)
    return records


def test_what_was_meant_for_tables_that_were_emptied_is_not_put_into_the_next_ones() -> None:
    pod = Rig(config_text()).engine.pod
    close(pod, 0)
    life = pod.lives[0]
    close(pod, 0)
    assert apply(pod, 0, mappings(10), 0, life) == 0
    open_restored(pod, 0, 0, 0)
    assert table_at(pod.memory, pod.slot(0) + SLOT_MAPPINGS).live == 0


def test_a_slot_is_not_emptied_while_a_thread_writes_to_it() -> None:
    """It stops at the next piece: what it writes to memory that has been given back would be found by nobody, or end the process."""
    pod = Rig(config_text()).engine.pod
    close(pod, 0)
    records, life, begun = mappings(PIECE), pod.lives[0], threading.Event()

    def work() -> None:
        while pod.lives[0] == life:
            apply(pod, 0, records, 0, life)
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    with pod.turn:
        close(pod, 0)
    thread.join(60)
    assert not thread.is_alive()
    open_restored(pod, 0, 0, 0)
    assert table_at(pod.memory, pod.slot(0) + SLOT_MAPPINGS).live == 0
