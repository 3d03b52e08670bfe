"""Whatever becomes of the bytes of an entry: what is delivered was written, and what is not is named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aftr.store.inspection import inspect, judge_any
from dslite_contract.journal import HEADER, EntryId, Records
from store_records import chunk, entry, numbers

GOOD = entry(*range(20))


@given(st.data())
def test_damaged_bytes_deliver_nothing_else(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(GOOD)))
    damaged = bytearray(GOOD[:length] + data.draw(st.binary(max_size=8)))
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    ((records, damage),) = inspect(judge_any, 3, [("key", bytes(damaged), EntryId(1, 1))])
    same = bytes(damaged)[:12] + bytes(damaged)[HEADER.size :] == GOOD[:12] + GOOD[HEADER.size :]
    assert (damage is None) == same  # but for four bytes that mean nothing
    assert numbers(records) == (list(range(20)) if same else [])
    assert damage is None or (0 <= damage.offset <= len(damaged) and damage.data == bytes(damaged))


def test_a_chunk_is_no_entry() -> None:
    ((_, damage),) = inspect(judge_any, 3, [("key", chunk(1), EntryId(1, 1))])
    assert str(damage) == "key entry 1-1 at byte 3: part 2 instead of 1 (entry)"
    ((_, damage),) = inspect(judge_any, 3, [("key", entry(1), None)])
    assert str(damage) == "key at byte 3: part 1 instead of 2 (chunk)"


def test_one_wrong_record_among_many_entries_is_named_and_hides_no_other() -> None:
    places = [("key", entry(number), EntryId(1, number)) for number in range(5)]
    places[3] = ("key", entry(3)[:-1], EntryId(1, 3))

    def judge(_: int, records: Records) -> dict[int, str]:
        return {place: "odd" for place, number in enumerate(numbers(records)) if number == 1}

    found = inspect(judge, 3, places)
    assert [numbers(records) for records, _ in found] == [[0], [], [2], [], [4]]
    assert [str(damage) for _, damage in found if damage] == [
        "key entry 1-1 at byte 16: record 0: odd",
        "key entry 1-3 at byte 47: truncated, 1 records end at byte 48",
    ]
