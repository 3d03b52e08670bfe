"""Records, entries and chunks: the bytes, and every way in which they can be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite_contract.errors import DsliteError
from dslite_contract.journal import (
    HEADER,
    MAX_ENTRY,
    NOTHING,
    RECORD,
    DamagedEntryError,
    EntryId,
    Kind,
    Part,
    Records,
    most_records,
    pack_chunk,
    pack_entry,
    unpack,
)

EXAMPLE = np.array([(1, 6, 1, 0, 0xC6336401, 0x0A000002, 1024, 49152, 0x20010DB800000001, 2)], RECORD)
BYTES = bytes.fromhex(
    "1ed5 01 01 01000000 ef37243b 00000000"  # magic, version, kind, count, CRC32C, reserved
    "01 06 01 00 016433c6 0200000a 0004 00c0 01000000b80d0120 0200000000000000"
)


@st.composite
def record_arrays(draw: st.DrawFn) -> Records:
    count = draw(st.integers(0, 40))
    raw = draw(st.binary(min_size=count * RECORD.itemsize, max_size=count * RECORD.itemsize))
    found = np.frombuffer(raw, RECORD).copy()
    found["kind"] = draw(st.lists(st.sampled_from(Kind), min_size=count, max_size=count))
    return found


def test_the_bytes_are_those_of_the_document() -> None:
    assert (RECORD.itemsize, HEADER.size) == (32, 16)
    assert pack_entry(EXAMPLE, 1) == BYTES
    assert unpack(BYTES) == EXAMPLE
    assert pack_chunk(EXAMPLE, 1) == BYTES[:3] + b"\x02" + BYTES[4:]


@given(record_arrays())
def test_what_was_packed_is_unpacked(records: Records) -> None:
    assert unpack(pack_entry(records, 1)).tobytes() == records.tobytes()
    assert unpack(pack_chunk(records.view(np.uint8), 1), Part.CHUNK).tobytes() == records.tobytes()


@given(record_arrays(), st.data())
def test_one_changed_bit_is_seen(records: Records, data: st.DataObject) -> None:
    packed = bytearray(pack_entry(records, 1))
    place = data.draw(st.integers(0, len(packed) * 8 - 1).filter(lambda bit: not 96 <= bit < 128))  # reserved
    packed[place // 8] ^= 1 << place % 8
    with pytest.raises(DamagedEntryError):
        unpack(bytes(packed))


@given(record_arrays(), st.data())
def test_a_missing_end_is_seen(records: Records, data: st.DataObject) -> None:
    packed = pack_entry(records, 1)
    length = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(DamagedEntryError, match="truncated"):
        unpack(packed[:length])


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (0, "0000", "at byte 0: magic 0x0000 instead of 0xd51e: not written by dslite"),
        (2, "02", "at byte 2: format version 2, this program reads 1"),
        (3, "02", "at byte 3: part 2 instead of 1 (entry)"),
        (4, "00000000", "at byte 4: count 0, but there are 32 bytes of records"),
        (4, "02000000", "at byte 48: truncated, 2 records end at byte 80"),
        (8, "00000000", "at byte 8: CRC32C 0x00000000, but that of the records is 0x3b2437ef"),
    ],
)
def test_damage_is_named(place: int, value: str, sentence: str) -> None:
    changed = bytes.fromhex(value)
    with pytest.raises(DamagedEntryError) as caught:
        unpack(BYTES[:place] + changed + BYTES[place + len(changed) :])
    assert str(caught.value) == sentence
    assert caught.value.offset == int(sentence.split()[2].rstrip(":"))
    assert isinstance(caught.value, DsliteError)


def test_an_entry_has_an_upper_end() -> None:
    largest = pack_entry(np.repeat(EXAMPLE, most_records(1)), 1)
    assert MAX_ENTRY - RECORD.itemsize < len(largest) <= MAX_ENTRY
    with pytest.raises(ValueError, match="are not 0 to 8191 records of 32 bytes"):
        pack_entry(np.repeat(EXAMPLE, most_records(1) + 1), 1)
    with pytest.raises(ValueError, match="33 bytes"):
        pack_entry(np.zeros(33, np.uint8), 1)


def test_ids_are_ordered_and_read_back() -> None:
    assert NOTHING < EntryId(1, 0) < EntryId(1, 10).following < EntryId(2, 0)
    assert EntryId.parse(str(EntryId(12, 345))) == EntryId(12, 345)
    for text in ("", "1", "1-2-3", "a-b"):
        with pytest.raises(ValueError, match=r"."):
            EntryId.parse(text)
