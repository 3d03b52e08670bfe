"""Whatever becomes of the bytes of an entry: what is delivered was written, and what is not is named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aftr.store.inspection import inspect, judge_any
from dslite_contract.journal import HEADER, EntryId
from store_records import chunk, entry, numbers

GOOD = entry(*range(20))


@given(st.data())
def test_damaged_bytes_deliver_nothing_else(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(GOOD)))
    damaged = bytearray(GOOD[:length] + data.draw(st.binary(max_size=8)))
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    records, damage = inspect(judge_any, 3, "key", bytes(damaged), EntryId(1, 1))
    same = bytes(damaged)[:12] + bytes(damaged)[HEADER.itemsize :] == GOOD[:12] + GOOD[HEADER.itemsize :]
    assert (damage is None) == same  # but for four bytes that mean nothing
    assert numbers(records) == (list(range(20)) if same else [])
    assert damage is None or (0 <= damage.offset <= len(damaged) and damage.data == bytes(damaged))


def test_a_chunk_is_no_entry() -> None:
    _, damage = inspect(judge_any, 3, "key", chunk(1), EntryId(1, 1))
    assert str(damage) == "key entry 1-1 at byte 3: part 2 instead of 1 (entry)"
    _, damage = inspect(judge_any, 3, "key", entry(1))
    assert str(damage) == "key at byte 3: part 1 instead of 2 (chunk)"
