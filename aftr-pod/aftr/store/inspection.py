"""An entry or a chunk as it was found: the records that make sense, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from aftr.store.errors import Damage, UnreadableVersionError
from aftr.store.slots import NO_RECORDS, SlotHead
from dslite_contract.bounds import faults
from dslite_contract.journal import DamagedEntryError, EntryId, Part, Records, joined, newest, offset_of, oldest, unpack

Place = tuple[str, bytes, EntryId | None]  # where something was found: its key, the bytes and, of a journal, its id
Judge = Callable[[int, Records], Mapping[int, str]]  # slot, records: what is wrong, by number of the record


def judge_any(_: int, records: Records) -> Mapping[int, str]:
    """For who knows nothing of slots."""
    return faults(records)


def inspect(judge: Judge, slot: int, places: Sequence[Place]) -> list[tuple[Records, Damage | None]]:
    """Of each place its readable records, and its damage if there is any; a record that is wrong does not hide the others.

    They are judged together, for entries may be small and many.
    """
    found = [_unpacked(place) for place in places]
    if judge(slot, joined(records for records, _ in found)):
        return [
            (records, damage) if damage else _judged(judge, slot, place, records)
            for place, (records, damage) in zip(places, found, strict=True)
        ]
    return found


def _unpacked(place: Place) -> tuple[Records, Damage | None]:
    key, data, entry = place
    try:
        return unpack(data, Part.ENTRY if entry else Part.CHUNK), None
    except DamagedEntryError as error:
        return NO_RECORDS, Damage(key, error.offset, error.sentence, entry, data)


def _judged(judge: Judge, slot: int, place: Place, records: Records) -> tuple[Records, Damage | None]:
    key, data, entry = place
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
