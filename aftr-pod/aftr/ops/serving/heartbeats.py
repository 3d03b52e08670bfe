"""What a member's heartbeat says of itself, as others read it.  Pure.

A later program may say more, or in another way: what cannot be read counts as not said.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from aftr.store.members import MemberRecord
from dslite_contract.journal import EntryId

Said = TypeVar("Said")


def _by_slot(record: MemberRecord, name: str, read: Callable[[Any], Said]) -> dict[int, Said]:
    try:
        return {int(slot): read(said) for slot, said in json.loads(record.info.get(name, "{}")).items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        return {}


def copies_of(record: MemberRecord) -> dict[int, EntryId]:
    """Up to where its warm copies are."""
    return _by_slot(record, "warm", EntryId.parse)


def ended_in(record: MemberRecord) -> dict[int, int]:
    """Epochs that are over."""
    return _by_slot(record, "ended", int)


def damaged_in(record: MemberRecord) -> dict[int, int]:
    """Generations of checkpoints that its copies were made from, and of which not all was readable."""
    return _by_slot(record, "damaged", int)


def may_own(record: MemberRecord) -> bool:
    """Whether slots may go to it."""
    return is_linked(record) and not is_leaving(record)


def is_linked(record: MemberRecord) -> bool:
    """Whether routers hear it."""
    return record.info.get("linked", "1") == "1"


def is_leaving(record: MemberRecord) -> bool:
    """Whether it leaves."""
    return record.info.get("leaving", "0") == "1"
