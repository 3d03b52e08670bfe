"""What tests of the store share. A record is told from the others by its number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np

from aftr.store.reading import Reading
from aftr.store.slots import Append, Owner, Reply
from aftr.store.store import Store
from dslite_contract.journal import RECORD, EntryId, Kind, Records, newest, pack_chunk, pack_entry

Open = Callable[..., Awaitable[Store]]
SLOT = 3


async def claimed(store: Store, slot: int = SLOT) -> Owner:
    """The first owner of a slot."""
    owner = await store.claim(slot, store.settings.uid, None)
    assert owner == Owner(1, store.settings.uid)
    return owner


async def append(store: Store, slot: int, owner: Owner, last: EntryId, entry: bytes) -> Reply:
    """One entry by itself."""
    (reply,) = await store.append_all([Append(slot, owner, last, entry)])
    return reply


def records(*numbers: int) -> Records:
    """Mappings whose internal address is the number."""
    found = np.zeros(len(numbers), RECORD)
    found["kind"], found["internal_address"] = Kind.MAPPING, numbers
    return found


def entry(*numbers: int) -> bytes:
    return pack_entry(records(*numbers), newest())


def chunk(*numbers: int) -> bytes:
    return pack_chunk(records(*numbers), newest())


def numbers(*parts: Records) -> list[int]:
    """What `records` was given."""
    return [int(number) for part in parts for number in part["internal_address"]]


async def numbers_of(reading: Reading) -> list[int]:
    """All that it delivers."""
    return [number async for part in reading for number in numbers(part)]
