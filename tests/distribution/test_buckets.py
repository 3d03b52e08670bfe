"""Buckets of DUIDs, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslite_operator.distribution.buckets import BUCKETS, SHORTEST_DUID, Cut, bucket_of, cut_anew, read, spell

CUTS = st.sampled_from(sorted(BUCKETS))
MAC = bytes.fromhex("000300010250560a1b3f")  # DUID-LL of RFC 8415 section 11.4
SERIAL = bytes.fromhex("00020000098b") + b"SN0047"  # DUID-EN, section 11.3


@pytest.mark.parametrize(
    ("duid", "cut", "bucket"),
    [
        (MAC, "whole", 0), (MAC, "last", 0x3F), (MAC, "lastNibble", 0xF), (MAC, "lastTwoLowNibbles", 0xBF),
        (SERIAL, "last", 0x37), (SERIAL, "lastNibble", 7), (SERIAL, "lastTwoLowNibbles", 0x47),
    ],
)  # fmt: skip
def test_d21_bucket_of_a_duid(duid: bytes, cut: Cut, bucket: int) -> None:
    assert bucket_of(duid, cut) == bucket


@settings(deadline=None)
@given(st.binary(min_size=SHORTEST_DUID, max_size=130), CUTS)
def test_every_duid_has_a_bucket(duid: bytes, cut: Cut) -> None:
    assert 0 <= bucket_of(duid, cut) < BUCKETS[cut]


@settings(deadline=None)
@given(st.binary(min_size=3, max_size=130), CUTS, CUTS, st.data())
def test_a_b4_keeps_its_slot_when_buckets_are_cut_anew(duid: bytes, old: Cut, new: Cut, data: st.DataObject) -> None:
    slots = tuple(data.draw(st.lists(st.integers(0, 2), min_size=BUCKETS[old], max_size=BUCKETS[old])))
    anew = cut_anew(slots, old, new)
    if anew is not None:
        assert anew[bucket_of(duid, new)] == slots[bucket_of(duid, old)]
    else:
        assert len(set(slots)) > 1
        assert old in ("last", "lastTwoLowNibbles") or new == "whole"


@pytest.mark.parametrize("new", ["last", "lastTwoLowNibbles"])
def test_a_nibble_is_cut_further(new: Cut) -> None:
    assert cut_anew(tuple(range(16)), "lastNibble", new) is not None
    assert cut_anew(tuple(range(256)), new, "lastNibble") is None


@settings(deadline=None)
@given(CUTS, st.data())
def test_buckets_written_are_read(cut: Cut, data: st.DataObject) -> None:
    buckets = sorted(data.draw(st.sets(st.integers(0, BUCKETS[cut] - 1), min_size=1)))
    assert read(spell(buckets, cut)) == buckets


def test_buckets_are_written_as_people_read_them() -> None:
    assert spell([0, 1, 2, 63, 128, 254, 255], "last") == "00-02,3f,80,fe-ff"
    assert spell(range(16), "lastNibble") == "0-f"
    assert spell([0], "whole") == "0"
    assert spell([], "last") == ""
