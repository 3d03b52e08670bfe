"""An entry or a chunk as it was found: the records that make sense, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aftr.store.errors import Damage, UnreadableVersionError
from aftr.store.slots import SlotHead
from dslite_contract.bounds import faults
from dslite_contract.journal import RECORD, DamagedEntryError, EntryId, Part, Records, newest, offset_of, oldest, unpack

Judge = Callable[[int, Records], Mapping[int, str]]  # slot, records: what is wrong, by number of the record


def judge_any(_: int, records: Records) -> Mapping[int, str]:
    """For who knows nothing of slots."""
    return faults(records)


def inspect(
    judge: Judge, slot: int, key: str, data: bytes, entry: EntryId | None = None
) -> tuple[Records, Damage | None]:
    """Readable records, and the damage if there is any; a record that is wrong does not hide the others."""
    try:
        records = unpack(data, Part.ENTRY if entry else Part.CHUNK)
    except DamagedEntryError as error:
        return np.zeros(0, RECORD), Damage(key, error.offset, error.sentence, entry, data)
    wrong = judge(slot, records)
    if not wrong:
        return records, None
    first = min(wrong)
    more = f"; and {len(wrong) - 1} more of its {len(records)} records" if len(wrong) > 1 else ""
    damage = Damage(key, offset_of(data, first), f"record {first}: {wrong[first]}{more}", entry, data)
    return np.delete(records, list(wrong)), damage


def check_versions(slot: int, head: SlotHead | None) -> None:
    """Raises UnreadableVersionError for a slot that another program has written."""
    if head and not oldest() <= min(head.versions) <= max(head.versions) <= newest():
        raise UnreadableVersionError(slot, head.versions)
