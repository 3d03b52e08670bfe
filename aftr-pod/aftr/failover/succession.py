"""A member whose process was started anew: epochs that were claimed before it ended with the process that claimed them.

Who holds such a slot warm takes it sooner than its owner could read all of it again, and need not wait until somebody is silent.
What is said stays true whenever it is read: no process serves with an epoch that it did not claim itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aftr.failover.observation import Head
from dslite_contract.journal import EntryId

Ended = Mapping[int, int]  # slot → epoch
Copies = Mapping[int, EntryId]  # slot → up to where the copy is


def is_close(held: EntryId | None, head: Head, entries: int) -> bool:
    """Whether a copy is of the present epoch, and behind it by so many entries at most."""
    return held is not None and held.epoch == head.last.epoch and head.last.seq - held.seq <= entries


def ended_epochs(me: str, heads: Sequence[Head], copies: Mapping[str, Copies], entries: int) -> dict[int, int]:
    """The slots that `me`, which has claimed none yet, is still named for, and that another member holds warm."""
    others = [held for uid, held in copies.items() if uid != me]
    return {
        slot: head.epoch
        for slot, head in enumerate(heads)
        if head.owner == me and any(is_close(held.get(slot), head, entries) for held in others)
    }


def still_given_up(ended: Ended, me: str, heads: Sequence[Head]) -> dict[int, int]:
    """Those of our ended epochs that nobody has followed yet."""
    return {slot: epoch for slot, epoch in ended.items() if has_ended(slot, heads[slot], {me: ended})}


def has_ended(slot: int, head: Head, ended: Mapping[str, Ended]) -> bool:
    """Whether the owner itself says that this epoch is over."""
    return ended.get(head.owner, {}).get(slot) == head.epoch


def giving_up(heads: Sequence[Head], ended: Mapping[str, Ended]) -> frozenset[str]:
    """The members that wait for others to take a slot from them."""
    return frozenset(head.owner for slot, head in enumerate(heads) if has_ended(slot, head, ended))
