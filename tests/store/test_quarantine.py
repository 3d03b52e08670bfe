"""What could not be read stays, with its bytes, until somebody ends the quarantine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aftr.failover.state import Phase, State
from aftr.ops.serving.quarantine import Quarantine
from aftr.store.errors import Damage, UnreadableRecordError
from aftr.store.reading import Reading
from aftr.store.store import Store
from dslite_contract.bounds import Bounds, faults
from dslite_contract.journal import HEADER, RECORD, EntryId, pack_chunk, pack_entry
from dslite_contract.store_keys import accepted_key, checkpoint_key, journal_key, quarantine_key
from redis_servers import Server, server
from store_records import SLOT, Open, append, chunk, claimed, entry, numbers, records


async def damages_of(reading: Reading) -> tuple[list[int], UnreadableRecordError]:
    found: list[int] = []

    async def read() -> None:
        async for part in reading:
            found.extend(numbers(part))

    with pytest.raises(UnreadableRecordError) as caught:
        await read()
    return found, caught.value


async def test_a_record_that_makes_no_sense_hides_no_other(store: Store, prefix: str) -> None:
    owner = await claimed(store)
    wrong = records(1, 2, 3, 4)
    wrong["kind"][1], wrong["bits"][2] = 9, 130
    await append(store, SLOT, owner, EntryId(1, 0), pack_entry(wrong, 1))
    found, error = await damages_of(store.read(SLOT))
    assert found == [1, 4]
    assert (error.key, error.offset) == (journal_key(prefix, SLOT), HEADER.size + RECORD.itemsize)
    assert str(error).endswith("entry 1-1 at byte 48: record 1: kind 9 is unknown; and 1 more of its 4 records")
    with pytest.raises(UnreadableRecordError, match="kind 9"):
        await store.tail({SLOT: EntryId(1, 0)}, 1)


async def test_a_record_of_another_slot_is_refused(store: Store, prefix: str) -> None:
    bounds = Bounds(((10, 20),), 1024, 256)
    strict = Store(store.settings, lambda slot, found: faults(found, bounds) if slot == SLOT else {})
    owner = await claimed(strict)
    stranger = records(1, 2)
    stranger["protocol"], stranger["external_port"], stranger["external_address"] = 6, 2000, [15, 21]
    await strict.write_checkpoint(SLOT, owner, EntryId(1, 0), [pack_chunk(stranger, 1)])
    found, error = await damages_of(strict.read(SLOT))
    assert found == [1]
    assert str(error).endswith(":checkpoint:1:0 at byte 48: record 1: external address 0.0.0.21 is not the slot's")
    await strict.close()


async def test_many_damages_are_not_all_named(store: Store, shared_redis: Server, prefix: str) -> None:
    owner = await claimed(store)
    await store.write_checkpoint(SLOT, owner, EntryId(1, 0), [chunk(number) for number in range(8)])
    for number in range(8):
        shared_redis.cli("SETRANGE", checkpoint_key(prefix, SLOT, 1, number), "20", "?")
    found, error = await damages_of(store.read(SLOT))
    assert found == []
    assert len(error.damages) == 8
    assert str(error).endswith("; and 3 more")


async def test_what_was_noted_survives_checkpoints_and_ends_once(
    open_store: Open, store: Store, shared_redis: Server, prefix: str
) -> None:
    owner = await claimed(store)
    await append(store, SLOT, owner, EntryId(1, 0), entry(1))
    await store.write_checkpoint(SLOT, owner, EntryId(1, 1), [chunk(1), chunk(2)])
    key = checkpoint_key(prefix, SLOT, 1, 1)
    shared_redis.cli("SETRANGE", key, "20", "?")
    _, error = await damages_of(store.read(SLOT))
    assert await store.quarantine.noted(SLOT) == []
    await store.quarantine.note(SLOT, error.damages)
    await store.quarantine.note(SLOT, error.damages)  # whoever else reads it
    for _ in range(3):
        await store.write_checkpoint(SLOT, owner, EntryId(1, 1), [chunk(1)])
    other = await open_store(shared_redis.url, uid="b")
    sentences = await other.quarantine.noted(SLOT)
    assert sentences == [str(error)]
    assert await other.quarantine.noted(SLOT + 1) == []
    kept = shared_redis.cli("--no-raw", "HGET", quarantine_key(prefix, SLOT), sentences[0])
    assert kept.startswith('"\\x1e\\xd5\\x01\\x02')
    assert await store.quarantine.end(SLOT) == sentences
    assert await store.quarantine.end(SLOT) == await other.quarantine.noted(SLOT) == []
    assert shared_redis.cli("HKEYS", accepted_key(prefix, SLOT)) == sentences[0]


class Served:
    """The slot of a member, as far as its quarantine sees it; time is what the test says."""

    def __init__(self, store: Store) -> None:
        self.number, self.phase, self.now, self.state = SLOT, Phase.SERVING, 1000, State("a", SLOT)
        self.store, self.member = store, self
        self.did: list[str] = []

    def allow_blocks(self) -> None:
        self.did.append("blocks")

    async def repair(self) -> None:
        self.did.append("repair")


async def test_blocks_are_kept_back_for_as_long_as_a_mapping_can_live(store: Store) -> None:
    slot: Any = Served(store)
    quarantine = Quarantine(slot)
    await quarantine.begin()
    assert (quarantine.is_on, quarantine.is_over, quarantine.left, quarantine.noted) == (False, False, 0, [])
    error = UnreadableRecordError(SLOT, [Damage("key", 8, "wrong", EntryId(1, 1), b"bytes")])
    await quarantine.found(error, 7)
    assert not quarantine.is_on  # nothing of ours is opened with it yet
    await quarantine.begin()
    assert (quarantine.is_on, quarantine.left) == (True, 7_440_000)
    slot.now += 7_439_999
    assert quarantine.is_on
    slot.now += 1
    assert (quarantine.is_on, quarantine.is_over, slot.did) == (False, True, [])
    await quarantine.try_end()
    assert (quarantine.is_over, quarantine.noted, slot.did) == (False, [], ["blocks", "repair"])
    assert await store.quarantine.noted(SLOT) == []


async def test_damage_that_is_found_after_the_claim_counts_as_well(store: Store) -> None:
    slot: Any = Served(store)
    slot.phase = Phase.CATCHING_UP
    quarantine = Quarantine(slot)
    await quarantine.begin()
    await quarantine.found(UnreadableRecordError(SLOT, [Damage("key", 8, "wrong")]), 1)
    assert quarantine.is_on


async def test_the_next_owner_keeps_them_back_in_full(open_store: Open, store: Store, shared_redis: Server) -> None:
    first: Any = Served(store)
    await Quarantine(first).found(UnreadableRecordError(SLOT, [Damage("key", 8, "wrong")]), 1)
    second: Any = Served(await open_store(shared_redis.url, uid="b"))
    quarantine = Quarantine(second)
    await quarantine.begin()
    assert (quarantine.left, quarantine.noted) == (7_440_000, ["key at byte 8: wrong"])


async def test_a_store_that_does_not_answer_ends_no_quarantine(open_store: Open) -> None:
    with server() as redis:
        slot: Any = Served(await open_store(redis.url, timeout=0.3))
        quarantine = Quarantine(slot)
        await quarantine.found(UnreadableRecordError(SLOT, [Damage("key", 8, "wrong")]), 1)
        await quarantine.begin()
        redis.pause()
        await quarantine.try_end()
        assert (quarantine.is_on, slot.did) == (True, [])


def test_nothing_is_judged_by_default_but_what_no_slot_has() -> None:
    assert faults(np.zeros(1, RECORD)) == {0: "kind 0 is unknown"}
