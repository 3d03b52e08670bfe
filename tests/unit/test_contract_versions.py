"""Format versions of records: what one program writes, the one before and the one after read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite_contract import journal
from dslite_contract.journal import (
    FORMATS,
    HEADER,
    MAX_ENTRY,
    RECORD,
    DamagedEntryError,
    Part,
    most_records,
    newest,
    offset_of,
    pack_chunk,
    pack_entry,
    split,
    unpack,
    version_of,
)
from next_version.next_format import NEXT, NEXT_VERSION

EXAMPLE = np.array([(1, 6, 1, 0, 0xC6336401, 0x0A000002, 1024, 49152, 0x20010DB800000001, 2)] * 3, RECORD)


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program is the next one."""
    monkeypatch.setattr(journal, "FORMATS", {**FORMATS, NEXT_VERSION: NEXT})


@pytest.mark.usefixtures("upgraded")
def test_both_versions_are_read_and_written() -> None:
    assert newest() == NEXT_VERSION
    for version in (1, NEXT_VERSION):
        entry = pack_entry(EXAMPLE, version)
        assert version_of(entry) == version
        assert unpack(entry).tobytes() == EXAMPLE.tobytes()
        assert len(entry) == HEADER.size + 3 * journal.FORMATS[version].dtype.itemsize == offset_of(entry, 3)
    assert np.frombuffer(pack_entry(EXAMPLE, NEXT_VERSION)[16:], NEXT.dtype)["lifetime"].tolist() == [0, 0, 0]


def test_the_one_before_refuses_what_it_cannot_know() -> None:
    later = bytearray(pack_entry(EXAMPLE, 1))
    later[2] = NEXT_VERSION
    with pytest.raises(DamagedEntryError, match=r"at byte 2: format version 2, this program reads 1$"):
        unpack(bytes(later))


@pytest.mark.usefixtures("upgraded")
def test_a_value_that_the_older_version_has_no_room_for_is_refused_by_name() -> None:
    wide = np.zeros(1, NEXT.dtype)
    wide["kind"], wide["flags"] = 1, 256
    with pytest.raises(ValueError, match="a value of flags does not fit 1 bytes"):
        NEXT.read(wide)


@pytest.mark.usefixtures("upgraded")
def test_an_entry_of_wider_records_has_fewer() -> None:
    records = np.zeros(most_records(NEXT_VERSION), RECORD)
    assert MAX_ENTRY - NEXT.dtype.itemsize < len(pack_chunk(records, NEXT_VERSION)) <= MAX_ENTRY
    with pytest.raises(ValueError, match="are not 0 to"):
        pack_chunk(np.zeros(len(records) + 1, RECORD), NEXT_VERSION)


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from([1, NEXT_VERSION])), max_size=6))
def test_chunks_behind_each_other_are_told_apart(parts: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "FORMATS", {**FORMATS, NEXT_VERSION: NEXT})
        chunks = [pack_chunk(np.resize(EXAMPLE, number), version) for number, version in parts]
        assert list(split(b"".join(chunks))) == chunks


@pytest.mark.parametrize("tail", [b"\x1e", b"\x1e\xd5\x09\x02" + bytes(40)])
def test_what_cannot_be_told_apart_is_left_to_the_reader(tail: bytes) -> None:
    chunk = pack_chunk(EXAMPLE, 1)
    *good, rest = split(chunk + tail)
    assert (good, rest) == ([chunk], tail)
    with pytest.raises(DamagedEntryError):
        unpack(rest, Part.CHUNK)
