"""A member whose process was started anew says which epochs are over."""

from __future__ import annotations

from aftr.failover.observation import Head
from aftr.failover.succession import ended_epochs, giving_up, has_ended, is_close, still_given_up
from dslite_contract.journal import EntryId

HEADS = (Head(7, "a", EntryId(7, 9)), Head(3, "b", EntryId(3, 1)), Head(5, "a", EntryId(5, 40)), Head())
FEW = 10


def test_a_copy_is_close_in_the_same_epoch_only() -> None:
    assert is_close(EntryId(5, 30), HEADS[2], FEW)
    assert not is_close(EntryId(5, 29), HEADS[2], FEW)
    assert not is_close(EntryId(4, 99), HEADS[2], FEW)
    assert not is_close(None, HEADS[2], FEW)


def test_epochs_end_where_another_member_is_warm() -> None:
    copies = {"b": {0: EntryId(7, 9)}, "a": {2: EntryId(5, 40)}}
    assert ended_epochs("a", HEADS, copies, FEW) == {0: 7}, "our own copies went with the process"
    assert ended_epochs("b", HEADS, copies, FEW) == {}
    assert ended_epochs("a", HEADS, {"b": {0: EntryId(6, 9), 2: EntryId(5, 1)}}, FEW) == {}


def test_what_is_over_stays_over_and_a_newer_epoch_is_not() -> None:
    ended = {"a": {0: 7, 2: 4}}
    assert [has_ended(slot, head, ended) for slot, head in enumerate(HEADS)] == [True, False, False, False]
    assert giving_up(HEADS, ended) == {"a"}
    assert giving_up((Head(8, "a"), *HEADS[1:]), ended) == frozenset()


def test_a_slot_is_given_up_until_somebody_follows() -> None:
    assert still_given_up({0: 7, 2: 5}, "a", HEADS) == {0: 7, 2: 5}
    assert still_given_up({0: 7, 2: 5}, "a", (Head(8, "b"), *HEADS[1:])) == {2: 5}
    assert still_given_up({0: 7}, "a", (Head(8, "a"), *HEADS[1:])) == {}
