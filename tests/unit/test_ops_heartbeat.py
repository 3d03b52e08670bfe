"""What a member's heartbeat says of itself, as others read it."""

from __future__ import annotations

import pytest

from aftr.ops.serving.heartbeats import copies_of, damaged_in, ended_in, may_own
from aftr.ops.serving.versions import READS, read_by
from aftr.store.members import MemberRecord
from dslite_contract.journal import UNANNOUNCED, EntryId


def test_copies_and_ended_epochs_by_slot() -> None:
    record = MemberRecord(7, {"warm": '{"3": "7-9"}', "ended": '{"0": 6}'})
    assert copies_of(record) == {3: EntryId(7, 9)}
    assert ended_in(record) == {0: 6}


def test_a_member_of_before_says_nothing_of_these() -> None:
    assert (copies_of(MemberRecord(7)), ended_in(MemberRecord(7))) == ({}, {})
    assert may_own(MemberRecord(7))


@pytest.mark.parametrize(
    "said", ["", "[]", "7", '{"x": "7-9"}', '{"3": {}}', '{"3": "seven"}', '{"3": null}', '{"3": 1e999}']
)
def test_what_cannot_be_read_counts_as_not_said(said: str) -> None:
    record = MemberRecord(7, {"warm": said, "ended": said, "damaged": said, READS: said})
    assert (copies_of(record), ended_in(record), damaged_in(record)) == ({}, {}, {})
    assert read_by(MemberRecord(7, {READS: "two"})) == UNANNOUNCED


@pytest.mark.parametrize("info", [{"linked": "0"}, {"leaving": "1"}])
def test_slots_are_left_to_nobody_without_links_or_about_to_leave(info: dict[str, str]) -> None:
    assert not may_own(MemberRecord(7, info))
